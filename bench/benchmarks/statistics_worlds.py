"""Simulated experiments with a known truth, and what the rules of bench.report.statistics make of them.

The rules stand here a second time, over arrays of experiments and written from their sources; tests hold the
two against each other on single draws. Unit of scores: the standard deviation of one of our seeds, except for
success rates (0 to 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

Array = NDArray[np.float64]
Numbers = Array | float


@dataclass(frozen=True)
class Rate:
    """How often something happens, and the standard deviation of that estimate."""

    value: float
    error: float


@dataclass(frozen=True)
class Errors:
    """What a rule takes the error of simulated differences for, `(R,)`."""

    standard_error: Array
    degrees_of_freedom: Numbers

    def critical(self, level: float) -> Array:
        """How far beyond the margin a difference must lie to be called so at this level."""
        return -stdtrit(self.degrees_of_freedom, level) * self.standard_error


def deviation_rule(variance: Numbers, n: int, deviation: Numbers, n0: int, floor: Numbers = 0.0) -> Errors:
    """A printed deviation over `n0` seeds: Welch; 1 / df is the mean of Satterthwaite's and the smaller n's.

    Parameters
    ----------
    variance : of our `n` seeds, ddof 1.
    deviation : as printed, taken as of ddof 0.
    floor : least variance of the printed mean.
    """
    own = np.asarray(variance) / n
    theirs = np.maximum(np.square(deviation) / (n0 - 1), floor)
    reciprocal = (own**2 / (n - 1) + theirs**2 / (n0 - 1)) / (own + theirs) ** 2
    smaller = min(n, n0) - 1
    return Errors(np.sqrt(own + theirs), 2 / (reciprocal + 1 / smaller))


def mean_rule(variance: Numbers, n: int, n0: int) -> Errors:
    """A printed mean of `n0` seeds alone: Student's prediction interval."""
    return Errors(np.sqrt(np.asarray(variance) * (1 / n + 1 / n0)), n - 1)


def pooled_rule(
    variance: Numbers, between: Array, within: Array, printed: Array, n: int, n0: int, episodes: int
) -> Errors:
    """A printed standard error over `n0 * episodes` pooled rollouts.

    Parameters
    ----------
    variance : of our seeds' mean scores.
    between, within : our components of an episode's variance.
    printed : the standard error.
    """
    total = between + within
    ratio = np.divide(printed**2 * n0 * episodes, total, out=np.ones_like(total), where=total > 0)
    theirs = (between / n0 + within / (n0 * episodes)) * np.maximum(ratio, 1.0)
    theirs = np.minimum(np.maximum(theirs, printed**2), episodes * printed**2)
    degrees = np.where(ratio > 1, min(n, n0) - 1, n - 1)
    return Errors(np.sqrt(np.asarray(variance) / n + theirs), degrees)


def binomial_floor(rate: Array, rollouts: int) -> Array:
    """Agresti and Coull's variance of a success rate: two successes and two failures added to its shares."""
    shrunk = (rate * rollouts + 2) / (rollouts + 4)
    return shrunk * (1 - shrunk) / rollouts


@dataclass(frozen=True)
class NormalWorld:
    """Normal scores: their means are independent of their spreads, so that rates need no means drawn."""

    errors: Errors
    true_error: float
    """Standard deviation of the difference between the two means."""

    def rejection(self, level: float, beyond: float = 0.0) -> Rate:
        """How often the one-sided test rejects where the truth lies so far beyond the margin; 0: falsely."""
        return _rate(ndtr((beyond - self.errors.critical(level)) / self.true_error))

    def equivalence(self, margin: float, level: float = 0.05, difference: float = 0.0) -> Rate:
        """How often two one-sided tests find a true difference to lie inside the margin."""
        room = margin - self.errors.critical(level)
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
    variance = draws.chisquare(n - 1, count) / (n - 1)
    true_error = math.sqrt(1 / n + ratio**2 / n0)
    if ddof is None:
        return NormalWorld(mean_rule(variance, n, n0), true_error)
    deviation = ratio * np.sqrt(draws.chisquare(n0 - 1, count) / (n0 - ddof))
    return NormalWorld(deviation_rule(variance, n, deviation, n0), true_error)


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
    variance = means / (ours.seeds - 1)
    within = inner / (ours.seeds * (ours.episodes - 1))
    between = np.maximum(variance - within / ours.episodes, 0.0)
    their_means, their_inner = paper.squares(draws, count)
    rollouts = paper.seeds * paper.episodes
    printed = np.sqrt((paper.episodes * their_means + their_inner) / rollouts**2)
    rule = pooled_rule(variance, between, within, printed, ours.seeds, paper.seeds, paper.episodes)
    scaled = Errors(rule.standard_error / math.sqrt(unit), rule.degrees_of_freedom)
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
        outward, errors = self._differences(draws, count, rule)
        margin = abs(self.rate - self.printed)
        return _rate((outward - margin > errors.critical(level)).astype(float))

    def false_equivalence(self, draws: np.random.Generator, count: int, rule: str) -> Rate:
        """How often the 90 % interval lies within that same margin."""
        outward, errors = self._differences(draws, count, rule)
        room = abs(self.rate - self.printed) - errors.critical(0.05)
        return _rate((np.abs(outward) <= room).astype(float))

    def _differences(self, draws: np.random.Generator, count: int, rule: str) -> tuple[Array, Errors]:
        """Differences `(R,)`, positive in the direction of the true one, and their errors."""
        ours = self._successes(draws, (count, self.n), self.rate)
        theirs = self._successes(draws, (count, self.n0), self.printed)
        outward = (ours.mean(axis=1) - theirs.mean(axis=1)) * np.sign(self.rate - self.printed)
        return outward, self.errors(ours, theirs, rule)

    def errors(self, ours: Array, theirs: Array, rule: str) -> Errors:
        """What the rule makes of the seeds' success rates `(R, n)` and `(R, n0)`."""
        n, n0, episodes = self.n, self.n0, self.episodes
        floor = n * binomial_floor(ours.mean(axis=1), n * episodes)
        seen = ours.var(axis=1, ddof=1)
        variance = np.maximum(seen, floor)
        mean = theirs.mean(axis=1)
        if rule == "deviation":
            their_floor = binomial_floor(mean, n0 * episodes)
            return deviation_rule(variance, n, theirs.std(axis=1), n0, their_floor)
        within = (ours * (1 - ours)).mean(axis=1) * episodes / (episodes - 1)
        between = np.maximum(seen - within / episodes, 0.0)
        printed = np.sqrt(mean * (1 - mean) / (n0 * episodes))
        return pooled_rule(variance, between, within, printed, n, n0, episodes)

    def _successes(self, draws: np.random.Generator, shape: tuple[int, int], rate: float) -> Array:
        own: Numbers = rate
        if self.share > 0:
            strength = 1 / self.share - 1
            own = draws.beta(rate * strength, (1 - rate) * strength, shape)
        return draws.binomial(self.episodes, own, shape) / self.episodes


def _rate(chances: Array) -> Rate:
    return Rate(float(chances.mean()), float(chances.std() / math.sqrt(len(chances))))
