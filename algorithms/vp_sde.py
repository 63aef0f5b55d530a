"""Diffusion in continuous time: the variance-preserving SDE of Song et al. (2021) with noise prediction.

Times run from 0, the clean action, to 1, noise; a_t = alpha_t a + sigma_t eps. Constants as in SRPO and Lu et
al. (2023): beta_0 = 0.1, beta_1 = 20.
"""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.diffusion import Network

BETA_0, BETA_1 = 0.1, 20.0
"""Rate at which noise enters at times 0 and 1, per unit of time."""


def scales(time: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t at times (...) in (0, 1], in the dtype of `time`; alpha^2 + sigma^2 = 1.

    log alpha_t = -t^2 (beta_1 - beta_0) / 4 - t beta_0 / 2.
    """
    log_alpha = -0.25 * (BETA_1 - BETA_0) * time.square() - 0.5 * BETA_0 * time
    # expm1, because 1 - alpha^2 loses its digits where there is hardly any noise.
    return log_alpha.exp(), torch.expm1(2 * log_alpha).neg().sqrt()


def time_between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Times U(low, high) from uniforms in [0, 1), in their dtype."""
    return low + (high - low) * uniform


def perturb(actions: Tensor, time: Tensor, noise: Tensor) -> Tensor:
    """a_t = alpha_t a + sigma_t eps: actions, noise (..., A), time (...) -> (..., A), the actions' dtype."""
    alpha, sigma = (scale.unsqueeze(-1).to(actions.dtype) for scale in scales(time))
    return alpha * actions + sigma * noise


def noise_prediction_loss(
    network: Network, actions: Tensor, observations: Tensor, time: Tensor, noise: Tensor
) -> Tensor:
    """Squared error of the predicted noise, summed over the action, mean over the batch: (S,).

    Shapes: actions, noise (S, B, A); observations (S, B, O); time (S, B). Source: SRPO Eq. 5; released
    train_behavior.py.
    """
    predicted = network(perturb(actions, time, noise), observations, time.to(actions.dtype))
    return (predicted - noise).square().sum(dim=-1).mean(dim=-1)


def probability_flow(
    network: Network, observations: Tensor, noise: Tensor, *, steps: int, end: float
) -> Tensor:
    """Samples (S, B, A) of the model from N(0, I) noise (S, B, A), by `steps` first-order steps of its ODE.

    Deterministic (DDIM): each step is exact for a constant prediction. Times are the squares of an even grid,
    from 1 to `end`, because the small ones decide where a sample lands.
    """
    grid = torch.linspace(1.0, end**0.5, steps + 1, dtype=torch.float64, device=noise.device).square()
    alphas, sigmas = scales(grid)
    sample = noise
    for step in range(steps):
        time = grid[step].to(noise.dtype).expand(noise.shape[:-1])
        predicted = network(sample, observations, time)
        shrink = alphas[step + 1] / alphas[step]
        sample = (
            shrink.to(noise.dtype) * sample
            + (sigmas[step + 1] - shrink * sigmas[step]).to(noise.dtype) * predicted
        )
    return sample
