"""Tables and lines on a terminal and in a pipe."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.cli.output import printable
from bench.visible_text import visible_line

if TYPE_CHECKING:
    from rich.table import Table

Row = Sequence[str]


NARROW = 12
"""Characters: holds any step count with its commas, and every short word."""


def print_table(
    columns: Row, rows: Sequence[Row], right: Sequence[str] = (), narrow: Sequence[str] = ()
) -> None:
    """Print rows under their columns; the columns named in `right` are aligned to the right.

    On a terminal long cells are folded to its width, except names (the first column) and numbers; those of
    `narrow` columns are folded at NARROW characters. In a pipe every row is one line, columns two spaces
    apart, so that grep and awk see whole rows.
    """
    from rich.console import Console

    console = Console(highlight=False)
    columns, right, narrow = ([printable(name) for name in names] for names in (columns, right, narrow))
    rows = [[printable(cell) for cell in row] for row in rows]
    if console.is_terminal:
        console.print(_folded(columns, rows, right, narrow))
    else:
        print("\n".join(aligned(columns, rows, right)))


def _folded(columns: Row, rows: Sequence[Row], right: Sequence[str], narrow: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        justify = "right" if column in right else "left"
        whole = (column in right or column == columns[0]) and column not in narrow
        # Text, because rich would read square brackets in a plain string as markup.
        table.add_column(
            Text(column),
            justify=justify,
            overflow="fold",
            no_wrap=whole,
            max_width=NARROW if column in narrow else None,
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def print_lines(lines: Iterable[str]) -> None:
    """Print lines; on a terminal folded at spaces, further in than they begin, in a pipe as they are."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        print(textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False))


def aligned(columns: Row, rows: Sequence[Row], right: Sequence[str] = ()) -> list[str]:
    """Rows under their columns as lines, columns two spaces apart."""
    from rich.cells import cell_len

    lines = [[visible_line(cell) for cell in row] for row in (columns, *rows)]
    # A terminal gives two places to an ideograph, and none to an accent of its own.
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    to_the_right = [column in right for column in columns]

    def padded(cell: str, width: int, is_right: bool) -> str:
        blanks = " " * (width - cell_len(cell))
        return blanks + cell if is_right else cell + blanks

    return ["  ".join(map(padded, line, widths, to_the_right)).rstrip() for line in lines]
