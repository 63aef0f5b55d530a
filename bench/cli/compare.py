"""`bench compare`: whether a method is better than another, or than what papers print."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bench.catalog import load_catalog
from bench.cli.delivery import deliver, suites_named
from bench.cli.options import CompareFormat
from bench.report.compare import compare
from bench.report.formats.compare import render_json, render_junit, render_latex, sections
from bench.report.loading import load_judged_data
from bench.report.margins import load_margins
from bench.store.database import open_store
from bench.store.location import locate


def compare_methods(
    name: str,
    against: str,
    suite: str,
    format_: CompareFormat,
    out: Path | None,
    margins: Path | None,
    store: str,
) -> None:
    """Hold a method's scores against another's, or against printed numbers, and tell what can be said."""
    suites, declared, catalog = suites_named(suite), load_margins(margins), load_catalog()
    with open_store(store, read_only=True) as opened:
        data = load_judged_data(opened, catalog)
    found, now = compare(data, catalog, name, against, declared, suites), datetime.now(UTC)
    deliver(
        format_,
        out,
        lambda _: sections(found),
        {
            "json": lambda: render_json(found, str(locate(store)), now),
            "junit": lambda: render_junit(found, now),
            "latex": lambda: render_latex(found),
        },
    )
