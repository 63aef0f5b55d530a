"""The statistics behind tables and verdicts: aggregates with intervals, and differences to published means.

Scores of several tasks come as one array `(S,)` per task, S its training seeds. Nothing here knows about
stores or papers. Aggregates after Agarwal et al. 2021 (rliable); equivalence by two one-sided tests
(Schuirmann 1987); degrees of freedom after Welch and Satterthwaite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]
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
    generator = np.random.default_rng(seed)
    drawn = [task[generator.integers(len(task), size=(resamples, len(task)))] for task in tasks]
    values = statistic(np.concatenate(drawn, axis=1))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(np.concatenate(tasks))), float(low), float(high), level)


_COVERAGE = {3: 0.83, 4: 0.87, 5: 0.89, 6: 0.90, 10: 0.92}
"""Of nominal 95 % intervals over nine tasks, by seeds per task; tests/report measures it again.

Measured with spreads that differ by up to twenty times between tasks; with equal ones 0.01 to 0.03 more.
"""


def bootstrap_caveat(seeds: int) -> str:
    """What must stand beside a 95 % bootstrap interval over so many seeds; empty where it is sound."""
    if seeds < 3:
        return f"bootstrap over {seeds} seed{'s' if seeds > 1 else ''}: no interval worth the name"
    if seeds > max(_COVERAGE):
        return ""
    coverage = _COVERAGE[max(count for count in _COVERAGE if count <= seeds)]
    return f"nominal 95 % bootstrap interval; over {seeds} seeds it covers about {coverage:.0%}"


def t_interval(scores: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval of the mean of one task's seeds `(S,)`; infinitely wide with one seed."""
    return stratified_t_interval([scores], level)


def stratified_t_interval(scores: Sequence[ArrayLike], level: float = 0.95) -> Interval:
    """Student's interval of the mean of the tasks' mean scores; for few seeds, where bootstrap fails.

    Its variance is the sum of the tasks' own, its degrees of freedom Satterthwaite's.
    """
    tasks = _tasks(scores)
    parts = [Difference.of_sample(float(task.mean()), _variance(task), len(task)) for task in tasks]
    both = mean_difference(parts)
    low, high = both.interval(level)
    return Interval(both.value, low, high, level)


def probability_of_improvement(scores: Sequence[ArrayLike], others: Sequence[ArrayLike]) -> float:
    """Probability that a run of the first method beats one of the second on the same task; ties count half.

    Parameters
    ----------
    scores, others : per task `(S,)`, the tasks in the same order.
    """
    wins = []
    for own, other in zip(_tasks(scores), _tasks(others), strict=True):
        gap = own[:, None] - other[None, :]
        wins.append(float((gap > 0).mean() + (gap == 0).mean() / 2))
    return float(np.mean(wins))


def performance_profile(scores: Sequence[ArrayLike], thresholds: ArrayLike) -> Array:
    """Share of runs above each threshold `(T,)`, every task weighing the same."""
    limits = np.asarray(thresholds, dtype=float)
    return np.mean([(task[:, None] > limits).mean(axis=0) for task in _tasks(scores)], axis=0)


def holm(p_values: ArrayLike) -> Array:
    """P-values `(K,)` adjusted by Holm: rejecting those up to a level keeps the family's error below it."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


# Differences to published means


@dataclass(frozen=True)
class Difference:
    """An estimated difference whose error, over `standard_error`, follows Student's t."""

    value: float
    standard_error: float
    degrees_of_freedom: float

    @staticmethod
    def of_sample(mean: float, variance: float, n: int) -> Difference:
        """The mean of `n` numbers with this sample variance (ddof 1), as a difference to 0."""
        return Difference(mean, math.sqrt(variance / n), n - 1)

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Two-sided interval; both ends of the 90 % one are those of two one-sided tests at 5 %."""
        if self.degrees_of_freedom <= 0:
            return -math.inf, math.inf
        half = float(stdtrit(self.degrees_of_freedom, (1 + level) / 2)) * self.standard_error
        return self.value - half, self.value + half

    def p_below(self, bound: float) -> float:
        """P-value of the test against `difference >= bound`: small where it lies below."""
        return self._probability(self.value - bound)

    def p_above(self, bound: float) -> float:
        """P-value of the test against `difference <= bound`: small where it lies above."""
        return self._probability(-(self.value - bound))

    def _probability(self, gap: float) -> float:
        if self.degrees_of_freedom <= 0:
            return 1.0
        if self.standard_error == 0:
            return 0.0 if gap < 0 else 1.0
        return float(stdtr(self.degrees_of_freedom, gap / self.standard_error))


@dataclass(frozen=True)
class Sample:
    """What is known of our own seeds."""

    mean: float
    variance: float
    """Between the seeds' scores, ddof 1: includes what few episodes add."""
    n: int

    @staticmethod
    def of(scores: ArrayLike, floor: float = 0.0) -> Sample:
        """The sample of scores `(S,)`; its variance is at least `floor`."""
        values = np.asarray(scores, dtype=float)
        return Sample(float(values.mean()), max(_variance(values), floor), len(values))


def against_deviation(ours: Sample, mean: float, deviation: float, n: int, floor: float = 0.0) -> Difference:
    """Difference to a published mean with a standard deviation over `n` seeds (Welch).

    The deviation is taken as computed with ddof 0, NumPy's default, and widened by sqrt(n / (n - 1)): where
    that is wrong, the interval is a little too wide. `floor`: least variance of the published mean.
    """
    variance = max(deviation**2 / (n - 1), floor)
    return _welch(ours, mean, variance, n)


