"""Works out again, from the states that a file holds, what its other columns must be.

D4RL's locomotion files and the collected ones keep the simulator's state beside each row (`infos/qpos`,
`infos/qvel`). From it follow the observation and, with the next row's, the reward and whether the robot fell;
a single step of physics with the row's action must lead to the next row. D4RL's files hold no solver state,
so every step starts without a warm start.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from bench.catalog import Task
from bench.data.dataset import RawDataset
from bench.data.hdf5 import DatasetFile
from bench.data.reader import cut_rows
from bench.envs import load_model
from bench.envs.locomotion import ROBOTS, Locomotion

LARGEST_STATE = 1e4
"""Of any coordinate (m, rad, m/s, rad/s); from states of no robot the physics steps to infinity."""
OBSERVATION_TOLERANCE = 1e-4
"""Absolute, and a tenth of it relative: states in single precision differ from observations by 1e-6."""
REWARD_TOLERANCE = 1e-6
"""Of a reward in single precision; the rounding of x, divided by the time of a step, comes on top."""
STEPPED_TOLERANCE = 1e-3
"""Of a reward whose next state is not in the file but simulated; measured: at most 8e-5."""
STEP_TOLERANCE = 1e-3
"""Of a single step, as a share of the median motion. Measured: 1e-13 where states are float64, 4e-5 where
they are float32, but for one row of 2,000 whose contact flips; actions of the row before leave 1e-2 in 99 of
100 rows."""
LARGEST_SHARE_OFF = 0.005
"""Of the steps that may be further off."""
STEPPED_ROWS = 2000
"""Steps that are simulated, evenly spaced over the file."""


@dataclass(frozen=True)
class States:
    """The simulator's state before the action of each row."""

    qpos: np.ndarray
    """(R, nq) float64."""
    qvel: np.ndarray
    """(R, nv) float64."""
    precision: str
    """Type in which the file holds them (`float32`, `float64`)."""

    def observations_off(self, raw: RawDataset, robot: Locomotion) -> np.ndarray:
        """(R,) bool: rows whose observation is not that of their state."""
        seen = robot.observation(self.qpos, self.qvel)
        limit = OBSERVATION_TOLERANCE + OBSERVATION_TOLERANCE / 10 * np.abs(raw.observations)
        return (np.abs(seen - raw.observations) > limit).any(axis=1)


@dataclass(frozen=True)
class Dynamics:
    """What the states say of the other columns; numbers of rows that differ."""

    rows: int
    observations_off: int
    rewards_off: int
    furthest_reward: float
    terminals_off: int
    steps: int
    """Rows whose action was simulated."""
    steps_off: int
    successors_off: int
    """Of ready-made transitions that the next row does not follow."""


def without_physics(task: Task) -> str:
    """Why nothing of a task can be simulated; empty where it can."""
    if task.simulator is None:
        return "Its simulator does not exist yet."
    return "Its data is a formula, without physics." if task.generated else ""


def states_of(file: DatasetFile, raw: RawDataset, task: Task) -> States | str:
    """The states in a file; or, in a sentence, why there are none to compare with."""
    if reason := without_physics(task):
        return reason
    if "infos/qpos" not in file or "infos/qvel" not in file:
        return "It holds no infos/qpos and infos/qvel."
    robot, model = ROBOTS[task.simulator], load_model(task.simulator, "d4rl")
    shapes = file.shape("infos/qpos"), file.shape("infos/qvel")
    if shapes != ((raw.rows, model.nq), (raw.rows, model.nv)):
        return f"It has states of shape {shapes[0]} and {shapes[1]} for {raw.rows:,} rows."
    qpos, qvel = file.read("infos/qpos"), file.read("infos/qvel")
    states = States(qpos.astype(np.float64), qvel.astype(np.float64), str(qpos.dtype))
    if not all((np.abs(values) <= LARGEST_STATE).all() for values in (states.qpos, states.qvel)):
        return f"Some of its states are NaN, infinite or beyond {LARGEST_STATE:g}."
    # D4RL's first -v2 files hold those of other rows (D4RL issue 105).
    if states.observations_off(raw, robot).mean() > 0.5:
        return "Its infos are not the states of its observations."
    return states


