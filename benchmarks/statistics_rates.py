"""How often the rules of bench.report.statistics err and how much they see.

`python -m benchmarks.statistics_rates` prints it in about a minute. False alarms are given as multiples
of the stated level, at 5 % and at 5 % / 72 (the first step of Holm's correction over both sides of 36 cells),
with the true difference just at the margin: nowhere are they more frequent. Powers are of the latter level,
at 2, 3, 4 and 6 standard deviations of one of our seeds beyond the margin.

What judges a printed number (`bench.report.published`) judges arrays of experiments with a known truth here.
Unit of scores: the standard deviation of one of our seeds, except for success rates (0 to 1).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from bench.report.published import MeanAlone, OverSeeds, PooledError
from bench.report.statistics import (
    Array,
    Components,
    Difference,
    Numbers,
    Sample,
    interquartile_mean,
    mean,
    stratified_bootstrap,
    stratified_t_interval,
    success_variance,
)
from bench.report.verdicts import LEVEL

SINGLE, FAMILY = 0.05, 0.05 / 72
RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Standard deviation of the paper's seeds over ours."""
SHIFTS = (2.0, 3.0, 4.0, 6.0)
SHARES = (0.0, 0.05, 0.2, 0.5, 0.9)
"""Of an episode's variance, between seeds."""
SUCCESS_SHARES = (0.0, 0.02, 0.05, 0.2, 0.5)
"""The AntMaze deviations that SRPO and BDPO print amount to 0.13 at most; from 0.2 on whole seeds fail."""
NUMBERS = ((3, 3), (3, 5), (5, 3), (3, 10), (5, 5), (5, 6), (6, 6), (5, 10), (10, 5), (10, 10))
"""Our seeds against the paper's."""


# Simulated experiments, and what the rules make of them.


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
        return NormalWorld(MeanAlone(0.0, n0).against(ours), true_error)
    deviation = ratio * np.sqrt(draws.chisquare(n0 - 1, count) / (n0 - ddof))
    return NormalWorld(OverSeeds(0.0, deviation, n0).against(ours), true_error)


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


# The tables.


def deviation_table(count: int) -> Iterator[str]:
    """A printed standard deviation over seeds."""
    yield "Printed deviation over seeds (OverSeeds): seeds, ddof, false alarms by sd ratio, power"
    for n, n0 in NUMBERS:
        for ddof in (0, 1):
            worlds = [seeds_world(_draws(), count, n, n0, ratio, ddof) for ratio in RATIOS]
            yield f"  {n:2} v {n0:2} ddof {ddof}  {_alarms(worlds)}  {_power(worlds[2])}"


def mean_table(count: int) -> Iterator[str]:
    """A printed mean alone; its rates at unequal spreads are the price of what is assumed."""
    yield "Printed mean alone (MeanAlone): the paper's seeds are assumed to vary as ours; by sd ratio"
    for n, n0 in NUMBERS:
        worlds = [seeds_world(_draws(), count, n, n0, ratio, None) for ratio in RATIOS]
        yield f"  {n:2} v {n0:2}         {_alarms(worlds)}  {_power(worlds[2])}"


def pooled_table(count: int) -> Iterator[str]:
    """A standard error over pooled rollouts."""
    yield "Printed standard error over rollouts (PooledError): share between seeds, then by sd ratio"
    for n, n0 in ((5, 5), (3, 5), (10, 5)):
        for episodes in (10, 100):
            for share in SHARES:
                worlds = [
                    rollouts_world(
                        _draws(), count, Episodes(n, episodes, share), Episodes(n0, episodes, share, ratio**2)
                    )
                    for ratio in RATIOS
                ]
                yield f"  {n:2} v {n0} x {episodes:3} {share:4.2f} {_alarms(worlds)}  {_power(worlds[2])}"
    yield "  the same, but ours 5 % between seeds and the paper's 5, 20, 50, 90 %: what the assumption costs"
    for episodes in (10, 100):
        worlds = [
            rollouts_world(_draws(), count, Episodes(5, episodes, 0.05), Episodes(5, episodes, share))
            for share in SHARES[1:]
        ]
        yield f"   5 v 5 x {episodes:3}      {_alarms(worlds)}"


