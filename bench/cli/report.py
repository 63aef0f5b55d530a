"""`bench report`: the papers' tables with the measured numbers beside the printed ones, and figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

import typer
from rich.console import Console

from bench.catalog import load_catalog
from bench.cli.options import CHARTS, ColumnChoice, LatexMarks, PictureFormat, ReportFormat
from bench.cli.output import print_exactly, print_lines, printable
from bench.data.folder import Ledger, dataset_path
from bench.errors import BenchError, chosen_names, names_in
from bench.files import written_whole
from bench.nightly.history import NIGHTS_PAGE, links_from, nights_page
from bench.presets import listed_names, meant_by
from bench.records import NightRecord
from bench.report.build import choose_tables, judged_tables
from bench.report.formats import latex, markdown, terminal
from bench.report.formats.data import render_csv, render_json
from bench.report.judgement import Judgement
from bench.report.loading import load_report_data
from bench.report.margins import load_margins
from bench.report.measured import ReportData
from bench.report.narrowing import Only, narrowed
from bench.report.shortening import compact, condensed, own_columns, without_unmeasured
from bench.report.tables import Table
from bench.store.database import open_store, opened_if_made
from bench.store.importing import imported_names
from bench.store.location import DEFAULT_STORE, locate
from bench.store.nights import nights

DEFAULT_FOLDER = Path("results")
FLOATS = "figures.tex"
REPORT = "report.html"


def latex_style(
    format_: ReportFormat,
    columns: ColumnChoice | None,
    marks: LatexMarks,
    legend: Path | None,
    text_width: float | None,
) -> latex.TableStyle:
    """What tables show in LaTeX, as it was typed.

    Raises
    ------
    BenchError : anything was typed for another format, where it would do nothing.
    """
    if format_ != "latex" and (marks, legend, text_width) != ("all", None, None):
        raise BenchError(
            f"nothing can be said of LaTeX for the format {format_}",
            "--marks, --legend and --text-width tell how tables are set in LaTeX.",
            "Add --format latex, or leave them out.",
        )
    width = latex.TEXT_WIDTH if text_width is None else text_width
    return latex.TableStyle(blanks=columns == "all", marked=marks == "all", text_width=width)


def usual_format(out: Path | None) -> ReportFormat:
    """The format where none is asked for: for people on a terminal, else Markdown."""
    return "terminal" if out is None and sys.stdout.isatty() else "markdown"


def only(suites: str, tasks: str, algorithms: str, store: str) -> Only:
    """What part of the report is wanted, from lists of names as they were typed; all where they are empty.

    Raises
    ------
    BenchError : a name is unknown, or a list names nothing.
    """
    catalog = load_catalog()
    chosen: set[str] = set()
    if suites:
        for name in chosen_names("suite", suites, catalog.suites, "bench list suites"):
            chosen |= {task.name for task in catalog.suites[name].tasks}
    if tasks:
        chosen |= set(chosen_names("task", tasks, catalog.tasks, "bench list tasks"))
    methods: set[str] = set()
    if algorithms:
        known = set(listed_names())
        if not known.issuperset(names_in(algorithms)):
            known.update(_imported(store))
        for name in chosen_names("algorithm", algorithms, sorted(known), "bench list algorithms"):
            methods |= meant_by(name)
    return Only(frozenset(chosen) or None, frozenset(methods) or None)


def _imported(store: str) -> list[str]:
    """What scores were imported as."""
    with opened_if_made(store) as opened:
        if opened is None:
            return []
        with opened.connect() as connection:
            return imported_names(connection)


def report(
    format_: ReportFormat,
    tables: str,
    figures: str,
    figure_format: PictureFormat | None,
    out: Path | None,
    margins: Path | None,
    store: str,
    style: latex.TableStyle,
    legend: Path | None,
    part: Only,
    columns: ColumnChoice | None,
    *,
    full: bool,
) -> None:
    """Print the papers' tables with the measured numbers beside the printed ones, or write them to files."""
    choose_tables(tables)  # a slip of the pen is told before a large store is read
    if format_ == "terminal" and out is not None:
        raise BenchError("--format terminal with --out", "It is for looking at.", "Use --format markdown.")
    drawn, declared = chosen_figures(figures), load_margins(margins)
    data, held = _load(store, with_nights=format_ == "html")
    built, judgement = judged_tables(tables, data, declared)
    built, judgement, data = narrowed(part, built, judgement, data)
    if columns != "all":
        built = [without_unmeasured(own_columns(table) if columns == "own" else table) for table in built]
    if not built:
        raise BenchError(
            "no table has a row of what is asked for", "", "`bench list tables` shows what each is about."
        )
    if out is None and format_ != "html":
        short = format_ in ("terminal", "markdown") and not full
        # Tables asked for by name are shown even where nothing was measured.
        chosen_tables = _measured(built) if short and tables == "all" else built
        if short:
            # Who names columns wants them for methods without a measurement too.
            shown = [condensed(compact(table, methods=columns is None)) for table in chosen_tables]
        else:
            shown = built
        if format_ == "terminal":
            _show(shown, judgement)
        else:
            print_exactly(_files(format_, shown, data, judgement, style)[0][1])
        missing = [table.id for table in built if table not in chosen_tables]
        if missing:
            typer.echo()
            print_lines([f"Nothing measured for {', '.join(missing)}: --tables NAME or --full shows them."])
    else:
        folder = out or DEFAULT_FOLDER
        files = _files(format_, built, data, judgement, style, str(locate(store)), bool(held))
        if held and format_ == "html":
            links = links_from(folder / NIGHTS_PAGE, locate(store).folder, held)
            files.append((NIGHTS_PAGE, nights_page(held, links, REPORT)))
        for name, text in files:
            _write_text(folder / name, text)
            typer.echo(f"Wrote {folder / name}")
    if legend is not None:
        _write_text(legend, latex.render_legend(built, style))
        _say(f"Wrote {legend}")
    if drawn:
        write_figures(drawn, data, out or DEFAULT_FOLDER, figure_format or "pdf")
    _hint_if_empty(data, store)


