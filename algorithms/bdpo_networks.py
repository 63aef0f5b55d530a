"""BDPO's networks: noise prediction and ensembles of values, for several actions of one state at a time.

Row axes are free: a state that many actions share, or a diffusion step that many rows share, has size 1 there
and is multiplied once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from algorithms.base import Dimensions
from algorithms.networks import MLP, Initialiser, mish, orthogonal, sinusoidal_embedding

INITIALISATION = orthogonal(math.sqrt(2))
"""Of every layer, the last one included; biases are zero (released flowrl/module/initialization.py)."""


class BroadcastMLP(MLP):
    """MLP on parts side by side, without ever building their concatenation.

    Parts are (S, [E or 1,] *rows, width) and broadcast against each other over `rows`; at least one has them
    all. The result is (S, [E,] *rows, output).
    """

    def forward(self, *parts: Tensor) -> Tensor:
        first = self.layers[0]
        leading = first.weight.dim() - 2
        weights = first.weight.split([part.shape[-1] for part in parts], dim=-2)
        *small, largest = sorted(map(_product, parts, weights), key=Tensor.numel)
        ones = [1] * (largest.dim() - first.bias.dim())
        bias = first.bias.unflatten(leading, (*ones, 1))
        hidden = largest.add_(sum(small, start=bias))
        rows = hidden.shape[leading:-1]
        return self.after_first(hidden.flatten(leading, -2)).unflatten(leading, rows)


def _product(part: Tensor, weight: Tensor) -> Tensor:
    """(S, [E or 1,] *rows, in) times (S, [E,] in, out) -> (S, [E,] *rows, out)."""
    leading = weight.dim() - 2
    product = torch.matmul(part.flatten(leading, -2), weight)
    return product.unflatten(leading, part.shape[leading:-1])


class StepEmbedding(nn.Module):
    """Diffusion steps (S, *rows) -> features (S, [E,] *rows, width): cosines and sines, then two layers."""

    def __init__(
        self, initialiser: Initialiser, width: int, hidden: int, *, members: int | None = None
    ) -> None:
        super().__init__()
        self.width = width
        self.members = members
        self.mlp = MLP(
            initialiser, (width, hidden, width), mish, members=members, initialisation=INITIALISATION
        )

    def forward(self, steps: Tensor) -> Tensor:
        times = steps.flatten(1).to(self.mlp.layers[0].weight.dtype)
        features = sinusoidal_embedding(times, self.width, cosine_first=True)
        if self.members is not None:
            features = features.unsqueeze(1).expand(-1, self.members, -1, -1)
        return mish(self.mlp(features)).unflatten(-2, steps.shape[1:])


class NoiseNetwork(nn.Module):
    """Noise in a^n: (S, *rows, A), observations (S, *rows, O), steps (S, *rows) -> (S, *rows, A)."""

    def __init__(
        self, initialiser: Initialiser, dimensions: Dimensions, hidden: Sequence[int], embedding: int
    ) -> None:
        super().__init__()
        self.embed = StepEmbedding(initialiser, embedding, embedding)
        sizes = (dimensions.action + embedding + dimensions.observation, *hidden, dimensions.action)
        self.mlp = BroadcastMLP(initialiser, sizes, mish, initialisation=INITIALISATION)

    def forward(self, noisy: Tensor, observations: Tensor, steps: Tensor) -> Tensor:
        return self.mlp(noisy, self.embed(steps), observations)


class ActionValues(nn.Module):
    """E action values Q: observations (S, *rows, O), actions (S, *rows, A) -> (S, E, *rows)."""

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        hidden: Sequence[int],
        *,
        members: int,
        layer_norm_epsilon: float | None,
    ) -> None:
        super().__init__()
        self.mlp = BroadcastMLP(
            initialiser,
            (dimensions.observation + dimensions.action, *hidden, 1),
            mish,
            members=members,
            layer_norm_epsilon=layer_norm_epsilon,
            initialisation=INITIALISATION,
        )

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        return self.mlp(observations.unsqueeze(1), actions.unsqueeze(1)).squeeze(-1)


class DiffusionValues(nn.Module):
    """E values V_n of noisy actions within the reverse chain, always with LayerNorm.

    Observations (S, *rows, O), noisy actions (S, *rows, A), steps n >= 1 (S, *rows) -> (S, E, *rows). Every
    member embeds the step for itself.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        hidden: Sequence[int],
        *,
        members: int,
        embedding: int,
        embedding_hidden: int,
        layer_norm_epsilon: float,
    ) -> None:
        super().__init__()
        self.embed = StepEmbedding(initialiser, embedding, embedding_hidden, members=members)
        self.mlp = BroadcastMLP(
            initialiser,
            (dimensions.observation + dimensions.action + embedding, *hidden, 1),
            mish,
            members=members,
            layer_norm_epsilon=layer_norm_epsilon,
            initialisation=INITIALISATION,
        )

    def forward(self, observations: Tensor, noisy: Tensor, steps: Tensor) -> Tensor:
        time = self.embed(steps)
        return self.mlp(observations.unsqueeze(1), noisy.unsqueeze(1), time).squeeze(-1)
