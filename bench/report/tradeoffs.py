"""Score against a cost: the points of the papers' headline figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.report.costs import Costs
from bench.report.measured import Measured
from bench.report.methods import algorithm_of
from bench.report.printed_costs import PrintedCost
from bench.report.series import Series, labels_of, styles_of
from bench.report.statistics import stratified_t_interval
from bench.report.styles import Style, style_of

Mark = Literal["alone", "shared", "printed"]
"""How the cost came about: measured with nothing else running, in a grid, or printed by a paper."""

LEVEL = 0.95
"""Of the interval of the mean score."""


@dataclass(frozen=True)
class Point:
    """One method: its mean score over tasks, and its mean cost."""

    name: str
    style: Style
    cost: float
    score: float
    low: float
    """Lower end of the score's interval; NaN where there is none."""
    high: float
    mark: Mark


def measured_points(series: Mapping[Series, Mapping[str, Measured]], costs: Costs) -> list[Point]:
    """A point for each series that has costs: alone where they are known for every task, else shared."""
    labels, styles = labels_of(series), styles_of(list(series))
    found = (
        _point(labels[one], styles[one], list(by_task.values()), costs) for one, by_task in series.items()
    )
    return [point for point in found if point is not None]


def printed_points(costs: Iterable[PrintedCost], domain: str) -> list[Point]:
    """The papers' points, in the looks of their methods."""
    return [
        Point(
            f"{cost.method} ({cost.source})",
            style_of(algorithm_of(cost.method, domain)),
            cost.hours,
            cost.score,
            math.nan,
            math.nan,
            "printed",
        )
        for cost in costs
    ]


def _point(name: str, style: Style, entries: Sequence[Measured], costs: Costs) -> Point | None:
    mark: Mark = "alone"
    priced = [(entry, costs.alone(entry)) for entry in entries]
    if any(cost is None for _, cost in priced):
        mark = "shared"
        priced = [(entry, costs.shared(entry)) for entry in entries]
    known = [(entry, cost) for entry, cost in priced if cost is not None]
    if not known:
        return None
    scores = [entry.scores for entry, _ in known]
    interval = stratified_t_interval(scores, LEVEL)
    # As for the bands of curves: one degree of freedom makes an interval that dwarfs everything.
    bounded = math.isfinite(interval.low) and sum(len(task) - 1 for task in scores) > 1
    return Point(
        name,
        style,
        statistics.fmean(cost for _, cost in known),
        interval.estimate,
        interval.low if bounded else math.nan,
        interval.high if bounded else math.nan,
        mark,
    )
