"""The residual noise-prediction network of IDQL, for continuous time: SRPO's behaviour model.

Hansen-Estruch et al. (2023), with Gaussian Fourier features of time (Song et al. 2021); released model.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from algorithms.base import Dimensions
from algorithms.networks import MLP, Initialiser, LayerNorm, Linear, mish

EXPANSION = 4
"""Width inside a residual block over the width between blocks."""


class FourierFeatures(nn.Module):
    """Sines, then cosines of 2 pi t W.

    W (S, 1, width / 2) ~ N(0, scale^2) is drawn once and never trained. It is a buffer, so it is saved and
    restored with the weights, without which the model would be lost.
    """

    frequencies: Tensor

    def __init__(self, initialiser: Initialiser, width: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", initialiser.normal((1, width // 2), scale))

    def forward(self, time: Tensor) -> Tensor:
        """Times (S, B) -> features (S, B, width)."""
        angles = 2 * math.pi * time.unsqueeze(-1) * self.frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class ResidualBlock(nn.Module):
    """x + Linear(Mish(Linear(LayerNorm(kept x)))), widths W -> 4 W -> W, (S, B, W) -> (S, B, W).

    The released block also owns a W -> W projection, used only where widths change, which they never do; it
    takes no part in any result, so it is left out.
    """

    def __init__(self, initialiser: Initialiser, width: int, layer_norm_epsilon: float) -> None:
        super().__init__()
        self.norm = LayerNorm(len(initialiser.seeds), width, epsilon=layer_norm_epsilon)
        self.mlp = MLP(initialiser, (width, EXPANSION * width, width), mish)

    def forward(self, inputs: Tensor, kept: Tensor | None = None) -> Tensor:
        """`kept` (S, B, W) scales the block's inputs, 0 where dropped; None: no dropout."""
        branch = inputs if kept is None else inputs * kept
        return inputs + self.mlp(self.norm(branch))


class ResidualNoiseNetwork(nn.Module):
    """eps(noisy actions (S, B, A), observations (S, B, O), time (S, B)) -> predicted noise (S, B, A)."""

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        *,
        width: int,
        blocks: int,
        layer_norm_epsilon: float,
        time_features: int,
        fourier_scale: float,
    ) -> None:
        super().__init__()
        embedding = 2 * time_features
        self.fourier = FourierFeatures(initialiser, time_features, fourier_scale)
        self.embed = MLP(initialiser, (time_features, embedding, embedding), mish)
        self.first = Linear(initialiser, dimensions.action + dimensions.observation + embedding, width)
        self.blocks = nn.ModuleList(
            ResidualBlock(initialiser, width, layer_norm_epsilon) for _ in range(blocks)
        )
        self.last = Linear(initialiser, width, dimensions.action)

    def forward(
        self, noisy: Tensor, observations: Tensor, time: Tensor, kept: Sequence[Tensor] | None = None
    ) -> Tensor:
        """`kept`: one dropout mask per block; None, as in every use but training: no dropout."""
        embedded = self.embed(self.fourier(time))
        hidden = self.first(torch.cat((noisy, observations, embedded), dim=-1))
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, None if kept is None else kept[index])
        return self.last(mish(hidden))


def dropout_masks(uniform: Tensor, rate: float, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Masks from uniforms (S, blocks, B, W): 1 / (1 - rate) where kept, else 0; one (S, B, W) per block."""
    return ((uniform >= rate).to(dtype) / (1 - rate)).unbind(dim=1)
