"""Score against a cost: the points of the papers' headline figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
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
    series = with_costs(series, costs)
    labels, styles = labels_of(series), styles_of(list(series))
    return [_point(labels[one], styles[one], by_task, costs) for one, by_task in series.items()]


def with_costs(
    series: Mapping[Series, Mapping[str, Measured]], costs: Costs
) -> dict[Series, dict[str, Measured]]:
    """The cells whose cost is known: a point's name must not promise tasks that are not in it."""
    known = {
        one: {task: by_task[task] for task in _known(by_task, costs)[1]} for one, by_task in series.items()
    }
    return {one: by_task for one, by_task in known.items() if by_task}


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


def _known(by_task: Mapping[str, Measured], costs: Costs) -> tuple[Mark, dict[str, float]]:
    """How costs came about, and those that are known, by task."""
    alone = _prices(by_task, costs.alone)
    return ("alone", alone) if len(alone) == len(by_task) else ("shared", _prices(by_task, costs.shared))


def _prices(by_task: Mapping[str, Measured], cost_of: Callable[[Measured], float | None]) -> dict[str, float]:
    costs = {task: cost_of(entry) for task, entry in by_task.items()}
    return {task: cost for task, cost in costs.items() if cost is not None}


def _point(name: str, style: Style, by_task: Mapping[str, Measured], costs: Costs) -> Point:
    mark, prices = _known(by_task, costs)
    scores = [entry.scores for entry in by_task.values()]
    interval = stratified_t_interval(scores, LEVEL)
    # As for the bands of curves: one degree of freedom makes an interval that dwarfs everything.
    bounded = math.isfinite(interval.low) and sum(len(task) - 1 for task in scores) > 1
    return Point(
        name,
        style,
        statistics.mean(prices.values()),
        interval.estimate,
        interval.low if bounded else math.nan,
        interval.high if bounded else math.nan,
        mark,
    )
