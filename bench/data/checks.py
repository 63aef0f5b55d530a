"""What a dataset file must hold: its columns, declared once, with their shapes, types and ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.catalog import D4RLDataset, Task
from bench.data.dataset import RawDataset
from bench.data.hdf5 import DatasetFile
from bench.envs import rules_of
from bench.errors import BenchError


@dataclass(frozen=True)
class Column:
    """A column of a dataset file; every row has one value, or as many as an observation or action has."""

    name: str
    width: Literal["observation", "action"] | None = None
    flag: bool = False
    """Its values are 0 and 1."""
    optional: bool = False


COLUMNS = (
    Column("observations", "observation"),
    Column("actions", "action"),
    Column("rewards"),
    Column("terminals", flag=True),
    Column("timeouts", flag=True, optional=True),
    Column("next_observations", "observation", optional=True),
)
"""Of both layouts. Rows in the order of time have `timeouts` or are counted up to the horizon; ready-made
transitions have `next_observations` (`bench.data.reader` tells them apart)."""

ACTION_TOLERANCE = 1e-3
"""Overshoot that is let through: DTQL's likelihood term divides by bound + 1e-3 and is finite up to there."""
LARGEST_VALUE = 1e9
"""Of any number; training squares and sums them in single precision."""


def obtain(task: Task) -> str:
    """What to type to get a task's dataset."""
    return f"Type `bench data {'fetch' if isinstance(task.dataset, D4RLDataset) else 'collect'} {task.name}`."


def replace_by(task: Task) -> str:
    """What to do about a file that is no good."""
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


def check_robot(raw: RawDataset, file: DatasetFile, task: Task) -> None:
    """Check that the observations can be those of the task's environment.

    Raises
    ------
    BenchError : they are another one's.
    """
    reason = "" if task.generated else rules_of(task.environment).misfit(raw.observations)
    if reason:
        raise BenchError(
            f"{file.path} is not data of {task.environment}",
            f"{reason} Another task's file lies under this name.",
            file.remedy,
        )


def _width(column: Column, task: Task) -> tuple[int, ...] | None:
    widths = {"observation": task.observation_dim, "action": task.action_dim}
    return (widths[column.width],) if column.width else None


def _check_shape(column: Column, shape: tuple[int, ...], file: DatasetFile, task: Task) -> None:
    width = _width(column, task)
    expected = [width] if width else [(), (1,)]
    if len(shape) == 0 or shape[1:] not in expected:
        told = (
            f"(rows, {width[0]}): another task's file lies under this name" if width else "one value per row"
        )
        raise BenchError(
            f"{file.path} holds {column.name} of shape {shape}", f"{task.name} has {told}.", file.remedy
        )


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
