"""`bench query`: SQL that only reads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from bench.cli.common import StoreOption
from bench.cli.tables import print_table
from bench.store.location import DEFAULT_STORE


class OutputFormat(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"


def query(
    sql: Annotated[
        str, typer.Argument(help='For example "SELECT task, AVG(score) FROM scores GROUP BY task".')
    ],
    format: Annotated[OutputFormat, typer.Option(help="An aligned table, or CSV.")] = OutputFormat.table,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Run SQL that reads, on the views `scores` and `timings` or on any table."""
    from bench.store.asking import ask
    from bench.store.database import open_store

    with open_store(store, read_only=True) as opened:
        answer = ask(opened, sql)
    columns, rows = answer.columns, answer.rows
    if format is OutputFormat.csv:
        _write_csv(columns, rows)
    else:
        numbers = (
            [name for name, cell in zip(columns, rows[0], strict=True) if _is_number(cell)] if rows else []
        )
        print_table(columns, [[_shown(cell) for cell in row] for row in rows], right=numbers)


def _write_csv(columns: Sequence[str], rows: list[tuple[object, ...]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def _is_number(cell: object) -> bool:
    return isinstance(cell, int | float)


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)
