"""Score against cost: what training and acting cost here and in the papers, and the charts of it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bench.catalog import Task
from bench.records import FINISHED, PhaseRecord, TimingRecord
from bench.report.charts import Chart, ChartKind, Look, draw_interval, frame, plain_axes
from bench.report.measured import LATENCY, SECONDS_PER_1K, Measured, ReportData, alone
from bench.report.paper import AVERAGE, SCORE, PaperCell, algorithm_of, load_paper_tables
from bench.report.series import (
    LEVEL,
    Cells,
    Series,
    Style,
    by_series,
    caveats,
    labels_of,
    methods_of,
    said,
    style_of,
    styles_of,
    tasks_of,
)
from bench.report.statistics import stratified_t_interval

# What cells cost here


_SECONDS_PER_HOUR = 3600.0
Mark = Literal["alone", "shared", "printed"]
"""How the cost came about: measured with nothing else running, in a grid, or printed by a paper."""


@dataclass(frozen=True)
class Circumstances:
    """What timings must share to be held against each other."""

    device: str
    threads: int
    runner: str
    precision: str | None

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        precision = f", {self.precision}" if self.precision else ""
        return f"{self.device.partition(': ')[2] or self.device}, {threads}, runner {self.runner}{precision}"


@dataclass(frozen=True)
class Costs:
    """What cells cost; None where that was not measured.

    `alone`: one seed and nothing else running, with the preset's own sizes. `shared`: as it was in the grid.
    """

    alone: Callable[[Measured], float | None]
    shared: Callable[[Measured], float | None]
    circumstances: Circumstances | None
    """Of the measurements alone."""

    def known(self, by_task: Mapping[str, Measured]) -> tuple[Mark, dict[str, float]]:
        """Those that are known, by task: alone where they are known for every task, else shared."""
        alone, shared = (
            {task: cost for task, entry in by_task.items() if (cost := cost_of(entry)) is not None}
            for cost_of in (self.alone, self.shared)
        )
        return ("alone", alone) if len(alone) == len(by_task) else ("shared", shared)


def training_hours(data: ReportData, tasks: Sequence[str]) -> Costs:
    """Hours that one seed takes to train.

    Alone: the preset's iterations of every phase at the phase's measured pace. Shared: the hours of the stack
    divided by the seeds side by side in it.
    """
    timings, circumstances = _comparable(data.timings, tasks)

    def paced(entry: Measured) -> float | None:
        phases = data.phases.get((entry.algorithm, entry.variant, entry.task))
        return None if entry.reduced or not phases else _hours(phases, _values(timings, entry))

    def grid(entry: Measured) -> float | None:
        origins = [data.origins.get(trial.trial_id) for trial in entry.trials if trial.state == FINISHED]
        hours = [
            origin.training_seconds / max(1, len(origin.stack or ())) / _SECONDS_PER_HOUR
            for origin in origins
            if origin is not None and origin.training_seconds
        ]
        return statistics.median(hours) if hours else None

    return Costs(paced, grid, circumstances)


def action_milliseconds(data: ReportData, tasks: Sequence[str]) -> Costs:
    """Median milliseconds for one action of one policy."""
    timings, circumstances = _comparable(data.timings, tasks)

    def measured(entry: Measured) -> float | None:
        values = [] if entry.reduced else _values(timings, entry).get(LATENCY, [])
        return 1000 * statistics.median(values) if values else None

    def grid(entry: Measured) -> float | None:
        values = [data.latencies[t.trial_id] for t in entry.trials if t.trial_id in data.latencies]
        return 1000 * statistics.median(values) if values else None

    return Costs(measured, grid, circumstances)


def _comparable(
    timings: Iterable[TimingRecord], tasks: Sequence[str]
) -> tuple[list[TimingRecord], Circumstances | None]:
    """Timings alone on the tasks, of the circumstances that most of them share."""
    usable = [t for t in timings if alone(t) and t.task in tasks and t.value > 0]
    if not usable:
        return [], None
    chosen = Counter(map(_circumstances, usable)).most_common(1)[0][0]
    return [timing for timing in usable if _circumstances(timing) == chosen], chosen


def _circumstances(timing: TimingRecord) -> Circumstances:
    return Circumstances(timing.device, timing.threads, timing.runner, timing.matmul_precision)


def _values(timings: Iterable[TimingRecord], entry: Measured) -> dict[str, list[float]]:
    """Timings of a cell by quantity."""
    found: dict[str, list[float]] = {}
    for timing in timings:
        if (timing.algorithm, timing.variant, timing.task) == (entry.algorithm, entry.variant, entry.task):
            found.setdefault(timing.quantity, []).append(timing.value)
    return found


def _hours(phases: Iterable[PhaseRecord], paces: dict[str, list[float]]) -> float | None:
    seconds = 0.0
    for phase in phases:
        # The pace of the phase in which evaluations fall is stored without its name.
        name = SECONDS_PER_1K if phase.evaluated else f"{SECONDS_PER_1K}:{phase.name}"
        if phase.iterations and name not in paces:
            return None
        if phase.iterations:
            seconds += phase.iterations / 1000 * statistics.median(paces[name])
    return seconds / _SECONDS_PER_HOUR


# What training cost in the papers


PrintedNumbers = Mapping[tuple[str, str], float]
"""By method and task."""


@dataclass(frozen=True)
class CostSource:
    """A place in a paper that prints hours, and the one that prints the scores to them."""

    name: str
    hours: PrintedNumbers
    scores: PrintedNumbers
    remark: str = ""
    only_of: frozenset[str] = frozenset()
    """The tasks that its averages are of; empty where it prints task by task."""

    def on(self, tasks: Sequence[str]) -> Iterator[tuple[str, float, float]]:
        """Methods with hours and a score on every one of `tasks`, averaged over them."""
        if self.only_of and self.only_of != set(tasks):
            return
        wanted = [AVERAGE] if self.only_of else tasks
        for method in dict.fromkeys(method for method, _ in self.hours):
            keys = [(method, task) for task in wanted]
            if keys and all(key in self.hours and key in self.scores for key in keys):
                hours, score = (
                    statistics.mean(numbers[key] for key in keys) for numbers in (self.hours, self.scores)
                )
                yield method, hours, score


def load_cost_sources() -> list[CostSource]:
    """The papers' training times: DTQL's Tables 2 and 7 with the scores of Table 1, EDP's Appendix C.5."""
    papers = load_paper_tables()
    scores = _numbers(papers["dtql-1"].rows)
    edp = papers["edp-4"].rows
    locomotion = frozenset(c.task for c in edp if c.domain == "locomotion" and c.task != AVERAGE)
    # EDP names hours once per method; its text (sections 1 and C.5) says that they are those of the
    # locomotion tasks.
    hours = _numbers(papers["edp-figure-2"].rows, "total_training_time_h")
    of_domain = {(method, AVERAGE): value for (method, _), value in hours.items()}
    best = _numbers(cell for cell in papers["edp-1"].rows if cell.domain == "locomotion")
    return [
        CostSource("DTQL Table 2", _numbers(papers["dtql-2"].rows, "total_training_time_h"), scores),
        CostSource(
            "DTQL Table 7",
            _numbers(papers["dtql-7"].rows, "total_wall_time_h"),
            scores,
            "evaluations included",
        ),
        CostSource("EDP App. C.5", of_domain, best, "scores of the best evaluations", locomotion),
    ]


