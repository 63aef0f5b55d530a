"""The charts of the page by section, in the order of reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from markupsafe import Markup

from bench.report.charts import Section
from bench.report.figures import PageFigure, page_figures
from bench.report.measured import ReportData

TITLES: dict[Section, str] = {
    "learning-curves": "Learning curves",
    "score-time": "Score against training time",
    "score-latency": "Score against action latency",
    "profiles": "Performance profiles",
}


@dataclass(frozen=True)
class FigureSection:
    """Charts of one kind, each with its drawing."""

    id: Section
    title: str
    figures: tuple[tuple[PageFigure, Markup], ...]


def figure_sections(data: ReportData) -> list[FigureSection]:
    """Every section, also where it has no chart yet."""
    figures = page_figures(data)
    return [
        # The SVG is our own and escaped by its maker; it is the one thing the template must not escape.
        FigureSection(id_, TITLES[id_], tuple((f, Markup(f.svg)) for f in figures if f.section == id_))
        for id_ in get_args(Section)
    ]
