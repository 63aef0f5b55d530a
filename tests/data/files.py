"""Writes small files in D4RL's layout for the tests."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from bench.catalog import Task, load_catalog

HOPPER_HEIGHT = 1.25


def hopper(**changes) -> Task:
    """The hopper-medium-v2 task, with fields changed."""
    return replace(load_catalog().task("hopper-medium-v2"), **changes)


def columns(rows: int = 40, seed: int = 0, observation_dim: int = 11, action_dim: int = 3) -> dict:
    """Columns of a file: one terminal at row 9, timeouts at 19 and at the end, float32 values."""
    generator = np.random.default_rng(seed)
    observations = generator.normal(size=(rows, observation_dim)).astype(np.float32)
    observations[:, 0] = HOPPER_HEIGHT + 0.01 * observations[:, 0]
    row = np.arange(rows)
    terminals, timeouts = row == 9, (row == 19) | (row == rows - 1)
    return {
        "observations": observations,
        "actions": generator.uniform(-1, 1, (rows, action_dim)).astype(np.float32),
        "rewards": generator.normal(size=rows).astype(np.float32),
        "terminals": terminals,
        "timeouts": timeouts,
    }


def write(path: Path, content: dict) -> Path:
    """Write columns to an HDF5 file; None leaves one out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in content.items():
            if values is not None:
                file[key] = values
    return path
