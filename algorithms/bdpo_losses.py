"""BDPO's reverse chains, penalties and losses as functions of explicit inputs.

Equations are those of arXiv 2502.04778; where it is silent, flow-rl's `flowrl/agent/offline/bdpo/bdpo.py` and
`flowrl/flow/ddpm.py` speak. Diffusion steps n run from 1 to T; a^0 is the action. N is the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from algorithms.base import Tensors
from algorithms.ddpm import Schedule, add_noise, clean_action, posterior_mean

Noise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""eps(a^n (S, *rows, A), observations (S, *rows, O), n (S, *rows)) -> (S, *rows, A)."""
ActionValue = Callable[[Tensor, Tensor], Tensor]
"""Q(observations (S, *rows, O), actions (S, *rows, A)) -> (S, E, *rows)."""
DiffusionValue = Callable[[Tensor, Tensor, Tensor], Tensor]
"""V_n(observations (S, *rows, O), a^n (S, *rows, A), n (S, *rows)) -> (S, E, *rows)."""
PenaltyPlacement = Literal["inside", "outside"]


@dataclass(frozen=True)
class Chain:
    """Full reverse chains, N per state."""

    actions: Tensor
    """a^0, (S, B, N, A)."""
    noisy: Tensor
    """a^T ... a^1, (S, B, T, N, A)."""
    predicted: Tensor
    """Noise that the policy predicted in each, same shape."""
    steps: Tensor
    """T ... 1, (S, 1, T, 1)."""


def uniform_steps(uniform: Tensor, steps: int) -> Tensor:
    """n, uniform on {1 .. steps}, from uniform numbers in [0, 1), any shape; int64."""
    return (uniform * steps).long().clamp(max=steps - 1) + 1


def lower_confidence_bound(values: Tensor, pessimism: float) -> Tensor:
    """mean - rho * standard deviation over the ensemble, (S, E, ...) -> (S, ...).

    The deviation is that of the population: with E - 1 in its denominator rho would be another.
    """
    mean = values.mean(dim=1)
    return mean - pessimism * values.std(dim=1, correction=0) if pessimism else mean


def step_divergence(schedule: Schedule, step: Tensor, policy: Tensor, behaviour: Tensor) -> Tensor:
    """KL of one reverse step between two policies, from their predicted noises (..., A) -> (...).

    |mu - mu'|^2 / (2 sigma_n^2) with unclipped means and sigma_n^2 = beta_n. The paper names the posterior
    variance, with which the divergence would be infinite at n = 1.
    """
    beta, abar = schedule.betas[step], schedule.abar[step]
    weight = 0.5 * beta / ((1 - beta) * (1 - abar))
    return weight * (policy - behaviour).square().sum(dim=-1)


def reverse_mean(
    schedule: Schedule, noisy: Tensor, step: Tensor, predicted: Tensor, bound: float | None
) -> Tensor:
    """Mean of a^{n-1}, (..., A); the clean action at n = 1."""
    clean = clean_action(schedule, noisy, step, predicted, bound)
    return posterior_mean(schedule, noisy, step, clean)


def reverse_chain(
    schedule: Schedule, network: Noise, observations: Tensor, noise: Tensor, bound: float | None
) -> Chain:
    """Sample actions for observations (S, B, O), with variance beta_n and none in the last step.

    `noise` (S, T, B, N, A): a^T, then what the steps into a^{T-1} ... a^1 add.
    """
    states, total = observations.unsqueeze(2), schedule.steps
    steps = torch.arange(total, 0, -1, device=noise.device).expand(len(noise), -1)
    current, noisy, predicted = noise[:, 0], [], []
    for index in range(total):
        step = steps[:, index, None, None]
        noisy.append(current)
        predicted.append(network(current, states, step))
        current = reverse_mean(schedule, current, step, predicted[-1], bound)
        if index + 1 < total:
            current = current + schedule.betas[total - index].sqrt() * noise[:, index + 1]
    return Chain(current, torch.stack(noisy, dim=2), torch.stack(predicted, dim=2), steps[:, None, :, None])


def deterministic_path(
    schedule: Schedule, network: Noise, observations: Tensor, start: Tensor, bound: float | None
) -> Tensor:
    """DDIM's path a^0 ... a^T, (T + 1, S, B, N, A), from a^T = `start` (S, B, N, A)."""
    states, path = observations.unsqueeze(2), [start]
    for n in range(schedule.steps, 0, -1):
        step = torch.full((len(start), 1, 1), n, device=start.device)
        predicted = network(path[-1], states, step)
        clean = clean_action(schedule, path[-1], step, predicted, bound)
        path.append(add_noise(schedule, clean, step - 1, predicted))
    return torch.stack(path[::-1])


