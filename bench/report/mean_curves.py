"""Learning curves of several seeds as one mean with a band."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from bench.records import FINISHED
from bench.report.matching import Identity, identity
from bench.report.measured import LearningCurve, Measured
from bench.report.series import Series, in_order, series_of

LEVEL = 0.95
"""Of the band: Student's interval of the mean over seeds, at each evaluation by itself."""
LEAST_SEEDS = 3
"""For a band. That of two seeds is nine standard deviations wide to either side and hides all others."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """Mean score over seeds at each of E evaluations; NaN where a seed's score is not finite."""

    steps: Array
    """(E,) training iterations."""
    mean: Array
    """(E,)"""
    half_width: Array
    """(E,) of the band; NaN with fewer seeds than a band needs."""
    lowest: float
    """Of all seeds and evaluations; NaN where none is finite."""
    highest: float
    seeds: int
    finished: bool
    """False: drawn of what seeds have that still run."""
    finished_at: float
    """When the last of its seeds finished (s since 1970); 0 where that is not known."""


def mean_curves(
    measured: Iterable[Measured], curves: Sequence[LearningCurve]
) -> dict[str, dict[Series, MeanCurve]]:
    """By task, in the order of `measured`, and by series with the configuration's hash.

    Finished seeds enter; where a configuration has none yet, those that have not failed. Evaluations that
    some of them lack are left out.
    """
    by_seed: dict[Identity, dict[int, LearningCurve]] = {}
    for curve in curves:
        key = (curve.algorithm, curve.variant, curve.task, curve.config_hash)
        by_seed.setdefault(key, {})[curve.seed] = curve
    found: dict[str, dict[Series, MeanCurve]] = {}
    for entry in measured:
        chosen, finished = _chosen(entry, by_seed.get(identity(entry), {}))
        if chosen:
            moment = entry.finished_at.timestamp() if entry.finished_at else 0.0
            curve = _mean(chosen, finished, moment)
            found.setdefault(entry.task, {})[series_of(entry, with_hash=True)] = curve
    return {task: {one: of_task[one] for one in in_order(of_task)} for task, of_task in found.items()}


def newest(curves: Mapping[Series, MeanCurve]) -> dict[Series, MeanCurve]:
    """Of each series the configuration that finished last: what stands for it among several tasks."""
    dated = sorted(curves.items(), key=lambda item: item[1].finished_at)
    return {replace(series, config_hash=""): curve for series, curve in dated}


def _chosen(entry: Measured, curves: Mapping[int, LearningCurve]) -> tuple[list[LearningCurve], bool]:
    states = {trial.seed: trial.state for trial in entry.trials}
    finished = [curve for seed, curve in curves.items() if states.get(seed) == FINISHED]
    running = [curve for seed, curve in curves.items() if states.get(seed) == "running"]
    return (finished, True) if finished else (running, False)


def _mean(curves: Sequence[LearningCurve], finished: bool, finished_at: float) -> MeanCurve:
    by_step = [dict(zip(curve.steps, curve.scores, strict=True)) for curve in curves]
    steps = sorted(set.intersection(*map(set, by_step)))
    scores = np.array([[points[step] for step in steps] for points in by_step], dtype=float)
    scores = np.where(np.isfinite(scores), scores, np.nan)
    seeds, known = len(curves), scores[np.isfinite(scores)]
    half_width = np.full(len(steps), np.nan)
    if seeds >= LEAST_SEEDS:
        half_width = stdtrit(seeds - 1, (1 + LEVEL) / 2) * scores.std(axis=0, ddof=1) / math.sqrt(seeds)
    return MeanCurve(
        np.array(steps, dtype=float),
        scores.mean(axis=0),
        half_width,
        float(known.min()) if known.size else math.nan,
        float(known.max()) if known.size else math.nan,
        seeds,
        finished,
        finished_at,
    )
