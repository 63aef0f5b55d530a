"""Tonight's scores against the frozen baseline: a one-sided prediction interval at a stated family rate.

A cell's baseline is n_b scores with mean m and standard deviation s (n_b - 1 in the denominator). If tonight's n
scores come from the same normal distribution, then

    t = (mean of tonight - m) / (s sqrt(1 / n + 1 / n_b))

follows Student's t with n_b - 1 degrees of freedom: the spread is the baseline's alone, so a night of two seeds
needs no estimate of its own, and a changed spread shows as well. The P-values of all cells are corrected by
Holm's method, which keeps the probability of any false alarm in a night below the family rate, whatever the
cells have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["as expected", "below", "above", "missing", "unjudged"]
"""`below` alarms, `above` is only reported. `missing` (a seed of tonight failed or was not run) and `unjudged`
(the baseline gives no interval) are red."""
RED: tuple[Status, ...] = ("below", "missing", "unjudged")


@dataclass(frozen=True)
class CellScores:
    """What is held against what."""

    cell: str
    """Name of the cell, `dtql collected-hopper-medium`."""
    baseline: tuple[float, ...]
    """Scores of the frozen baseline, one per seed."""
    tonight: tuple[float | None, ...]
    """One per planned seed; None where it failed or is missing."""


@dataclass(frozen=True)
class CellComparison:
    """One cell of one night; a figure that there is not is None."""

    cell: str
    status: Status
    reason: str
    """Why it is missing or unjudged; empty otherwise."""
    baseline_seeds: int
    baseline_mean: float | None
    baseline_sd: float | None
    seeds: int
    """Of tonight that have a score."""
    mean: float | None
    t: float | None
    """Standardised difference, in standard errors of its prediction."""
    p_below: float | None
    """Probability of a mean this low or lower if nothing has changed."""
    p_above: float | None
    alarm_below: float | None
    """Score below which a cell alarms when it is the only one that does."""


@dataclass(frozen=True)
class NightComparison:
    """All cells of one night."""

    cells: tuple[CellComparison, ...]
    family_rate: float

    @property
    def alarms(self) -> tuple[str, ...]:
        """Cells below their interval: to be confirmed with fresh seeds."""
        return self._with("below")

    @property
    def red(self) -> tuple[str, ...]:
        """Cells that are missing or unjudged: no fresh seeds settle these."""
        return self._with("missing", "unjudged")

    @property
    def above(self) -> tuple[str, ...]:
        """Cells above their interval: reported, no failure."""
        return self._with("above")

    def _with(self, *statuses: Status) -> tuple[str, ...]:
        return tuple(one.cell for one in self.cells if one.status in statuses)


def compare_night(cells: Sequence[CellScores], family_rate: float) -> NightComparison:
    """Judge a night; `family_rate` is the probability of any false alarm below, and of any above.

    Cells without P-value count as members of the family, so that a failure makes no other cell's test easier.
    """
    raise NotImplementedError


def confirmed(first: NightComparison, fresh: Sequence[CellScores], rate: float) -> NightComparison:
    """The alarmed cells held against the baseline with fresh seeds; a night fails by the cells below in both.

    `fresh` holds exactly the cells that alarmed; `rate` is the family rate over these.
    """
    raise NotImplementedError


def confirmed_rate(
    *,
    cells: int,
    baseline_seeds: int,
    seeds: int,
    fresh_seeds: int,
    family_rate: float,
    confirmation_rate: float,
) -> float:
    """Probability per night that an unchanged family fails in both stages, their shared baseline included."""
    raise NotImplementedError
