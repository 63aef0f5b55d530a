"""The papers' 2D problems: points of the plane as actions, each with a reward, as datasets and environments.

A bandit: one constant observation, an action is a point, an episode one step. Everything is a formula and a
seed, so nothing is downloaded. The 25 Gaussians and the Swiss roll are DTQL's (its released `toy_tasks/`),
the six energy sets those of BDPO and SRPO (Lu et al. 2023; released CEP code,
`Offline_RL_2D/dataset/dataset.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bench.catalog import NO_PHYSICS, GeneratedDataset
from bench.envs.rules import Step
from bench.errors import BenchError, unknown_name

Points = NDArray[np.float64]
RewardFunction = Callable[[Points], Points]
"""Points (N, 2) of the plane -> their rewards (N,)."""
RewardKind = Literal["far", "near", "hard", "same"]

GRID_STD = 0.3
"""Standard deviation of each of the 25 Gaussians."""
SWISS_ROLL_NOISE = 0.1
CORNER = 7.5
"""`hard` doubles the reward beyond this, left and above: around the Gaussian at (-10, 10)."""

RING_RADII = np.array([3.0, 2.25, 1.5, 0.75])
RING_ENERGIES = np.array([0.667, 0.333, 1.0, 0.0])
MOON_SCALE, MOON_SHIFT = 2.0, np.array([-1.0, -0.2])
GAUSSIAN_SCALE = 4.0 / 1.414
"""Radius of the circle of the eight centres: 4, and everything is divided by 1.414."""
GAUSSIAN_STD = 0.5 / 1.414
SPIRAL_TURNS = 3 * np.pi
"""Largest angle of a spiral (radians)."""
SPIRAL_JITTER = 0.5
"""Width of the uniform offset of both coordinates, before the division by 3."""
SPIRAL_CURVE_POINTS = 4000
"""Points that stand for a noiseless spiral: 0.004 apart at most."""


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


class PlaneBandit:
    """N bandits of one 2D problem, stepped together; the interface is that of the batched simulators.

    An action earns what the problem's formula says of its point, on the data's support and off it. Episodes
    end as the data's do: by a terminal, or cut off after one step. A finished one earns nothing until reset.
    """

    horizon = 1
    observation_dim = 1
    action_dim = 2
    physics = NO_PHYSICS

    def __init__(self, recipe: GeneratedDataset, count: int) -> None:
        if count < 1:
            raise BenchError(f"{count} environments", "", "Ask for 1 or more.")
        problem = problem_named(recipe.problem)
        self.count = count
        self._reward = problem.reward_function(generate(recipe).actions.astype(np.float64))
        self._terminal = problem.terminal
        self._finished = np.ones(count, dtype=bool)

    @property
    def observations(self) -> np.ndarray:
        """(N, 1) zeros."""
        return np.zeros((self.count, self.observation_dim))

    def reset(
        self,
        seeds: Sequence[int],
        slots: Sequence[int] | None = None,
        goal_seeds: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Start new episodes in `slots` (default: all); nothing is random here, so `seeds` only count."""
        slots = range(self.count) if slots is None else slots
        if len(slots) != len(seeds):
            raise ValueError(f"{len(seeds)} seeds for {len(slots)} environments")
        self._finished[slots] = False
        return self.observations

    def step(self, actions: np.ndarray) -> Step:
        """Take `actions` (N, 2) in every unfinished environment; all are finished afterwards."""
        if actions.shape != (self.count, self.action_dim):
            raise ValueError(f"actions of shape {actions.shape}, expected {(self.count, self.action_dim)}")
        active = ~self._finished
        rewards = np.where(active, self._reward(np.asarray(actions, dtype=np.float64)), 0.0)
        self._finished[:] = True
        never = np.zeros(self.count, dtype=bool)
        terminated, truncated = (active, never) if self._terminal else (never, active)
        return Step(self.observations, rewards, terminated, truncated)

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# The problems of DTQL


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


def _dtql_swiss_roll(generator: np.random.Generator, rows: int) -> Points:
    return swiss_roll(generator, rows, SWISS_ROLL_NOISE)


# The energy sets

# Each has two halves: one draws points with the energies that the released code gives them, the other says
# what any point of the plane earns. Where the released energy hangs on the noiseless point (rings, moons,
# spirals), that of the nearest noiseless curve is taken: on the data another label in one row of 1,000
# (moons) or of a million (rings), and 0.005 off on average (spirals).


def swiss_roll(generator: np.random.Generator, rows: int, noise: float) -> Points:
    """Coordinates 0 and 2 of scikit-learn's `make_swiss_roll` (N, 2).

    t (cos t, sin t) with t = 1.5 pi (1 + 2U), plus normal noise.
    """
    t = 1.5 * np.pi * (1 + 2 * generator.random(rows))
    return np.stack((t * np.cos(t), t * np.sin(t)), axis=1) + noise * generator.standard_normal((rows, 2))


