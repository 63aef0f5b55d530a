"""One self-contained page: headline, tables, learning curves, provenance, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.records import RunRecord
from bench.report.figures import learning_curves_svg
from bench.report.figures2d import FilledFigure, fill_figures
from bench.report.illustrations import Illustrations
from bench.report.measured import LearningCurve, ReportData
from bench.report.panels2d import page_svg
from bench.report.tables import Cell, Table, note_labels
from bench.resources import resource


@dataclass(frozen=True)
class Headline:
    """The counts that open the page."""

    trials: int
    finished: int
    failed: int
    tables: tuple[tuple[str, str], ...]
    """(title, coverage) of each table."""


def render(tables: Sequence[Table], data: ReportData, made_at: datetime) -> str:
    """The page as one HTML text without any reference to another file."""
    environment = Environment(
        loader=FileSystemLoader(resource("reports/templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minute"] = _minute
    environment.filters["machine"] = _machine
    template = environment.get_template("report.html.j2")
    return template.render(
        tables=[(table, note_labels(table)) for table in tables],
        headline=_headline(tables, data),
        figures=_figures(data.curves),
        figures_2d=_figures_2d(data.illustrations),
        data=data,
        made_at=made_at,
        tooltip=tooltip,
    )


def _headline(tables: Sequence[Table], data: ReportData) -> Headline:
    states = [trial.state for entry in data.measured for trial in entry.trials]
    counts = tuple((table.title, str(table.coverage)) for table in tables)
    return Headline(len(states), states.count("finished"), states.count("failed"), counts)


def _figures(curves: Sequence[LearningCurve]) -> list[tuple[str, Markup]]:
    by_task: dict[str, list[LearningCurve]] = {}
    for curve in curves:
        by_task.setdefault(curve.task, []).append(curve)
    # The SVG is our own and escaped by its maker; it is the one thing the template must not escape.
    return [(task, Markup(learning_curves_svg(task, group))) for task, group in by_task.items()]


def _figures_2d(illustrations: Illustrations) -> list[tuple[FilledFigure, Markup]]:
    filled = fill_figures(illustrations.items)
    return [(figure, Markup(page_svg(figure.sheet, figure.layout.id))) for figure in filled]


def tooltip(cell: Cell) -> str:
    """What a reader sees when resting on a number: how it was made."""
    shown: Mapping[str, str] = {
        "protocol": "protocol",
        "episodes": "episodes",
        "spread_kind": "±",
        "seeds": "seeds",
        "verification": "dataset",
        "replay": "physics found by replay",
        "variant": "variant",
        "note": "note",
    }
    parts = [f"{name}: {_plain(cell.detail[key])}" for key, name in shown.items() if cell.detail.get(key)]
    return "; ".join(parts)


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _minute(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else ""


def _machine(run: RunRecord) -> str:
    """`EPYC 7B13, 2 cores, 7.8 GiB, no GPU`."""
    hardware = run.hardware
    gpus = hardware.get("gpus") or []
    parts = [
        str(hardware.get("cpu", "")),
        f"{hardware['cores']} cores" if hardware.get("cores") else "",
        f"{hardware['memory_gib']:.1f} GiB" if hardware.get("memory_gib") else "",
        ", ".join(map(str, gpus)) if gpus else "no GPU",
    ]
    return ", ".join(part for part in parts if part)
