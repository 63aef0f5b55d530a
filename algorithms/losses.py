"""Losses that several methods share."""

from __future__ import annotations

import torch
from torch import Tensor


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Asymmetric squared error |expectile - 1(u <= 0)| u^2, elementwise (IQL's Eq. 4)."""
    square = difference.square()
    # Of two bare numbers torch.where makes single precision, whatever the dtype of `difference`.
    return torch.where(difference > 0, expectile * square, (1 - expectile) * square)
