"""One self-contained page: verdicts, tables, figures, failures, and how each number was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment
from markupsafe import Markup

from bench.data.manifest import remarks_on
from bench.report.figures2d import FilledFigure, fill_figures
from bench.report.illustrations import Illustration, Illustrations
from bench.report.judgement import WORDS, Judgement
from bench.report.measured import ReportData
from bench.report.panels2d import page_svg
from bench.report.renderers.page import words
from bench.report.renderers.page.figures import figure_sections
from bench.report.renderers.page.making import Making, makings, seeds_text
from bench.report.renderers.page.numbers import ids_of
from bench.report.renderers.page.tables import PageTable, page_tables
from bench.report.renderers.page.verdicts import headline, ordered_suites, strip_of, to_decide, verdict_rows
from bench.report.renderers.templates import page_templates
from bench.report.tables import Table
from bench.visible_text import visible


@dataclass(frozen=True)
class Trials:
    """Counts of what is stored."""

    total: int
    finished: int
    failed: int
    open: int


@dataclass(frozen=True)
class Filters:
    """What a reader may choose from."""

    methods: tuple[str, ...]
    tasks: tuple[str, ...]


def render(
    tables: Sequence[Table], data: ReportData, made_at: datetime, judgement: Judgement | None = None
) -> str:
    """The page as one HTML text without any reference to another file."""
    judgement = judgement or Judgement()
    environment = _environment()
    shown = page_tables(tables, judgement)
    made = makings(data, (number for table in shown for number in table.numbers()))
    rows = verdict_rows(judgement.cells)
    page = environment.get_template("report.html.j2").render(
        made_at=made_at,
        judgement=judgement,
        answer=headline(judgement, data),
        suites=ordered_suites(judgement),
        judged=[row for row in rows if row.verdict.outcome != "not comparable"],
        others=[row for row in rows if row.verdict.outcome == "not comparable"],
        tables=shown,
        ids=_ids(shown, made),
        figures=figure_sections(data),
        figures_2d=_figures_2d(data.illustrations),
        makings=made,
        homes={making.id for making in made},
        trials=_trials(data),
        remarks=remarks_on(data.datasets),
        data=data,
        filters=_filters(data, judgement),
    )
    # Names in a store may hold what a browser must not be sent.
    return visible(page)


def _environment() -> Environment:
    environment = page_templates()
    for function in (words.minute, words.machine, words.points, words.signed, words.hours):
        environment.filters[function.__name__] = function
    environment.filters |= {
        "strip": strip_of,
        "slug": words.slug,
        "seeds_text": seeds_text,
        "to_decide": to_decide,
    }
    environment.globals |= {"WORDS": WORDS, "MARKS": words.MARKS, "MEANINGS": words.MEANINGS}
    environment.globals["interval"] = words.interval
    return environment


def _ids(tables: Sequence[PageTable], made: Sequence[Making]) -> dict[object, str]:
    """Ids of the numbers that the page tells about: those of its cells and of its tables."""
    homes = {making.id for making in made} | {f"{table.table.id}-numbers" for table in tables}
    ids = ids_of(number for table in tables for number in table.numbers())
    return {number: id_ for number, id_ in ids.items() if number.home in homes}


def _trials(data: ReportData) -> Trials:
    states = [trial.state for entry in data.measured for trial in entry.trials]
    finished, failed = states.count("finished"), states.count("failed")
    return Trials(len(states), finished, failed, len(states) - finished - failed)


def _filters(data: ReportData, judgement: Judgement) -> Filters:
    measured = [(entry.algorithm, entry.task) for entry in data.measured]
    judged = [(cell.key[1], cell.key[2]) for cell in judgement.cells]
    methods, tasks = zip(*(measured + judged), strict=True) if measured or judged else ((), ())
    timed = [timing.algorithm for timing in data.timings]
    return Filters(tuple(sorted({*methods, *timed})), tuple(sorted(set(tasks))))


def _figures_2d(illustrations: Illustrations) -> list[tuple[FilledFigure, list[Illustration], Markup]]:
    """Each figure with the trials in it and its drawing."""
    return [
        # The SVG is our own and escaped by its maker; it is the one thing the template must not escape.
        (
            figure,
            figure.layout.cells(illustrations.items),
            Markup(page_svg(figure.sheet, figure.layout.id)),
        )
        for figure in fill_figures(illustrations.items)
    ]
