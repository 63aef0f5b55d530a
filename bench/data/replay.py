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

import h5py
import mujoco
import numpy as np

from bench.catalog import Task
from bench.data.reader import read_file
from bench.envs.locomotion import Locomotion, robot_named
from bench.envs.physics import PHYSICS, load_model
from bench.errors import BenchError

LARGEST_SHARE = 0.002
"""Of the median motion in one step: the median error of the right physics is below this; the wrong inertia
alone leaves five times as much."""
SMALLEST_RATIO = 5.0
"""Between the median errors of the two physics: the right one is better by at least this."""


@dataclass(frozen=True)
class Errors:
    """Quantiles over rows of the largest error in any coordinate but x (m, rad, m/s, rad/s)."""

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
    """Median over rows of the largest change of any coordinate but x in one step: what errors are held to."""
    precision: str
    """Type in which the file holds its states (`float32`, `float64`)."""
    errors: dict[str, Errors]
    """By physics."""
    answer: str
    """`d4rl`, `modern` or `neither`."""

    @property
    def rule(self) -> str:
        """How the answer was found, in words."""
        return (
            f"median error below {LARGEST_SHARE:.1%} of the motion and {SMALLEST_RATIO:g} times below "
            "the other's; else neither"
        )


@dataclass(frozen=True)
class _Steps:
    """States before and after one environment step, with the action between."""

    qpos: np.ndarray
    qvel: np.ndarray
    actions: np.ndarray
    next_qpos: np.ndarray
    next_qvel: np.ndarray
    precision: str


def replay(path: Path, task: Task, rows: int = 2000) -> ReplayReport:
    """Replay `rows` steps of a file, none across the end of an episode, under both physics.

    Raises
    ------
    BenchError : the task has no simulator or no physics, or the file holds no states, or states that are not
        those of its observations (as D4RL's first `-v2` files, D4RL issue 105).
    """
    if task.simulator is None:
        raise BenchError(f"{task.name} cannot be replayed", "Its simulator does not exist yet.", "")
    if task.generated:
        raise BenchError(f"{task.name} cannot be replayed", "Its data is a formula, without physics.", "")
    robot = robot_named(task.simulator)
    steps = _read_steps(path, task, robot, rows)
    errors = {physics: _one_step_errors(steps, task.simulator, robot, physics) for physics in PHYSICS}
    motion = _largest_change(steps.next_qpos - steps.qpos, steps.next_qvel - steps.qvel)
    medians = {physics: float(np.median(error)) for physics, error in errors.items()}
    return ReplayReport(
        rows=len(steps.actions),
        motion=float(np.median(motion)),
        precision=steps.precision,
        errors={physics: _quantiles(error) for physics, error in errors.items()},
        answer=decide(medians, float(np.median(motion))),
    )


def decide(medians: dict[str, float], motion: float) -> str:
    """The physics that a file came from, by `ReplayReport.rule`, from the median error of each."""
    best, other = sorted(medians, key=medians.__getitem__)
    small = medians[best] < LARGEST_SHARE * motion
    return best if small and medians[best] * SMALLEST_RATIO <= medians[other] else "neither"


def _read_steps(path: Path, task: Task, robot: Locomotion, rows: int) -> _Steps:
    raw = read_file(path, task)
    ended = raw.terminals if raw.timeouts is None else raw.terminals | raw.timeouts
    usable = np.flatnonzero(~ended[:-1])
    chosen = usable[np.linspace(0, len(usable) - 1, min(rows, len(usable))).astype(int)]
    with h5py.File(path, "r") as file:
        if "infos/qpos" not in file or "infos/qvel" not in file:
            raise BenchError(f"{path} cannot be replayed", "It holds no infos/qpos and infos/qvel.", "")
        precision = str(file["infos/qpos"].dtype)
        qpos, qvel = file["infos/qpos"][()].astype(np.float64), file["infos/qvel"][()].astype(np.float64)
    if len(qpos) != raw.rows or len(qvel) != raw.rows:
        raise BenchError(
            f"{path} cannot be replayed", f"It has {len(qpos):,} states for {raw.rows:,} rows.", ""
        )
    seen = robot.observation(qpos[chosen], qvel[chosen])
    if seen.shape[1] != task.observation_dim or np.abs(seen - raw.observations[chosen]).max() > 1e-3:
        raise BenchError(
            f"{path} cannot be replayed", "Its infos are not the states of its observations.", ""
        )
    return _Steps(
        qpos[chosen], qvel[chosen], raw.actions[chosen], qpos[chosen + 1], qvel[chosen + 1], precision
    )


def _one_step_errors(steps: _Steps, simulator: str, robot: Locomotion, physics: str) -> np.ndarray:
    """Largest error of each replayed step (K,)."""
    model = load_model(simulator, physics)
    data = mujoco.MjData(model)
    qpos, qvel = np.empty_like(steps.qpos), np.empty_like(steps.qvel)
    for row in range(len(qpos)):
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:], data.ctrl[:] = steps.qpos[row], steps.qvel[row], steps.actions[row]
        mujoco.mj_step(model, data, nstep=robot.frame_skip)
        qpos[row], qvel[row] = data.qpos, data.qvel
    return _largest_change(qpos - steps.next_qpos, qvel - steps.next_qvel)


def _largest_change(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    # x grows without limit along an episode, and its rounding in float32 with it.
    return np.abs(np.concatenate([qpos[:, 1:], qvel], axis=1)).max(axis=1)


def _quantiles(errors: np.ndarray) -> Errors:
    median, p90, p99 = np.quantile(errors, [0.5, 0.9, 0.99])
    return Errors(float(median), float(p90), float(p99), float(errors.max()))
