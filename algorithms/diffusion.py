"""Diffusion models of actions: EDM, discrete steps, and the variance-preserving SDE.

Each with its noise levels, its noising and its loss as functions of explicit inputs. In all of them a network
tells noise from action, given how much noise there is; `NoiseNetwork` says how it is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

NoiseNetwork = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Network(noisy actions (S, *rows, A), observations (S, *rows, O), condition (S, *rows)) -> (S, *rows, A).

The condition tells the level of noise: EDM's c_noise, a discrete step, or a time. Networks for chunks of
several actions per state take any number of row axes, the others one, (S, B, ...).
"""


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """(values - targets)^2, elementwise, shapes broadcast; one pass forwards and one backwards."""
    values, targets = torch.broadcast_tensors(values, targets)
    return functional.mse_loss(values, targets, reduction="none")


# EDM (Karras et al. 2022).


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
    into = (level.square() + sigma_data**2).rsqrt()
    share = sigma_data * into
    return Preconditioning(skip=share.square(), out=level * share, into=into, noise=sigma.log() / 4)


def denoise(
    network: NoiseNetwork,
    noisy: Tensor,
    scale: Preconditioning,
    observations: Tensor,
    *,
    bound: float | None,
) -> Tensor:
    """Denoised actions D(x, sigma, s), (S, B, A), clamped to [-bound, bound] unless `bound` is None."""
    predicted = network(scale.into * noisy, observations, scale.noise)
    denoised = torch.addcmul(scale.skip * noisy, scale.out, predicted)
    return denoised if bound is None else denoised.clamp(-bound, bound)


