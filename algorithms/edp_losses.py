"""EDP's losses, functions of explicit inputs, one value per seed (released diffusion/dql.py)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from algorithms.base import Tensors
from algorithms.ddpm import Schedule, add_noise, clean_action
from algorithms.networks import CriticEnsemble

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""eps(observations (S, B, O), noisy actions (S, B, A), labels (S, B)) -> (S, B, A)."""


def diffusion_loss_and_actions(
    policy: Network, schedule: Schedule, batch: Tensors, *, uniform: Tensor, noise: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """Denoising loss (S,) and the actions (S, B, A) that the same prediction implies, clipped to the bound.

    One pass serves both (action approximation, paper Eqs. 5 and 9). Steps are uniform in 1..K from `uniform`
    (S, B) in [0, 1); noise (S, B, A).
    """
    labels = (uniform * schedule.steps).long()
    noisy = add_noise(schedule, batch["actions"], labels + 1, noise)
    predicted = policy(batch["observations"], noisy, labels.to(noisy.dtype))
    loss = (noise - predicted).square().mean(dim=(1, 2))
    return loss, clean_action(schedule, noisy, labels + 1, predicted, bound)


def value_guidance(
    critics: CriticEnsemble, uniform: Tensor, observations: Tensor, actions: Tensor, weight: float
) -> Tensor:
    """TD3's -weight mean Q_j / mean |Q_j|, (S,): one critic j, drawn evenly by `uniform` (S,).

    The divisor is held fixed. Differentiable in `actions` (S, B, A), not in the critics, of which only the
    chosen one is evaluated.
    """
    member = (uniform * critics.members).long()
    seeds = torch.arange(len(member), device=member.device)
    chosen = {name: weights.detach()[seeds, member] for name, weights in critics.mlp.named_parameters()}
    inputs = torch.cat((observations, actions), dim=-1)
    values = functional_call(critics.mlp, chosen, (inputs,)).squeeze(-1)
    # A seed that was retired has no weights and no values; it must not produce 0 / 0.
    scale = values.detach().abs().mean(dim=-1).clamp(min=torch.finfo(values.dtype).tiny)
    return -weight * values.mean(dim=-1) / scale


@torch.no_grad()
def critic_regularised_weights(
    critics: CriticEnsemble,
    batch: Tensors,
    centres: Tensor,
    noise: Tensor,
    *,
    temperature: float,
    maximum: float,
) -> Tensor:
    """CRR's min(maximum, exp(A / temperature)), (S, B), held fixed.

    A is the critics' minimum at the dataset's action less its mean over unclipped samples of N(centres, I):
    centres (S, B, A), noise (S, N, B, A). One product evaluates all N + 1 actions (paper Eq. 21).
    """
    actions = torch.cat((batch["actions"].unsqueeze(1), centres.unsqueeze(1) + noise), dim=1)
    states = batch["observations"].unsqueeze(1).expand(-1, actions.shape[1], -1, -1)
    values = critics(states.flatten(1, 2), actions.flatten(1, 2)).amin(dim=1)
    of_data, of_samples = values.unflatten(1, actions.shape[1:3]).split((1, noise.shape[1]), dim=1)
    advantage = of_data.squeeze(1) - of_samples.mean(dim=1)
    return (advantage / temperature).exp().clamp(max=maximum)


def likelihood_guidance(weights: Tensor, actions: Tensor, centres: Tensor) -> Tensor:
    """-mean of weights (S, B) log N(actions; centres, I), actions and centres (S, B, A); returns (S,)."""
    constant = 0.5 * actions.shape[-1] * math.log(2 * math.pi)
    log_likelihood = -0.5 * (actions - centres).square().sum(dim=-1) - constant
    return -(weights * log_likelihood).mean(dim=-1)


@torch.no_grad()
def backup_values(
    critics: CriticEnsemble, observations: Tensor, actions: Tensor, bound: float | None
) -> Tensor:
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
    critics: CriticEnsemble, batch: Tensors, next_values: Tensor, discount: float
) -> Tensor:
    """Sum over critics of MSE(Q(s, a), r + discount (1 - terminal) next value), (S,); next values (S, B)."""
    targets = batch["rewards"] + discount * (1 - batch["terminals"]) * next_values.detach()
    values = critics(batch["observations"], batch["actions"])
    return (values - targets.unsqueeze(1)).square().mean(dim=-1).sum(dim=1)
