"""Losses that several methods share, and the choice of one among several candidate actions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from algorithms.base import Tensors
from algorithms.diffusion import squared_error


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Asymmetric squared error |expectile - 1(u <= 0)| u^2, elementwise (IQL's Eq. 4)."""
    # The negative side by the root of the weights' ratio: fewer passes than a choice between two products.
    scaled = functional.leaky_relu(difference, math.sqrt((1 - expectile) / expectile))
    return expectile * scaled.square()


def temporal_difference_targets(batch: Tensors, next_values: Tensor, discount: float) -> Tensor:
    """r + discount (1 - terminal) V(s'), (S, B), from the batch's rewards and terminals and V(s') (S, B)."""
    return batch["rewards"] + discount * (1 - batch["terminals"]) * next_values


def ensemble_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Squared error, mean over members and batch: (S, E, B), (S, B) -> (S,)."""
    return squared_error(values, targets.unsqueeze(1)).mean(dim=(-2, -1))


def summed_ensemble_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Sum over the members of each one's mean squared error: (S, E, B), (S, B) -> (S,)."""
    return squared_error(values, targets.unsqueeze(1)).mean(dim=-1).sum(dim=1)


def normalised_value_loss(values: Tensor, weight: float) -> Tensor:
    """-weight mean Q / mean |Q|, the divisor held fixed: values (S, B) -> (S,) (TD3+BC's lambda)."""
    # A seed that was retired has no weights and no values; it must not produce 0 / 0.
    scale = values.detach().abs().mean(dim=-1).clamp(min=torch.finfo(values.dtype).tiny)
    return -weight * values.mean(dim=-1) / scale


@torch.no_grad()
def backup_values(critics: nn.Module, observations: Tensor, actions: Tensor, bound: float | None) -> Tensor:
    """Value of the next state from sampled actions (S, B C, A), C of each observation (S, B, O); (S, B).

    The minimum over the critics, and with C > 1 (max-Q backup) of each critic's best action, clipped to the
    bound where there is one.
    """
    samples = actions.shape[1] // observations.shape[1]
    states = observations.unsqueeze(2).expand(-1, -1, samples, -1).flatten(1, 2)
    within = actions if bound is None else actions.clamp(-bound, bound)
    values = critics(states, within).unflatten(-1, (-1, samples))
    return values.amax(dim=-1).amin(dim=1)


def temporal_difference_loss(
    critics: nn.Module, batch: Tensors, next_values: Tensor, discount: float
) -> Tensor:
    """Sum over critics of MSE(Q(s, a), r + discount (1 - terminal) next value), (S,); next values (S, B)."""
    targets = temporal_difference_targets(batch, next_values.detach(), discount)
    return summed_ensemble_loss(critics(batch["observations"], batch["actions"]), targets)


def lower_confidence_bound(values: Tensor, pessimism: float) -> Tensor:
    """mean - rho * standard deviation over the ensemble, (S, E, ...) -> (S, ...).

    The deviation is that of the population: with E - 1 in its denominator rho would be another.
    """
    mean = values.mean(dim=1)
    return mean - pessimism * values.std(dim=1, correction=0) if pessimism else mean


def next_value(action_values: Tensor, pessimism: float, max_q_backup: bool) -> Tensor:
    """What the next state is worth: (S, E, B, N) -> (S, B).

    The best of the N samples is taken per member, before the members are compared.
    """
    per_member = action_values.amax(dim=-1) if max_q_backup else action_values.mean(dim=-1)
    return lower_confidence_bound(per_member, pessimism)


def soft_value(values: Tensor, inverse_temperature: float) -> Tensor:
    """sum_j softmax_j(beta q) q_j over the last axis, (..., M) -> (...): between mean (0) and maximum."""
    return (torch.softmax(inverse_temperature * values, dim=-1) * values).sum(dim=-1)


def gaussian_log_likelihood(values: Tensor, mean: Tensor, log_std: Tensor | None = None) -> Tensor:
    """Log-density of `values` under diagonal Gaussians, summed over the last axis: (..., A) -> (...).

    `log_std` is the logarithm of the standard deviations; None: all are 1.
    """
    if log_std is None:
        constant = 0.5 * values.shape[-1] * math.log(2 * math.pi)
        return -0.5 * squared_error(values, mean).sum(dim=-1) - constant
    standardised = (values - mean) * (-log_std).exp()
    return (-0.5 * standardised.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(dim=-1)


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
