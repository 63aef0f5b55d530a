"""The charts of a report: for its page, and for papers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from bench.catalog import Catalog, load_catalog
from bench.report.charts import Chart
from bench.report.curves import mean_curves, suite_chart, task_chart
from bench.report.measured import Measured, ReportData
from bench.report.profiles import aggregate_chart, improvement_chart, profile_chart
from bench.report.tradeoffs import load_cost_sources, score_latency_chart, score_time_chart

T = TypeVar("T")
SPEED_TASK = "antmaze-umaze-v0"
"""DTQL's comparison of training times is of this one task."""
NO_SUITE = "other-tasks"


def page_figures(data: ReportData) -> list[Chart]:
    """Every chart that has something to show, in the order of the sections: one of curves for each task."""
    curves = mean_curves(data.measured, data.steps)
    charts = [task_chart(task, found, _cells(data, [task])) for task, found in curves.items()]
    return charts + _charts_of_suites(data, load_catalog())


def paper_charts(data: ReportData, sections: Collection[str]) -> list[Chart]:
    """Those of some sections, as papers have them: one sheet of curves for each suite."""
    catalog, charts = load_catalog(), []
    if "learning-curves" in sections:
        curves = mean_curves(data.measured, data.steps)
        for name, tasks in _suites(catalog, list(curves)).items():
            charts.append(suite_chart(name, {task: curves[task] for task in tasks}, _cells(data, tasks)))
    return charts + [chart for chart in _charts_of_suites(data, catalog) if chart.section in sections]


def _charts_of_suites(data: ReportData, catalog: Catalog) -> list[Chart]:
    """Scores against costs, and how scores are distributed, of every suite that has measured tasks."""
    measured = {entry.task for entry in data.measured}
    suites = {suite.name: suite.tasks for suite in catalog.suites.values()}
    speed = {SPEED_TASK: (catalog.task(SPEED_TASK),)}
    # Of the 2D problems a score says too little to be averaged.
    groups = {
        name: [task for task in tasks if not task.generated]
        for name, tasks in (suites | speed).items()
        if measured.intersection(task.name for task in tasks)
    }
    groups = _once({name: tasks for name, tasks in groups.items() if tasks})
    names = {name: [task.name for task in tasks] for name, tasks in groups.items() if name in suites}
    sources = load_cost_sources() if groups else []
    charts = (
        *(score_time_chart(data, name, tasks, sources) for name, tasks in groups.items()),
        *(score_latency_chart(data, name, tasks) for name, tasks in groups.items()),
        *(profile_chart(data, name, tasks) for name, tasks in names.items()),
        *(aggregate_chart(data, name, tasks) for name, tasks in names.items()),
        *(improvement_chart(data, name, tasks) for name, tasks in names.items()),
    )
    return [chart for chart in charts if chart is not None]


def _suites(catalog: Catalog, tasks: Sequence[str]) -> dict[str, list[str]]:
    """The tasks among `tasks` of each suite that has any, and those of none."""
    suites = catalog.suites.values()
    found = {suite.name: [task.name for task in suite.tasks if task.name in tasks] for suite in suites}
    known = {task for names in found.values() for task in names}
    found[NO_SUITE] = [task for task in tasks if task not in known]
    return _once({name: names for name, names in found.items() if names})


def _once(suites: dict[str, list[T]]) -> dict[str, list[T]]:
    """Without suites that would show what an earlier one shows."""
    found: dict[str, list[T]] = {}
    for name, tasks in suites.items():
        if tasks not in found.values():
            found[name] = tasks
    return found


def _cells(data: ReportData, tasks: Sequence[str]) -> list[Measured]:
    # Imported scores may come without a curve.
    return [
        entry
        for entry in data.measured
        if entry.task in tasks
        and not (entry.imported and not any(trial.evaluations for trial in entry.trials))
    ]