def path_divergence(schedule: Schedule, chain: Chain, behaviour: Noise, observations: Tensor) -> Tensor:
    """Divergence along the whole chain, mean over the N chains: sum of `step_divergence`, (S, B)."""
    other = behaviour(chain.noisy, observations[:, :, None, None], chain.steps)
    return step_divergence(schedule, chain.steps, chain.predicted, other).sum(dim=2).mean(dim=-1)


def behaviour_loss(schedule: Schedule, network: Noise, batch: Tensors, step: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the predicted noise, (S,); step (S, B), noise (S, B, A)."""
    noisy = add_noise(schedule, batch["actions"], step, noise)
    return (noise - network(noisy, batch["observations"], step)).square().mean(dim=(-2, -1))


def ensemble_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Squared error, mean over members and batch: (S, E, B), (S, B) -> (S,)."""
    return (values - targets.unsqueeze(1)).square().mean(dim=(-2, -1))


def next_value(action_values: Tensor, pessimism: float, max_q_backup: bool) -> Tensor:
    """What the next state is worth: (S, E, B, N) -> (S, B).

    The best of the N samples is taken per member, before the members are compared.
    """
    per_member = action_values.amax(dim=-1) if max_q_backup else action_values.mean(dim=-1)
    return lower_confidence_bound(per_member, pessimism)


def action_value_targets(
    batch: Tensors, values: Tensor, penalty: Tensor, discount: float, placement: PenaltyPlacement
) -> Tensor:
    """Targets of Q, (S, B), from `next_value` and the penalty eta * divergence at the next state (S, B).

    `inside` is Eq. 12 and the present code; `outside` is what the code did while its values were tuned: there
    the penalty is neither discounted nor dropped at terminals.
    """
    discounts = discount * (1 - batch["terminals"])
    if placement == "inside":
        return batch["rewards"] + discounts * (values - penalty)
    return batch["rewards"] + discounts * values - penalty


@dataclass(frozen=True)
class SingleStep:
    """a^n made from data, and N samples of a^{n-1} by one reverse step of a policy."""

    step: Tensor
    """n, (S, B)."""
    noisy: Tensor
    """a^n, (S, B, A)."""
    predicted: Tensor
    """Noise that the policy predicts in it, (S, B, A)."""
    samples: Tensor
    """a^{n-1}, (S, B, N, A)."""


def single_step(
    schedule: Schedule,
    network: Noise,
    batch: Tensors,
    step: Tensor,
    noise: Tensor,
    reverse_noise: Tensor,
    bound: float | None,
) -> SingleStep:
    """One reverse step from noisy data: step (S, B), noise (S, B, A), reverse_noise (S, B, N, A)."""
    noisy = add_noise(schedule, batch["actions"], step, noise)
    predicted = network(noisy, batch["observations"], step)
    mean = reverse_mean(schedule, noisy, step, predicted, bound)
    deviation = torch.where(step > 1, schedule.betas[step].sqrt(), 0.0)[..., None, None]
    return SingleStep(step, noisy, predicted, mean.unsqueeze(2) + deviation * reverse_noise)


def single_step_objective(
    schedule: Schedule,
    taken: SingleStep,
    observations: Tensor,
    *,
    behaviour: Noise,
    action_values: ActionValue,
    diffusion_values: DiffusionValue,
    divergence_weight: float,
    pessimism: float,
) -> Tensor:
    """Value one step further down the chain less eta * divergence of the step, (S, B).

    Without a graph it is the target of V_n (Eq. 14), with one the actor's objective (Eq. 15; the code bounds
    both from below). At n = 1 the value is Q's, and V_0 does not exist.
    """
    below = (taken.step - 1).clamp(min=1).unsqueeze(2)
    further = diffusion_values(observations.unsqueeze(2), taken.samples, below).mean(dim=-1)
    # Where n = 1, the step adds no noise and all samples are one action; elsewhere Q is not looked at.
    final = action_values(observations, taken.samples[:, :, 0])
    values = torch.where(
        taken.step == 1,
        lower_confidence_bound(final, pessimism),
        lower_confidence_bound(further, pessimism),
    )
    other = behaviour(taken.noisy, observations, taken.step)
    return values - divergence_weight * step_divergence(schedule, taken.step, taken.predicted, other)
