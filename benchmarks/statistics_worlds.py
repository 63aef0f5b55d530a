"""Simulated experiments with a known truth, and what the rules of bench.report.statistics make of them.

What judges a printed number (`bench.report.published`) judges arrays of experiments here. Unit of scores: the
standard deviation of one of our seeds, except for success rates (0 to 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from bench.report.published import MeanAlone, OverSeeds, PooledError
from bench.report.statistics import Array, Components, Difference, Numbers, Sample, success_variance
from bench.report.verdicts import LEVEL


@dataclass(frozen=True)
class Rate:
    """How often something happens, and the standard deviation of that estimate."""

    value: float
    error: float


@dataclass(frozen=True)
class NormalWorld:
    """Normal scores: their means are independent of their spreads, so that rates need no means drawn."""

    judged: Difference
    """What the rule makes of experiments in which both means are 0."""
    true_error: float
    """Standard deviation of the difference between the two means."""

    def rejection(self, level: float, beyond: float = 0.0) -> Rate:
        """How often the one-sided test rejects where the truth lies so far beyond the margin; 0: falsely."""
        return _rate(ndtr((beyond - self.judged.reach(1 - level)) / self.true_error))

    def equivalence(self, margin: float, level: float = 0.05, difference: float = 0.0) -> Rate:
        """How often two one-sided tests find a true difference to lie inside the margin."""
        room = margin - self.judged.reach(1 - level)
        inside = ndtr((room - difference) / self.true_error) - ndtr((-room - difference) / self.true_error)
        return _rate(np.where(room > 0, inside, 0.0))


def seeds_world(
    draws: np.random.Generator, count: int, n: int, n0: int, ratio: float, ddof: int | None
) -> NormalWorld:
    """Ours: `n` seeds of standard deviation 1; the paper's: `n0` of standard deviation `ratio`.

    Parameters
    ----------
    ddof : of the printed deviation; None: nothing but the mean is printed.
    """
    ours = Sample(0.0, draws.chisquare(n - 1, count) / (n - 1), n)
    true_error = math.sqrt(1 / n + ratio**2 / n0)
    if ddof is None:
        return NormalWorld(MeanAlone(0.0, n0, 0.0).against(ours), true_error)
    deviation = ratio * np.sqrt(draws.chisquare(n0 - 1, count) / (n0 - ddof))
    return NormalWorld(OverSeeds(0.0, deviation, n0, 0.0).against(ours), true_error)


@dataclass(frozen=True)
class Episodes:
    """How scores come about: seeds, episodes of each, share of an episode's variance between seeds."""

    seeds: int
    episodes: int
    between: float
    total: float = 1.0
    """Variance of an episode's score over all seeds."""

    @property
    def seed_variance(self) -> float:
        """Variance of a seed's mean score."""
        return self.total * (self.between + (1 - self.between) / self.episodes)

    def squares(self, draws: np.random.Generator, count: int) -> tuple[Array, Array]:
        """Sums of squares, `(R,)` each: of the seeds' means, and of the episodes about their seed's mean."""
        means = self.seed_variance * draws.chisquare(self.seeds - 1, count)
        inner = self.total * (1 - self.between)
        return means, inner * draws.chisquare(self.seeds * (self.episodes - 1), count)


def rollouts_world(draws: np.random.Generator, count: int, ours: Episodes, paper: Episodes) -> NormalWorld:
    """Normal episodes; the paper prints the standard error over all its rollouts pooled.

    Unit: the standard deviation of one of our seeds' mean scores.
    """
    means, inner = ours.squares(draws, count)
    unit = ours.seed_variance
    seen = Sample(0.0, means / (ours.seeds - 1), ours.seeds)
    within = inner / (ours.seeds * (ours.episodes - 1))
    components = Components.of_seeds(seen.variance, within, ours.episodes)
    their_means, their_inner = paper.squares(draws, count)
    rollouts = paper.seeds * paper.episodes
    printed = np.sqrt((paper.episodes * their_means + their_inner) / rollouts**2)
    found = PooledError(0.0, printed, paper.seeds, paper.episodes, components).against(seen)
    scaled = replace(found, standard_error=found.standard_error / math.sqrt(unit))
    return NormalWorld(scaled, math.sqrt(1 / ours.seeds + paper.seed_variance / unit / paper.seeds))


@dataclass(frozen=True)
class SuccessWorld:
    """Episodes that succeed or fail, each seed with its own rate of success (beta-distributed)."""

    n: int
    n0: int
    episodes: int
    rate: float
    """True mean rate of ours."""
    printed: float
    """True mean rate of the paper's."""
    share: float
    """Of an episode's variance, between seeds."""

    def false_alarms(self, draws: np.random.Generator, count: int, rule: str, level: float) -> Rate:
        """How often the test rejects where the margin is just the true difference.

        Parameters
        ----------
        rule : `pooled` (the paper prints the standard error over its rollouts) or `deviation` (over seeds).
        """
        difference, margin = self._differences(draws, count, rule), abs(self.rate - self.printed)
        above = self.rate > self.printed
        p_value = difference.p_above(margin) if above else difference.p_below(-margin)
        return _rate(np.asarray(p_value <= level, dtype=float))

    def false_equivalence(self, draws: np.random.Generator, count: int, rule: str) -> Rate:
        """How often the 90 % interval lies within that same margin."""
        low, high = self._differences(draws, count, rule).interval(LEVEL)
        margin = abs(self.rate - self.printed)
        return _rate(np.asarray((-margin <= low) & (high <= margin), dtype=float))

    def _differences(self, draws: np.random.Generator, count: int, rule: str) -> Difference:
        ours = self._successes(draws, (count, self.n), self.rate)
        theirs = self._successes(draws, (count, self.n0), self.printed)
        return self.judged(ours, theirs, rule)

    def judged(self, ours: Array, theirs: Array, rule: str) -> Difference:
        """What the rule makes of the seeds' success rates `(R, n)` and `(R, n0)`."""
        n, n0, episodes, mean = self.n, self.n0, self.episodes, theirs.mean(axis=1)
        seen = Sample.of(ours)
        sample = Sample.of(ours, n * success_variance(seen.mean, n * episodes))
        if rule == "deviation":
            floor = success_variance(mean, n0 * episodes)
            return OverSeeds(mean, theirs.std(axis=1), n0, floor).against(sample)
        within = (ours * (1 - ours)).mean(axis=1) * episodes / (episodes - 1)
        components = Components.of_seeds(seen.variance, within, episodes)
        printed = np.sqrt(mean * (1 - mean) / (n0 * episodes))
        return PooledError(mean, printed, n0, episodes, components).against(sample)

    def _successes(self, draws: np.random.Generator, shape: tuple[int, int], rate: float) -> Array:
        own: Numbers = rate
        if self.share > 0:
            strength = 1 / self.share - 1
            own = draws.beta(rate * strength, (1 - rate) * strength, shape)
        return draws.binomial(self.episodes, own, shape) / self.episodes


def _rate(chances: Array) -> Rate:
    return Rate(float(chances.mean()), float(chances.std() / math.sqrt(len(chances))))
