"""Choosing one of several candidate actions by their values."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_by_softmax(candidates: Tensor, values: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
    """One candidate per state, drawn from the softmax of values / temperature.

    Shapes: candidates (S, N, C, A); values (S, N, C); uniform (S, N) in [0, 1); returns (S, N, A).
    """
    # The inverse of the cumulative distribution needs one uniform per state instead of a generator.
    cumulative = torch.softmax(values / temperature, dim=-1).double().cumsum(dim=-1)
    threshold = uniform.unsqueeze(-1) * cumulative[..., -1:]
    chosen = torch.searchsorted(cumulative, threshold, right=True).clamp(max=values.shape[-1] - 1)
    return _take(candidates, chosen)


def take_best(candidates: Tensor, values: Tensor) -> Tensor:
    """The candidate of highest value per state: (S, N, C, A), (S, N, C) -> (S, N, A)."""
    return _take(candidates, values.argmax(dim=-1, keepdim=True))


def _take(candidates: Tensor, chosen: Tensor) -> Tensor:
    index = chosen.unsqueeze(-1).expand(-1, -1, -1, candidates.shape[-1])
    return candidates.gather(2, index).squeeze(2)
