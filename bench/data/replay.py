"""Steps the states that a file holds: what its other columns must be, and which physics it came from.

D4RL's files of every domain but the kitchen, and the collected ones, keep the simulator's state beside each
row (`infos/qpos`, `infos/qvel`). From it follow the observation and, with the next row's, the reward and
whether the episode ended; a single step of the simulator with the row's action must lead to the next row
under the physics that made it. D4RL's files hold no solver state, so every step starts without a warm start,
and states held as float32 limit the error from below. Measured on rollouts of the three robots that walk: the
right physics leaves a median of 1e-6 (1e-15 where states are float64), the wrong one 1e-2 (hopper) to 2e-1
(walker2d, halfcheetah), which is 1 to 5 % of the motion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from bench.catalog import Task
from bench.data.dataset import RawDataset, cut_rows
from bench.data.hdf5 import DatasetFile
from bench.data.reader import opened_dataset, read_rows
from bench.envs import load_model, make_simulator, robot_of
from bench.envs.rules import Robot
from bench.errors import BenchError
from bench.records import Physics

LARGEST_SHARE = 0.002
"""Of the median motion in one step: the median error of the right physics is below this; the wrong inertia
alone leaves five times as much."""
SMALLEST_RATIO = 5.0
"""Between the median errors of the two physics: the right one is better by at least this."""

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
TOGETHER = 64
"""Environments that a simulator steps at once."""


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
    for physics in robot_of(task.environment).physics:
        errors[physics], motion = step_errors(task.environment, physics, states, raw, chosen)
    medians = {physics: float(np.median(error)) for physics, error in errors.items()}
    return ReplayReport(
        rows=len(chosen),
        motion=float(np.median(motion)),
        precision=states.precision,
        errors={physics: _quantiles(error) for physics, error in errors.items()},
        answer=decide(medians, float(np.median(motion))),
    )


def decide(medians: Mapping[Physics, float], motion: float) -> str:
    """The physics that a file came from, by `ReplayReport.rule`, from the median error of each."""
    best, *others = sorted(medians, key=medians.__getitem__)
    small = medians[best] < LARGEST_SHARE * motion
    apart = all(medians[best] * SMALLEST_RATIO <= medians[other] for other in others)
    return best if small and apart else "neither"


def _quantiles(errors: np.ndarray) -> Errors:
    median, p90, p99 = np.quantile(errors, [0.5, 0.9, 0.99])
    return Errors(float(median), float(p90), float(p99), float(errors.max()))


@dataclass(frozen=True)
class FileStates:
    """The simulator's state before the action of each row."""

    qpos: np.ndarray
    """(R, nq) float64."""
    qvel: np.ndarray
    """(R, nv) float64."""
    precision: str
    """Type in which the file holds them (`float32`, `float64`)."""

    def observations_off(self, raw: RawDataset, rules: Robot) -> np.ndarray:
        """(R,) bool: rows whose observation is not that of their state."""
        least, greatest = rules.observed_between(self.qpos, self.qvel)
        return _outside(raw.observations, least, greatest)


@dataclass(frozen=True)
class Stepped:
    """What one environment step from each of K rows leads to."""

    qpos: np.ndarray
    """(K, nq)"""
    qvel: np.ndarray
    """(K, nv)"""
    observations: np.ndarray
    """(K, O)"""


@dataclass(frozen=True)
class Dynamics:
    """What the states say of the other columns; numbers of rows that differ."""

    rows: int
    observations_off: int
    outcomes: Outcomes | str
    """Or, in a sentence, why rewards and terminals do not follow from the states."""
    steps: int
    """Rows whose action was simulated."""
    steps_off: int
    successors_off: int
    """Of ready-made transitions that the next row does not follow."""


@dataclass(frozen=True)
class Outcomes:
    """Rewards and terminals held against the states."""

    rewards_off: int
    terminals_off: int | None
    """None where terminals do not follow."""


def without_physics(task: Task) -> str:
    """Why nothing of a task can be simulated; empty where it can."""
    return "Its data is a formula, without physics." if task.generated else ""


def states_of(file: DatasetFile, raw: RawDataset, task: Task) -> FileStates | str:
    """The states in a file; or, in a sentence, why there are none to compare with."""
    if reason := without_physics(task):
        return reason
    if "infos/qpos" not in file or "infos/qvel" not in file:
        return "It holds no infos/qpos and infos/qvel."
    rules, model = robot_of(task.environment), load_model(task.environment, "d4rl")
    shapes = file.shape("infos/qpos"), file.shape("infos/qvel")
    if shapes != ((raw.rows, model.nq), (raw.rows, model.nv)):
        return f"It has states of shape {shapes[0]} and {shapes[1]} for {raw.rows:,} rows."
    qpos, qvel = file.read("infos/qpos"), file.read("infos/qvel")
    states = FileStates(qpos.astype(np.float64), qvel.astype(np.float64), str(qpos.dtype))
    if not all((np.abs(values) <= LARGEST_STATE).all() for values in (states.qpos, states.qvel)):
        return f"Some of its states are NaN, infinite or beyond {LARGEST_STATE:g}."
    # D4RL's first -v2 files hold those of other rows (D4RL issue 105).
    if states.observations_off(raw, rules).mean() > 0.5:
        return "Its infos are not the states of its observations."
    return states


