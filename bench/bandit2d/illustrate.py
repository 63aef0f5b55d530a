"""What each method shows of itself on a 2D problem, besides the actions of its policy.

Samples of its behaviour model, landscapes of its critics, paths of its chain: that is what the papers'
figures draw. A method that is not named here shows its actions alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from algorithms.base import Algorithm, Draw, Tensors
from algorithms.bdpo import BDPO, BehaviourRegularised, reverse_chain
from algorithms.bdpo_unimodal import BDPODirac, BDPOGaussian
from algorithms.diffusion import NoiseNetwork, Schedule, add_noise, clean_action, probability_flow
from algorithms.srpo import SRPO, VPBehaviour
from algorithms.srpo_points import SRPOPoints

DIFFUSION_STEPS = (1, 3, 5, 10, 15, 20, 30, 40, 50)
"""Diffusion steps whose values BDPO's figures show (Figs. 4, 5 and 11)."""
PATHS = 1_000
BDPO_SAMPLES = 10_000
SRPO_SAMPLES = 2_000
SRPO_STEPS = 50
"""Of the behaviour model's probability flow."""

Arrays = dict[str, Tensor]
"""By name, (S, ...) each."""


@dataclass(frozen=True)
class Shown:
    """What a method, trained, has to show."""

    draws: tuple[Draw, ...] = ()
    """Draws of `arrays`; their names seed them."""
    arrays: Callable[[Tensor, Tensors], Arrays] = lambda grid, draws: {}
    """From the actions (G, A) at which landscapes are drawn, and the draws. The observation is 0."""
    temperature: float | None = None
    """eta where the optimal policy is the data's, re-weighted by exp(Q / eta); None of other methods."""


@singledispatch
def shown_by(algorithm: Algorithm) -> Shown:
    """What there is to show of a method besides its policy's actions."""
    return Shown()


@shown_by.register
def _(algorithm: BDPO) -> Shown:
    steps, action = algorithm.config.diffusion_steps, algorithm.dimensions.action
    draws = (
        Draw("behaviour_chain", (steps, 1, BDPO_SAMPLES, action), "normal"),
        Draw("path_start", (1, PATHS, action), "normal"),
        Draw("value_start", (BDPO_SAMPLES, action), "normal"),
    )
    return Shown(draws, lambda grid, made: _bdpo(algorithm, grid, made), algorithm.config.divergence_weight)


def _bdpo(algorithm: BDPO, grid: Tensor, draws: Tensors) -> Arrays:
    """Landscapes, samples and the value test.

    behaviour (S, M, A) : samples of the behaviour model.
    path (S, T + 1, M', A) : DDIM's paths of the target actor; entry n is a^n. As drawn in the paper.
    action_value (S, G), diffusion_value_<n> (S, G) : means of the target ensembles.
    value_test (S, 2) : mean of V_T(a^T) over a^T ~ N(0, I), and eta log mean exp(Q / eta) over
    `behaviour`; equal for the optimal policy.
    """
    networks, steps, seeds = algorithm.networks, algorithm.config.diffusion_steps, len(algorithm.seeds)
    schedule, bound = algorithm.schedule, algorithm.denoised_bound
    origin, points = _origin(algorithm, grid), grid.expand(seeds, -1, -1)

    def diffusion_value(noisy: Tensor, n: int) -> Tensor:
        step = torch.full((seeds, 1), n, device=grid.device)
        return networks["target_diffusion_values"](origin, noisy, step).mean(dim=1)

    chain = draws["behaviour_chain"]
    behaviour = reverse_chain(schedule, networks["target_behaviour"], origin, chain, bound).actions.squeeze(1)
    path = deterministic_path(schedule, networks["target_actor"], origin, draws["path_start"], bound)
    optimal = soft_maximum(algorithm.mean_target_value(origin, behaviour), algorithm.config.divergence_weight)
    return {
        "behaviour": behaviour,
        "path": path.squeeze(2).transpose(0, 1),
        "action_value": _target_value(algorithm, grid),
        **{f"diffusion_value_{n}": diffusion_value(points, n) for n in DIFFUSION_STEPS if n <= steps},
        "value_test": torch.stack(
            (diffusion_value(draws["value_start"], steps).mean(dim=-1), optimal), dim=-1
        ),
    }


