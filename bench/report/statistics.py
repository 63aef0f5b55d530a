"""The statistics behind tables and verdicts: aggregates with intervals, and differences between means.

Scores of several tasks come as one array `(S,)` per task, S its training seeds. Differences, samples and
what they are made of are numbers, or arrays of many experiments, so that simulations of the error rates run
these very rules. Nothing here knows about stores or papers. Aggregates after Agarwal et al. 2021 (rliable);
equivalence by two one-sided tests (Schuirmann 1987); degrees of freedom after Welch and Satterthwaite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

Array = NDArray[np.float64]
Numbers = float | Array
"""Of one experiment, or of many, one each."""
Statistic = Callable[[Array], Array]
"""Reduces the last axis, `(..., N) -> (...)`."""


@dataclass(frozen=True)
class Interval:
    """An estimate and where the true value lies at `level` (0.95: in 95 % of such intervals)."""

    estimate: float
    low: float
    high: float
    level: float


# Aggregates over seeds and tasks


def mean(scores: Array) -> Array:
    """Mean over the last axis."""
    return scores.mean(axis=-1)


def interquartile_mean(scores: Array) -> Array:
    """Mean of the middle half of the last axis: a quarter, rounded down, is cut off at either end."""
    count = scores.shape[-1]
    cut = count // 4
    return np.sort(scores, axis=-1)[..., cut : count - cut].mean(axis=-1)


EXPERT = 100.0
"""The normalised score from which on a run is no longer short of anything."""


def optimality_gap(scores: Array) -> Array:
    """By how much the runs of the last axis fall short of an expert's score on average; lower is better."""
    return np.maximum(EXPERT - scores, 0.0).mean(axis=-1)


