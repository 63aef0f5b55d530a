"""Figure files of `bench report`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from bench.report.illustrations import Illustrations

PICTURE_FORMATS = ("png", "svg", "pdf")
FiguresOption = Annotated[
    str,
    typer.Option(
        metavar="IDS",
        help="Figures of the 2D problems to write as files (dtql-fig3,bdpo-fig11), or all. The page (html) "
        "holds all of them anyway.",
    ),
]
FigureFormatOption = Annotated[
    str, typer.Option(metavar="FORMAT", help=f"Of --figures; one of: {', '.join(PICTURE_FORMATS)}.")
]


def check_figure_format(name: str) -> None:
    """Refuse a format that figures cannot be written in."""
    if name not in PICTURE_FORMATS:
        raise unknown_name("figure format", name, PICTURE_FORMATS, "bench report --help")


def write_figures(names: Sequence[str], illustrations: Illustrations, folder: Path, format_: str) -> None:
    """Write each named figure that has something to show; say on stderr what was written and what lacks data.

    On stderr, because the report itself may be going through a pipe.
    """
    from bench.files import written_whole
    from bench.report.figures2d import FIGURES, fill_figures
    from bench.report.panels2d import save_sheet

    filled = {figure.layout.id: figure for figure in fill_figures(illustrations.items, names)}
    for name in names:
        if name not in filled:
            print(f"{name}: nothing measured yet. {FIGURES[name].command}", file=sys.stderr)
            continue
        path = folder / f"{name}.{format_}"
        try:
            with written_whole(path) as temporary, temporary.open("wb") as stream:
                save_sheet(filled[name].sheet, name, stream, format_)
        except OSError as error:
            what = f"cannot write {str(path)!r}"
            raise BenchError(what, f"{error.strerror}.", "Name another folder with --out DIR.") from error
        print(f"Wrote {path}. {filled[name].shown}", file=sys.stderr)
    for sentence in illustrations.unreadable:
        print(sentence, file=sys.stderr)
