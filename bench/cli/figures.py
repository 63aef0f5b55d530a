"""Figure files of `bench report`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from bench.report.charts import Chart
    from bench.report.measured import ReportData

PICTURE_FORMATS = ("pdf", "svg", "png")
CHARTS = {
    "learning-curves": "bench run --suite SUITE",
    "score-time": "bench run --suite SUITE, and bench speed for times measured alone",
    "score-latency": "bench run --suite SUITE, and bench speed for latencies measured alone",
    "profiles": "bench run --suite SUITE",
}
"""Charts by what they are asked for with, and what measures them."""
FLOATS = "figures.tex"

FiguresOption = Annotated[
    str,
    typer.Option(
        metavar="IDS",
        help=f"Figures to write as files: {', '.join(CHARTS)}, "
        "those of the 2D problems (dtql-fig3,bdpo-fig11), or all. The page (html) holds them anyway; "
        "--format figures writes only them.",
    ),
]
FigureFormatOption = Annotated[
    str,
    typer.Option(
        metavar="FORMAT",
        help=f"Of figures, one of: {', '.join(PICTURE_FORMATS)}. By default pdf with --format figures, "
        "otherwise png.",
    ),
]


def check_figure_format(name: str) -> None:
    """Refuse a format that figures cannot be written in; empty leaves it to the default."""
    if name and name not in PICTURE_FORMATS:
        raise unknown_name("figure format", name, PICTURE_FORMATS, "bench report --help")


def chosen_figures(names: str) -> list[str]:
    """The figures asked for; without any, nothing that draws is imported."""
    if not names:
        return []
    from bench.report.bandit2d_figures import FIGURES, choose_figures

    return choose_figures(names, (*CHARTS, *FIGURES))


def write_figures(
    names: Sequence[str], data: ReportData, folder: Path, format_: str, *, tell_missing: bool = True
) -> None:
    """Write those of the named figures that have something to show, and for LaTeX their captions.

    What was written, and what lacks data, is said on stderr, because the report itself may be going through
    a pipe.
    """
    from bench.report.charts import save_chart
    from bench.report.figures import paper_charts

    charts = paper_charts(data, names)
    for chart in charts:
        _write(folder / f"{chart.id}.{format_}", partial(save_chart, chart, format_=format_))
        _say(f"Wrote {folder / chart.id}.{format_}")
    if charts and format_ != "svg":
        _write_captions(charts, folder, format_)
    drawn = {chart.section for chart in charts} | _write_2d(names, data, folder, format_)
    missing = [name for name in names if name not in drawn]
    if tell_missing:
        for name in missing:
            _say(f"{name}: nothing measured yet. {_command(name)}")
    elif missing:
        _say(f"Nothing measured yet for {', '.join(missing)}: --figures NAME says what measures it.")


def _write_2d(names: Sequence[str], data: ReportData, folder: Path, format_: str) -> set[str]:
    """The figures of the 2D problems; returns the ids of those that there are."""
    from bench.report.bandit2d_figures import FIGURES, fill_figures
    from bench.report.bandit2d_panels import save_sheet

    wanted = [name for name in names if name in FIGURES]
    filled = fill_figures(data.illustrations.items, wanted) if wanted else []
    for figure in filled:
        name = figure.layout.id
        path = folder / f"{name}.{format_}"
        _write(path, partial(save_sheet, figure.sheet, figure.layout.id, format_=format_))
        _say(f"Wrote {path}. {figure.shown}")
    for sentence in data.illustrations.unreadable if wanted else ():
        _say(sentence)
    return {figure.layout.id for figure in filled}


def _write_captions(charts: Sequence[Chart], folder: Path, format_: str) -> None:
    from bench.report.formats import latex

    _write(folder / FLOATS, lambda stream: stream.write(latex.render_charts(charts, format_).encode()))
    _say(f"Wrote {folder / FLOATS}: LaTeX floats with the captions of these figures.")


def _command(name: str) -> str:
    from bench.report.bandit2d_figures import FIGURES

    return CHARTS[name] if name in CHARTS else FIGURES[name].command


def _write(path: Path, save: Callable[[BinaryIO], object]) -> None:
    from bench.files import written_whole

    try:
        with written_whole(path) as temporary, temporary.open("wb") as stream:
            save(stream)
    except OSError as error:
        what = f"cannot write {str(path)!r}"
        raise BenchError(what, f"{error.strerror}.", "Name another folder with --out DIR.") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr)