def _show(tables: Sequence[Table], judgement: Judgement) -> None:
    """Print tables for people, as wide as the terminal is."""
    console = Console(highlight=False)
    for part in terminal.rendered(tables, judgement, console.width, printable):
        console.print(part)


def write_figures_only(
    figures: str, format_: PictureFormat | None, out: Path | None, store: str, part: Only
) -> None:
    """Write figures into files, and nothing else; all that have something to show where none is named."""
    names = chosen_figures(figures or "all")
    data = narrowed(part, [], Judgement(), _load(store)[0])[2]
    by_name = figures.strip() not in ("", "all")
    write_figures(names, data, out or DEFAULT_FOLDER, format_ or "pdf", tell_missing=by_name)
    _hint_if_empty(data, store)


def _hint_if_empty(data: ReportData, store: str) -> None:
    if not data.measured and not data.timings:
        print(f"Nothing is stored in {locate(store)} yet. Start with:", file=sys.stderr)
        print("  bench run --suite quickstart", file=sys.stderr)


def _measured(tables: Sequence[Table]) -> Sequence[Table]:
    """The tables that hold a measured number; the first where none does."""
    found = [
        table
        for table in tables
        if table.coverage.measured or table.coverage.further or table.coverage.imported
    ]
    return found or tables[:1]


def _load(store: str, *, with_nights: bool = False) -> tuple[ReportData, list[NightRecord]]:
    """What the store holds, and its nights; nothing where the default store has not been made yet."""
    path = locate(store).path
    if store == DEFAULT_STORE and path is not None and not path.exists():
        return ReportData(), []
    with open_store(store, read_only=True) as opened:
        return load_report_data(opened, load_catalog()), nights(opened) if with_nights else []


