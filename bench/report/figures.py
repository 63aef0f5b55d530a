"""The charts of a report: for its page, and for papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.catalog import load_catalog
from bench.report.charts import Chart, Section, chart_svg
from bench.report.curve_charts import suite_chart, task_chart
from bench.report.mean_curves import mean_curves
from bench.report.measured import LearningCurve, Measured, ReportData, SeedScore
from bench.report.printed_costs import load_cost_sources
from bench.report.profile_charts import aggregate_chart, profile_chart
from bench.report.tradeoff_charts import score_latency_chart, score_time_chart

SPEED_TASK = "antmaze-umaze-v0"
BANDIT = "bandit"


@dataclass(frozen=True)
class PageFigure:
    """A chart as it stands on the page."""

    section: Section
    id: str
    title: str
    about: str
    """What is shown in a sentence or two, bands and seeds included."""
    svg: str
    """An `<svg>` element, escaped by its maker."""
    methods: tuple[str, ...]
    """Shown in it, by their names in this suite."""
    tasks: tuple[str, ...]


def page_figures(data: ReportData) -> list[PageFigure]:
    """Every chart that has something to show, in the order of the sections: one of curves for each task."""
    curves = mean_curves(data.measured, data.curves)
    charts = [task_chart(task, found, _cells(data, [task])) for task, found in curves.items()]
    return [_figure(chart) for chart in (*charts, *_suite_charts(data))]


def paper_charts(data: ReportData) -> list[Chart]:
    """Every chart that has something to show, as papers have them: one sheet of curves for each suite."""
    curves = mean_curves(data.measured, data.curves)
    sheets = []
    for name, tasks in _suites(list(curves)).items():
        here = {task: curves[task] for task in tasks}
        sheets.append(suite_chart(name, here, _cells(data, tasks)))
    return [*sheets, *_suite_charts(data)]


def _suite_charts(data: ReportData) -> list[Chart]:
    """What is said of whole suites; of the 2D problems a score says too little."""
    catalog = load_catalog()
    measured = {entry.task for entry in data.measured}
    suites = {suite.name: suite.tasks for suite in catalog.suites.values()}
    # DTQL's comparison of training times is of this one task.
    groups = {**suites, SPEED_TASK: (catalog.task(SPEED_TASK),)}
    chosen = {
        name: [task for task in tasks if task.domain != BANDIT]
        for name, tasks in groups.items()
        if any(task.name in measured for task in tasks)
    }
    groups = {name: tasks for name, tasks in chosen.items() if tasks}
    sources = load_cost_sources() if groups else []
    names = {name: [task.name for task in tasks] for name, tasks in groups.items()}
    suites_only = {name: tasks for name, tasks in names.items() if name in suites}
    charts = (
        *(score_time_chart(data, name, tasks, sources) for name, tasks in groups.items()),
        *(score_latency_chart(data, name, tasks) for name, tasks in groups.items()),
        *(profile_chart(data, name, tasks) for name, tasks in suites_only.items()),
        *(aggregate_chart(data, name, tasks) for name, tasks in suites_only.items()),
    )
    return [chart for chart in charts if chart is not None]


def learning_curves_svg(task: str, curves: Sequence[LearningCurve]) -> str:
    """An `<svg>` element of the learning curves of one task, of which nothing else is known."""
    seeds: dict[tuple[str, str, str], list[SeedScore]] = {}
    for curve in curves:
        trial = SeedScore(0, curve.seed, "finished", None)
        seeds.setdefault((curve.algorithm, curve.variant, curve.config_hash), []).append(trial)
    measured = [
        Measured(*key[:2], task, key[2], 1, "d4rl", 1.0, "last", 0, (), task, "", "", tuple(trials))
        for key, trials in seeds.items()
    ]
    found = mean_curves(measured, curves)
    return chart_svg(task_chart(task, found.get(task, {}), measured))


def _suites(tasks: Sequence[str]) -> dict[str, list[str]]:
    """The tasks among `tasks` of each suite that has any; those of none under `other-tasks`."""
    suites = load_catalog().suites.values()
    found = {suite.name: [task.name for task in suite.tasks if task.name in tasks] for suite in suites}
    known = {task for names in found.values() for task in names}
    found["other-tasks"] = [task for task in tasks if task not in known]
    return {name: names for name, names in found.items() if names}


def _cells(data: ReportData, tasks: Sequence[str]) -> list[Measured]:
    return [entry for entry in data.measured if entry.task in tasks]


def _figure(chart: Chart) -> PageFigure:
    return PageFigure(
        chart.section, chart.id, chart.title, chart.about, chart_svg(chart), chart.methods, chart.tasks
    )
