"""Tables on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

Row = Sequence[str]


def print_table(columns: Row, rows: Sequence[Row], right: Sequence[str] = ()) -> None:
    """Print rows under their columns; the columns named in `right` are aligned to the right.

    On a terminal long cells are folded to its width. In a pipe every row is one line, columns two spaces
    apart, so that grep and awk see whole rows.
    """
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_folded(columns, rows, right))
    else:
        print("\n".join(_aligned(columns, rows, right)))


def _folded(columns: Row, rows: Sequence[Row], right: Sequence[str]) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _aligned(columns: Row, rows: Sequence[Row], right: Sequence[str]) -> list[str]:
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in [columns, *rows]
    ]
