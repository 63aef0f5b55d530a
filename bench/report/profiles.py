"""Distributions of scores over runs and tasks, and aggregates with intervals, one per method of a suite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.report.measured import Measured
from bench.report.series import Series
from bench.report.statistics import (
    Interval,
    interquartile_mean,
    performance_profile,
    stratified_bootstrap,
    stratified_t_interval,
)

Array = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 2000
_THRESHOLDS = 121


@dataclass(frozen=True, eq=False)
class Profile:
    """Share of a method's runs above each of T thresholds, every task weighing the same."""

    share: Array
    """(T,)"""
    low: Array
    """(T,) of a pointwise bootstrap band; equal to `share` where every task has one seed."""
    high: Array


@dataclass(frozen=True)
class Aggregates:
    """Mean and interquartile mean of a method's runs over tasks."""

    mean: Interval
    """Student's: bootstrap intervals are too narrow for few seeds."""
    interquartile_mean: Interval
    """Percentile bootstrap, seeds resampled within tasks."""


def thresholds_of(series: Mapping[Series, Mapping[str, Measured]]) -> Array:
    """(T,) from a little below the lowest score of all to a little above the highest."""
    scores = [score for by_task in series.values() for entry in by_task.values() for score in entry.scores]
    low, high = min(0.0, *scores), max(scores)
    room = 0.03 * (high - low) or 1.0
    return np.linspace(low - room, high + room, _THRESHOLDS)


def profile_of(entries: Sequence[Measured], thresholds: Array, seed: int = 0) -> Profile:
    """The profile of one method's cells with its band; the same seed gives the same band.

    All thresholds share the resamples, which `stratified_bootstrap` would draw anew for each of them.
    """
    scores = [np.array(entry.scores) for entry in entries]
    generator = np.random.default_rng(seed)
    shares = np.zeros((RESAMPLES, len(thresholds)))
    for task in scores:
        drawn = task[generator.integers(len(task), size=(RESAMPLES, len(task)))]
        shares += (drawn[:, :, None] > thresholds).mean(axis=1) / len(scores)
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Profile(performance_profile(scores, thresholds), low, high)


def aggregates_of(entries: Sequence[Measured]) -> Aggregates:
    """Mean and interquartile mean of one method's cells."""
    scores = [entry.scores for entry in entries]
    bootstrap = stratified_bootstrap(scores, interquartile_mean, resamples=RESAMPLES, level=LEVEL)
    return Aggregates(stratified_t_interval(scores, LEVEL), bootstrap)


def fewest_seeds(series: Mapping[Series, Mapping[str, Measured]]) -> int:
    """Of any cell."""
    return min((entry.n for by_task in series.values() for entry in by_task.values()), default=0)


def bounded(interval: Interval) -> bool:
    """Whether there is an interval at all: with one seed per task there is none."""
    return math.isfinite(interval.low) and math.isfinite(interval.high)
