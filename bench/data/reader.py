"""Reads D4RL's HDF5 files and turns their rows into transitions exactly as D4RL does."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from bench.catalog import Task
from bench.data.checks import check_rows, obtain, replace_by, unreadable
from bench.data.dataset import BoolArray, FloatArray, RawDataset, Transitions
from bench.errors import BenchError

REQUIRED = ("observations", "actions", "rewards", "terminals")


def read_file(path: Path, task: Task) -> RawDataset:
    """Read a dataset file and check that it can be what it claims to be.

    Raises
    ------
    BenchError : the file is absent, not HDF5, truncated, incomplete, wrongly shaped, of another robot, or
        holds values that are not finite or actions outside the bounds.
    """
    if not path.is_file():
        raise BenchError(f"no dataset file {path}", "", f"Type {obtain(task)}.")
    try:
        with h5py.File(path, "r") as file:
            arrays = _arrays(file, path, task)
    except OSError as error:
        raise unreadable(path, task, error) from error
    raw = RawDataset(name=task.name, horizon=task.horizon, **arrays)
    check_rows(raw, path, task)
    return raw


def read_metadata(path: Path) -> dict[str, str]:
    """What a file says about its making: the short texts under `metadata/`, by name."""
    with h5py.File(path, "r") as file:
        entries = file.get("metadata", {})
        return {
            name: entry.asstr()[()]
            for name, entry in entries.items()
            if isinstance(entry, h5py.Dataset) and entry.shape == () and h5py.check_string_dtype(entry.dtype)
        }


def transitions_of(raw: RawDataset, task: Task, rule: str = "d4rl") -> Transitions:
    """Transitions of a task's file by a preset's rule, `d4rl` or `keep_terminal_timeouts`.

    In one-step problems no row has a successor, and every row is a transition.
    """
    if task.generated:
        return _one_step_transitions(raw)
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


def _one_step_transitions(raw: RawDataset) -> Transitions:
    """Every row is an episode, and its next observation the same one (DTQL's `toy_tasks/`)."""
    return Transitions(
        observations=raw.observations,
        actions=raw.actions,
        rewards=raw.rewards,
        next_observations=raw.observations,
        terminals=raw.terminals,
        trajectory_ends=np.ones(raw.rows, dtype=bool),
    )


def cut_rows(raw: RawDataset) -> BoolArray:
    """Rows (R,) at which an episode was cut, by the file's timeouts or D4RL's count of steps."""
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


def _arrays(file: h5py.File, path: Path, task: Task) -> dict[str, FloatArray | BoolArray | None]:
    missing = [key for key in REQUIRED if not isinstance(file.get(key), h5py.Dataset)]
    if missing:
        raise BenchError(
            f"{path} lacks {', '.join(missing)}",
            f"D4RL files hold {', '.join(REQUIRED)}; this one has {', '.join(sorted(file)) or 'nothing'}.",
            replace_by(task),
        )
    textual = [key for key in REQUIRED if file[key].dtype.kind not in "biuf"]
    if textual:
        raise BenchError(
            f"{path} holds no numbers in {', '.join(textual)}",
            f"Its type is {file[textual[0]].dtype}.",
            replace_by(task),
        )
    return {
        "observations": file["observations"][()].astype(np.float32),
        "actions": file["actions"][()].astype(np.float32),
        "rewards": _flat(file["rewards"][()].astype(np.float32)),
        "terminals": _flat(file["terminals"][()].astype(bool)),
        "timeouts": _flat(file["timeouts"][()].astype(bool)) if "timeouts" in file else None,
    }


def _flat(column: np.ndarray) -> np.ndarray:
    # Some of D4RL's files store columns as (R, 1); its reader accepts both.
    return column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