def moons(generator: np.random.Generator, rows: int, noise: float) -> tuple[Points, NDArray[np.int64]]:
    """scikit-learn's `make_moons`: (N, 2) points, and 1 for the lower half circle, 0 for the upper."""
    upper = np.linspace(0, np.pi, rows // 2)
    lower = np.linspace(0, np.pi, rows - rows // 2)
    points = np.concatenate(
        (
            np.stack((np.cos(upper), np.sin(upper)), axis=1),
            np.stack((1 - np.cos(lower), 0.5 - np.sin(lower)), axis=1),
        )
    )
    label = np.repeat((0, 1), (len(upper), len(lower)))
    return points + noise * generator.standard_normal((rows, 2)), label


def gaussian_centres() -> Points:
    """(8, 2) centres in order of energy: from the top, against the clock."""
    angle = np.pi / 2 + np.arange(8) * np.pi / 4
    return GAUSSIAN_SCALE * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _draw_swiss_roll(generator: np.random.Generator, rows: int) -> tuple[Points, Points]:
    points = swiss_roll(generator, rows, noise=1.0) / 5
    return points, _swiss_roll_energy(points)


def _swiss_roll_energy(points: Points) -> Points:
    return np.square(points).sum(axis=1) / 9


def _draw_rings(generator: np.random.Generator, rows: int) -> tuple[Points, Points]:
    ring = np.arange(rows) % 4
    counts = np.bincount(ring, minlength=4)
    angle = 2 * np.pi * (np.arange(rows) // 4) / counts[ring]
    points = RING_RADII[ring, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return points + 0.08 * generator.standard_normal((rows, 2)), RING_ENERGIES[ring]


def _ring_energy(points: Points) -> Points:
    radius = np.linalg.norm(points, axis=1)
    return RING_ENERGIES[np.abs(radius[:, None] - RING_RADII).argmin(axis=1)]


def _draw_moons(generator: np.random.Generator, rows: int) -> tuple[Points, Points]:
    points, label = moons(generator, rows, noise=0.1)
    return points * MOON_SCALE + MOON_SHIFT, label.astype(np.float64)


def _moon_energy(points: Points) -> Points:
    plain = (points - MOON_SHIFT) / MOON_SCALE
    upper = _half_circle_distance(plain)
    lower = _half_circle_distance(np.array([1.0, 0.5]) - plain)
    return (lower < upper).astype(np.float64)


def _half_circle_distance(points: Points) -> Points:
    """Distance to the upper half of the unit circle."""
    to_arc = np.abs(np.linalg.norm(points, axis=1) - 1)
    to_end = np.hypot(np.abs(points[:, 0]) - 1, points[:, 1])
    return np.where(points[:, 1] >= 0, to_arc, to_end)


def _draw_8gaussians(generator: np.random.Generator, rows: int) -> tuple[Points, Points]:
    centre = gaussian_centres()[generator.integers(8, size=rows)]
    points = centre + GAUSSIAN_STD * generator.standard_normal((rows, 2))
    # By the nearest centre, as in BDPO's code (CEP's takes the generating one, another in 2 rows of 1,000):
    # the reward is then a function of the action, which is what a bandit has and a critic can learn.
    return points, _8gaussians_energy(points)


def _8gaussians_energy(points: Points) -> Points:
    return cKDTree(gaussian_centres()).query(points)[1] / 7


def _draw_spirals(generator: np.random.Generator, rows: int) -> tuple[Points, Points]:
    angle = np.sqrt(generator.random(rows)) * SPIRAL_TURNS
    sign = np.where(np.arange(rows) % 2 == 0, 1.0, -1.0)[:, None]
    curve = np.stack((-np.cos(angle) * angle, np.sin(angle) * angle), axis=1)
    points = sign * (curve + SPIRAL_JITTER * generator.random((rows, 2))) / 3
    return points + 0.1 * generator.standard_normal((rows, 2)), np.clip(1 - angle / 10, 0, 1)


def _spiral_energy(points: Points) -> Points:
    angle = np.linspace(0, SPIRAL_TURNS, SPIRAL_CURVE_POINTS)
    curve = np.stack((-np.cos(angle) * angle, np.sin(angle) * angle), axis=1) + SPIRAL_JITTER / 2
    nearest = cKDTree(np.concatenate((curve, -curve)) / 3).query(points)[1]
    return 1 - angle[nearest % SPIRAL_CURVE_POINTS] / 10


def _draw_checkerboard(generator: np.random.Generator, rows: int) -> tuple[Points, Points]:
    x = 4 * generator.random(rows) - 2
    y = generator.random(rows) - 2 * generator.integers(2, size=rows) + np.floor(x) % 2
    points = 2 * np.stack((x, y), axis=1)
    return points, _checkerboard_energy(points)


def _checkerboard_energy(points: Points) -> Points:
    x = points[:, 0]
    return (((x > 0) & (x <= 2)) | (x <= -2)).astype(np.float64)


def _energy_set(
    draw: Callable[[np.random.Generator, int], tuple[Points, Points]], energy: RewardFunction
) -> Problem:
    return Problem(draw, lambda data: energy, True)


PROBLEMS: dict[str, Problem] = {
    "25gaussians-far": _radial(gaussian_grid, "far", grid_centres(), GRID_STD),
    "25gaussians-near": _radial(gaussian_grid, "near", grid_centres(), GRID_STD),
    "25gaussians-hard": _radial(gaussian_grid, "hard", grid_centres(), GRID_STD),
    "25gaussians-same": _radial(gaussian_grid, "same", grid_centres(), GRID_STD),
    "swissroll-far": _radial(_dtql_swiss_roll, "far"),
    "swissroll-near": _radial(_dtql_swiss_roll, "near"),
    "energy-swissroll": _energy_set(_draw_swiss_roll, _swiss_roll_energy),
    "energy-rings": _energy_set(_draw_rings, _ring_energy),
    "energy-moons": _energy_set(_draw_moons, _moon_energy),
    "energy-8gaussians": _energy_set(_draw_8gaussians, _8gaussians_energy),
    "energy-2spirals": _energy_set(_draw_spirals, _spiral_energy),
    "energy-checkerboard": _energy_set(_draw_checkerboard, _checkerboard_energy),
}
