"""Training speed against the baseline's, on the same machine only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Circumstances:
    """Where and how something was timed; seconds are comparable only where all of it is equal."""

    hostname: str
    cpu: str
    device: str
    """`cpu: <model>` or `cuda: <model>`."""
    threads: int
    runner: str
    """`eager` or `graph`."""
    precision: str
    """`float32`, with torch's settings where they differ from its defaults."""
    torch: str
    """Version; told where it differs, but no reason not to compare."""


@dataclass(frozen=True)
class Pace:
    """Repeated timings of one quantity of one method."""

    method: str
    quantity: str
    """As in TimingRecord: `training_seconds_per_1k_iterations`, also with a phase."""
    seconds: tuple[float, ...]
    """One per repeat."""
    circumstances: Circumstances
    exclusive: bool
    """The machine was otherwise idle during all repeats."""


@dataclass(frozen=True)
class PaceComparison:
    """One quantity of one night."""

    method: str
    quantity: str
    status: Literal["as expected", "slower", "faster", "missing", "not compared"]
    """`slower` alarms, `missing` (baseline has it, tonight has not) is red."""
    reason: str
    """Why it is not compared or missing, or that the repeats cannot reach the level; else empty."""
    baseline_median: float | None
    median: float | None
    p_slower: float | None


def compare_pace(
    baseline: Sequence[Pace], tonight: Sequence[Pace], *, rate: float, slack: float
) -> tuple[PaceComparison, ...]:
    """One comparison per quantity of the baseline or of tonight."""
    raise NotImplementedError


def smallest_p(baseline: int, tonight: int) -> float:
    """Smallest one-sided P-value that the rank test can give with so many repeats."""
    raise NotImplementedError


def repeats_needed(quantities: int, rate: float) -> int:
    """Repeats, on both sides, with which one slower quantity among so many can alarm at all."""
    raise NotImplementedError
