"""Slow drift over nights: a one-sided CUSUM per cell of standardised differences to the baseline.

Each night's t (bench.nightly.alarms) is turned into the normal score of equal probability, so that a small
baseline's heavy tails count for no more than they are worth, and cut at +-3, so that one terrible night,
which the prediction interval sees anyway, is not remembered as a drift. Per cell (Page 1954)

    sum <- max(0, sum - score - slack)

and a sum that reaches the limit alarms. It stops there, so that a drift that was mended is soon forgotten.

All nights share one baseline, and the error of its mean pushes every score the same way: with 20 baseline
seeds and 2 a night by 0.30 standard deviations, the unluckiest of 12 cells by twice that. A textbook slack
of 0.5 takes this for a drift: to keep a rate of 0.001 its limit must be 30 instead of 7.3, and a drop of one
seed deviation is then found after 49 nights on average instead of 9. `drift_rule` therefore simulates with
the error in it and takes the slack that finds such a drop soonest: 0.75 here, 40 nights. More baseline seeds
are the cure (40 seeds: 17 nights); letting the nights improve the baseline would hide what is to be found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from bench.nightly.alarms import prediction_t

LARGEST_SCORE = 3.0
"""A night's score is cut here, in standard deviations."""
SLACKS = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Among which the rule is chosen, in standard deviations of a night's score."""
REFERENCE_DROP = 1.0
"""Standard deviations of a seed; the slack is chosen so that a drop of this size is found soonest."""
_SIMULATED = 50_000
"""Cells, so that about 400 of them reach the limit at the shipped rate: the rate is right to 5 %."""
_SIMULATED_DROPS = 5_000


@dataclass(frozen=True)
class DriftRule:
    """Slack and limit of the sums, in standard deviations of a night's score."""

    slack: float
    limit: float
    rate: float
    """False alarms per night, over all cells together."""
    nights: int
    """After a new baseline, over which that rate holds on average."""


def drift_rule(*, cells: int, baseline_seeds: int, seeds: int, rate: float, nights: int) -> DriftRule:
    """Slack and limit for `cells` cells with `seeds` a night, by simulation with fixed random numbers.

    The limit is such that without any change the first alarm of the family falls into the first `nights`
    nights with probability 1 - (1 - rate)^nights, over baselines as chance may make them.
    """
    rng = np.random.default_rng(0)
    slacks = np.array(SLACKS)[:, None]
    sums = highest = np.zeros((len(SLACKS), _SIMULATED))
    for scores in islice(_nights(rng, _SIMULATED, baseline_seeds, seeds), nights):
        sums = next_sums(sums, scores, slacks)
        highest = np.maximum(highest, sums)
    # Cells are independent, so the family is silent with the product of their probabilities.
    limits = np.quantile(highest, (1 - rate) ** (nights / cells), axis=1)[:, None]
    sums, waiting = np.zeros((len(SLACKS), _SIMULATED_DROPS)), np.zeros(len(SLACKS))
    for scores in islice(_nights(rng, _SIMULATED_DROPS, baseline_seeds, seeds, REFERENCE_DROP), nights):
        sums = np.where(sums < limits, next_sums(sums, scores, slacks), np.inf)
        waiting += (sums < limits).mean(axis=1)
    best = int(np.argmin(waiting))
    return DriftRule(SLACKS[best], float(limits[best, 0]), rate, nights)


def _nights(
    rng: np.random.Generator, cells: int, baseline_seeds: int, seeds: int, drop: float = 0.0
) -> Iterator[NDArray[np.float64]]:
    """Normal scores of one night after the other, all against one baseline per cell; endless."""
    baseline = rng.standard_normal((baseline_seeds, cells))
    centre, deviation = baseline.mean(axis=0), baseline.std(axis=0, ddof=1)
    while True:
        means = rng.standard_normal((seeds, cells)).mean(axis=0) - drop
        yield normal_score(prediction_t(means, centre, deviation, seeds, baseline_seeds), baseline_seeds)


def normal_score(t: ArrayLike, baseline_seeds: int) -> NDArray[np.float64]:
    """The standard normal quantile of t's probability, any shape, cut at +-3."""
    return _score_of(special.stdtr(baseline_seeds - 1, t))


def _score_of(probability: ArrayLike) -> NDArray[np.float64]:
    return np.clip(special.ndtri(probability), -LARGEST_SCORE, LARGEST_SCORE)


def next_sums(sums: ArrayLike, scores: ArrayLike, slack: ArrayLike) -> NDArray[np.float64]:
    """Sums after a night with `scores`, of one shape or broadcast."""
    return np.maximum(0.0, np.asarray(sums) - np.asarray(scores) - np.asarray(slack))


def after_night(
    sums: Mapping[str, float], p_below: Mapping[str, float | None], rule: DriftRule
) -> dict[str, float]:
    """Each cell's sum after one more night, from its P-value; without one it stays, and begins at 0."""
    sums = dict(sums)
    for cell, probability in p_below.items():
        if probability is not None:
            total = next_sums(sums.get(cell, 0.0), _score_of(probability), rule.slack)
            sums[cell] = min(rule.limit, float(total))
    return sums


def drifting(sums: Mapping[str, float], rule: DriftRule) -> tuple[str, ...]:
    """Cells whose sum has reached the limit."""
    return tuple(cell for cell, total in sums.items() if total >= rule.limit)
