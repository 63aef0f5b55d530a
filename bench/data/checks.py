"""What a dataset file must satisfy before anything is trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.catalog import D4RLDataset, Task
from bench.data.dataset import RawDataset
from bench.errors import BenchError

ACTION_TOLERANCE = 1e-3
"""Overshoot that is let through: DTQL's likelihood term divides by bound + 1e-3 and is finite up to there."""

MEDIAN_HEIGHTS = {"hopper": (0.7, 2.0), "walker2d": (0.8, 2.0), "halfcheetah": (-0.7, 0.7)}
"""Where the median of observation 0 (torso height in m, the cheetah's relative to its start) must lie: the
healthy ranges of the Gym robots. It tells Walker2d and HalfCheetah apart, whose dimensions are equal."""


def check_rows(raw: RawDataset, path: Path, task: Task) -> None:
    """Check shapes, values and robot of a dataset against its task.

    Raises
    ------
    BenchError : naming the first thing that is wrong and the row where it is.
    """
    _check_shapes(raw, path, task)
    for field in ("observations", "actions", "rewards"):
        _check_finite(field, getattr(raw, field), path, task)
    _check_bounds(raw, path, task)
    _check_robot(raw, path, task)


def obtain(task: Task) -> str:
    """The command that gets a task's dataset."""
    return f"`bench data {'fetch' if isinstance(task.dataset, D4RLDataset) else 'collect'} {task.name}`"


def replace_by(task: Task) -> str:
    """What to do about a file that is no good."""
    return f"Move the file away and type {obtain(task)}."


def unreadable(path: Path, task: Task, error: OSError) -> BenchError:
    """The error for a file that HDF5 cannot open or read to its end."""
    if isinstance(error, PermissionError):
        return BenchError(f"{path} may not be read", str(error), "Change its permissions.")
    if "truncated" in str(error):
        why = f"It is truncated, as an interrupted download leaves it: {path.stat().st_size:,} bytes."
    elif "signature" in str(error):
        why = f"It is not an HDF5 file ({path.stat().st_size:,} bytes)."
    else:
        why = f"HDF5 says: {error}"
    return BenchError(f"{path} cannot be read", why, replace_by(task))


def _check_shapes(raw: RawDataset, path: Path, task: Task) -> None:
    found = (raw.observations.shape[1:], raw.actions.shape[1:])
    expected = ((task.observation_dim,), (task.action_dim,))
    if found != expected:
        raise BenchError(
            f"{path} holds observations of shape {found[0]} and actions of shape {found[1]}",
            f"{task.name} has {expected[0]} and {expected[1]}: another task's file lies under this name.",
            replace_by(task),
        )
    columns = {name: getattr(raw, name) for name in ("observations", "actions", "rewards", "terminals")}
    if raw.timeouts is not None:
        columns["timeouts"] = raw.timeouts
    for name in ("rewards", "terminals", "timeouts"):
        if name in columns and columns[name].ndim != 1:
            raise BenchError(
                f"{path} holds {name} of shape {columns[name].shape}",
                "One value per row is expected.",
                replace_by(task),
            )
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise BenchError(f"{path} has columns of different lengths", f"Rows: {told}.", replace_by(task))
    if raw.rows < 2:
        raise BenchError(f"{path} has {raw.rows} rows", "A transition needs two.", replace_by(task))


def _check_finite(field: str, values: np.ndarray, path: Path, task: Task) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise BenchError(
            f"{path} holds {values[row]} in {field} at row {row:,}",
            f"{int(bad.sum()):,} of its {field} are NaN or infinite; training on them would diverge.",
            replace_by(task),
        )


def _check_bounds(raw: RawDataset, path: Path, task: Task) -> None:
    outside = np.abs(raw.actions) > task.action_bound + ACTION_TOLERANCE
    if outside.any():
        row = int(np.argwhere(outside)[0][0])
        raise BenchError(
            f"{path} holds an action of {np.abs(raw.actions[row]).max():.6g} at row {row:,}",
            f"{int(outside.any(axis=1).sum()):,} rows lie outside {task.name}'s bounds "
            f"[-{task.action_bound:g}, {task.action_bound:g}] by more than {ACTION_TOLERANCE:g}.",
            replace_by(task),
        )


def _check_robot(raw: RawDataset, path: Path, task: Task) -> None:
    if task.environment not in MEDIAN_HEIGHTS:
        return
    lowest, highest = MEDIAN_HEIGHTS[task.environment]
    height = float(np.median(raw.observations[:, 0]))
    if not lowest <= height <= highest:
        raise BenchError(
            f"{path} is not data of {task.environment}",
            f"The median torso height (observation 0) is {height:.3f}; a {task.environment} is within "
            f"{lowest} and {highest}: another robot's file lies under this name.",
            replace_by(task),
        )
