"""`bench query`: SQL that only reads."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import StoreOption
from bench.cli.tables import print_table
from bench.errors import BenchError
from bench.store.location import DEFAULT_STORE

if TYPE_CHECKING:
    from bench.store.database import Store


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
    from bench.store.database import open_store

    with open_store(store, read_only=True) as opened:
        columns, rows = _fetch(opened, sql)
    if format is OutputFormat.csv:
        _write_csv(columns, rows)
    else:
        numbers = (
            [name for name, cell in zip(columns, rows[0], strict=True) if _is_number(cell)] if rows else []
        )
        print_table(columns, [[_shown(cell) for cell in row] for row in rows], right=numbers)


def _fetch(store: Store, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
    from sqlalchemy.exc import DBAPIError

    advice = "`bench query` only reads; `bench db info` shows all tables and columns."
    with store.connect() as connection:
        try:
            result = connection.exec_driver_sql(sql)
        except DBAPIError as error:
            raise BenchError(f"the database refuses {sql!r}", f"It says: {error.orig}.", advice) from error
        if not result.returns_rows:
            raise BenchError(f"{sql!r} gives no rows", "", advice)
        return list(result.keys()), [tuple(row) for row in result]


def _write_csv(columns: list[str], rows: list[tuple[object, ...]]) -> None:
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
