"""The two forms a dataset has in memory: rows as the file stores them, and transitions to train on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


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

    def __len__(self) -> int:
        return len(self.rewards)


def jumps(observations: FloatArray, next_observations: FloatArray) -> BoolArray:
    """(N-1,) whether the next row's observation is another than the one that a row announces."""
    return np.linalg.norm(observations[1:] - next_observations[:-1], axis=1) > DISCONTINUITY
