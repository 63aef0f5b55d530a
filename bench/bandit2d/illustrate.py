"""What a method shows on a 2D problem once it is trained: clouds and landscapes for figures, and numbers.

Policy and behaviour samples are held against the truth: the data exactly re-weighted by exp(reward / eta), as
the energy sets have it, or, for DTQL's problems, which have no eta, the data on the best modes.

What each method has to show besides the actions of its policy stands in the second half: samples of its
behaviour model, landscapes of its critics, paths of its chain, as the papers' figures draw them. A method
that is not named there shows its actions alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor

from algorithms.base import Algorithm, Draw, Tensors, derived_seed
from algorithms.bdpo import BDPO, BehaviourRegularised
from algorithms.bdpo_unimodal import BDPODirac, BDPOGaussian
from algorithms.diffusion import NoiseNetwork, Schedule, add_noise, clean_action, probability_flow
from algorithms.srpo import SRPO, VPBehaviour
from algorithms.srpo_points import SRPOPoints
from bench.bandit2d.clouds import (
    Mask,
    energy_distance,
    in_support,
    near_best_centres,
    near_best_data,
    reweighted,
    sliced_wasserstein,
)
from bench.catalog import GeneratedDataset, Task
from bench.data.dataset import FloatArray, RawDataset
from bench.envs.bandit import Problem, problem_named
from bench.training.draws import DrawStream

SAMPLES = 2000
"""Policy actions, points of the truth, and data points where there are as many (as in BDPO's plots)."""
REFERENCE_POINTS = 10_000
"""Data points that tell where the support is: equally many for every problem, so that shares compare."""
GRID_SIDE = 90
"""Points along each side of the grid (BDPO's heat maps)."""
ENERGY_EXTENT = 4.5
"""Half the side of the grid on the energy sets (BDPO's heat maps)."""
MARGIN = 1.1
"""Half the side of the grid elsewhere, in terms of the data's largest coordinate."""
DEFAULT_TEMPERATURE = 0.05
"""eta of the truth for methods without one: BDPO's released value on the energy sets."""
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
class SeedIllustration:
    """Of one seed."""

    arrays: dict[str, Tensor]
    """`actions` (M, 2), `data` (M, 2), `data_reward` (M,), `truth` (M, 2), `grid` (G, 2), and what the
    method has to show besides (`shown_by`), without its seed axis."""
    numbers: dict[str, float]
    """Distances, shares and the value test; see `numbers_of`."""


@dataclass(frozen=True)
class Plane:
    """A 2D problem's data as its illustrations use them."""

    problem: Problem
    actions: FloatArray
    """(N, 2) all points."""
    rewards: FloatArray
    """(N,)"""

    @classmethod
    def of(cls, task: Task, raw: RawDataset) -> Plane:
        """The plane of a task with generated data."""
        if not isinstance(task.dataset, GeneratedDataset):
            raise ValueError(f"{task.name} is no 2D problem")
        return cls(problem_named(task.dataset.problem), raw.actions, raw.rewards)

    def head(self, count: int) -> Plane:
        """Its first `count` points, a fair sample, as the data is in random order."""
        return replace(self, actions=self.actions[:count], rewards=self.rewards[:count])

    def on_best_modes(self, points: FloatArray) -> Mask:
        """(N,) whether points lie on the modes of highest reward, by centres where the data has centres."""
        problem = self.problem
        if problem.centres is not None:
            earned = problem.reward_function(self.actions.astype(np.float64))(problem.centres)
            return near_best_centres(points, problem.centres, earned, problem.deviation)
        return near_best_data(points, self.actions, self.rewards)


def after_training(
    algorithm: Algorithm, task: Task, read_data: Callable[[], RawDataset]
) -> list[SeedIllustration | None]:
    """Per seed what a method trained on a 2D problem shows of itself; empty for every other task."""
    return illustrate(algorithm, task, read_data()) if task.generated else []


def illustrate(algorithm: Algorithm, task: Task, raw: RawDataset) -> list[SeedIllustration | None]:
    """Per seed of the stack its illustration; None for seeds whose actions are not finite.

    All draws are functions of the training seed, on streams that training and evaluation never touch.
    """
    plane = Plane.of(task, raw)
    grid = plane_grid(ENERGY_EXTENT if plane.problem.terminal else MARGIN * task.action_bound)
    actions = _policy_actions(algorithm).cpu()
    shown = shown_by(algorithm)
    draws = DrawStream(algorithm.seeds, "illustration", shown.draws, device=algorithm.device)
    with torch.no_grad():
        methods_own = shown.arrays(grid.to(algorithm.device), draws.at(0))
    temperature = shown.temperature or DEFAULT_TEMPERATURE
    result: list[SeedIllustration | None] = []
    for slot, seed in enumerate(algorithm.seeds):
        own = {name: tensor[slot].detach().cpu().float() for name, tensor in methods_own.items()}
        arrays = {"actions": actions[slot], "grid": grid, **_truth(plane, seed, temperature), **own}
        finite = bool(torch.isfinite(actions[slot]).all())
        result.append(SeedIllustration(arrays, numbers_of(plane, arrays)) if finite else None)
    return result


def numbers_of(plane: Plane, arrays: dict[str, Tensor]) -> dict[str, float]:
    """What can be read off an illustration's arrays, by name.

    `energy_distance_to_truth`, `sliced_wasserstein_to_truth`, `share_in_support` and `share_on_best_modes`
    are those of the actions; with the prefix `behaviour_` or `data_` those of the behaviour model's samples,
    where the method has one, and of the data. `value_test_difference` is the mean of V_T minus
    eta log mean exp(Q / eta), `value_test_relative` its size relative to the latter's (BDPO's value test).
    """
    reference = plane.head(REFERENCE_POINTS)
    truth = arrays["truth"].numpy()
    numbers: dict[str, float] = {}
    for prefix, name in (("", "actions"), ("behaviour_", "behaviour"), ("data_", "data")):
        if name not in arrays or not torch.isfinite(arrays[name]).all():
            continue
        points = arrays[name].numpy()
        numbers[f"{prefix}energy_distance_to_truth"] = energy_distance(points, truth)
        numbers[f"{prefix}sliced_wasserstein_to_truth"] = sliced_wasserstein(points, truth)
        numbers[f"{prefix}share_in_support"] = float(in_support(points, reference.actions).mean())
        numbers[f"{prefix}share_on_best_modes"] = float(reference.on_best_modes(points).mean())
    if "value_test" in arrays:
        found, expected = arrays["value_test"].double().tolist()
        numbers["value_test_difference"] = found - expected
        numbers["value_test_relative"] = abs(found - expected) / abs(expected) if expected else float("nan")
    return numbers


def plane_grid(extent: float) -> Tensor:
    """(GRID_SIDE^2, 2) points of [-extent, extent]^2; the first coordinate changes fastest."""
    side = torch.linspace(-extent, extent, GRID_SIDE)
    second, first = torch.meshgrid(side, side, indexing="ij")
    return torch.stack((first.reshape(-1), second.reshape(-1)), dim=1)


def _policy_actions(algorithm: Algorithm) -> Tensor:
    """(S, SAMPLES, 2) actions as the method acts when it is evaluated."""
    wanted = [Draw(draw.name, (SAMPLES, *draw.shape), draw.distribution) for draw in algorithm.act_draws]
    stream = DrawStream(algorithm.seeds, "illustrated actions", wanted, device=algorithm.device)
    observations = torch.zeros(
        len(algorithm.seeds), SAMPLES, algorithm.dimensions.observation, device=algorithm.device
    )
    with torch.no_grad():
        return algorithm.act(observations, stream.at(0)).float()


def _truth(plane: Plane, seed: int, temperature: float) -> dict[str, Tensor]:
    """Data to show and the truth to hold samples against; which points is a function of the training seed."""
    generator = np.random.default_rng(derived_seed(seed, "truth"))
    if plane.problem.terminal:
        truth = reweighted(plane.actions, plane.rewards, temperature, SAMPLES, generator)
    else:
        best = plane.actions[plane.on_best_modes(plane.actions)]
        truth = best[generator.choice(len(best), size=SAMPLES)]
    rows = len(plane.actions)
    shown = generator.choice(rows, size=min(SAMPLES, rows), replace=False)
    return {
        "data": torch.from_numpy(plane.actions[shown]),
        "data_reward": torch.from_numpy(plane.rewards[shown]),
        "truth": torch.from_numpy(truth),
    }


# What each method shows


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
    behaviour = algorithm.chain("target_behaviour", origin, chain).actions.squeeze(1)
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