@shown_by.register
def _(algorithm: BDPODirac) -> Shown:
    # action_value (S, G): mean of the target Q at the grid.
    return Shown(arrays=lambda grid, draws: {"action_value": _target_value(algorithm, grid)})


@shown_by.register
def _(algorithm: BDPOGaussian) -> Shown:
    def arrays(grid: Tensor, draws: Tensors) -> Arrays:
        """action_value (S, G): mean of the target Q at the grid; behaviour (S, M, A): its model's samples."""
        policy = algorithm.distribution("target_behaviour", _origin(algorithm, grid))
        samples = algorithm.sample(policy, draws["behaviour"])
        return {"action_value": _target_value(algorithm, grid), "behaviour": samples.squeeze(1)}

    draws = (Draw("behaviour", (1, BDPO_SAMPLES, algorithm.dimensions.action), "normal"),)
    return Shown(draws, arrays, algorithm.config.divergence_weight)


@shown_by.register
def _(algorithm: SRPO) -> Shown:
    def arrays(grid: Tensor, draws: Tensors) -> Arrays:
        """`behaviour` (S, M, A), the behaviour model's samples; `action_value` (S, G), mean target critic."""
        actions = grid.expand(len(algorithm.seeds), -1, -1)
        observations = actions.new_zeros(*actions.shape[:2], algorithm.dimensions.observation)
        values = algorithm.networks["target_critics"](observations, actions).mean(dim=1)
        return {"behaviour": _behaviour_flow(algorithm, draws), "action_value": values}

    return Shown(_flow_draws(algorithm), arrays)


@shown_by.register
def _(algorithm: SRPOPoints) -> Shown:
    def arrays(grid: Tensor, draws: Tensors) -> Arrays:
        """`targets` (S, P, A), `betas` (S, K), `points` (S, K, P, A); `behaviour` (S, M, A), its samples."""
        points, seeds = algorithm.points, len(algorithm.seeds)
        return {
            "targets": algorithm.targets.to(points.dtype).expand(seeds, -1, -1),
            "betas": algorithm.betas.to(points.dtype).expand(seeds, -1),
            "points": points.clone(),
            "behaviour": _behaviour_flow(algorithm, draws),
        }

    return Shown(_flow_draws(algorithm), arrays)


def _origin(algorithm: Algorithm, grid: Tensor) -> Tensor:
    """The one observation of the 2D problems, (S, 1, O)."""
    return grid.new_zeros(len(algorithm.seeds), 1, algorithm.dimensions.observation)


def _target_value(algorithm: BehaviourRegularised, grid: Tensor) -> Tensor:
    """Mean target Q at actions (G, A) for that observation, (S, G)."""
    points = grid.expand(len(algorithm.seeds), -1, -1)
    return algorithm.mean_target_value(_origin(algorithm, grid), points)


def _flow_draws(algorithm: VPBehaviour) -> tuple[Draw, ...]:
    return (Draw("behaviour_start", (SRPO_SAMPLES, algorithm.dimensions.action), "normal"),)


def _behaviour_flow(algorithm: VPBehaviour, draws: Tensors) -> Tensor:
    """Actions (S, M, A) of the behaviour model at observation 0."""
    noise = draws["behaviour_start"]
    observations = noise.new_zeros(*noise.shape[:2], algorithm.dimensions.observation)
    end = algorithm.config.behaviour_time_min
    return probability_flow(algorithm.networks["behaviour"], observations, noise, steps=SRPO_STEPS, end=end)


def deterministic_path(
    schedule: Schedule, network: NoiseNetwork, observations: Tensor, start: Tensor, bound: float | None
) -> Tensor:
    """DDIM's path a^0 ... a^T, (T + 1, S, B, N, A), from a^T = `start` (S, B, N, A)."""
    states, path = observations.unsqueeze(2), [start]
    for n in range(schedule.steps, 0, -1):
        step = torch.full((len(start), 1, 1), n, device=start.device)
        predicted = network(path[-1], states, step)
        clean = clean_action(schedule, path[-1], step, predicted, bound)
        path.append(add_noise(schedule, clean, step - 1, predicted))
    return torch.stack(path[::-1])


def soft_maximum(values: Tensor, temperature: float) -> Tensor:
    """temperature * log mean exp(values / temperature) over the last axis; the maximum at temperature 0."""
    if not temperature:
        return values.amax(dim=-1)
    return temperature * (torch.logsumexp(values / temperature, dim=-1) - math.log(values.shape[-1]))