def success_table(count: int) -> Iterator[str]:
    """Success rates, both ways of printing their spread."""
    yield f"Success rates, 5 v 5 seeds: true rates printed and ours; by share between seeds {SUCCESS_SHARES}:"
    yield "false alarms at both levels, and equivalence claimed falsely over 5 %"
    pairs = ((0.6, 0.5), (0.5, 0.6), (0.95, 0.85), (0.85, 0.95), (0.98, 0.93), (0.93, 0.98))
    for rule in ("pooled", "deviation"):
        for episodes in (10, 100):
            for printed, rate in pairs:
                cells = []
                for share in SUCCESS_SHARES:
                    world = SuccessWorld(5, 5, episodes, rate, printed, share)
                    found = [
                        world.false_alarms(_draws(), count, rule, SINGLE).value / SINGLE,
                        world.false_alarms(_draws(), count, rule, FAMILY).value / FAMILY,
                        world.false_equivalence(_draws(), count, rule).value / SINGLE,
                    ]
                    cells.append("/".join(f"{value:.2f}" for value in found))
                yield f"  {rule:9} x {episodes:3}  {printed:.2f} {rate:.2f}  {' '.join(cells)}"


def equivalence_table(count: int) -> Iterator[str]:
    """Two one-sided tests where there is no difference."""
    yield "Equivalence found where the means are equal (printed deviation), margins of 1, 1.5, 2, 3 seed sd"
    for n, n0 in NUMBERS:
        world = seeds_world(_draws(), count, n, n0, 1.0, 0)
        found = " ".join(f"{world.equivalence(margin).value:.2f}" for margin in (1.0, 1.5, 2.0, 3.0))
        yield f"  {n:2} v {n0:2}         {found}"


def coverage_table(repeats: int) -> Iterator[str]:
    """Intervals of aggregates over nine tasks."""
    yield "Coverage (+- 0.01) of 95 % intervals, 9 tasks: bootstrap of mean, of IQM, t; spreads equal | 1-20"
    for seeds in (2, 3, 4, 5, 6, 10):
        sides = []
        for widest in (1.0, 20.0):
            found = coverage(seeds, np.geomspace(1.0, widest, 9), repeats)
            sides.append(" ".join(f"{share:.3f}" for share in found))
        yield f"  {seeds:2} seeds  {' | '.join(sides)}"


def coverage(seeds: int, deviations: np.ndarray, repeats: int, resamples: int = 500) -> tuple[float, ...]:
    """Shares of 95 % intervals that hold the truth: bootstrap of the mean, of the IQM, Student's of the mean.

    Parameters
    ----------
    deviations : `(T,)`, of one seed of each task; the tasks' means are spread over 70 points.
    """
    draws = _draws()
    means = np.linspace(40.0, 110.0, len(deviations))
    # The target of the interquartile mean: where tasks differ, it depends on the number of runs.
    many = draws.normal(means[:, None], deviations[:, None], (20_000, len(means), seeds))
    middle = float(interquartile_mean(many.reshape(len(many), -1)).mean())
    found = np.zeros(3)
    for repeat in range(repeats):
        scores = list(draws.normal(means[:, None], deviations[:, None], (len(means), seeds)))
        intervals = (
            stratified_bootstrap(scores, mean, resamples=resamples, seed=repeat),
            stratified_bootstrap(scores, interquartile_mean, resamples=resamples, seed=repeat),
            stratified_t_interval(scores),
        )
        truths = (means.mean(), middle, means.mean())
        found += [i.low <= truth <= i.high for i, truth in zip(intervals, truths, strict=True)]
    return tuple(float(share) for share in found / repeats)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=40_000, help="simulated experiments per figure")
    parser.add_argument("--repeats", type=int, default=1000, help="simulated suites per coverage")
    options = parser.parse_args(arguments)
    print(
        f"False alarms over the stated level at {SINGLE:g}/{FAMILY:.2g}; sd ratios {RATIOS}; power {SHIFTS}"
    )
    for table in (deviation_table, mean_table, pooled_table, equivalence_table):
        print("\n".join(table(options.draws)), flush=True)
    print("\n".join(success_table(4 * options.draws)), flush=True)
    print("\n".join(coverage_table(options.repeats)))


def _alarms(worlds: Sequence[NormalWorld]) -> str:
    rates = [[world.rejection(level).value / level for level in (SINGLE, FAMILY)] for world in worlds]
    return " ".join(f"{single:.2f}/{family:.2f}" for single, family in rates)


def _power(world: NormalWorld) -> str:
    return "power " + " ".join(f"{world.rejection(FAMILY, shift).value:.2f}" for shift in SHIFTS)


def _draws() -> np.random.Generator:
    return np.random.default_rng(0)


if __name__ == "__main__":
    main()
