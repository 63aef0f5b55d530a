"""Episodes in a dataset: where they end, and their returns and lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import BoolArray, FloatArray, RawDataset, Transitions, jumps
from bench.data.reader import cut_rows


@dataclass(frozen=True)
class Episodes:
    """Episodes of a file, in its order; E of them."""

    returns: NDArray[np.float64]
    """(E,) undiscounted."""
    largest: NDArray[np.float64]
    """(E,) largest reward of each."""
    lengths: NDArray[np.int64]
    """(E,) steps."""
    last_is_whole: bool
    """Whether the file ends with the end of an episode."""


def episodes(raw: RawDataset, terminals_end: bool = True) -> Episodes:
    """Cut the rows of a file into episodes, after rows at which one was cut, and after terminal ones.

    `terminals_end` is false of AntMaze, whose terminals say that the goal was near while the episode went on.
    """
    ends = raw.terminals | cut_rows(raw) if terminals_end else cut_rows(raw)
    largest = np.maximum.reduceat(raw.rewards.astype(np.float64), _starts(ends))
    return Episodes(segment_returns(raw.rewards, ends), largest, segment_lengths(ends), bool(ends[-1]))


def segment_returns(rewards: FloatArray, ends: BoolArray) -> NDArray[np.float64]:
    """Sums (E,) of `rewards` (N,) up to and with each end; rows after the last end are one more segment."""
    return np.add.reduceat(rewards.astype(np.float64), _starts(ends))


def segment_lengths(ends: BoolArray) -> NDArray[np.int64]:
    """Rows (E,) of the segments that `segment_returns` sums."""
    return np.diff(np.append(_starts(ends), len(ends)))


def ends_by_discontinuity(transitions: Transitions) -> BoolArray:
    """Trajectory ends (N,) as IQL and EDP find them: terminal, or the next row's observation is another."""
    ends = transitions.terminals.copy()
    ends[:-1] |= jumps(transitions.observations, transitions.next_observations)
    ends[-1] = True
    return ends


def ends_by_count(transitions: Transitions, steps: int) -> BoolArray:
    """Trajectory ends (N,) as SRPO counts them: terminal, or `steps` kept transitions since the last end."""
    ends = np.zeros(len(transitions), dtype=bool)
    count = 0
    for row, terminal in enumerate(transitions.terminals.tolist()):
        count += 1
        if terminal or count == steps:
            ends[row] = True
            count = 0
    return ends


def _starts(ends: BoolArray) -> NDArray[np.int64]:
    return np.append(0, np.flatnonzero(ends[:-1]) + 1)