def stratified_bootstrap(
    scores: Sequence[ArrayLike],
    statistic: Statistic,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic of all runs, seeds resampled within each task.

    Parameters
    ----------
    scores : per task `(S,)`; every task at least one seed.
    statistic : of all runs of all tasks together.
    seed : of the resampling; the same seed gives the same interval.

    With few seeds it covers less than `level` says (`bootstrap_caveat`).
    """
    tasks = _tasks(scores)
    drawn = _resampled(tasks, resamples, np.random.default_rng(seed))
    values = statistic(np.concatenate(drawn, axis=1))
    return _percentiles(statistic(np.concatenate(tasks)), values, level)


def median_of_tasks(
    scores: Sequence[ArrayLike], *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> Interval:
    """The median of the tasks' mean scores, with the interval of `stratified_bootstrap`."""
    tasks = _tasks(scores)
    drawn = _resampled(tasks, resamples, np.random.default_rng(seed))
    means = np.array([task.mean(axis=-1) for task in drawn])
    return _percentiles(np.median([task.mean() for task in tasks]), np.median(means, axis=0), level)


def probability_of_improvement(
    scores: Sequence[ArrayLike],
    others: Sequence[ArrayLike],
    *,
    resamples: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Probability that a run of the first method beats one of the second on the same task; ties count half.

    Every task weighs the same; in the interval the seeds of both methods are resampled within tasks. Over
    nine tasks it covers what it says within 0.05 from three seeds on (tests/report).

    Parameters
    ----------
    scores, others : per task `(S,)`, the tasks in the same order.
    """
    generator = np.random.default_rng(seed)
    own, its = _tasks(scores), _tasks(others)
    drawn = (_resampled(tasks, resamples, generator) for tasks in (own, its))
    return _percentiles(_wins(own, its), _wins(*drawn), level)


def improvement_over_few(
    scores: Sequence[ArrayLike], others: Sequence[ArrayLike], level: float = 0.95
) -> Interval:
    """The same probability with an interval that holds for few tasks, and for one.

    Of one task: Newcombe's (2006, method 5, of the Mann-Whitney statistic), which covers 0.88 to 0.97 with 3
    to 10 seeds of either, where the bootstrap covers 0.26 to 0.95 and has no width once all runs of one beat
    all of the other. Of several: their combination (MOVER) or the bootstrap's, at either end the wider one.
    """
    own, its = _tasks(scores), _tasks(others)
    wins = np.array([_wins([mine], [other]) for mine, other in zip(own, its, strict=True)])
    low, high = _newcombe(wins, np.array([len(x) for x in own]), np.array([len(x) for x in its]), level)
    estimate, count = float(wins.mean()), len(wins)
    least = estimate - float(np.sqrt(np.sum((wins - low) ** 2))) / count
    most = estimate + float(np.sqrt(np.sum((high - wins) ** 2))) / count
    if count > 1:
        drawn = probability_of_improvement(scores, others, level=level)
        least, most = min(least, drawn.low), max(most, drawn.high)
    return Interval(estimate, least, most, level)


def _newcombe(wins: Array, n: Array, m: Array, level: float) -> tuple[Array, Array]:
    """Where a probability of improvement may lie whose own error explains the distance to `wins`."""
    quantile = ndtri((1 + level) / 2)

    def too_far(probability: Array) -> NDArray[np.bool_]:
        grown = (1 - probability) / (2 - probability) + probability / (1 + probability)
        variance = probability * (1 - probability) * (1 + ((n + m) / 2 - 1) * grown) / (n * m)
        return (probability - wins) ** 2 > quantile**2 * variance

    ends = []
    for beyond in (np.zeros_like(wins), np.ones_like(wins)):
        # Halved until no digit changes; just inside, for at the very end the variance is 0.
        inside, outside = np.clip(wins, 1e-9, 1 - 1e-9), beyond
        for _ in range(60):
            middle = (inside + outside) / 2
            far = too_far(middle)
            inside, outside = np.where(far, inside, middle), np.where(far, middle, outside)
        ends.append(outside)
    return ends[0], ends[1]


def _wins(own: Sequence[Array], others: Sequence[Array]) -> Array:
    """Share of pairs of runs that the first wins, over tasks: of runs `(..., S)` against `(..., Z)`."""
    gaps = [mine[..., :, None] - its[..., None, :] for mine, its in zip(own, others, strict=True)]
    return np.mean([(np.sign(gap).mean(axis=(-2, -1)) + 1) / 2 for gap in gaps], axis=0)


def _resampled(tasks: Sequence[Array], resamples: int, generator: np.random.Generator) -> list[Array]:
    """Seeds drawn anew within each task: per task `(resamples, S)`."""
    return [task[generator.integers(len(task), size=(resamples, len(task)))] for task in tasks]


def _percentiles(estimate: ArrayLike, values: Array, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.asarray(estimate)), float(low), float(high), level)


COVERAGE = {3: 0.83, 4: 0.87, 5: 0.89, 6: 0.90, 10: 0.92}
"""Of nominal 95 % intervals over nine tasks, by seeds per task; tests/report measures it again.

Measured with spreads that differ by up to twenty times between tasks; with equal ones 0.01 to 0.03 more.
"""


def bootstrap_caveat(seeds: int) -> str:
    """What must stand beside a 95 % bootstrap interval over so many seeds; empty where it is sound."""
    if seeds < 3:
        return f"bootstrap over {seeds} seed{'s' if seeds > 1 else ''}: no interval worth the name"
    if seeds > max(COVERAGE):
        return ""
    coverage = COVERAGE[max(count for count in COVERAGE if count <= seeds)]
    return f"nominal 95 % bootstrap interval; over {seeds} seeds it covers about {100 * coverage:.0f} %"


def stratified_t_interval(scores: Sequence[ArrayLike], level: float = 0.95) -> Interval:
    """Student's interval of the mean of the tasks' mean scores; for few seeds, where bootstrap fails.

    Its variance is the sum of the tasks' own, its degrees of freedom Satterthwaite's.
    """
    tasks = _tasks(scores)
    parts = [Difference.of_sample(task.mean(), _variance(task), len(task)) for task in tasks]
    both = mean_difference(parts)
    low, high = both.interval(level)
    return Interval(float(both.value), float(low), float(high), level)


def performance_profile(scores: Sequence[ArrayLike], thresholds: ArrayLike) -> Array:
    """Share of runs above each threshold `(T,)`, every task weighing the same."""
    limits = np.asarray(thresholds, dtype=float)
    return np.mean([(task[:, None] > limits).mean(axis=0) for task in _tasks(scores)], axis=0)


def holm(p_values: ArrayLike) -> Array:
    """P-values adjusted by Holm: rejecting those up to a level keeps the family's error below it.

    Parameters
    ----------
    p_values : `(..., K)`, families along the last axis; NaN is no member of its family and stays NaN.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, axis=-1)  # NaN comes last
    left = np.sum(~np.isnan(p), axis=-1, keepdims=True) - np.arange(p.shape[-1])
    steps = np.maximum.accumulate(np.take_along_axis(p, order, axis=-1) * left, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(steps, 1.0), axis=-1)
    return adjusted


# Differences between means


@dataclass(frozen=True)
class Difference:
    """An estimated difference whose error, over `standard_error`, follows Student's t."""

    value: Numbers
    standard_error: Numbers
    degrees_of_freedom: Numbers

    @staticmethod
    def of_sample(mean: Numbers, variance: Numbers, n: int) -> Difference:
        """The mean of `n` numbers with this sample variance (ddof 1), as a difference to 0."""
        return Difference(mean, np.sqrt(variance / n), n - 1)

    def reach(self, level: float) -> Numbers:
        """How far the estimate is off at most on either side, in this share of experiments each."""
        quantile = stdtrit(self.degrees_of_freedom, level)
        return chosen(np.less_equal(self.degrees_of_freedom, 0), math.inf, quantile * self.standard_error)

    def interval(self, level: float = 0.9) -> tuple[Numbers, Numbers]:
        """Two-sided interval; both ends of the 90 % one are those of two one-sided tests at 5 %."""
        half = self.reach((1 + level) / 2)
        return self.value - half, self.value + half

    def p_below(self, bound: Numbers) -> Numbers:
        """P-value of the test against `difference >= bound`: small where it lies below."""
        return self._probability(self.value - bound)

    def p_above(self, bound: Numbers) -> Numbers:
        """P-value of the test against `difference <= bound`: small where it lies above."""
        return self._probability(-(self.value - bound))

    def _probability(self, gap: Numbers) -> Numbers:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = stdtr(self.degrees_of_freedom, np.divide(gap, self.standard_error))
        certain = chosen(np.less(gap, 0), 0.0, 1.0)
        tested = chosen(np.equal(self.standard_error, 0), certain, found)
        return chosen(np.less_equal(self.degrees_of_freedom, 0), 1.0, tested)


@dataclass(frozen=True)
class Sample:
    """What is known of our own seeds."""

    mean: Numbers
    variance: Numbers
    """Between the seeds' scores, ddof 1: includes what few episodes add."""
    n: Numbers
    """One, or several that are asked about at once."""

    @staticmethod
    def of(scores: ArrayLike, floor: Numbers = 0.0) -> Sample:
        """The sample of scores `(..., S)`; its variance is at least `floor`."""
        values = np.asarray(scores, dtype=float)
        return Sample(values.mean(axis=-1), np.maximum(_variance(values), floor), values.shape[-1])


@dataclass(frozen=True)
class Components:
    """Variance of an episode's score, split into that between seeds and that between episodes of one seed."""

    between: Numbers
    within: Numbers

    @staticmethod
    def of(episodes: ArrayLike) -> Components:
        """By the method of moments from scores `(..., S, E)`; the between part is at least 0."""
        scores = np.asarray(episodes, dtype=float)
        seeds = _variance(scores.mean(axis=-1))
        return Components.of_seeds(seeds, np.mean(_variance(scores), axis=-1), scores.shape[-1])

    @staticmethod
    def of_seeds(variance: Numbers, within: Numbers, episodes: int) -> Components:
        """From the variance of the seeds' means over so many episodes, and that of one seed's episodes."""
        return Components(np.maximum(variance - within / episodes, 0.0), within)

    def of_mean(self, seeds: int, episodes: int) -> Numbers:
        """Variance of the mean over so many seeds with so many episodes each."""
        return self.between / seeds + self.within / (seeds * episodes)


def success_variance(rate: Numbers, rollouts: int) -> Numbers:
    """Binomial variance of a share of successes over so many rollouts, in the share's own unit squared.

    With two successes and two failures added (Agresti and Coull 1998), so that 0 and 1 are not taken for
    certain.
    """
    shrunk = (rate * rollouts + 2) / (rollouts + 4)
    return shrunk * (1 - shrunk) / rollouts


def mean_difference(parts: Sequence[Difference]) -> Difference:
    """Mean of independent differences; degrees of freedom after Satterthwaite."""
    variances = [part.standard_error**2 for part in parts]
    degrees = _satterthwaite(variances, [part.degrees_of_freedom for part in parts])
    value = np.mean(np.stack([np.asarray(part.value) for part in parts]), axis=0)
    return Difference(value, np.sqrt(sum(variances)) / len(parts), degrees)


def welch(ours: Sample, mean: Numbers, variance: Numbers, n: Numbers) -> Difference:
    """Our mean minus another one of `n` seeds, of this variance, by Welch's test.

    1 / degrees of freedom is half-way from Satterthwaite's to the smaller sample's.

    So errors are at most as frequent as stated with 3 to 6 seeds on either side or 10 on both, spreads up to
    four times apart; 1.3 times with 5 against 10, 1.5 with 3 against 10. Satterthwaite's own make them, far
    out in the tail where Holm's correction looks, 2.2 (5 against 6), 2.6 and 8 times as frequent; the smaller
    sample's a tenth, and then hardly anything is found. `python -m benchmarks.statistics_rates`.
    """
    own = ours.variance / ours.n
    satterthwaite = _satterthwaite([own, variance], [ours.n - 1, n - 1])
    with np.errstate(divide="ignore"):
        # 0 where either side is of one seed.
        degrees = 2 / (np.divide(1, np.minimum(ours.n, n) - 1) + np.divide(1, satterthwaite))
    return Difference(ours.mean - mean, np.sqrt(own + variance), degrees)


def _satterthwaite(variances: Sequence[Numbers], degrees: Sequence[Numbers]) -> Numbers:
    """Degrees of freedom of a sum of independent estimates of variances; 0 where one of them has none."""
    least, total = reduce(np.minimum, degrees), sum(variances)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [np.divide(variance, total) for variance in variances]
        found = np.divide(1, sum(share**2 / df for share, df in zip(shares, degrees, strict=True)))
    return chosen(np.less_equal(least, 0), 0.0, chosen(np.equal(total, 0), least, found))


def _variance(values: Array) -> Numbers:
    """Over the last axis, ddof 1; of one number alone 0."""
    return values.var(axis=-1, ddof=1) if values.shape[-1] > 1 else np.zeros(values.shape[:-1])[()]


def chosen(condition: bool | NDArray[np.bool_], value: Numbers, otherwise: Numbers) -> Numbers:
    """The one where the condition holds, the other elsewhere; of numbers a number."""
    return np.where(condition, value, otherwise)[()]


def _tasks(scores: Sequence[ArrayLike]) -> list[Array]:
    return [np.asarray(task, dtype=float) for task in scores]
