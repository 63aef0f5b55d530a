"""Losses that several methods share."""

from __future__ import annotations

import torch
from torch import Tensor


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Asymmetric squared error |expectile - 1(u <= 0)| u^2, elementwise (IQL's Eq. 4)."""
    weight = torch.where(difference > 0, expectile, 1 - expectile)
    return weight * difference.square()
