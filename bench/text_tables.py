"""Tables on a terminal: a rule below the header, no frame, cells folded where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

COLUMN_GAP = 2
"""Places between columns."""


@dataclass(frozen=True)
class TextColumn:
    """How a column stands."""

    header: str
    right: bool = False
    """Aligned to the right, as numbers are."""
    whole: bool = False
    """Never folded, however little room there is."""
    least: int | None = None
    """Places that it takes at least."""
    most: int | None = None
    """Places beyond which it is folded."""


def text_table(columns: Sequence[TextColumn]) -> Table:
    """Such a table, whose rows are still to be added; as texts, for Rich reads markup in plain strings."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, COLUMN_GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(
            Text(column.header),
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=column.whole,
            min_width=column.least,
            max_width=column.most,
        )
    return table
