"""Observations standardised by the whole dataset, in a network's buffers or a method's, as CORL does."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardisation(nn.Module):
    """(s - mean) factor, observations (S, B, O) -> (S, B, O).

    Mean and factor are buffers with a seed axis, (S, 1, O), so they are saved, and travel, with the weights.
    Until `take` they change nothing.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, seeds: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros((seeds, 1, width)))
        # A factor instead of a divisor, so that a retired seed, all zeros, still acts by finite numbers.
        self.register_buffer("factor", torch.ones((seeds, 1, width)))

    @torch.no_grad()
    def take(self, observations: Tensor, margin: float) -> None:
        """Mean and standard deviation (divisor N) of a dataset's observations (N, O).

        `margin` is added to the deviations that observations are divided by.
        """
        # Column by column: in double precision a dataset at once would take twice its memory.
        moments = [
            torch.stack(torch.std_mean(column.double(), correction=0))
            for column in observations.unbind(dim=1)
        ]
        deviation, mean = torch.stack(moments, dim=1)
        self.mean.copy_(mean.expand_as(self.mean))
        self.factor.copy_((deviation + margin).reciprocal().expand_as(self.factor))

    def forward(self, observations: Tensor) -> Tensor:
        """The observations, standardised."""
        return (observations - self.mean) * self.factor
