"""`bench query`: SQL that only reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

import typer

from bench.cli.output import print_exactly, print_table, short
from bench.store.database import open_store
from bench.store.sql import Answer, run_query
from bench.visible_text import count, csv_text

WIDEST = 64
"""Characters of a cell in a table: holds a hash; configurations and commands are cut."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{6}")
"""A time as SQLite keeps it."""


def query(sql: str, format: Literal["table", "csv"], limit: int | None, store: str) -> None:
    """Run SQL that reads, and print its answer: a table, whose wide cells are cut, or CSV, all of it."""
    with open_store(store, read_only=True) as opened:
        answer = run_query(opened, sql, limit)
    if format == "csv":
        print_exactly(csv_text(answer.columns, answer.rows))
    else:
        _show_table(answer)


def _show_table(answer: Answer) -> None:
    columns = zip(answer.columns, zip(*answer.rows, strict=True), strict=True) if answer.rows else ()
    numbers = [name for name, cells in columns if _are_numbers(cells)]
    print_table(answer.columns, [[_shown(cell) for cell in row] for row in answer.rows], right=numbers)
    if sys.stdout.isatty():
        typer.echo(f"({count(len(answer.rows), 'row')})")


def _are_numbers(cells: Sequence[object]) -> bool:
    there = [cell for cell in cells if cell is not None]
    return bool(there) and all(isinstance(cell, int | float | Decimal) for cell in there)


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float | Decimal):
        return f"{cell:.6g}"
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    text = str(cell)
    time = _TIME.fullmatch(text)
    return time[1] if time else short(text, WIDEST)
