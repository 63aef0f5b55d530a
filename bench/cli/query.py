"""`bench query`: SQL that only reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bench.cli.output import (
    NARROW,
    line_width,
    print_exactly,
    print_table,
    printable,
    short,
)
from bench.store.database import open_store
from bench.store.sql import Answer, run_query
from bench.text_tables import COLUMN_GAP
from bench.visible_text import count, csv_text

WIDEST = 64
"""Characters of a cell in a table: holds a hash; configurations and commands are cut."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{6}")
"""A time as SQLite keeps it."""


def query(sql: str, format: Literal["table", "csv"], limit: int | None, store: str) -> None:
    """Run SQL that reads, and print its answer: a table, whose wide cells are cut, or CSV, all of it.

    Columns that do not fit a terminal make a block of every row.
    """
    with open_store(store, read_only=True) as opened:
        answer = run_query(opened, sql, limit)
    if format == "csv":
        print_exactly(csv_text(answer.columns, answer.rows))
    else:
        _show_table(answer)


def _show_table(answer: Answer) -> None:
    columns = zip(answer.columns, zip(*answer.rows, strict=True), strict=True) if answer.rows else ()
    numbers = [name for name, cells in columns if _are_numbers(cells)]
    rows = [[_shown(cell) for cell in row] for row in answer.rows]
    if rows and sys.stdout.isatty() and _least_width(answer.columns, rows, numbers) > line_width():
        _show_blocks(answer.columns, rows)
    else:
        print_table(answer.columns, rows, right=numbers)
    if sys.stdout.isatty():
        typer.echo(f"({count(len(answer.rows), 'row')})")


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> int:
    """Places that the columns take where long texts are folded, but no name of a column and no number."""
    total = 0
    for place, column in enumerate(columns):
        widest = max(cell_len(printable(row[place])) for row in rows)
        whole = place == 0 or column in numbers
        total += max(cell_len(printable(column)), widest if whole else min(widest, NARROW)) + COLUMN_GAP
    return total - COLUMN_GAP


def _show_blocks(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Every row as a block: a line for each column."""
    console = Console(highlight=False)
    for number, row in enumerate(rows, start=1):
        console.print(Rule(Text(f"row {number}"), align="left", characters="-"))
        block = Table.grid(padding=(0, COLUMN_GAP, 0, 0))
        block.add_column(overflow="fold", max_width=console.width // 2)
        block.add_column(overflow="fold")
        for column, cell in zip(columns, row, strict=True):
            block.add_row(Text(printable(column), style="bold"), Text(printable(cell)))
        console.print(block)


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
