"""Writes a 2D problem's dataset in D4RL's HDF5 layout: one row, one episode of one step."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from bench.catalog import NO_PHYSICS, GeneratedDataset, Task
from bench.envs.bandit import PointSet, generate, problem_named
from bench.errors import BenchError
from bench.files import sha256_of, written_whole


def write_generated(task: Task, path: Path, rows: int | None = None, seed: int | None = None) -> str:
    """Write a generated task's dataset to `path`; return the file's SHA-256.

    `rows` and `seed` default to the task's.

    Raises
    ------
    BenchError : the task's data is no formula, or the file cannot be written.
    """
    recipe = task.dataset
    if not isinstance(recipe, GeneratedDataset):
        raise BenchError(f"{task.name} is not generated", f"Its data is {recipe.source}.", "")
    seed = recipe.seed if seed is None else seed
    points = generate(recipe, rows, seed)
    try:
        with written_whole(path) as temporary:
            with h5py.File(temporary, "w") as file:
                _write(file, points, problem_named(recipe.problem).terminal)
                _describe(file, recipe.problem, seed)
            return sha256_of(temporary)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written", str(error), "Make room, or set BENCH_DATA_DIR to another folder."
        ) from error


def _write(file: h5py.File, points: PointSet, terminal: bool) -> None:
    """Every row ends its episode: as a terminal, or cut off at the horizon of one step."""
    rows = len(points.rewards)
    ends, none = np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool)
    columns = {
        "observations": np.zeros((rows, 1), dtype=np.float32),
        "actions": points.actions,
        "rewards": points.rewards,
        "terminals": ends if terminal else none,
        "timeouts": none if terminal else ends,
    }
    for name, column in columns.items():
        # Without times: the same request gives the same bytes.
        file.create_dataset(name, data=column, track_times=False)


def _describe(file: h5py.File, problem: str, seed: int) -> None:
    metadata = {"problem": np.bytes_(problem), "seed": np.bytes_(str(seed)), "physics": np.bytes_(NO_PHYSICS)}
    for name, value in metadata.items():
        file.create_dataset(f"metadata/{name}", data=value, track_times=False)