def _files(
    format_: str,
    tables: Sequence[Table],
    data: ReportData,
    judgement: Judgement,
    style: latex.TableStyle,
    store: str = "",
    nights_held: bool = False,
) -> list[tuple[str, str]]:
    """(file name, text) of a format; the first is what a terminal shows."""
    if format_ == "html":
        from bench.report.formats import html  # draws, as figures do

        nights_link = NIGHTS_PAGE if nights_held else ""
        return [(REPORT, html.render(tables, data, datetime.now(UTC), judgement, store, nights_link))]
    if format_ == "latex":
        return [("tables.tex", latex.render(tables, style)), ("report.tex", latex.document(tables, style))]
    if format_ == "summary":
        return [("summary.txt", _summary(data))]
    if format_ == "markdown":
        return [("report.md", markdown.render(tables))]
    return (
        [("report.csv", render_csv(tables))] if format_ == "csv" else [("report.json", render_json(tables))]
    )


def _summary(data: ReportData) -> str:
    """What was found, beside the own scores of the datasets whose files are still those of the trials."""
    from bench.data.info import summarise  # knows the simulators, as few reports do
    from bench.report.formats import summary

    catalog, ledger = load_catalog(), Ledger()
    generated = {name for name, task in catalog.tasks.items() if task.generated}
    own_scores = {}
    for record in data.datasets:
        task = catalog.tasks.get(record.name)
        if task is None or task.generated or not dataset_path(task).is_file():
            continue
        entry = ledger.known(dataset_path(task))
        if entry is not None and entry.sha256 == record.sha256:
            own_scores[record.name] = summarise(dataset_path(task), task)
    return summary.render(data, own_scores, generated)


# Figures


def chosen_figures(names: str) -> list[str]:
    """The figures asked for; without any, nothing that draws is imported."""
    if not names:
        return []
    from bench.report.bandit2d_figures import FIGURES, choose_figures

    return choose_figures(names, (*CHARTS, *FIGURES))


def write_figures(
    names: Sequence[str], data: ReportData, folder: Path, format_: PictureFormat, *, tell_missing: bool = True
) -> None:
    """Write those of the named figures that have something to show, and for LaTeX their captions.

    What was written, and what lacks data, is said on stderr, because the report itself may be going through
    a pipe.
    """
    from bench.report.bandit2d_figures import FIGURES, fill_figures
    from bench.report.bandit2d_panels import save_sheet
    from bench.report.charts import save_chart
    from bench.report.figures import paper_charts

    charts = paper_charts(data, names)
    for chart in charts:
        _write(folder / f"{chart.id}.{format_}", partial(save_chart, chart, format_=format_))
        _say(f"Wrote {folder / chart.id}.{format_}")
    if charts and format_ != "svg":
        _write_text(folder / FLOATS, latex.render_charts(charts, format_))
        _say(f"Wrote {folder / FLOATS}: LaTeX floats with the captions of these figures.")
    of_problems = [name for name in names if name in FIGURES]
    filled = fill_figures(data.illustrations.items, of_problems) if of_problems else []
    for figure in filled:
        path = folder / f"{figure.layout.id}.{format_}"
        _write(path, partial(save_sheet, figure.sheet, figure.layout.id, format_=format_))
        _say(f"Wrote {path}. {figure.shown}")
    for sentence in data.illustrations.unreadable if of_problems else ():
        _say(sentence)
    drawn = {chart.section for chart in charts} | {figure.layout.id for figure in filled}
    missing = [name for name in names if name not in drawn]
    if tell_missing:
        for name in missing:
            command = CHARTS[name] if name in CHARTS else FIGURES[name].command
            _say(f"{name}: nothing measured yet. {command}")
    elif missing:
        _say(f"Nothing measured yet for {', '.join(missing)}: --figures NAME says what measures it.")


def _write_text(path: Path, text: str) -> None:
    _write(path, lambda stream: stream.write(text.encode()))


def _write(path: Path, save: Callable[[BinaryIO], object]) -> None:
    try:
        with written_whole(path) as temporary, temporary.open("wb") as stream:
            save(stream)
    except OSError as error:
        what = f"cannot write {str(path)!r}"
        raise BenchError(what, f"{error.strerror}.", "Name another folder with --out DIR.") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr)
