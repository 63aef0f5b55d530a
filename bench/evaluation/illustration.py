"""What a method shows on a 2D problem once it is trained: clouds and landscapes for figures, and numbers.

Policy and behaviour samples are held against the truth: the data exactly re-weighted by exp(reward / eta), as
the energy sets have it, or, for DTQL's problems, which have no eta, the data on the best modes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from algorithms.base import Algorithm, Draw, derived_seed
from bench.bandit2d.illustrate import shown_by
from bench.catalog import GeneratedDataset, Task
from bench.data.dataset import FloatArray, RawDataset
from bench.envs.bandit import Problem, problem_named
from bench.evaluation.point_clouds import (
    Mask,
    energy_distance,
    in_support,
    near_best_centres,
    near_best_data,
    reweighted,
    sliced_wasserstein,
)
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


@dataclass(frozen=True)
class Illustration:
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
) -> list[Illustration | None]:
    """Per seed what a method trained on a 2D problem shows of itself; empty for every other task."""
    return illustrate(algorithm, task, read_data()) if task.generated else []


def illustrate(algorithm: Algorithm, task: Task, raw: RawDataset) -> list[Illustration | None]:
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
    result: list[Illustration | None] = []
    for slot, seed in enumerate(algorithm.seeds):
        own = {name: tensor[slot].detach().cpu().float() for name, tensor in methods_own.items()}
        arrays = {"actions": actions[slot], "grid": grid, **_truth(plane, seed, temperature), **own}
        finite = bool(torch.isfinite(actions[slot]).all())
        result.append(Illustration(arrays, numbers_of(plane, arrays)) if finite else None)
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
