"""`bench check`: whether measured numbers are the papers', or the baseline's, with stated error rates."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import typer

from bench.catalog import load_catalog
from bench.cli.delivery import deliver, suites_named
from bench.cli.options import CheckFormat
from bench.cli.output import print_lines
from bench.errors import BenchError
from bench.report import check as checking
from bench.report.check import find_verdict
from bench.report.formats.check import explain_verdict, render_json, sections
from bench.report.formats.junit import render
from bench.report.loading import load_judged_data
from bench.report.margins import load_margins
from bench.store.database import open_store
from bench.store.location import locate
from bench.visible_text import count


def check_papers(
    suite: str,
    format_: CheckFormat,
    out: Path | None,
    margins: Path | None,
    explain: str,
    store: str,
    *,
    everything: bool,
) -> None:
    """Say which printed numbers the stored seeds reproduce; with `explain`, how one verdict came about."""
    suites = suites_named(suite)
    declared = load_margins(margins)
    with open_store(store, read_only=True) as opened:
        data = load_judged_data(opened, load_catalog())
    if not data.measured:
        what = f"the store {locate(store)} holds no trials yet"
        raise BenchError(what, "There is nothing to check.", "Start with: bench run --suite quickstart")
    found = checking.check(data, declared, str(locate(store)), datetime.now(UTC), suites)
    if explain:
        if format_ != "text":
            what = f"--explain with --format {format_}"
            raise BenchError(what, "It explains to people.", f"--format {format_} alone has it all.")
        verdict = find_verdict(explain, found.judgement)
        print_lines(explain_verdict(verdict, found.judgement, found.suites))
        return
    counts = ", ".join(f"{number} {outcome}" for outcome, number in found.judgement.counts().items())
    deliver(
        format_,
        out,
        lambda whole_names: sections(found, everything=everything, whole_names=whole_names),
        {"json": lambda: render_json(found), "junit": lambda: render(found)},
        f" (cells: {counts})",
    )
    if found.judgement.failed():
        low_cells = sum(cell.outcome == "below" for cell in found.judgement.cells)
        low_suites = sum(suite.outcome == "below" for suite in found.judgement.suites)
        _fail(f"not reproduced, below: {count(low_cells, 'cell')}, {count(low_suites, 'mean')} over suites")


def check_baseline(
    suite: str,
    format_: CheckFormat,
    out: Path | None,
    margins: Path | None,
    explain: str,
    store: str | None,
) -> None:
    """Hold the last night's scores against the project's own; `margins` and `explain` are refused."""
    # Nights come with the simulator, which no check of printed numbers waits for.
    from bench.nightly.baseline import check_last_night, json_of, junit_of, section
    from bench.nightly.config import store_of_nights

    suites = suites_named(suite)
    for option, value in (("--margins", margins), ("--explain", explain)):
        if value:
            what = f"{option} with --against baseline"
            raise BenchError(what, "It is about printed numbers.", "Leave it out.")
    catalog = load_catalog()
    tasks = [task.name for name in suites for task in catalog.suite(name).tasks] if suites else None
    with open_store(store or store_of_nights(), read_only=True) as opened:
        found = check_last_night(opened, datetime.now(UTC), tasks)
    if not found.comparison.cells:
        what = f"baseline {found.baseline.name!r} has no cell of {', '.join(suites)}"
        raise BenchError(what, "", "Without --suite all of its cells are compared.")
    formats = {"json": lambda: json_of(found), "junit": lambda: junit_of(found)}
    deliver(format_, out, lambda _: [section(found)], formats)
    if found.failing:
        low, red = len(found.below), len(found.comparison.red)
        _fail(f"{count(low, 'cell')} below the baseline, {red} without all scores or without an interval")


def _fail(text: str) -> NoReturn:
    print(f"bench: {text}", file=sys.stderr)
    raise typer.Exit(1)
