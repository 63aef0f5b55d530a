"""The papers' 2D problems as datasets: points of the plane as actions, each with a reward.

A bandit: one constant observation, an action is a point, an episode one step. Everything is a formula and a
seed, so nothing is downloaded. DTQL's 25 Gaussians and Swiss roll (its released `toy_tasks/`) stand here, the
six energy sets of BDPO and SRPO in `energies2d`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.catalog import GeneratedDataset
from bench.data.energies2d import ENERGY_SETS, EnergySet, swiss_roll
from bench.errors import unknown_name

Points = NDArray[np.float64]
RewardFunction = Callable[[Points], Points]
"""Points (N, 2) of the plane -> their rewards (N,)."""
RewardKind = Literal["far", "near", "hard", "same"]

GRID_STD = 0.3
"""Standard deviation of each of the 25 Gaussians."""
SWISS_ROLL_NOISE = 0.1
CORNER = 7.5
"""`hard` doubles the reward beyond this, left and above: around the Gaussian at (-10, 10)."""


@dataclass(frozen=True)
class PointSet:
    """A dataset of the plane."""

    actions: NDArray[np.float32]
    """(N, 2)"""
    rewards: NDArray[np.float32]
    """(N,)"""


@dataclass(frozen=True)
class Problem:
    """How a dataset is drawn and what any point of the plane earns.

    `draw` maps a generator and a number of rows to points (N, 2) and their rewards (N,); `reward_function`
    maps the data's points to the reward on the plane.
    """

    draw: Callable[[np.random.Generator, int], tuple[Points, Points]]
    reward_function: Callable[[Points], RewardFunction]
    terminal: bool
    """Whether every row is terminal; otherwise the next state is the same one and values are bootstrapped."""
    centres: NDArray[np.float64] | None = None
    """(C, 2) means of the Gaussians of which the data is an even mixture, where it is one of few."""
    deviation: float = 0.0
    """Standard deviation of each Gaussian."""


def problem_named(name: str) -> Problem:
    """The 2D problem called `name`; a BenchError names the known ones."""
    if name not in PROBLEMS:
        raise unknown_name("2D problem", name, PROBLEMS, "bench list tasks --suite bandit2d")
    return PROBLEMS[name]


def generate(recipe: GeneratedDataset, rows: int | None = None, seed: int | None = None) -> PointSet:
    """The dataset of a recipe, in random order: equal rows and seed give equal points.

    `rows` and `seed` default to the recipe's.
    """
    generator = np.random.default_rng(recipe.seed if seed is None else seed)
    points, rewards = problem_named(recipe.problem).draw(generator, rows or recipe.rows)
    # Some sets come component by component; a part of the rows shall be a fair sample.
    order = generator.permutation(len(points))
    return PointSet(points[order].astype(np.float32), rewards[order].astype(np.float32))


def grid_centres() -> Points:
    """(25, 2) means of the 25 Gaussians: a 5 x 5 grid on [-10, 10]^2."""
    side = np.linspace(-10.0, 10.0, 5)
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)


def gaussian_grid(generator: np.random.Generator, rows: int) -> Points:
    """(N, 2) from the 25 Gaussians, equally many of each as far as `rows` divides."""
    component = np.arange(rows) % 25
    return grid_centres()[component] + GRID_STD * generator.standard_normal((rows, 2))


def radial_reward(kind: RewardKind, data: Points) -> RewardFunction:
    """DTQL's reward of a point at distance rho from the origin.

    `far`: rho. `near`: the largest rho of `data` (N, 2) minus rho. `hard`: rho, doubled in the upper left
    corner. `same`: 0. Outside the data the formula goes on: `far` pays more the further a point is away.
    """
    furthest = float(np.linalg.norm(data, axis=1).max())

    def reward(points: Points) -> Points:
        rho = np.linalg.norm(points, axis=1)
        if kind == "far":
            return rho
        if kind == "near":
            return furthest - rho
        if kind == "hard":
            return rho * np.where((points[:, 0] < -CORNER) & (points[:, 1] > CORNER), 2.0, 1.0)
        return np.zeros_like(rho)

    return reward


def _radial(
    sample: Callable[[np.random.Generator, int], Points],
    kind: RewardKind,
    centres: Points | None = None,
    deviation: float = 0.0,
) -> Problem:
    def draw(generator: np.random.Generator, rows: int) -> tuple[Points, Points]:
        points = sample(generator, rows)
        return points, radial_reward(kind, points)(points)

    return Problem(draw, lambda data: radial_reward(kind, data), False, centres, deviation)


def _of_energies(energies: EnergySet) -> Problem:
    return Problem(energies.draw, lambda data: energies.energy, True)


def _dtql_swiss_roll(generator: np.random.Generator, rows: int) -> Points:
    return swiss_roll(generator, rows, SWISS_ROLL_NOISE)


PROBLEMS: dict[str, Problem] = {
    "25gaussians-far": _radial(gaussian_grid, "far", grid_centres(), GRID_STD),
    "25gaussians-near": _radial(gaussian_grid, "near", grid_centres(), GRID_STD),
    "25gaussians-hard": _radial(gaussian_grid, "hard", grid_centres(), GRID_STD),
    "25gaussians-same": _radial(gaussian_grid, "same", grid_centres(), GRID_STD),
    "swissroll-far": _radial(_dtql_swiss_roll, "far"),
    "swissroll-near": _radial(_dtql_swiss_roll, "near"),
    **{f"energy-{name}": _of_energies(energies) for name, energies in ENERGY_SETS.items()},
}