def against_mean(ours: Sample, mean: float, n: int, floor: float = 0.0) -> Difference:
    """Difference to a published mean of `n` seeds without spread: its seeds are assumed to vary as ours do.

    The same as asking whether the published mean lies in the prediction interval for a mean of `n` new seeds.
    """
    variance = max(ours.variance / n, floor)
    return Difference(ours.mean - mean, math.sqrt(ours.variance / ours.n + variance), ours.n - 1)


@dataclass(frozen=True)
class Components:
    """Variance of an episode's score, split into that between seeds and that between episodes of one seed."""

    between: float
    within: float

    @staticmethod
    def of(episodes: ArrayLike) -> Components:
        """By the method of moments from scores `(S, E)`; the between part is at least 0."""
        scores = np.asarray(episodes, dtype=float)
        within = float(scores.var(axis=1, ddof=1).mean()) if scores.shape[1] > 1 else 0.0
        between = _variance(scores.mean(axis=1)) - within / scores.shape[1]
        return Components(max(between, 0.0), within)

    def of_mean(self, seeds: int, episodes: int) -> float:
        """Variance of the mean over so many seeds with so many episodes each."""
        return self.between / seeds + self.within / (seeds * episodes)


def pooled_variance(components: Components, standard_error: float, n: int, episodes: int) -> float:
    """Variance of a published mean of which only the standard error over pooled rollouts is printed.

    That standard error is right only if seeds do not differ, so the variance between seeds is ours. Where the
    printed one shows that the paper's rollouts vary more than ours, both parts grow in proportion: with our
    own alone, seeds that vary twice as much made the test wrong three times as often as it says (measured).
    What no printed number shows is a larger share of the same variance lying between the paper's seeds than
    between ours: 0.2 instead of 0.05, and at 100 episodes the test errs 2 to 2.5 times as often as it says.
    Kept between `standard_error**2` (seeds do not differ) and `episodes * standard_error**2` (episodes of a
    seed do not).
    """
    variance = components.of_mean(n, episodes) * pooled_growth(components, standard_error, n, episodes)
    return min(max(variance, standard_error**2), episodes * standard_error**2)


def pooled_growth(components: Components, standard_error: float, n: int, episodes: int) -> float:
    """How many times as much the paper's pooled rollouts vary as ours; 1 where they vary less."""
    total = components.between + components.within
    return max(1.0, standard_error**2 * n * episodes / total) if total > 0 else 1.0


def against_pooled_error(
    ours: Sample, mean: float, variance: float, n: int, *, grown: bool = True
) -> Difference:
    """Difference to a published mean of `n` seeds whose variance came from `pooled_variance`.

    Parameters
    ----------
    grown : whether that variance is another than our episodes alone make it. Then the paper's few seeds
        count, and the degrees of freedom are those of the smaller set of seeds, since the two variances are
        not independent; otherwise both variances are ours, and so are the degrees of freedom.

    On success rates near 1 our spread is too small whenever our mean is high. With 0.2 of an episode's
    variance between seeds (some fail altogether) *above* is found up to sixteen times as often as stated and,
    under a printed deviation too, equivalence claimed up to four times; with 0.05, not more often and 1.4
    times. *Below* holds.
    """
    standard_error = math.sqrt(ours.variance / ours.n + variance)
    return Difference(ours.mean - mean, standard_error, (min(ours.n, n) if grown else ours.n) - 1)


def success_variance(rate: float, rollouts: int) -> float:
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
    value = float(np.mean([part.value for part in parts]))
    return Difference(value, math.sqrt(sum(variances)) / len(parts), degrees)


def _welch(ours: Sample, mean: float, variance: float, n: int) -> Difference:
    """Welch's test; 1 / degrees of freedom is half-way from Satterthwaite's to the smaller sample's.

    So errors are at most as frequent as stated with 3 to 6 seeds on either side or 10 on both, spreads up to
    four times apart; 1.3 times with 5 against 10, 1.5 with 3 against 10. Satterthwaite's own make them, far
    out in the tail where Holm's correction looks, 2.2 (5 against 6), 2.6 and 8 times as frequent; the smaller
    sample's a tenth, and then hardly anything is found. `python -m bench.benchmarks.statistics_rates`.
    """
    own = ours.variance / ours.n
    smaller = min(ours.n, n) - 1
    degrees = 0.0
    if smaller > 0:
        degrees = 2 / (1 / smaller + 1 / _satterthwaite([own, variance], [ours.n - 1, n - 1]))
    return Difference(ours.mean - mean, math.sqrt(own + variance), degrees)


def _satterthwaite(variances: Sequence[float], degrees: Sequence[float]) -> float:
    """Degrees of freedom of a sum of independent estimates of variances; 0 where one of them has none."""
    if min(degrees) <= 0:
        return 0.0
    total = sum(variances)
    if total == 0:
        return min(degrees)
    return 1 / sum((variance / total) ** 2 / df for variance, df in zip(variances, degrees, strict=True))


def _variance(values: Array) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _tasks(scores: Sequence[ArrayLike]) -> list[Array]:
    return [np.asarray(task, dtype=float) for task in scores]
