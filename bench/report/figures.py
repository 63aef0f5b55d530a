"""The charts of a report: for its page, and for papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.catalog import load_catalog
from bench.report.charts import Chart, Section, chart_svg
from bench.report.curve_charts import suite_chart, task_chart
from bench.report.mean_curves import mean_curves
from bench.report.measured import LearningCurve, Measured, ReportData, SeedScore


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
    return [_figure(chart) for chart in charts]


def paper_charts(data: ReportData) -> list[Chart]:
    """Every chart that has something to show, as papers have them: one sheet of curves for each suite."""
    curves = mean_curves(data.measured, data.curves)
    charts = []
    for name, tasks in _suites(list(curves)).items():
        here = {task: curves[task] for task in tasks}
        charts.append(suite_chart(name, here, _cells(data, tasks)))
    return charts


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
