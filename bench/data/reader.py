"""Reads dataset files and turns their rows into transitions exactly as D4RL does.

Files come in two layouts. *Rows in the order of time*, D4RL's own: row i+1 holds the next observation of row
i except where an episode ends, which `timeouts` says or a count of steps. *Ready-made transitions*, as
mirrors and people who dump `qlearning_dataset` write them: `next_observations` holds the next observation of
every row, and the rows need not follow one another.

`next_observations` means ready-made transitions where there are no `timeouts`, or none that is set and rows
that do not follow one another (of a dump, the rows that were cut are gone). D4RL's locomotion files have
both: there `next_observations` repeats the next row, and the papers' code never looks at it: they are rows.
Where the two contradict each other inside an episode, nobody can say which is meant, and the file is refused;
so is one in which no timeout is set and another name speaks of what is next (`next_obs`, `next_states`).
D4RL's own files, known by their SHA-256, are rows whatever they hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.catalog import Task
from bench.data.checks import check_robot, obtain, read_columns, replace_by
from bench.data.dataset import BoolArray, RawDataset, Transitions, jumps
from bench.data.hdf5 import DatasetFile, opened
from bench.data.manifest import known_file
from bench.errors import BenchError, WorkFailedError
from bench.visible_text import quoted

SUCCESSOR_TOLERANCE = 1e-5
"""Relative and absolute: how far a file's next observation may be off the next row and still repeat it."""


def read_file(path: Path, task: Task, sha256: str | None = None) -> RawDataset:
    """Read a dataset file and check that it can be what it claims to be.

    Parameters
    ----------
    sha256 : the content that is wanted; the bytes that are read are held against it.

    Raises
    ------
    BenchError : the file is absent, not HDF5, damaged, incomplete, wrongly shaped, of another robot, leads
        out of itself, or holds values that cannot be.
    WorkFailedError : its content is not the one wanted, or changed while it was read.
    """
    with opened_dataset(path, task) as file:
        if sha256 is not None and file.sha256 != sha256:
            raise WorkFailedError(
                f"{path} has changed since this run began",
                f"Its SHA-256 was {sha256}; now it is {file.sha256}.",
                "Put the old file back, or give the same command again for trials on the new one.",
            )
        return read_rows(file, task)


@contextmanager
def opened_dataset(path: Path, task: Task) -> Iterator[DatasetFile]:
    """A task's file, held open; raises as `bench.data.hdf5.opened`, with what to do about it."""
    with opened(path, replace_by(task), obtain(task)) as file:
        yield file


def read_rows(file: DatasetFile, task: Task) -> RawDataset:
    """What is trained on of a file that is held open; raises as `read_file`."""
    columns = read_columns(file, task, without=_not_looked_at(file, task))
    if not task.generated:
        _require_layout(columns, file)
    successors = _successors(columns, file)
    raw = RawDataset(
        name=task.name,
        horizon=task.horizon,
        timeouts=None if successors is not None else columns.get("timeouts"),
        next_observations=successors,
        **{name: columns[name] for name in ("observations", "actions", "rewards", "terminals")},
    )
    check_robot(raw, file, task)
    return raw


def _not_looked_at(file: DatasetFile, task: Task) -> tuple[str, ...]:
    """Columns that mean nothing: D4RL's own files are rows, and one-step problems have no successors."""
    successors, known = "next_observations", known_file(task)
    if task.generated or (successors in file and known is not None and file.sha256 == known.sha256):
        return (successors,)
    return ()


def _require_layout(columns: dict[str, np.ndarray], file: DatasetFile) -> None:
    """Refuse timeouts that leave no transition, and successors under a name that is not read."""
    timeouts = columns.get("timeouts")
    if timeouts is not None and timeouts[:-1].all():
        raise BenchError(
            f"{file.path} holds no transition", "Its timeouts cut an episode at every row.", file.remedy
        )
    if "next_observations" in file or (timeouts is not None and timeouts.any()):
        return
    others = [name for name in file.members() if "next" in name.lower() and "action" not in name.lower()]
    if others:
        raise BenchError(
            f"{file.path} holds {quoted(others[0])}, and no timeouts that are set",
            "Ready-made transitions have their successors in next_observations; rows in the order of time "
            "say in timeouts where an episode was cut.",
            f"Rename {quoted(others[0])} to next_observations, or take it out where the rows follow one "
            "another.",
        )


def _successors(columns: dict[str, np.ndarray], file: DatasetFile) -> np.ndarray | None:
    """The next observations of ready-made transitions; None where the next row holds them."""
    successors, timeouts = columns.get("next_observations"), columns.get("timeouts")
    if successors is None or timeouts is None:
        return successors
    following = columns["observations"][1:]
    same = np.isclose(successors[:-1], following, SUCCESSOR_TOLERANCE, SUCCESSOR_TOLERANCE).all(axis=1)
    contradicting = ~same & ~(columns["terminals"] | timeouts)[:-1]
    if contradicting.any() and not timeouts.any():
        return successors
    if contradicting.any():
        row = int(np.argmax(contradicting))
        raise BenchError(
            f"{file.path} contradicts itself: next_observations of row {row:,} is not row {row + 1:,}",
            f"Its timeouts say that {int(contradicting.sum()):,} such rows lie inside an episode.",
            "Leave timeouts out of the file where it holds ready-made transitions, next_observations where "
            "it holds rows in the order of time.",
        )
    return None


def transitions_of(raw: RawDataset, task: Task, rule: str = "d4rl") -> Transitions:
    """Transitions of a task's file by a preset's rule, `d4rl` or `keep_terminal_timeouts`.

    In one-step problems no row has a successor, and every row is a transition. So is every ready-made one,
    with its own next observation; the rules are about rows in the order of time.
    """
    if task.generated:
        return _ready_made(raw, raw.observations, np.ones(raw.rows, dtype=bool))
    if raw.next_observations is not None:
        return _ready_made(raw, raw.next_observations, raw.terminals | cut_rows(raw))
    return qlearning_dataset(raw, keep_terminal_timeouts=rule == "keep_terminal_timeouts")


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
    )


def _ready_made(raw: RawDataset, next_observations: np.ndarray, ends: BoolArray) -> Transitions:
    """Every row is a transition. In one-step problems it ends where it begins (DTQL's `toy_tasks/`)."""
    return Transitions(
        observations=raw.observations,
        actions=raw.actions,
        rewards=raw.rewards,
        next_observations=next_observations,
        terminals=raw.terminals,
        trajectory_ends=ends,
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