def worked_out(states: FileStates, raw: RawDataset, task: Task) -> Dynamics:
    """Hold the columns of a file against its states, under the task's physics."""
    rules = robot_of(task.environment)
    inside = steps_inside(raw)
    # The state after the last row of an episode is not in the file.
    last = np.setdiff1d(np.arange(raw.rows), inside)
    physics = cast(Physics, task.physics)  # of a task with states never `none`
    ends = step_once(task.environment, physics, states, raw, last)
    chosen = evenly_spaced(inside, STEPPED_ROWS)
    errors, motion = step_errors(task.environment, physics, states, raw, chosen)
    off_limit = float(np.median(motion)) * STEP_TOLERANCE if len(chosen) else 0.0
    successors_off = 0
    if raw.next_observations is not None:
        cut = ~raw.terminals[last]
        least, greatest = rules.observed_between(ends.qpos, ends.qvel)
        announced = raw.next_observations[last]
        further = (announced < least - off_limit) | (announced > greatest + off_limit)
        successors_off = int(further[cut].any(axis=1).sum())
    return Dynamics(
        rows=raw.rows,
        observations_off=int(states.observations_off(raw, rules).sum()),
        outcomes=_outcomes(states, raw, rules, inside, last, ends),
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
    environment: str, physics: Physics, states: FileStates, raw: RawDataset, rows: np.ndarray
) -> Stepped:
    """Take one environment step from each of `rows` (K,) with its action, by the simulator that judges."""
    parts = list(_stepped(environment, physics, states, raw, rows))
    columns = zip(*((part.qpos, part.qvel, part.observations) for part in parts), strict=True)
    return Stepped(*map(np.concatenate, columns))


def step_errors(
    environment: str, physics: Physics, states: FileStates, raw: RawDataset, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Largest error (K,) of each step from `rows` to the next row, and largest change (K,) in it."""
    travelled = robot_of(environment).travelled
    stepped = step_once(environment, physics, states, raw, rows)
    next_qpos, next_qvel = states.qpos[rows + 1], states.qvel[rows + 1]
    errors = _largest_change(stepped.qpos - next_qpos, stepped.qvel - next_qvel, travelled)
    motion = _largest_change(next_qpos - states.qpos[rows], next_qvel - states.qvel[rows], travelled)
    return errors, motion


def _stepped(
    environment: str, physics: Physics, states: FileStates, raw: RawDataset, rows: np.ndarray
) -> Iterator[Stepped]:
    """`TOGETHER` rows after the other; one empty part of no rows."""
    count = max(1, min(TOGETHER, len(rows)))
    with make_simulator(environment, physics, count) as simulator:
        for first in range(0, max(1, len(rows)), count):
            part = rows[first : first + count]
            slots = range(len(part))
            # Every step begins without a warm start, and no episode is at its horizon.
            simulator.reset([0] * count)
            simulator.stop(range(len(part), count))
            observations = raw.observations[part].astype(np.float64)
            memory = robot_of(environment).seen_memory(observations)
            simulator.set_state(states.qpos[part], states.qvel[part], slots, memory, observations)
            actions = np.zeros((count, simulator.action_dim))
            actions[: len(part)] = raw.actions[part]
            step = simulator.step(actions)
            kept = slice(len(part))
            yield Stepped(simulator.qpos[kept], simulator.qvel[kept], step.observations[kept])


def _outcomes(
    states: FileStates,
    raw: RawDataset,
    rules: Robot,
    inside: np.ndarray,
    last: np.ndarray,
    ends: Stepped,
) -> Outcomes | str:
    """Rewards and terminals of the rows inside episodes, and of those that end them."""
    after = inside + 1
    followed = rules.recorded_outcome(
        states.qpos[inside],
        states.qpos[after],
        states.qvel[after],
        raw.observations[after],
        raw.actions[inside],
    )
    stepped = rules.recorded_outcome(
        states.qpos[last], ends.qpos, ends.qvel, ends.observations, raw.actions[last]
    )
    if isinstance(followed, str) or isinstance(stepped, str):
        return str(followed)
    off, limit = np.empty(raw.rows), np.empty(raw.rows)
    rounding = _rounding(states)
    off[inside] = np.abs(followed[0] - raw.rewards[inside])
    limit[inside] = REWARD_TOLERANCE + rules.reward_per_metre * (rounding[inside] + rounding[after])
    off[last] = np.abs(stepped[0] - raw.rewards[last])
    limit[last] = STEPPED_TOLERANCE
    terminals_off = None
    if followed[1] is not None and stepped[1] is not None:
        differing = followed[1] != raw.terminals[inside], stepped[1] != raw.terminals[last]
        terminals_off = sum(int(rows.sum()) for rows in differing)
    off = np.nan_to_num(off, nan=0.0)
    return Outcomes(int((off > limit + 1e-6 * np.abs(raw.rewards)).sum()), terminals_off)


def _outside(observations: np.ndarray, least: np.ndarray, greatest: np.ndarray) -> np.ndarray:
    limit = OBSERVATION_TOLERANCE + OBSERVATION_TOLERANCE / 10 * np.abs(observations)
    return ((observations < least - limit) | (observations > greatest + limit)).any(axis=1)


def _largest_change(qpos: np.ndarray, qvel: np.ndarray, travelled: int) -> np.ndarray:
    # A distance travelled grows without limit along an episode, and its rounding in float32 with it.
    return np.abs(np.concatenate([qpos[:, travelled:], qvel], axis=1)).max(axis=1)


def _rounding(states: FileStates) -> np.ndarray:
    """By how much each row's x may have been rounded (m)."""
    x = np.abs(states.qpos[:, 0])
    return (
        np.spacing(x.astype(np.float32)).astype(np.float64)
        if states.precision == "float32"
        else np.spacing(x)
    )