def _numbers(cells: Iterable[PaperCell], metric: str = SCORE) -> dict[tuple[str, str], float]:
    """Those of a metric; a number that is in doubt is left out."""
    return {
        (cell.method, cell.task): cell.mean
        for cell in cells
        if cell.metric == metric and cell.mean is not None and not _in_doubt(cell)
    }


def _in_doubt(cell: PaperCell) -> bool:
    return any(erratum.field == "mean" for erratum in cell.errata)


# Points


@dataclass(frozen=True)
class Point:
    """One method: its mean score over tasks, and its mean cost."""

    name: str
    style: Style
    cost: float
    score: float
    mark: Mark
    low: float = math.nan
    """Lower end of the score's interval; NaN where there is none."""
    high: float = math.nan
    remark: str = ""
    """What must be known of a printed cost and score; often empty."""


def measured_points(series: Cells, costs: Costs) -> tuple[dict[Series, dict[str, Measured]], list[Point]]:
    """The cells whose cost is known, and a point for each series that has any.

    A point's name must not promise tasks that are not in it.
    """
    known = {one: costs.known(by_task)[1] for one, by_task in series.items()}
    priced = {one: {task: series[one][task] for task in prices} for one, prices in known.items() if prices}
    labels, styles = labels_of(priced), styles_of(list(priced))
    points = []
    for one, by_task in priced.items():
        mark, prices = costs.known(by_task)
        scores = [entry.scores for entry in by_task.values()]
        interval = stratified_t_interval(scores, LEVEL)
        point = Point(labels[one], styles[one], statistics.mean(prices.values()), interval.estimate, mark)
        # As for the bands of curves: one degree of freedom makes an interval that dwarfs everything.
        bounded = math.isfinite(interval.low) and sum(len(task) - 1 for task in scores) > 1
        points.append(replace(point, low=interval.low, high=interval.high) if bounded else point)
    return priced, points


