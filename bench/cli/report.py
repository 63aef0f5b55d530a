"""`bench report`: the papers' tables with the measured numbers beside the printed ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import MarginsOption
from bench.cli.figures import (
    FigureFormatOption,
    FiguresOption,
    check_figure_format,
    chosen_figures,
    write_figures,
)
from bench.cli.output import print_exactly
from bench.errors import BenchError, unknown_name
from bench.files import typed_path
from bench.store.location import DEFAULT_STORE, locate

if TYPE_CHECKING:
    from bench.report.judgement import Judgement
    from bench.report.measured import ReportData
    from bench.report.tables import Table

FORMATS = ("markdown", "latex", "html", "csv", "json", "figures")
DEFAULT_FOLDER = Path("results")


def report(
    format_: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help=f"One of: {', '.join(FORMATS)}.")
    ] = "markdown",
    tables: Annotated[
        str,
        typer.Option(
            metavar="IDS",
            help="Tables by id, separated by commas (dtql-1,bandit2d), or all: the papers' tables and, where "
            "something of the 2D problems is measured, bandit2d.",
        ),
    ] = "all",
    figures: FiguresOption = "",
    figure_format: FigureFormatOption = "",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=typed_path,
            help="Write files into this folder. Without it text is printed; html and figures go to results/.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Markdown in the terminal: all rows and all of the paper's methods, not only those that "
            "were measured. Files and other formats always hold everything.",
        ),
    ] = False,
    margins: MarginsOption = None,
    store: Annotated[str, typer.Option(metavar="URL", help="Results database.")] = DEFAULT_STORE,
) -> None:
    """Print the papers' tables with the measured numbers beside the printed ones, and the verdicts on them.

    A cell that must not be held against the printed number is marked with a dagger and the reason. What was
    not measured is blank, and counted.
    """
    if format_ not in FORMATS:
        raise unknown_name("format", format_, FORMATS, "bench report --help")
    check_figure_format(figure_format)
    if format_ == "figures":
        _write_figures_only(figures, figure_format, out, store)
        return
    from bench.report.build import choose_tables, judged_tables
    from bench.report.margins import load_margins
    from bench.report.tables import compact, condensed

    choose_tables(tables)  # a slip of the pen is told before a large store is read
    drawn, declared = chosen_figures(figures), load_margins(margins)
    data = _load(store)
    built, judgement = judged_tables(tables, data, declared)
    if out is None and format_ != "html":
        short = format_ == "markdown" and not full
        # Tables asked for by name are shown even where nothing was measured.
        chosen_tables = _measured(built) if short and tables == "all" else built
        shown = [condensed(compact(table)) for table in chosen_tables] if short else built
        print_exactly(_files(format_, shown, data, judgement)[0][1])
        missing = [table.id for table in built if table not in chosen_tables]
        if missing:
            typer.echo(f"\nNothing measured for {', '.join(missing)}: --tables NAME or --full shows them.")
    else:
        _write(out or DEFAULT_FOLDER, _files(format_, built, data, judgement))
    if drawn:
        write_figures(drawn, data, out or DEFAULT_FOLDER, figure_format or "png")
    _hint_if_empty(data, store)


def _write_figures_only(figures: str, format_: str, out: Path | None, store: str) -> None:
    names, data = chosen_figures(figures or "all"), _load(store)
    by_name = figures.strip() not in ("", "all")
    write_figures(names, data, out or DEFAULT_FOLDER, format_ or "pdf", tell_missing=by_name)
    _hint_if_empty(data, store)


def _hint_if_empty(data: ReportData, store: str) -> None:
    if not data.measured and not data.timings:
        print(f"Nothing is stored in {locate(store)} yet. Start with:", file=sys.stderr)
        print("  bench run --suite quickstart", file=sys.stderr)


def _measured(tables: Sequence[Table]) -> Sequence[Table]:
    """The tables that hold a measured number; the first where none does."""
    found = [table for table in tables if table.coverage.measured or table.coverage.further]
    return found or tables[:1]


def _load(store: str) -> ReportData:
    """What the store holds; nothing where the default store has not been made yet."""
    from bench.catalog import load_catalog
    from bench.report.loading import load_report_data
    from bench.report.measured import ReportData
    from bench.store.database import open_store

    path = locate(store).path
    if store == DEFAULT_STORE and path is not None and not path.exists():
        return ReportData()
    with open_store(store, read_only=True) as opened:
        return load_report_data(opened, load_catalog())


def _files(
    format_: str, tables: Sequence[Table], data: ReportData, judgement: Judgement
) -> list[tuple[str, str]]:
    """(file name, text) of a format; the first is what a terminal shows."""
    if format_ == "html":
        from bench.report.formats import html

        return [("report.html", html.render(tables, data, datetime.now(UTC), judgement))]
    if format_ == "latex":
        from bench.report.formats import latex

        return [("tables.tex", latex.render(tables)), ("report.tex", latex.document(tables))]
    if format_ == "markdown":
        from bench.report.formats import markdown

        return [("report.md", markdown.render(tables))]
    from bench.report.formats.data import render_csv, render_json

    return (
        [("report.csv", render_csv(tables))] if format_ == "csv" else [("report.json", render_json(tables))]
    )


def _write(folder: Path, files: Sequence[tuple[str, str]]) -> None:
    from bench.files import write_text

    for name, text in files:
        try:
            write_text(folder / name, text)
        except OSError as error:
            what = f"cannot write {str(folder / name)!r}"
            raise BenchError(what, f"{error.strerror}.", "Name another folder with --out DIR.") from error
        typer.echo(f"Wrote {folder / name}")
