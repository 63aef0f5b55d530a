"""Discrete diffusion with noise prediction (Ho et al. 2020): schedules, noising, reverse steps.

Steps are numbered 1..K from little noise to much; step 0 is the clean action. Tables have K + 1 entries, so a
step is its own index.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """Tables over steps 0..K, (K + 1,) each; entry 0 is the clean action (abar 1, beta 0)."""

    betas: Tensor
    """Variance that step n adds."""
    abar: Tensor
    """Share of the clean action's variance left after step n: product of 1 - beta."""

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


def add_noise(schedule: Schedule, actions: Tensor, step: Tensor | int, noise: Tensor) -> Tensor:
    """a^n = sqrt(abar_n) a + sqrt(1 - abar_n) noise; actions, noise (..., A); step (...), int64.

    One step for all is a plain number: indexing by a tensor without axes would wait for the device.
    """
    abar = schedule.abar[step].unsqueeze(-1)
    return abar.sqrt() * actions + (1 - abar).sqrt() * noise


def clean_action(
    schedule: Schedule, noisy: Tensor, step: Tensor | int, predicted_noise: Tensor, bound: float | None
) -> Tensor:
    """The clean action that predicted noise implies, clamped to [-bound, bound] unless `bound` is None.

    (a^n - sqrt(1 - abar_n) eps) / sqrt(abar_n); shapes as in `add_noise`.
    """
    abar = schedule.abar[step].unsqueeze(-1)
    clean = (noisy - (1 - abar).sqrt() * predicted_noise) / abar.sqrt()
    return clean if bound is None else clean.clamp(-bound, bound)


def posterior_mean(schedule: Schedule, noisy: Tensor, step: Tensor | int, clean: Tensor) -> Tensor:
    """Mean of a^{n-1} given a^n and the clean action (Ho et al. 2020, Eq. 7); `clean` itself at n = 1."""
    beta, abar = schedule.betas[step].unsqueeze(-1), schedule.abar[step].unsqueeze(-1)
    before = schedule.abar[step - 1].unsqueeze(-1)
    return (before.sqrt() * beta * clean + (1 - beta).sqrt() * (1 - before) * noisy) / (1 - abar)
