"""Score against training time and against action latency as charts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bench.catalog import Task
from bench.report.charts import Chart, Look, Section, frame, plain_axes
from bench.report.costs import Circumstances, Costs, action_milliseconds, training_hours
from bench.report.measured import ReportData
from bench.report.printed_costs import CostSource, PrintedCost, printed_costs
from bench.report.series import by_series, coverage, doubts, failures
from bench.report.tradeoffs import LEVEL, Mark, Point, measured_points, printed_points, with_costs

_COSTS: dict[Section, tuple[str, str]] = {
    "score-time": ("training time", "training time per seed (hours)"),
    "score-latency": ("action latency", "action latency, one policy (ms)"),
}
"""Name and axis label."""
_SCORE = "normalised score"
_SIZE = 5.5
_FILL: dict[Mark, float] = {"alone": 1.0, "shared": 0.3, "printed": 0.0}
"""Opacity of a marker."""
_SPAN_FOR_LOG = 8.0
"""Ratio of the largest to the smallest cost from which on the axis is logarithmic."""


def score_time_chart(
    data: ReportData, name: str, tasks: Sequence[Task], sources: Sequence[CostSource]
) -> Chart | None:
    """Score against hours of training on some tasks, beside the papers' own; None if nothing is measured."""
    names = [task.name for task in tasks]
    costs = training_hours(data, names)
    printed = printed_costs(sources, names)
    return _chart(data, "score-time", name, names, costs, printed, tasks[0].domain)


def score_latency_chart(data: ReportData, name: str, tasks: Sequence[Task]) -> Chart | None:
    """Score against the milliseconds of one action; None where nothing is measured."""
    names = [task.name for task in tasks]
    return _chart(data, "score-latency", name, names, action_milliseconds(data, names))


def _chart(
    data: ReportData,
    section: Section,
    name: str,
    tasks: Sequence[str],
    costs: Costs,
    printed: Sequence[PrintedCost] = (),
    domain: str = "",
) -> Chart | None:
    series = with_costs(by_series(data.measured, tasks), costs)
    measured = measured_points(series, costs)
    if not measured:
        return None
    points = [*measured, *printed_points(printed, domain)]
    entries = [entry for by_task in series.values() for entry in by_task.values()]
    over = ", mean over tasks" if len(tasks) > 1 else ""
    sentences = (
        f"Score of the final evaluation{over}; bars: {100 * LEVEL:.0f} % t-interval (none over few seeds).",
        coverage(series),
        *_marks(points, section, costs.circumstances, printed),
        failures(entry for entry in data.measured if entry.task in tasks),
        doubts(entries),
    )
    cost, label = _COSTS[section]
    return Chart(
        section,
        f"{section}-{name}",
        f"Score against {cost}, {name}",
        " ".join(sentence for sentence in sentences if sentence),
        tuple(dict.fromkeys(one.algorithm for one in series)),
        tuple(task for task in tasks if any(entry.task == task for entry in entries)),
        lambda look: _drawn(look, points, label),
    )


def _marks(
    points: Sequence[Point],
    section: Section,
    circumstances: Circumstances | None,
    printed: Sequence[PrintedCost],
) -> list[str]:
    """What filled, pale and hollow markers mean, of those that are drawn."""
    time = section == "score-time"
    alone = "the preset's iterations at the pace of one seed" if time else "one policy"
    shared = "the stack's time divided by its seeds" if time else "measured as training ended"
    remarks = dict.fromkeys(f"; {cost.source}: {cost.remark}" for cost in printed if cost.remark)
    meanings: dict[Mark, str] = {
        "alone": f"Filled: {alone}, nothing else running ({circumstances}).",
        "shared": f"Pale: from the grid, {shared}; other work may have run beside it, no fair comparison.",
        "printed": f"Hollow: as printed, on the papers' own hardware{''.join(remarks)}.",
    }
    drawn = {point.mark for point in points}
    return [text for mark, text in meanings.items() if mark in drawn]


def _drawn(look: Look, points: Sequence[Point], label: str) -> Figure:
    figure, (axes,) = frame(look, [_marker(p) for p in points], 1, 1, 0.58 * look.width, titled=False)
    plain_axes(axes, look, label, _SCORE)
    _scale_costs(axes, [point.cost for point in points])
    for point in points:
        if math.isfinite(point.low):
            axes.plot([point.cost] * 2, [point.low, point.high], color=point.style.colour, linewidth=1)
        axes.add_line(_marker(point, point.cost, point.score))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.margins(y=0.12)
    axes.autoscale_view(scalex=False)
    return figure


def _marker(point: Point, *place: float) -> Line2D:
    """The point's marker at (cost, score), or for the legend."""
    x, y = ([place[0]], [place[1]]) if place else ([], [])
    return Line2D(
        x,
        y,
        linestyle="none",
        marker=point.style.marker,
        markersize=_SIZE,
        markeredgecolor=point.style.colour,
        markeredgewidth=1.0,
        markerfacecolor=(point.style.colour, _FILL[point.mark]),
        label=point.name,
        zorder=3,
    )


def _scale_costs(axes: Axes, costs: Sequence[float]) -> None:
    low, high = min(costs), max(costs)
    if high / low < _SPAN_FOR_LOG:
        axes.set_xlim(0, 1.12 * high)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        return
    axes.set_xscale("log")
    room = (high / low) ** 0.08
    axes.set_xlim(low / room, high * room)
    decades = math.log10(high / low)
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,))
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
