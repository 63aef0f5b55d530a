"""The noise network of policies of few diffusion steps, asked at steps that are known before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from algorithms.base import Dimensions
from algorithms.dpm_solver import Prediction
from algorithms.networks import MLP, Initialisation, Initialiser, Linear, mish, sinusoidal_embedding


class StepwiseNoiseNetwork(nn.Module):
    """eps(noisy actions (S, B, A), observations (S, B, O), labels (S, B)) -> (S, B, A).

    Three hidden layers with Mish. Labels number diffusion steps, from 0 or 1 as the method counts; samplers
    may ask between them.

    Parameters
    ----------
    embedding : features of the label, units of its hidden layer, and what enters the network of it.
    cosine_first, divisor : of the features, as `sinusoidal_embedding` takes them.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        width: int,
        embedding: tuple[int, int, int],
        *,
        initialisation: Initialisation,
        cosine_first: bool = False,
        divisor: int | None = None,
    ) -> None:
        super().__init__()
        self.features = embedding[0]
        self.cosine_first, self.divisor = cosine_first, divisor
        self.embed = MLP(initialiser, embedding, mish, initialisation=initialisation)
        self.parts = (dimensions.observation, dimensions.action, embedding[-1])
        sizes = (sum(self.parts), width, width, width, dimensions.action)
        self.mlp = MLP(initialiser, sizes, mish, initialisation=initialisation)

    def forward(self, noisy: Tensor, observations: Tensor, labels: Tensor) -> Tensor:
        """Predicted noise."""
        return self.mlp(torch.cat((observations, noisy, self._embedded(labels)), dim=-1))

    def along(self, observations: Tensor, labels: Tensor, repeats: int) -> Prediction:
        """The network at `labels` (T,) for `repeats` noisy actions per observation (S, B, O); R = B repeats.

        What the first layer makes of observations and labels is worked out once for all calls and actions.
        """
        first, *middle, last = cast(Sequence[Linear], self.mlp.layers)
        by_state, by_action, by_time = first.weight.split(self.parts, dim=1)
        states = torch.baddbmm(first.bias, observations, by_state)
        states = states.unsqueeze(2).expand(-1, -1, repeats, -1).flatten(1, 2)
        embedded = self._embedded(labels.to(observations.dtype).expand(len(observations), -1))
        times = torch.bmm(embedded, by_time)

        def predict(call: int, noisy: Tensor) -> Tensor:
            # In place, which spares a copy of the sum.
            hidden = mish((states + times[:, call, None]).baddbmm_(noisy, by_action))
            for layer in middle:
                hidden = mish(layer(hidden))
            return last(hidden)

        return predict

    def _embedded(self, labels: Tensor) -> Tensor:
        return self.embed(
            sinusoidal_embedding(labels, self.features, divisor=self.divisor, cosine_first=self.cosine_first)
        )
