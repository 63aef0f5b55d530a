"""Where dataset files lie."""

from __future__ import annotations

import os
from pathlib import Path

from bench.catalog import D4RLDataset, Task


def data_folder() -> Path:
    """Folder of all datasets: `BENCH_DATA_DIR`, else D4RL's own `D4RL_DATASET_DIR`, else ~/.d4rl/datasets.

    D4RL's place is shared so that files it has downloaded are used and need not be fetched again.
    """
    for variable in ("BENCH_DATA_DIR", "D4RL_DATASET_DIR"):
        if folder := os.environ.get(variable):
            return Path(folder).expanduser().resolve()
    return Path.home() / ".d4rl" / "datasets"


def dataset_path(task: Task) -> Path:
    """File of a task's dataset, whether it is there or not.

    D4RL's files keep the name of their address, as D4RL names them; collected ones lie in `collected/`,
    generated ones in `generated/`.
    """
    if isinstance(task.dataset, D4RLDataset):
        return data_folder() / task.dataset.file_name
    return data_folder() / task.dataset.source / f"{task.name}.hdf5"
