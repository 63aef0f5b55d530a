"""`bench check --against baseline`: the last night's scores held against the project's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.cli.check_output import print_lines, write_output
from bench.cli.tables import aligned, print_table
from bench.cli.words import count
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.nightly.standing import Standing

_RIGHT = ("now", "baseline", "alarm below", "P", "n")


def check_baseline(store: str | None, suites: Sequence[str], format_: str, out: Path | None) -> None:
    """Print or write the comparison; exit code 1 where a cell is below, missing or without an interval."""
    from bench.nightly.config import load_nightly
    from bench.nightly.standing import standing
    from bench.store.database import open_store

    tasks = _tasks(suites)
    with open_store(store or load_nightly().settings.store, read_only=True) as opened:
        found = standing(opened, datetime.now(UTC), tasks)
    if not found.comparison.cells:
        what = f"baseline {found.baseline.name!r} has no cell of {', '.join(suites)}"
        raise BenchError(what, "", "Without --suite all of its cells are compared.")
    if out is None and format_ == "text":
        _show(found)
    else:
        write_output(_rendered(found, format_), out)
    if found.failing:
        low, red = len(found.below), len(found.comparison.red)
        text = f"{count(low, 'cell')} below the baseline, {red} without all scores or without an interval"
        print(f"bench: {text}", file=sys.stderr)
        raise typer.Exit(1)


def _tasks(suites: Sequence[str]) -> list[str] | None:
    from bench.catalog import load_catalog

    catalog = load_catalog()
    return [task.name for suite in suites for task in catalog.suite(suite).tasks] if suites else None


def _heading(found: Standing) -> str:
    baseline = found.baseline
    return f"Against baseline {baseline.name!r}, frozen {baseline.frozen_at:%Y-%m-%d}: {baseline.reason}"


def _show(found: Standing) -> None:
    from bench.nightly.standing import COLUMNS, remarks, rows

    print_lines([_heading(found)])
    print_table(COLUMNS, rows(found), right=_RIGHT)
    print_lines(remarks(found), "  ")


def _rendered(found: Standing, format_: str) -> str:
    from bench.nightly import standing

    if format_ == "json":
        return standing.as_json(found)
    if format_ == "junit":
        return standing.as_junit(found)
    table = aligned(standing.COLUMNS, standing.rows(found), _RIGHT)
    remarks = (f"  {remark}" for remark in standing.remarks(found))
    return "\n".join([_heading(found), *table, *remarks]) + "\n"