def printed_points(sources: Iterable[CostSource], tasks: Sequence[str], domain: str) -> list[Point]:
    """The papers' points on `tasks`, in the looks of their methods; the first source that has one counts."""
    found: dict[str, Point] = {}
    for source in sources:
        for method, hours, score in source.on(tasks):
            name, style = f"{method} ({source.name})", style_of(algorithm_of(method, domain))
            remark = f"{source.name}: {source.remark}" if source.remark else ""
            found.setdefault(method, Point(name, style, hours, score, "printed", remark=remark))
    return list(found.values())


# Charts


_COSTS: dict[ChartKind, tuple[str, str]] = {
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
    printed = printed_points(sources, names, tasks[0].domain)
    return _chart(data, "score-time", name, names, costs, printed)


def score_latency_chart(data: ReportData, name: str, tasks: Sequence[Task]) -> Chart | None:
    """Score against the milliseconds of one action; None where nothing is measured."""
    names = [task.name for task in tasks]
    return _chart(data, "score-latency", name, names, action_milliseconds(data, names))


def _chart(
    data: ReportData,
    section: ChartKind,
    name: str,
    tasks: Sequence[str],
    costs: Costs,
    printed: Sequence[Point] = (),
) -> Chart | None:
    series, measured = measured_points(by_series(data.measured, tasks), costs)
    if not measured:
        return None
    points = [*measured, *printed]
    over = ", mean over tasks" if len(tasks) > 1 else ""
    about = said(
        f"Score of the final evaluation{over}; bars: {100 * LEVEL:.0f} % t-interval (none over few seeds).",
        caveats(series, data.measured, tasks, *_marks(points, section, costs.circumstances)),
    )
    cost, label = _COSTS[section]
    return Chart(
        section,
        f"{section}-{name}",
        f"Score against {cost}, {name}",
        about,
        methods_of(series),
        tasks_of(series, tasks),
        lambda look: _drawn(look, points, label),
    )


def _marks(points: Sequence[Point], section: ChartKind, circumstances: Circumstances | None) -> list[str]:
    """What filled, pale and hollow markers mean, of those that are drawn."""
    time = section == "score-time"
    alone = "the preset's iterations at the pace of one seed" if time else "one policy"
    shared = "the stack's time divided by its seeds" if time else "measured as training ended"
    remarks = dict.fromkeys(f"; {point.remark}" for point in points if point.remark)
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
            draw_interval(axes, point.cost, point.low, point.high, point.style.colour, _SIZE)
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
