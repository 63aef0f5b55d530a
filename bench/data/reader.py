"""Reads dataset files: their columns, each checked against what it must hold, in either of two layouts.

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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.catalog import AddedDataset, D4RLDataset, Task
from bench.data.dataset import RawDataset
from bench.data.hdf5 import DatasetFile, HeldFile, opened
from bench.data.manifest import known_file
from bench.envs import robot_of
from bench.errors import BenchError, WorkFailedError
from bench.visible_text import quoted

ACTION_TOLERANCE = 1e-3
"""Overshoot that is let through: DTQL's likelihood term divides by bound + 1e-3 and is finite up to there."""
LARGEST_VALUE = 1e9
"""Of any number; training squares and sums them in single precision."""
SUCCESSOR_TOLERANCE = 1e-5
"""Relative and absolute: how far a file's next observation may be off the next row and still repeat it."""


@dataclass(frozen=True)
class FileColumn:
    """A column of a dataset file; every row has one value, or as many as an observation or action has."""

    name: str
    width: Literal["observation", "action"] | None = None
    flag: bool = False
    """Its values are 0 and 1."""
    optional: bool = False


COLUMNS = (
    FileColumn("observations", "observation"),
    FileColumn("actions", "action"),
    FileColumn("rewards"),
    FileColumn("terminals", flag=True),
    FileColumn("timeouts", flag=True, optional=True),
    FileColumn("next_observations", "observation", optional=True),
)
"""Of both layouts. Rows in the order of time have `timeouts` or are counted up to the horizon; ready-made
transitions have `next_observations`."""


def obtain(task: Task) -> str:
    """What to type to get a task's dataset."""
    if isinstance(task.dataset, AddedDataset):
        return f"Type `bench data add FILE --name {task.name}` with the file that it was added from."
    return f"Type `bench data {'fetch' if isinstance(task.dataset, D4RLDataset) else 'collect'} {task.name}`."


def replace_by(task: Task) -> str:
    """What to do about a file that is no good."""
    if task.added:
        return "Put it right in a copy of the file, and add that one."
    return f"Move the file away. {obtain(task)}"


def read_columns(file: DatasetFile, task: Task, without: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The columns that a file has, by name: numbers as float32, flags as bool, each checked.

    Shapes and sizes are checked before anything is read.

    Parameters
    ----------
    without : columns to leave alone.

    Raises
    ------
    BenchError : a column is missing, has another shape, type or length than the task's, or a value that
        cannot be; the message names the first row where it is.
    """
    there = [column for column in COLUMNS if column.name not in without and column.name in file]
    missing = [column.name for column in COLUMNS if not column.optional and column not in there]
    if missing:
        needed = ", ".join(column.name for column in COLUMNS if not column.optional)
        raise BenchError(
            f"{file.path} lacks {', '.join(missing)}",
            f"D4RL files hold {needed}; this one has {file.names()}.",
            file.remedy,
        )
    shapes = {column.name: file.shape(column.name) for column in there}
    for column in there:
        _check_shape(column, shapes[column.name], file, task)
    _check_lengths({name: shape[0] for name, shape in shapes.items()}, file)
    found = {}
    for column in there:
        read = _flags if column.flag else _numbers
        # Some of D4RL's files store columns as (R, 1); its reader accepts both.
        stored = file.read(column.name).reshape(-1, *(_width(column, task) or ()))
        found[column.name] = read(column.name, stored, file)
    _check_bounds(found["actions"], file, task)
    return found


def _width(column: FileColumn, task: Task) -> tuple[int, ...] | None:
    widths = {"observation": task.observation_dim, "action": task.action_dim}
    return (widths[column.width],) if column.width else None


def _check_shape(column: FileColumn, shape: tuple[int, ...], file: DatasetFile, task: Task) -> None:
    width = _width(column, task)
    expected = [width] if width else [(), (1,)]
    if len(shape) == 0 or shape[1:] not in expected:
        told = f"(rows, {width[0]}): {_mistaken(task)}" if width else "one value per row."
        what = f"{file.path} holds {column.name} of shape {shape}"
        raise BenchError(what, f"{task.name} has {told}", file.remedy)


def _mistaken(task: Task) -> str:
    """How it comes that a file is another robot's."""
    if task.added:
        return f"is {task.environment} its environment?"
    return "another task's file lies under this name."


def _check_lengths(lengths: Mapping[str, int], file: DatasetFile) -> None:
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise BenchError(f"{file.path} has columns of different lengths", f"Rows: {told}.", file.remedy)
    rows = lengths["rewards"]
    if rows < 2:
        raise BenchError(f"{file.path} has {rows} rows", "A transition needs two.", file.remedy)


def _numbers(name: str, stored: np.ndarray, file: DatasetFile) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored.astype(np.float32, copy=False)
        fine = np.abs(values) <= LARGEST_VALUE
    if not fine.all():
        row = int(np.argwhere(~fine)[0][0])
        raise BenchError(
            f"{file.path} holds {values[~fine][0]} in {name} at row {row:,}",
            f"{int((~fine).sum()):,} of its {name} are NaN, infinite or beyond {LARGEST_VALUE:g}; training "
            "on them would diverge.",
            file.remedy,
        )
    return values


def _flags(name: str, stored: np.ndarray, file: DatasetFile) -> np.ndarray:
    # A byte of a flag may hold any number, which NumPy would take for a kind of true.
    values = stored.view(np.uint8) if stored.dtype == np.bool_ else stored
    fine = (values == 0) | (values == 1)
    if not fine.all():
        row = int(np.argmin(fine))
        raise BenchError(
            f"{file.path} holds {values[row]} in {name} at row {row:,}",
            f"A flag is 0 or 1; {int((~fine).sum()):,} of its {name} are neither.",
            file.remedy,
        )
    return values == 1


def _check_bounds(actions: np.ndarray, file: DatasetFile, task: Task) -> None:
    outside = np.abs(actions) > task.action_bound + ACTION_TOLERANCE
    if outside.any():
        row = int(np.argwhere(outside)[0][0])
        raise BenchError(
            f"{file.path} holds an action of {np.abs(actions[row]).max():.6g} at row {row:,}",
            f"{int(outside.any(axis=1).sum()):,} rows lie outside {task.name}'s bounds "
            f"[-{task.action_bound:g}, {task.action_bound:g}] by more than {ACTION_TOLERANCE:g}.",
            file.remedy,
        )


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
    require_added(file, task)
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


def require_added(file: HeldFile, task: Task) -> None:
    """Check that a file of the user's own is the one that was added.

    Raises
    ------
    BenchError : its content is another one.
    """
    if isinstance(task.dataset, AddedDataset) and file.sha256 != task.dataset.sha256:
        raise BenchError(
            f"{file.path} is not the file that was added as {task.name}",
            f"Its SHA-256 is {file.sha256}; that of the catalogue's entry is {task.dataset.sha256}.",
            f"Move it away, and type `bench data add FILE --name {task.name}` with the file as it was; or "
            "with --replace, to take another one under this name.",
        )


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


def check_robot(raw: RawDataset, file: DatasetFile, task: Task) -> None:
    """Check that the observations can be those of the task's environment.

    Raises
    ------
    BenchError : they are another one's.
    """
    reason = "" if task.generated else robot_of(task.environment).misfit(raw.observations)
    if reason:
        raise BenchError(
            f"{file.path} is not data of {task.environment}",
            f"{reason} {_mistaken(task).capitalize()}",
            file.remedy,
        )