def worked_out(states: States, raw: RawDataset, task: Task) -> Dynamics:
    """Hold the columns of a file against its states, under the task's physics."""
    robot, model = ROBOTS[task.simulator], load_model(task.simulator, task.physics)
    inside = steps_inside(raw)
    last = np.setdiff1d(np.arange(raw.rows), inside)
    x, rounding = states.qpos[:, 0], _rounding(states)
    fallen = np.zeros(raw.rows, dtype=bool)
    off, limit = np.empty(raw.rows), np.empty(raw.rows)

    off[inside] = _reward_errors(raw, robot, inside, x[inside], x[inside + 1])
    limit[inside] = REWARD_TOLERANCE + (rounding[inside] + rounding[inside + 1]) / robot.seconds
    fallen[inside] = robot.terminated(states.qpos[inside + 1], states.qvel[inside + 1])
    # The state after the last row of an episode is not in the file.
    qpos, qvel = step_once(model, robot, states, raw.actions, last)
    off[last] = _reward_errors(raw, robot, last, x[last], qpos[:, 0])
    limit[last] = STEPPED_TOLERANCE
    fallen[last] = robot.terminated(qpos, qvel)

    chosen = evenly_spaced(inside, STEPPED_ROWS)
    errors, motion = step_errors(model, robot, states, raw.actions, chosen)
    off_limit = float(np.median(motion)) * STEP_TOLERANCE if len(chosen) else 0.0
    successors_off = 0
    if raw.next_observations is not None:
        announced, cut = raw.next_observations[last], ~raw.terminals[last]
        gaps = np.abs(robot.observation(qpos, qvel) - announced).max(axis=1)
        successors_off = int((gaps[cut] > off_limit).sum())
    return Dynamics(
        rows=raw.rows,
        observations_off=int(states.observations_off(raw, robot).sum()),
        rewards_off=int((off > limit + 1e-6 * np.abs(raw.rewards)).sum()),
        furthest_reward=float(off.max()),
        terminals_off=int((fallen != raw.terminals).sum()),
        steps=len(chosen),
        steps_off=int((errors > off_limit).sum()),
        successors_off=successors_off,
    )


def steps_inside(raw: RawDataset) -> np.ndarray:
    """Rows whose next state is that of the next row."""
    return np.flatnonzero(~(raw.terminals | cut_rows(raw))[:-1])


def evenly_spaced(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, spread over all."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def step_once(
    model: mujoco.MjModel, robot: Locomotion, states: States, actions: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The states (K, nq), (K, nv) that one environment step from each of `rows` (K,) leads to."""
    data = mujoco.MjData(model)
    qpos, qvel = np.empty((len(rows), model.nq)), np.empty((len(rows), model.nv))
    for place, row in enumerate(rows):
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:], data.ctrl[:] = states.qpos[row], states.qvel[row], actions[row]
        mujoco.mj_step(model, data, nstep=robot.frame_skip)
        qpos[place], qvel[place] = data.qpos, data.qvel
    return qpos, qvel


def step_errors(
    model: mujoco.MjModel, robot: Locomotion, states: States, actions: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Largest error (K,) of each step from `rows` to the next row, and largest change (K,) in it."""
    qpos, qvel = step_once(model, robot, states, actions, rows)
    next_qpos, next_qvel = states.qpos[rows + 1], states.qvel[rows + 1]
    errors = _largest_change(qpos - next_qpos, qvel - next_qvel)
    return errors, _largest_change(next_qpos - states.qpos[rows], next_qvel - states.qvel[rows])


def _largest_change(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    # x grows without limit along an episode, and its rounding in float32 with it.
    return np.abs(np.concatenate([qpos[:, 1:], qvel], axis=1)).max(axis=1)


def _reward_errors(
    raw: RawDataset,
    robot: Locomotion,
    rows: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> np.ndarray:
    return np.abs(robot.reward(before, after, raw.actions[rows]) - raw.rewards[rows])


def _rounding(states: States) -> np.ndarray:
    """By how much each row's x may have been rounded (m)."""
    x = np.abs(states.qpos[:, 0])
    return (
        np.spacing(x.astype(np.float32)).astype(np.float64)
        if states.precision == "float32"
        else np.spacing(x)
    )
