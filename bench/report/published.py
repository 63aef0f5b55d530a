"""What a printed mean is worth as evidence: its variance, from what the paper prints and what is assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.report.paper import PaperCell
from bench.report.statistics import (
    Components,
    Difference,
    Numbers,
    Sample,
    chosen,
    success_variance,
    welch,
)

SEEDS_ASSUMED = 3
"""Where the paper does not say how many: few, so that the interval is wide."""
_PERCENT = 100.0
_EVALUATIONS = {"last": 1, "rat": 10}
"""Evaluations that a score averages; best-over-training scores are no plain averages."""


class Published(Protocol):
    """A printed mean, or one of each of many experiments, that seeds of ours can be held against."""

    @property
    def mean(self) -> Numbers:
        """What is printed."""

    def against(self, ours: Sample) -> Difference:
        """Our mean minus the printed one, with its error."""

    def lines(self, ours: Sample) -> list[str]:
        """How its variance comes about."""


@dataclass(frozen=True)
class OverSeeds:
    """With a standard deviation over `n` seeds.

    It is taken as computed with ddof 0, NumPy's default, and widened by sqrt(n / (n - 1)): where that is
    wrong, the interval is a little too wide.
    """

    mean: Numbers
    deviation: Numbers
    n: int
    floor: Numbers = 0.0
    """Least variance of the mean."""

    def against(self, ours: Sample) -> Difference:
        """Welch's."""
        variance = np.maximum(self.deviation**2 / (self.n - 1), self.floor)
        return welch(ours, self.mean, variance, self.n)

    def lines(self, ours: Sample) -> list[str]:
        """How its variance comes about."""
        return [
            f"variance of the printed mean: {self.deviation:g}^2 / ({self.n} - 1)"
            f" = {self.deviation**2 / (self.n - 1):.3g} (the deviation over seeds taken as NumPy's, ddof 0)",
            *_floor_line(self.floor),
        ]


@dataclass(frozen=True)
class MeanAlone:
    """Without any spread: its `n` seeds are assumed to vary as ours do.

    The same as asking whether it lies in the prediction interval for a mean of `n` new seeds.
    """

    mean: Numbers
    n: int
    floor: Numbers = 0.0
    """Least variance of the mean."""

    def against(self, ours: Sample) -> Difference:
        """Our own spread stands in for the paper's."""
        variance = np.maximum(ours.variance / self.n, self.floor)
        return Difference(ours.mean - self.mean, np.sqrt(ours.variance / ours.n + variance), ours.n - 1)

    def lines(self, ours: Sample) -> list[str]:
        """How its variance comes about."""
        return [
            f"variance of the printed mean, from our seeds: {ours.variance:.3g} / {self.n}"
            f" = {ours.variance / self.n:.3g}",
            *_floor_line(self.floor),
        ]


