"""Tonight's scores against the frozen baseline: a one-sided prediction interval at a stated family rate.

A cell's baseline is n_b scores with mean m and standard deviation s (n_b - 1 in the denominator). If the
n scores of tonight come from the same normal distribution, then

    t = (mean of tonight - m) / (s sqrt(1 / n + 1 / n_b))

follows Student's t with n_b - 1 degrees of freedom: the spread is the baseline's alone, so a night of two
seeds needs no estimate of its own, and a spread that grew shows as well. The P-values of all cells are
adjusted by Holm, which keeps the probability of any false alarm in a night below the family rate, whatever
the cells have in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bench.records import CellComparison, CellKey, CellStatus
from bench.report.statistics import holm

NO_SPREAD = 1e-9
"""Deviations below this share of the mean's size are rounding."""
_TOLD = (
    "status", "reason", "baseline_seeds", "baseline_mean", "baseline_sd", "seeds", "mean", "t", "p_below",
    "p_above", "alarm_below",
)  # fmt: skip


@dataclass(frozen=True)
class CellScores:
    """What is held against what."""

    cell: CellKey
    baseline: tuple[float, ...]
    """Scores of the frozen baseline, one per seed."""
    tonight: tuple[float | None, ...]
    """One per planned seed; None where it failed or is missing."""


@dataclass(frozen=True)
class NightComparison:
    """All cells of one night."""

    cells: tuple[CellComparison, ...]
    family_rate: float

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names of cells below their interval: to be confirmed with fresh seeds."""
        return self._with("below")

    @property
    def red(self) -> tuple[str, ...]:
        """Names of cells that are missing or unjudged: no fresh seeds settle these."""
        return self._with("missing", "unjudged")

    @property
    def above(self) -> tuple[str, ...]:
        """Names of cells above their interval: reported, no failure."""
        return self._with("above")

    def _with(self, *statuses: CellStatus) -> tuple[str, ...]:
        return tuple(one.name for one in self.cells if one.status in statuses)


def as_json(comparison: NightComparison) -> dict[str, Any]:
    """As reports show it: per cell what was compared here, apart from what became of it later."""
    cells = [{"cell": one.name} | {name: getattr(one, name) for name in _TOLD} for one in comparison.cells]
    return {"cells": cells, "family_rate": comparison.family_rate}


def prediction_t(
    mean: ArrayLike, baseline_mean: ArrayLike, baseline_sd: ArrayLike, seeds: int, baseline_seeds: int
) -> NDArray[np.float64]:
    """Student's t of means of `seeds` new scores, any shape, with `baseline_seeds` - 1 degrees of freedom."""
    error = np.asarray(baseline_sd) * math.sqrt(1 / seeds + 1 / baseline_seeds)
    return (np.asarray(mean) - np.asarray(baseline_mean)) / error


def compare_night(cells: Sequence[CellScores], family_rate: float) -> NightComparison:
    """Judge a night; `family_rate` is the probability of any false alarm below, and of any above."""
    found = [_compared(one, family_rate / max(1, len(cells))) for one in cells]
    below = alarming([one.p_below for one in found], family_rate)
    above = alarming([one.p_above for one in found], family_rate)
    judged = tuple(
        replace(one, status="below" if low else "above") if low or high else one
        for one, low, high in zip(found, below, above, strict=True)
    )
    return NightComparison(judged, family_rate)


def alarming(p_values: Sequence[float | None], rate: float) -> NDArray[np.bool_]:
    """Which of a family of tests alarm, where any false alarm among them all has this probability.

    Those without a P-value stay members of the family: a failure makes no other one's test easier.
    """
    return holm([1.0 if p_value is None else p_value for p_value in p_values]) <= rate


def confirm_night(
    first: NightComparison, fresh: Sequence[CellScores], confirmation_rate: float
) -> NightComparison:
    """The cells that alarmed held against the baseline again, with fresh seeds only.

    The night fails by the cells that are below here too, and by those whose fresh seeds failed. The rate
    holds over the cells that alarmed.

    Raises
    ------
    ValueError : `fresh` are other cells than those that alarmed.
    """
    names = [str(one.cell) for one in fresh]
    if sorted(names) != sorted(first.alarms):
        raise ValueError(f"fresh seeds of {names}, alarms of {list(first.alarms)}")
    return compare_night(fresh, confirmation_rate)


def _compared(scores: CellScores, level: float) -> CellComparison:
    """One cell on its own; `as expected` where it has a P-value, or where nothing moved at all."""
    baseline = np.asarray(scores.baseline, dtype=float)
    new = np.array([score for score in scores.tonight if score is not None and math.isfinite(score)])
    centre = deviation = None
    if len(baseline) >= 2 and np.isfinite(baseline).all():
        centre, deviation = float(baseline.mean()), float(baseline.std(ddof=1))
    mean = float(new.mean()) if len(new) else None
    found = CellComparison(
        cell=scores.cell,
        status="as expected",
        reason="",
        baseline_seeds=len(baseline),
        baseline_mean=centre,
        baseline_sd=deviation,
        seeds=len(new),
        lost=len(scores.tonight) - len(new),
        mean=mean,
        p_below=None,
        alarm_below=None,
    )
    if found.lost or mean is None:
        reason = f"{len(new)} of {len(scores.tonight)} seeds have a score"
        return replace(found, status="missing", reason=reason)
    if centre is None or deviation is None:
        known = sum(math.isfinite(score) for score in scores.baseline)
        reason = f"the baseline has {known} scores in {len(baseline)} seeds; an interval needs all, and two"
        return replace(found, status="unjudged", reason=reason)
    rounding = NO_SPREAD * max(1.0, abs(centre))
    if deviation <= rounding:
        if mean >= centre - rounding:
            return found
        same = f"all {len(baseline)} seeds of the baseline have the score {centre:.4g}"
        reason = f"{same}, so there is no interval; tonight's mean is {mean:.4g}"
        return replace(found, status="unjudged", reason=reason)
    degrees = len(baseline) - 1
    error = deviation * math.sqrt(1 / len(new) + 1 / len(baseline))
    t = float(prediction_t(mean, centre, deviation, len(new), len(baseline)))
    return replace(
        found,
        t=t,
        p_below=float(stats.t.cdf(t, degrees)),
        p_above=float(stats.t.sf(t, degrees)),
        alarm_below=centre - float(stats.t.isf(level, degrees)) * error,
    )
