"""Slow drift over nights: a one-sided CUSUM per cell of standardised differences to the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.nightly.alarms import NightComparison


@dataclass(frozen=True)
class DriftRule:
    """Slack and limit of the sums, in standard deviations of a night's normal score."""

    slack: float
    limit: float
    rate: float
    """False alarms per night over all cells."""
    nights: int


@dataclass(frozen=True)
class DriftState:
    """Sum per cell since the baseline was frozen; a cell without one stands at 0."""

    sums: Mapping[str, float]


def drift_rule(*, cells: int, baseline_seeds: int, seeds: int, rate: float, nights: int) -> DriftRule:
    """Slack and limit for a family of cells, found by simulation with the baseline's own error in it."""
    raise NotImplementedError


def after_night(state: DriftState, night: NightComparison, rule: DriftRule) -> DriftState:
    """The state after one more night; cells without a complete comparison keep their sums."""
    raise NotImplementedError


def drifting(state: DriftState, rule: DriftRule) -> tuple[str, ...]:
    """Cells whose sum has reached the limit."""
    raise NotImplementedError
