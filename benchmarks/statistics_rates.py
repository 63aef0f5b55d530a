"""How often the rules of bench.report.statistics err and how much they see.

`python -m benchmarks.statistics_rates` prints it in about a minute. False alarms are given as multiples
of the stated level, at 5 % and at 5 % / 72 (the first step of Holm's correction over both sides of 36 cells),
with the true difference just at the margin: nowhere are they more frequent. Powers are of the latter level,
at 2, 3, 4 and 6 standard deviations of one of our seeds beyond the margin.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from bench.report.statistics import interquartile_mean, mean, stratified_bootstrap, stratified_t_interval
from benchmarks.statistics_worlds import (
    Episodes,
    NormalWorld,
    SuccessWorld,
    rollouts_world,
    seeds_world,
)

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


def deviation_table(count: int) -> Iterator[str]:
    """A printed standard deviation over seeds."""
    yield "Printed deviation over seeds (against_deviation): seeds, ddof, false alarms by sd ratio, power"
    for n, n0 in NUMBERS:
        for ddof in (0, 1):
            worlds = [seeds_world(_draws(), count, n, n0, ratio, ddof) for ratio in RATIOS]
            yield f"  {n:2} v {n0:2} ddof {ddof}  {_alarms(worlds)}  {_power(worlds[2])}"


def mean_table(count: int) -> Iterator[str]:
    """A printed mean alone; its rates at unequal spreads are the price of what is assumed."""
    yield "Printed mean alone (against_mean): the paper's seeds are assumed to vary as ours; by sd ratio"
    for n, n0 in NUMBERS:
        worlds = [seeds_world(_draws(), count, n, n0, ratio, None) for ratio in RATIOS]
        yield f"  {n:2} v {n0:2}         {_alarms(worlds)}  {_power(worlds[2])}"


def pooled_table(count: int) -> Iterator[str]:
    """A standard error over pooled rollouts."""
    yield "Printed standard error over rollouts (pooled_variance): share between seeds, then by sd ratio"
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