def denoising_loss(
    network: NoiseNetwork,
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
    scale = precondition(sigma, sigma_data)
    noisy = torch.addcmul(actions, sigma.unsqueeze(-1), noise)
    denoised = denoise(network, noisy, scale, observations, bound=bound)
    return (squared_error(denoised, actions) / scale.out.square()).mean(dim=(-2, -1))


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
    quantile = torch.logit(low + (high - low) * uniform, eps=torch.finfo(uniform.dtype).eps)
    return torch.exp(math.log(median) + scale * quantile)


# Discrete steps and noise prediction (Ho et al. 2020).


class Level(NamedTuple):
    """What functions of a^n need of step n, (..., 1) each; a step is a number or (...)."""

    signal: Tensor
    """sqrt(abar_n), factor of the clean action in a^n."""
    noise: Tensor
    """sqrt(1 - abar_n), factor of the noise in a^n."""
    of_clean: Tensor
    """Factor of the clean action in the posterior's mean of a^{n-1}."""
    of_noisy: Tensor
    """Factor of a^n in it."""
    deviation: Tensor
    """sqrt(beta_n), and 0 at n = 1, where a reverse step ends at the clean action."""
    divergence: Tensor
    """Factor of a squared difference of predicted noises in the divergence of two reverse steps."""


@dataclass(frozen=True)
class Schedule:
    """Tables over steps 0..K, (K + 1,) each; entry 0 is the clean action (abar 1, beta 0).

    Steps are numbered 1..K from little noise to much. A step is its own index.
    """

    betas: Tensor
    """Variance that step n adds."""
    abar: Tensor
    """Share of the clean action's variance left after step n: product of 1 - beta."""
    _levels: Tensor = field(init=False, repr=False, compare=False)
    """All that `at` tells, (K + 1, 6), worked out once."""

    def __post_init__(self) -> None:
        # In double precision, in which no processor's square root shows in what is kept.
        betas, abar = self.betas.double(), self.abar.double()
        before = torch.cat((abar[:1], abar[:-1]))
        left = (1 - abar).clamp(min=torch.finfo(abar.dtype).tiny)
        deviation = betas.sqrt()
        deviation[1] = 0.0
        level = Level(
            signal=abar.sqrt(),
            noise=(1 - abar).sqrt(),
            of_clean=before.sqrt() * betas / left,
            of_noisy=(1 - betas).sqrt() * (1 - before) / left,
            deviation=deviation,
            divergence=0.5 * betas / ((1 - betas) * left),
        )
        object.__setattr__(self, "_levels", torch.stack(level, dim=-1).to(self.abar.dtype))

    def at(self, step: Tensor | int) -> Level:
        """Step n, a number or int64 (...); one look-up for all, and none of a device for a number."""
        return Level(*self._levels[step].split(1, dim=-1))

    @property
    def steps(self) -> int:
        """K."""
        return len(self.betas) - 1

    @property
    def posterior_variance(self) -> Tensor:
        """Variance of a^{n-1} given a^n and the clean action, (K + 1,); entry 1 is exactly 0."""
        before = torch.cat((self.abar[:1], self.abar[:-1]))
        return self.betas * (1 - before) / (1 - self.abar).clamp(min=torch.finfo(self.abar.dtype).tiny)


def from_betas(betas: Tensor, dtype: torch.dtype, device: torch.device | str) -> Schedule:
    """Schedule of K betas (K,), multiplied up in their own precision."""
    padded = torch.cat((betas.new_zeros(1), betas))
    return Schedule(padded.to(device, dtype), torch.cumprod(1 - padded, dim=0).to(device, dtype))


def linear_schedule(
    steps: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Schedule:
    """Betas equally spaced from 0.1/K to 20/K (EDP, released diffusion/diffusion.py: single precision)."""
    return from_betas(torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float32), dtype, device)


def vp_schedule(
    steps: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Schedule:
    """Discretised VP-SDE, alpha_n = exp(-0.1/K - 9.9 (2n - 1) / (2 K^2)) (Diffusion-QL, BDPO)."""
    n = torch.arange(1, steps + 1, dtype=torch.float64)
    alphas = torch.exp(-0.1 / steps - 0.5 * 9.9 * (2 * n - 1) / steps**2)
    return from_betas(1 - alphas, dtype, device)


def random_steps(uniform: Tensor, steps: int) -> Tensor:
    """n, uniform on {1 .. steps}, from uniform numbers in [0, 1), any shape; int64."""
    return (uniform * steps).long().clamp(max=steps - 1) + 1


def add_noise(schedule: Schedule, actions: Tensor, step: Tensor | int, noise: Tensor) -> Tensor:
    """a^n = sqrt(abar_n) a + sqrt(1 - abar_n) noise; actions, noise (..., A); step (...), int64.

    One step for all is a plain number: indexing by a tensor without axes would wait for the device.
    """
    level = schedule.at(step)
    return torch.addcmul(level.signal * actions, level.noise, noise)


def clean_action(
    schedule: Schedule, noisy: Tensor, step: Tensor | int, predicted_noise: Tensor, bound: float | None
) -> Tensor:
    """The clean action that predicted noise implies, clamped to [-bound, bound] unless `bound` is None.

    (a^n - sqrt(1 - abar_n) eps) / sqrt(abar_n); shapes as in `add_noise`.
    """
    level = schedule.at(step)
    clean = torch.addcmul(noisy, level.noise, predicted_noise, value=-1) / level.signal
    return clean if bound is None else clean.clamp(-bound, bound)


def posterior_mean(schedule: Schedule, noisy: Tensor, step: Tensor | int, clean: Tensor) -> Tensor:
    """Mean of a^{n-1} given a^n and the clean action (Ho et al. 2020, Eq. 7); `clean` itself at n = 1."""
    level = schedule.at(step)
    return torch.addcmul(level.of_noisy * noisy, level.of_clean, clean)


# The variance-preserving SDE of Song et al. (2021) with noise prediction, in continuous time: from 0, the
# clean action, to 1, noise; a_t = alpha_t a + sigma_t eps. Constants as in SRPO and Lu et al. (2023).

BETA_0, BETA_1 = 0.1, 20.0
"""Rate at which noise enters at times 0 and 1, per unit of time."""


def scales(time: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t at times (...) in (0, 1], in the dtype of `time`; alpha^2 + sigma^2 = 1.

    log alpha_t = -t^2 (beta_1 - beta_0) / 4 - t beta_0 / 2.
    """
    log_alpha = time * (-0.5 * BETA_0 - 0.25 * (BETA_1 - BETA_0) * time)
    # expm1, because 1 - alpha^2 loses its digits where there is hardly any noise.
    return log_alpha.exp(), torch.expm1(2 * log_alpha).neg().sqrt()


def time_between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Times U(low, high) from uniforms in [0, 1), in their dtype."""
    return low + (high - low) * uniform


def perturb(actions: Tensor, time: Tensor, noise: Tensor) -> Tensor:
    """a_t = alpha_t a + sigma_t eps: actions, noise (..., A), time (...) -> (..., A), the actions' dtype."""
    return perturb_at(actions, *scales(time), noise)


def perturb_at(actions: Tensor, alpha: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """The same from `scales`, (...) each."""
    alpha, sigma = (scale.unsqueeze(-1).to(actions.dtype) for scale in (alpha, sigma))
    return torch.addcmul(alpha * actions, sigma, noise)


def noise_prediction_loss(
    network: NoiseNetwork, actions: Tensor, observations: Tensor, time: Tensor, noise: Tensor
) -> Tensor:
    """Squared error of the predicted noise, summed over the action, mean over the batch: (S,).

    Shapes: actions, noise (S, B, A); observations (S, B, O); time (S, B). Source: SRPO Eq. 5; released
    train_behavior.py.
    """
    predicted = network(perturb(actions, time, noise), observations, time.to(actions.dtype))
    return squared_error(predicted, noise).sum(dim=-1).mean(dim=-1)


def probability_flow(
    network: NoiseNetwork, observations: Tensor, noise: Tensor, *, steps: int, end: float
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
