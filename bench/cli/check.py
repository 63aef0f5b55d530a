"""`bench check`: whether the measured numbers reproduce the printed ones, with stated error rates."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.check_baseline import check_baseline
from bench.cli.check_output import print_lines, write_output
from bench.cli.common import MarginsOption
from bench.cli.tables import aligned, print_table
from bench.cli.words import count
from bench.errors import BenchError, unknown_name
from bench.files import typed_path
from bench.store.location import DEFAULT_STORE, locate

if TYPE_CHECKING:
    from bench.report.check import Check
    from bench.report.measured import ReportData
    from bench.report.renderers.check_text import Section

REFERENCES = ("paper", "baseline")
FORMATS = ("text", "json", "junit")


def check(
    against: Annotated[
        str, typer.Option(metavar="REFERENCE", help="What the numbers are held against: paper or baseline.")
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
        str, typer.Option("--format", "-f", metavar="FORMAT", help=f"One of: {', '.join(FORMATS)}.")
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
    _require("format", format_, FORMATS)
    _require("reference", against, REFERENCES)
    chosen = _suites(suite)
    if against == "baseline":
        _refuse_paper_options(margins, explain)
        check_baseline(store, chosen, format_, out)
        return
    from bench.report.check import check
    from bench.report.margins import load_margins

    declared, place = load_margins(margins), store or DEFAULT_STORE
    data = _load(place)
    found = check(data, declared, str(locate(place)), datetime.now(UTC), chosen)
    if explain:
        _explain(explain, found, data, format_)
        return
    _deliver(found, format_, out, everything=everything)
    if found.judgement.failed():
        print(f"bench: {_failed(found)}", file=sys.stderr)
        raise typer.Exit(1)


def _refuse_paper_options(margins: Path | None, explain: str) -> None:
    for option, value in (("--margins", margins), ("--explain", explain)):
        if value:
            raise BenchError(
                f"{option} with --against baseline", "It is about printed numbers.", "Leave it out."
            )


def _require(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise unknown_name(kind, name, known, "bench check --help")


def _load(store: str) -> ReportData:
    from bench.catalog import load_catalog
    from bench.report.measured import load_judged_data
    from bench.store.database import open_store

    with open_store(store, read_only=True) as opened:
        data = load_judged_data(opened, load_catalog())
    if not data.measured:
        what = f"the store {locate(store)} holds no trials yet"
        raise BenchError(what, "There is nothing to check.", "Start with: bench run --suite quickstart")
    return data


def _suites(names: str) -> list[str]:
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if names and not chosen:
        raise BenchError(f"no suite named in {names!r}", "", "`bench list suites` shows all.")
    if chosen:
        from bench.catalog import load_catalog

        catalog = load_catalog()
        for name in chosen:
            catalog.suite(name)
    return chosen


def _deliver(found: Check, format_: str, out: Path | None, *, everything: bool) -> None:
    if out is None and format_ == "text":
        whole_names = not sys.stdout.isatty()
        for number, section in enumerate(_sections(found, everything=everything, whole_names=whole_names)):
            if number:
                typer.echo()
            _show(section)
    else:
        counts = ", ".join(f"{number} {outcome}" for outcome, number in found.judgement.counts().items())
        write_output(_rendered(found, format_, everything=everything), out, f" (cells: {counts})")


def _rendered(found: Check, format_: str, *, everything: bool) -> str:
    if format_ == "json":
        from bench.report.renderers import check_json

        return check_json.render(found)
    if format_ == "junit":
        from bench.report.renderers import junit

        return junit.render(found)
    parts = _sections(found, everything=everything, whole_names=True)
    return "\n".join("\n".join(_lines(section)) + "\n" for section in parts)


def _sections(found: Check, *, everything: bool, whole_names: bool) -> list[Section]:
    from bench.report.renderers.check_text import sections

    return sections(found, everything=everything, whole_names=whole_names)


def _show(section: Section) -> None:
    from bench.report.renderers.check_text import NUMBERS

    print_lines([section.heading])
    if section.rows:
        print_table(section.columns, section.rows, right=NUMBERS)
    print_lines(section.remarks, "  ")


def _lines(section: Section) -> Iterable[str]:
    from bench.report.renderers.check_text import NUMBERS

    yield section.heading
    if section.rows:
        yield from aligned(section.columns, section.rows, NUMBERS)
    yield from (f"  {remark}" for remark in section.remarks)


def _explain(name: str, found: Check, data: ReportData, format_: str) -> None:
    if format_ != "text":
        what = f"--explain with --format {format_}"
        raise BenchError(what, "It explains to people.", f"--format {format_} alone has it all.")
    from bench.report.renderers.check_explain import explained
    from bench.report.verdict_names import find_verdict

    verdict = find_verdict(name, found.judgement)
    print_lines(explained(verdict, found.judgement, data.measured, found.suites))


def _failed(found: Check) -> str:
    cells = sum(cell.outcome == "below" for cell in found.judgement.cells)
    suites = sum(suite.outcome == "below" for suite in found.judgement.suites)
    return f"not reproduced, below: {count(cells, 'cell')}, {count(suites, 'mean')} over suites"
