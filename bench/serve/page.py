"""The report's page made from a store, and the lines that say who works at the moment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Template

from bench.catalog import Catalog
from bench.report.build import judged_tables
from bench.report.formats import html
from bench.report.loading import load_report_data
from bench.report.margins import Margins
from bench.report.shortening import without_unmeasured
from bench.resources import resource
from bench.store.database import Store
from bench.store.status import RunningStack, running_stacks


def page_of(store: Store, catalog: Catalog, margins: Margins, nights: str = "") -> str:
    """The whole page, as `bench report --format html` writes it.

    Parameters
    ----------
    nights : address of the page over all nights, where there is one.
    """
    data = load_report_data(store, catalog)
    tables, judgement = judged_tables("all", data, margins)
    shown = list(map(without_unmeasured, tables))
    return html.render(shown, data, datetime.now(UTC), judgement, str(store.location), nights)


def strip(version: str) -> str:
    """What keeps an open page live: it asks whether there is another version than this."""
    source = Path(resource("reports/templates") / "live.html").read_text(encoding="utf-8")
    return Template(source, autoescape=True).render(version=version)


def working_lines(store: Store) -> list[str]:
    """`dtql on hopper-medium-v2, seeds 0 1: training 34 %`, one per stack."""
    return [_line(stack) for stack in running_stacks(store)]


def _line(stack: RunningStack) -> str:
    seeds = f"seed{'s' if len(stack.seeds) > 1 else ''} {' '.join(map(str, stack.seeds))}"
    beginning = f"{stack.cell.algorithm} on {stack.cell.task}, {seeds}"
    if stack.progress is None or not stack.progress.iterations_total:
        return f"{beginning}: starting"
    share = stack.progress.iterations_done / stack.progress.iterations_total
    return f"{beginning}: {stack.progress.activity} {share:.0%}"
