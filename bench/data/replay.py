"""Finds out which physics a dataset came from, by stepping its stored states once and comparing.

Each row of `infos/qpos`, `infos/qvel` with its action gives the next row under the physics that made it.
D4RL's files hold no solver state, so every step starts without a warm start, and states held as float32 limit
the error from below. Measured on rollouts of the three robots: the right physics leaves a median of 1e-6
(1e-15 where states are float64), the wrong one 1e-2 (hopper) to 2e-1 (walker2d, halfcheetah), which is 1 to
5 % of the motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.catalog import Task
from bench.data.dynamics import evenly_spaced, states_of, step_errors, steps_inside, without_physics
from bench.data.reader import opened_dataset, read_rows
from bench.envs import rules_of
from bench.errors import BenchError

LARGEST_SHARE = 0.002
"""Of the median motion in one step: the median error of the right physics is below this; the wrong inertia
alone leaves five times as much."""
SMALLEST_RATIO = 5.0
"""Between the median errors of the two physics: the right one is better by at least this."""


@dataclass(frozen=True)
class Errors:
    """Quantiles over rows of the largest error but in the distance travelled (m, rad, m/s, rad/s)."""

    median: float
    p90: float
    p99: float
    largest: float


@dataclass(frozen=True)
class ReplayReport:
    """What a one-step replay found."""

    rows: int
    """Rows replayed, evenly spaced over the file."""
    motion: float
    """Median over rows of the largest change in one step of the same coordinates: what errors are held to."""
    precision: str
    """Type in which the file holds its states (`float32`, `float64`)."""
    errors: dict[str, Errors]
    """By physics."""
    answer: str
    """`d4rl`, `modern` or `neither`."""

    @property
    def rule(self) -> str:
        """How the answer was found, in words."""
        small = f"median error below {LARGEST_SHARE:.1%} of the motion"
        apart = f" and {SMALLEST_RATIO:g} times below the other's" if len(self.errors) > 1 else ""
        return f"{small}{apart}; else neither"


def replay(path: Path, task: Task, rows: int = 2000) -> ReplayReport:
    """Replay `rows` steps of a file, none across the end of an episode, under both physics.

    Raises
    ------
    BenchError : the task has no simulator or no physics, or the file holds no states, or states that are not
        those of its observations (as D4RL's first `-v2` files, D4RL issue 105).
    """
    if reason := without_physics(task):
        raise BenchError(f"{task.name} cannot be replayed", reason, "")
    with opened_dataset(path, task) as file:
        raw = read_rows(file, task)
        states = states_of(file, raw, task)
    if isinstance(states, str):
        raise BenchError(f"{path} cannot be replayed", states, "")
    chosen = evenly_spaced(steps_inside(raw), rows)
    if not len(chosen):
        raise BenchError(f"{path} cannot be replayed", "No row of it is followed by the next one.", "")
    errors = {}
    for physics in rules_of(task.environment).physics:
        errors[physics], motion = step_errors(task.environment, physics, states, raw, chosen)
    medians = {physics: float(np.median(error)) for physics, error in errors.items()}
    return ReplayReport(
        rows=len(chosen),
        motion=float(np.median(motion)),
        precision=states.precision,
        errors={physics: _quantiles(error) for physics, error in errors.items()},
        answer=decide(medians, float(np.median(motion))),
    )


def decide(medians: dict[str, float], motion: float) -> str:
    """The physics that a file came from, by `ReplayReport.rule`, from the median error of each."""
    best, *others = sorted(medians, key=medians.__getitem__)
    small = medians[best] < LARGEST_SHARE * motion
    apart = all(medians[best] * SMALLEST_RATIO <= medians[other] for other in others)
    return best if small and apart else "neither"


def _quantiles(errors: np.ndarray) -> Errors:
    median, p90, p99 = np.quantile(errors, [0.5, 0.9, 0.99])
    return Errors(float(median), float(p90), float(p99), float(errors.max()))
