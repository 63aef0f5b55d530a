"""The forms a dataset has in memory: rows as the file stores them, transitions to train on, and episodes.

Rows become transitions exactly as in D4RL.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bench.catalog import Task
from bench.errors import BenchError

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


RULES_OF_TRAJECTORIES = ("best_tenth", "whole_trajectories")
"""For choosing transitions, which need whole trajectories."""
TRAJECTORY_STEPS = 1000
"""SRPO and CORL: kept transitions after which they cut a trajectory that no terminal has ended."""
LEAST_FOLLOWED = 0.5
"""Of rows that are not terminal, the share that the next row follows where a file is in the order of time. Of
shuffled transitions it is about 0; of episodes of three steps, whose last one was cut, it is two thirds."""
DISCONTINUITY = 1e-6
"""IQL: an observation that differs by more than this from the one announced starts another trajectory."""


@dataclass(frozen=True)
class RawDataset:
    """Rows of a file, in its order: row i+1 follows row i except at the end of an episode."""

    name: str
    """Task whose file it is."""
    observations: FloatArray
    """(R, O)"""
    actions: FloatArray
    """(R, A)"""
    rewards: FloatArray
    """(R,)"""
    terminals: BoolArray
    """(R,) the environment ended the episode at this row."""
    timeouts: BoolArray | None
    """(R,) the episode was cut at this row; None where the file has no such field (kitchen, old files)."""
    horizon: int
    """Steps after which the task cuts an episode; stands in where `timeouts` is None."""
    next_observations: FloatArray | None = None
    """(R, O) of ready-made transitions; None where the next row holds the next observation."""

    @property
    def rows(self) -> int:
        """Rows in the file, before any are dropped."""
        return len(self.rewards)

    @property
    def layout(self) -> str:
        """How the file holds them, in words (`bench.data.reader`)."""
        return "rows in order" if self.next_observations is None else "ready-made transitions"


@dataclass(frozen=True)
class Transitions:
    """Transitions (s, a, r, s', terminal) ready for training."""

    observations: FloatArray
    """(N, O)"""
    actions: FloatArray
    """(N, A)"""
    rewards: FloatArray
    """(N,)"""
    next_observations: FloatArray
    """(N, O)"""
    terminals: BoolArray
    """(N,) no value is bootstrapped from the next observation."""
    trajectory_ends: BoolArray
    """(N,) last kept transition of an episode, by the file's own flags; the last transition always is one."""
    next_actions: FloatArray
    """(N, A) what the data did in the next observation; NaN where the file does not say, unless terminal."""

    def __len__(self) -> int:
        return len(self.rewards)


def ends_by_count(transitions: Transitions) -> BoolArray:
    """Trajectory ends (N,) as SRPO and CORL count them: terminal, or 1000 transitions since the last end."""
    ends = np.zeros(len(transitions), dtype=bool)
    count = 0
    for row, terminal in enumerate(transitions.terminals.tolist()):
        count += 1
        if terminal or count == TRAJECTORY_STEPS:
            ends[row] = True
            count = 0
    return ends


def jumps(observations: FloatArray, next_observations: FloatArray) -> BoolArray:
    """(N-1,) whether the next row's observation is another than the one that a row announces."""
    return np.linalg.norm(observations[1:] - next_observations[:-1], axis=1) > DISCONTINUITY


def transitions_of(raw: RawDataset, task: Task, rule: str = "d4rl") -> Transitions:
    """Transitions of a task's file by a preset's rule.

    `d4rl` and `keep_terminal_timeouts` as `qlearning_dataset` has them; `best_tenth` and `whole_trajectories`
    are functions here.

    In one-step problems no row has a successor, and every row is a transition. So is every ready-made one,
    with its own next observation; the first two rules are about rows in the order of time.

    Raises
    ------
    BenchError : there is no whole trajectory to choose from, or the rows do not follow one another.
    """
    if rule in RULES_OF_TRAJECTORIES and raw.next_observations is not None:
        require_order(raw.observations, raw.next_observations, raw.terminals)
    if rule == "best_tenth":
        return best_tenth(transitions_of(raw, task), raw.name)
    if rule == "whole_trajectories":
        return whole_trajectories(raw)
    if task.generated:
        return _ready_made(raw, raw.observations, np.ones(raw.rows, dtype=bool))
    if raw.next_observations is not None:
        return _ready_made(raw, raw.next_observations, raw.terminals | cut_rows(raw))
    return qlearning_dataset(raw, keep_terminal_timeouts=rule == "keep_terminal_timeouts")


def in_order(observations: FloatArray, next_observations: FloatArray, terminals: BoolArray) -> bool:
    """Whether rows follow one another in time, but for the ends of episodes."""
    going_on = ~terminals[:-1]
    followed = going_on & ~jumps(observations, next_observations)
    return bool(followed.sum() >= LEAST_FOLLOWED * going_on.sum())


def rows_in_order(raw: RawDataset) -> bool:
    """Whether a file's rows follow one another; they do where they have no next observations of their own."""
    return raw.next_observations is None or in_order(raw.observations, raw.next_observations, raw.terminals)


def require_order(observations: FloatArray, next_observations: FloatArray, terminals: BoolArray) -> None:
    """Refuse transitions that stand in no order of time to whoever needs trajectories.

    Raises
    ------
    BenchError : they do.
    """
    if not in_order(observations, next_observations, terminals):
        raise without_trajectories("this dataset")


def without_trajectories(name: str, who: str = "what is asked for") -> BenchError:
    """The error for a dataset that holds none, to one who needs them."""
    return BenchError(
        f"{name} holds no trajectories",
        f"Its transitions do not follow one another, and {who} needs whole trajectories or their returns.",
        "Use a file with the rows in the order of time, or a method that takes single transitions, such as "
        "bc.",
    )


def best_tenth(transitions: Transitions, name: str) -> Transitions:
    """The transitions of the tenth of trajectories with the highest returns, in the order of the file.

    As CORL (any_percent_bc.py) trains 10 % BC: trajectories end at terminals or after 1000 kept rows, one
    that does neither is left out, and of fewer than twenty one is kept. Of equal returns the later goes
    first. It is a tenth of the trajectories, not of the rows.

    Raises
    ------
    BenchError : there is no whole trajectory.
    """
    ends = ends_by_count(transitions)
    returns = segment_returns(transitions.rewards, ends)[: ends.sum()]
    if len(returns) == 0:
        raise BenchError(
            f"{name} has too few trajectories for the best tenth of them",
            f"None of its {len(transitions):,} transitions ends one, by a terminal or after "
            f"{TRAJECTORY_STEPS:,} steps.",
            "Use more data, or bc, which trains on all of it.",
        )
    best = np.argsort(returns, kind="stable")[::-1][: max(1, len(returns) // 10)]
    trajectory: NDArray[np.int64] = np.cumsum(ends) - ends
    return _chosen(transitions, np.isin(trajectory, best))


def whole_trajectories(raw: RawDataset) -> Transitions:
    """Every row of the trajectories that the file holds to their ends, at terminals or where they are cut.

    As Decision Transformer and CORL's dt.py read it; what follows the last end is left out. Of rows that are
    cut the next observation is another trajectory's: this is for methods that take none.

    Raises
    ------
    BenchError : there is no whole trajectory.
    """
    ends = raw.terminals | cut_rows(raw)
    if not ends.any():
        raise BenchError(
            f"{raw.name} has too few trajectories: not one that is whole",
            f"None of its {raw.rows:,} rows ends one, by a terminal or a time-out.",
            "Use more data, or a method that takes single transitions, such as bc.",
        )
    following = raw.next_observations
    if following is None:
        following = np.roll(raw.observations, -1, axis=0)
    rows = _ready_made(raw, following, ends)
    return _chosen(rows, np.arange(raw.rows) <= np.flatnonzero(ends)[-1])


def with_next_actions(transitions: Transitions, name: str) -> Transitions:
    """The transitions after which the data goes on, so that the next action is known, or which are terminal.

    That is all of a file of rows in order, and of ready-made transitions those that another one follows.

    Raises
    ------
    BenchError : there is none.
    """
    known: BoolArray = np.logical_and.reduce(np.isfinite(transitions.next_actions), axis=1)
    if not known.any():
        raise BenchError(
            f"{name} does not say which action follows which",
            f"None of its {len(transitions):,} transitions is followed by another, or terminal.",
            "Use data whose transitions stand in the order of time.",
        )
    return transitions if known.all() else _chosen(transitions, known)


def _chosen(transitions: Transitions, kept: BoolArray) -> Transitions:
    """Some of the transitions, in their order."""
    chosen = {field.name: getattr(transitions, field.name)[kept] for field in fields(Transitions)}
    chosen["trajectory_ends"][-1:] = True
    return Transitions(**chosen)


def qlearning_dataset(
    raw: RawDataset, *, terminate_on_end: bool = False, keep_terminal_timeouts: bool = False
) -> Transitions:
    """Transitions as D4RL 1.1's `qlearning_dataset` makes them.

    Each row but the last is joined with the following row's observation, whatever follows; rows at which the
    episode was cut are dropped, because what follows them is another episode. Without a `timeouts` field the
    rows are found by counting steps up to the horizon, with D4RL's own count, which starts at 1 after a
    terminal row and at 0 after a dropped one.

    Parameters
    ----------
    terminate_on_end : keep the cut rows. D4RL's text promises that they become terminal; its code does not do
        so, and their next observation is the first one of the next episode.
    keep_terminal_timeouts : keep rows that are both cut and terminal (BDPO: flow-rl's own data code).
    """
    cut = cut_rows(raw)
    dropped = np.zeros_like(cut) if terminate_on_end else cut
    if keep_terminal_timeouts:
        dropped = dropped & ~raw.terminals
    kept = np.flatnonzero(~dropped[:-1])
    ends = cut | raw.terminals
    ends[:-1] |= dropped[1:]
    ends = ends[kept]
    ends[-1:] = True
    return Transitions(
        observations=raw.observations[kept],
        actions=raw.actions[kept],
        rewards=raw.rewards[kept],
        next_observations=raw.observations[kept + 1],
        terminals=raw.terminals[kept],
        trajectory_ends=ends,
        next_actions=raw.actions[kept + 1],
    )


def _ready_made(raw: RawDataset, next_observations: np.ndarray, ends: BoolArray) -> Transitions:
    """Every row is a transition. In one-step problems it ends where it begins (DTQL's `toy_tasks/`)."""
    next_actions = np.roll(raw.actions, -1, axis=0)
    next_actions[ends & ~raw.terminals] = np.nan
    return Transitions(
        observations=raw.observations,
        actions=raw.actions,
        rewards=raw.rewards,
        next_observations=next_observations,
        terminals=raw.terminals,
        trajectory_ends=ends,
        next_actions=next_actions,
    )


def cut_rows(raw: RawDataset) -> BoolArray:
    """Rows (R,) at which an episode was cut, by the file's timeouts or D4RL's count of steps.

    Of ready-made transitions: rows that the next one does not follow, and the last, unless they are terminal.
    """
    if raw.next_observations is not None:
        elsewhere = np.append(jumps(raw.observations, raw.next_observations), True)
        return elsewhere & ~raw.terminals
    if raw.timeouts is not None:
        return raw.timeouts
    cut = np.zeros(raw.rows, dtype=bool)
    step = 0
    for row, terminal in enumerate(raw.terminals.tolist()):
        if step == raw.horizon - 1:
            cut[row] = True
            step = 0
        else:
            step = 1 if terminal else step + 1
    return cut


@dataclass(frozen=True)
class Episodes:
    """Episodes of a file, in its order; E of them."""

    returns: NDArray[np.float64]
    """(E,) undiscounted."""
    largest: NDArray[np.float64]
    """(E,) largest reward of each."""
    lengths: NDArray[np.int64]
    """(E,) steps."""
    last_is_whole: bool
    """Whether the file ends with the end of an episode."""


def episodes(raw: RawDataset, terminals_end: bool = True) -> Episodes:
    """Cut the rows of a file into episodes, after rows at which one was cut, and after terminal ones.

    `terminals_end` is false of AntMaze, whose terminals say that the goal was near while the episode went on.
    """
    ends = raw.terminals | cut_rows(raw) if terminals_end else cut_rows(raw)
    largest = np.maximum.reduceat(raw.rewards.astype(np.float64), _starts(ends))
    return Episodes(segment_returns(raw.rewards, ends), largest, segment_lengths(ends), bool(ends[-1]))


def segment_returns(rewards: FloatArray, ends: BoolArray) -> NDArray[np.float64]:
    """Sums (E,) of `rewards` (N,) up to and with each end; rows after the last end are one more segment."""
    return np.add.reduceat(rewards.astype(np.float64), _starts(ends))


def segment_lengths(ends: BoolArray) -> NDArray[np.int64]:
    """Rows (E,) of the segments that `segment_returns` sums."""
    return np.diff(np.append(_starts(ends), len(ends)))


def _starts(ends: BoolArray) -> NDArray[np.int64]:
    return np.append(0, np.flatnonzero(ends[:-1]) + 1)
