"""Diffusion models of actions: EDM preconditioning, noise levels and the denoising loss (Karras et al.
2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Raw network F(noisy actions (S, B, A), observations (S, B, O), noise condition (S, B)) -> (S, B, A)."""


@dataclass(frozen=True)
class Preconditioning:
    """EDM's scalings at noise levels (S, B): `skip`, `out`, `into`, (S, B, 1) each; `noise`, (S, B)."""

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor


def precondition(sigma: Tensor, sigma_data: float) -> Preconditioning:
    """EDM Table 1: c_skip, c_out, c_in, c_noise."""
    level = sigma.unsqueeze(-1)
    total = level.square() + sigma_data**2
    return Preconditioning(
        skip=sigma_data**2 / total,
        out=level * sigma_data / total.sqrt(),
        into=total.rsqrt(),
        noise=sigma.log() / 4,
    )


def denoise(
    network: Network,
    noisy: Tensor,
    sigma: Tensor,
    observations: Tensor,
    *,
    sigma_data: float,
    bound: float | None,
) -> Tensor:
    """Denoised actions D(x, sigma, s), (S, B, A), clamped to [-bound, bound] unless `bound` is None."""
    scale = precondition(sigma, sigma_data)
    denoised = scale.skip * noisy + scale.out * network(scale.into * noisy, observations, scale.noise)
    return denoised if bound is None else denoised.clamp(-bound, bound)


def denoising_loss(
    network: Network,
    actions: Tensor,
    observations: Tensor,
    sigma: Tensor,
    noise: Tensor,
    *,
    sigma_data: float,
    bound: float | None,
) -> Tensor:
    """EDM-weighted error of denoising `actions` + sigma `noise`: mean over batch and action, (S,).

    Differentiable in `actions` through the noisy input, the skip connection and the regression target alike.
    Shapes: actions, noise (S, B, A); observations (S, B, O); sigma (S, B).
    """
    noisy = actions + sigma.unsqueeze(-1) * noise
    denoised = denoise(network, noisy, sigma, observations, sigma_data=sigma_data, bound=bound)
    error = (denoised - actions) / precondition(sigma, sigma_data).out
    return error.square().mean(dim=(-2, -1))


def log_logistic(
    uniform: Tensor, median: float, scale: float, minimum: float = 0.0, maximum: float = math.inf
) -> Tensor:
    """Noise levels from uniforms in [0, 1): log-logistic with the given median, truncated to [minimum,
    maximum].

    Computed in the dtype of `uniform` (double: the lower tail starts at 1.6e-5).
    """
    low = 1 / (1 + (median / minimum) ** (1 / scale)) if minimum > 0 else 0.0
    high = 1 / (1 + (median / maximum) ** (1 / scale))
    # Untruncated tails still need a finite logit.
    edge = torch.finfo(uniform.dtype).eps
    quantile = (low + (high - low) * uniform).clamp(edge, 1 - edge)
    return torch.exp(math.log(median) + scale * torch.logit(quantile))
