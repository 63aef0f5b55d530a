"""`bench check`: whether measured numbers are the papers', or the baseline's, with stated error rates."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NoReturn, get_args

import typer

from bench.catalog import load_catalog
from bench.cli.common import MarginsOption, choice
from bench.cli.output import aligned, print_table
from bench.errors import BenchError, names_in
from bench.files import typed_path, write_text
from bench.report import check as checking
from bench.report.check import Check, find_verdict
from bench.report.formats.check import NUMBERS, Section, explain_verdict, render_json, sections
from bench.report.formats.junit import render
from bench.report.loading import load_judged_data
from bench.report.margins import load_margins
from bench.report.measured import ReportData
from bench.store.database import open_store
from bench.store.location import DEFAULT_STORE, locate
from bench.visible_text import count

Reference = Literal["paper", "baseline"]
Format = Literal["text", "json", "junit"]


def check(
    against: Annotated[
        Reference,
        choice(
            "reference",
            Reference,
            metavar="REFERENCE",
            help="What the numbers are held against: paper or baseline.",
        ),
    ] = "paper",
    suite: Annotated[
        str,
        typer.Option(
            metavar="SUITES",
            help="Judge only the tasks of these suites, separated by commas; what is judged together is "
            "corrected together.",
        ),
    ] = "",
    format_: Annotated[
        Format,
        choice(
            "format",
            Format,
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"One of: {', '.join(get_args(Format))}.",
        ),
    ] = "text",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=typed_path, help="Write there instead of printing.")
    ] = None,
    margins: MarginsOption = None,
    explain: Annotated[
        str,
        typer.Option(
            metavar="CELL",
            help="Show the arithmetic of one verdict: dtql/hopper-medium-v2/last, a suite "
            "(dtql/d4rl-locomotion/last), or parts that fit one alone ('dtql hopper-medium-v2').",
        ),
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Text: name everything that has no verdict, not only counts.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=f"Results database. Default: {DEFAULT_STORE}; against the baseline, that of nightly.yaml.",
        ),
    ] = None,
) -> None:
    """Say which printed numbers the stored seeds reproduce, per cell and per suite, with stated error rates.

    Exit code 1 where a number or the mean of a suite is *not reproduced, below*; numbers above are reported.
    With --explain it is 0. Against the baseline: 1 where a cell of the last night is below, and its fresh
    seeds did not clear it, or lacks scores.
    """
    chosen = _suites(suite)
    if against == "baseline":
        _refuse_paper_options(margins, explain)
        _check_baseline(store, chosen, format_, out)
    else:
        _check_papers(store or DEFAULT_STORE, chosen, format_, out, margins, explain, everything=everything)


def _check_papers(
    store: str,
    suites: Sequence[str],
    format_: Format,
    out: Path | None,
    margins: Path | None,
    explain: str,
    *,
    everything: bool,
) -> None:
    declared = load_margins(margins)
    data = _load(store)
    found = checking.check(data, declared, str(locate(store)), datetime.now(UTC), suites)
    if explain:
        _explain(explain, found, data, format_)
        return
    counts = ", ".join(f"{number} {outcome}" for outcome, number in found.judgement.counts().items())
    _deliver(
        format_,
        out,
        lambda whole_names: sections(found, everything=everything, whole_names=whole_names),
        {"json": lambda: render_json(found), "junit": lambda: render(found)},
        f" (cells: {counts})",
    )
    if found.judgement.failed():
        _fail(_failed(found))


def _check_baseline(store: str | None, suites: Sequence[str], format_: Format, out: Path | None) -> None:
    """The last night's scores held against the project's own."""
    # Nights come with the simulator, which no check of printed numbers waits for.
    from bench.nightly.baseline import check_last_night, json_of, junit_of, section
    from bench.nightly.config import load_nightly

    tasks = _tasks(suites)
    with open_store(store or load_nightly().settings.store, read_only=True) as opened:
        found = check_last_night(opened, datetime.now(UTC), tasks)
    if not found.comparison.cells:
        what = f"baseline {found.baseline.name!r} has no cell of {', '.join(suites)}"
        raise BenchError(what, "", "Without --suite all of its cells are compared.")
    formats = {"json": lambda: json_of(found), "junit": lambda: junit_of(found)}
    _deliver(format_, out, lambda _: [section(found)], formats)
    if found.failing:
        low, red = len(found.below), len(found.comparison.red)
        _fail(f"{count(low, 'cell')} below the baseline, {red} without all scores or without an interval")


def _tasks(suites: Sequence[str]) -> list[str] | None:
    catalog = load_catalog()
    return [task.name for suite in suites for task in catalog.suite(suite).tasks] if suites else None


def _fail(text: str) -> NoReturn:
    print(f"bench: {text}", file=sys.stderr)
    raise typer.Exit(1)


def _refuse_paper_options(margins: Path | None, explain: str) -> None:
    for option, value in (("--margins", margins), ("--explain", explain)):
        if value:
            raise BenchError(
                f"{option} with --against baseline", "It is about printed numbers.", "Leave it out."
            )


def _load(store: str) -> ReportData:
    with open_store(store, read_only=True) as opened:
        data = load_judged_data(opened, load_catalog())
    if not data.measured:
        what = f"the store {locate(store)} holds no trials yet"
        raise BenchError(what, "There is nothing to check.", "Start with: bench run --suite quickstart")
    return data


def _suites(names: str) -> list[str]:
    chosen = list(names_in(names))
    if names and not chosen:
        raise BenchError(f"no suite named in {names!r}", "", "`bench list suites` shows all.")
    if chosen:
        catalog = load_catalog()
        for name in chosen:
            catalog.suite(name)
    return chosen


def _deliver(
    format_: Format,
    out: Path | None,
    sections: Callable[[bool], Iterable[Section]],
    formats: Mapping[str, Callable[[], str]],
    remark: str = "",
) -> None:
    """Print what was found, or write it to `out` and say so.

    Parameters
    ----------
    sections : the text, given whether it has room for whole names.
    formats : what makes each other format.
    """
    if out is None and format_ == "text":
        for number, section in enumerate(sections(not sys.stdout.isatty())):
            if number:
                typer.echo()
            _show(section)
    elif format_ == "text":
        parts = ("\n".join(_lines(section)) + "\n" for section in sections(True))
        _write("\n".join(parts), out, remark)
    else:
        _write(formats[format_](), out, remark)


def _show(section: Section) -> None:
    _print_folded([section.heading])
    if section.rows:
        print_table(section.columns, section.rows, right=NUMBERS)
    _print_folded(section.remarks, "  ")


def _lines(section: Section) -> Iterable[str]:
    yield section.heading
    if section.rows:
        yield from aligned(section.columns, section.rows, NUMBERS)
    yield from (f"  {remark}" for remark in section.remarks)


def _explain(name: str, found: Check, data: ReportData, format_: Format) -> None:
    if format_ != "text":
        what = f"--explain with --format {format_}"
        raise BenchError(what, "It explains to people.", f"--format {format_} alone has it all.")
    verdict = find_verdict(name, found.judgement)
    _print_folded(explain_verdict(verdict, found.judgement, data.measured, found.suites))


def _failed(found: Check) -> str:
    cells = sum(cell.outcome == "below" for cell in found.judgement.cells)
    suites = sum(suite.outcome == "below" for suite in found.judgement.suites)
    return f"not reproduced, below: {count(cells, 'cell')}, {count(suites, 'mean')} over suites"


def _print_folded(lines: Iterable[str], indent: str = "") -> None:
    """Print lines, folded to the terminal's width; in a pipe as they are."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for line in lines:
        text = textwrap.fill(
            line,
            width,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        typer.echo(text)


def _write(text: str, out: Path | None, remark: str) -> None:
    """Print `text`, or write it to `out` and say so.

    Raises
    ------
    BenchError : the file cannot be written.
    """
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        write_text(out, text)
    except OSError as error:
        what = f"cannot write {str(out)!r}"
        raise BenchError(what, f"{error.strerror}.", "Name another file with --out FILE.") from error
    typer.echo(f"Wrote {out}{remark}")