@dataclass(frozen=True)
class PooledError:
    """With a standard error over the pooled rollouts of all seeds, which holds no seed's own deviation.

    That standard error is right only if seeds do not differ, so the variance between seeds is ours. Where the
    printed one shows that the paper's rollouts vary more than ours, both parts grow in proportion: with our
    own alone, seeds that vary twice as much made the test wrong three times as often as it says (measured).
    What no printed number shows is a larger share of the same variance lying between the paper's seeds than
    between ours: 0.2 instead of 0.05, and at 100 episodes the test errs 2 to 2.5 times as often as it says.

    On success rates near 1 our spread is too small whenever our mean is high. With 0.2 of an episode's
    variance between seeds (some fail altogether) *above* is found up to sixteen times as often as stated and,
    under a printed deviation too, equivalence claimed up to four times; with 0.05, not more often and 1.4
    times. *Below* holds.
    """

    mean: Numbers
    standard_error: Numbers
    n: int
    episodes: int
    components: Components | None
    """Of our episodes; None where they are not known."""

    @property
    def variance(self) -> Numbers:
        """Of the printed mean; without our episodes the largest that the printed error allows.

        Kept between `standard_error**2` (seeds do not differ) and `episodes * standard_error**2` (episodes of
        a seed do not).
        """
        least, most = self.standard_error**2, self.episodes * self.standard_error**2
        if self.components is None:
            return most
        total = self.components.between + self.components.within
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.divide(least * self.n * self.episodes, total)
        growth = chosen(np.greater(total, 0), np.maximum(1.0, ratio), 1.0)
        variance = self.components.of_mean(self.n, self.episodes) * growth
        return np.minimum(np.maximum(variance, least), most)

    def against(self, ours: Sample) -> Difference:
        """With the variance between seeds that our episodes show.

        Where they alone make the variance, both are ours, and so are the degrees of freedom. Where it is
        larger, or held by what is printed, the paper's few seeds count: the degrees of freedom are those of
        the smaller set of seeds, since the two variances are not independent.
        """
        variance = self.variance
        ours_alone: bool | NDArray[np.bool_] = False
        if self.components is not None:
            ours_alone = np.equal(variance, self.components.of_mean(self.n, self.episodes))
        seeds = chosen(ours_alone, ours.n, np.minimum(ours.n, self.n))
        error = np.sqrt(ours.variance / ours.n + variance)
        return Difference(ours.mean - self.mean, error, seeds - 1)

    def lines(self, ours: Sample) -> list[str]:
        """How its variance comes about."""
        low, high = self.standard_error**2, self.episodes * self.standard_error**2
        if self.components is None:
            return [
                "variance of the printed mean: the most that its error allows,"
                f" {self.episodes} x {self.standard_error:g}^2 = {high:.3g}"
            ]
        between, within = self.components.between, self.components.within
        plain = self.components.of_mean(self.n, self.episodes)
        lines = [
            f"our episodes: variance between seeds {between:.3g}, within a seed {within:.3g}",
            f"variance of the printed mean from them: {between:.3g} / {self.n} + {within:.3g} /"
            f" {self.n * self.episodes} = {plain:.3g}",
        ]
        if np.greater(np.abs(self.variance - plain), 1e-9 * np.maximum(plain, 1e-300)):
            lines.append(
                f"taken as {self.variance:.3g}: larger where the printed error says that the paper's rollouts"
                f" vary more than ours, and kept within [{low:.3g}, {high:.3g}] = [{self.standard_error:g}^2,"
                f" {self.episodes} x {self.standard_error:g}^2]"
            )
        return lines


def published(cell: PaperCell, components: Components | None) -> Published | None:
    """The printed number as evidence; None where nobody says what its spread means.

    Parameters
    ----------
    components : of our episodes under the same evaluation; used where the paper's own spread holds no seeds.
    """
    assert cell.mean is not None, "a number without a mean is never judged"
    n = cell.seeds or SEEDS_ASSUMED
    floor = success_floor(cell, n)
    if cell.spread is None:
        return MeanAlone(cell.mean, n, floor)
    if cell.spread_kind == "std_over_seeds":
        return OverSeeds(cell.mean, cell.spread, n, floor)
    if cell.spread_kind == "se_over_rollouts" and cell.episodes is not None:
        return PooledError(cell.mean, cell.spread, n, cell.episodes, components)
    return None


def success_floor(cell: PaperCell, n: int, rate: float | None = None) -> Numbers:
    """Least variance of a mean over `n` seeds (points squared): where an episode succeeds or fails.

    Parameters
    ----------
    rate : mean score, 0 to 100; the printed one unless given.
    """
    if not cell.succeeds_or_fails or cell.episodes is None or cell.mean is None:
        return 0.0
    return binomial_floor(cell.mean if rate is None else rate, n, cell.episodes, cell.protocol)


def binomial_floor(rate: float, n: int, episodes: int, protocol: str) -> Numbers:
    """Least variance of a mean score over `n` seeds (points squared) where each episode succeeds or fails.

    0 under protocols that are no plain averages of evaluations.
    """
    evaluations = _EVALUATIONS.get(protocol)
    if evaluations is None or not episodes:
        return 0.0
    share = min(max(rate / _PERCENT, 0.0), 1.0)
    return success_variance(share, n * episodes * evaluations) * _PERCENT**2


def assumptions(cell: PaperCell) -> tuple[str, ...]:
    """What is taken for granted about a printed number because the paper does not say it."""
    found = []
    if cell.seeds is None:
        found.append(f"number of seeds not stated: {SEEDS_ASSUMED} assumed")
    if cell.spread is None:
        found.append("no spread printed: the paper's seeds are assumed to vary as ours do")
    elif cell.spread_kind == "se_over_rollouts":
        found.append(
            "± is a standard error over pooled rollouts, which holds no variance between seeds: that is taken"
            " from our episodes, and more where the printed error is larger than ours would be"
        )
    elif cell.spread_kind == "std_over_seeds":
        found.append("± taken as a standard deviation over seeds with ddof 0")
    return tuple(found)


def _floor_line(floor: Numbers) -> list[str]:
    return [f"at least {floor:.3g}, the binomial variance of that many episodes"] if floor else []
