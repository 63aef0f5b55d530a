"""Where dataset files lie."""

from __future__ import annotations

import os
from pathlib import Path

from bench.catalog import D4RLDataset, Task
from bench.errors import BenchError
from bench.visible_text import shortened

_LONGEST = 80
"""Characters of a folder's name in a message."""


def data_folder() -> Path:
    """Folder of all datasets: `BENCH_DATA_DIR`, else D4RL's own `D4RL_DATASET_DIR`, else ~/.d4rl/datasets.

    D4RL's place is shared so that files it has downloaded are used and need not be fetched again.

    Raises
    ------
    BenchError : there is no such home folder, or the name is none that a folder can have.
    """
    for variable in ("BENCH_DATA_DIR", "D4RL_DATASET_DIR"):
        if folder := os.environ.get(variable):
            return _usable(variable, folder)
    try:
        return Path.home() / ".d4rl" / "datasets"
    except RuntimeError as error:
        raise BenchError(
            "no home folder: set BENCH_DATA_DIR",
            "Datasets lie in ~/.d4rl/datasets, and this user has no home folder.",
            "Type BENCH_DATA_DIR=FOLDER before the command.",
        ) from error


def _usable(variable: str, folder: str) -> Path:
    told = f"{variable}={shortened(folder, _LONGEST)}"
    try:
        path = Path(folder).expanduser().resolve()
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            raise PermissionError("It may not be read.")
        return path
    except RuntimeError as error:
        raise BenchError(
            f"no home folder: {told}", "It begins with ~.", f"Set {variable} to a folder by its full name."
        ) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BenchError(told, why, f"Set {variable} to a folder for datasets.") from error


def dataset_path(task: Task) -> Path:
    """File of a task's dataset, whether it is there or not.

    D4RL's files keep the name of their address, as D4RL names them; collected ones lie in `collected/`,
    generated ones in `generated/`.
    """
    if isinstance(task.dataset, D4RLDataset):
        return data_folder() / task.dataset.file_name
    return data_folder() / task.dataset.source / f"{task.name}.hdf5"
