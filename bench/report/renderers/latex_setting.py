"""How a table is set in LaTeX: size of type, orientation, and the pages that its rows are spread over.

All from estimates of width and height, for the page of the stand-alone document; in a narrower one
\\resizebox shrinks what is still too wide.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.report.tables import Block, Cell, Column

_HEADER_WIDTH = 13
"""Characters of a header before it is broken into lines."""
_COLUMN_GAP = 6.0
_RULE = 6.0
"""Points around a rule."""


@dataclass(frozen=True)
class TypeSize:
    """A size of type: its command, and points per character and line."""

    command: str
    character: float
    line: float


SMALL, FOOTNOTE, SCRIPT = (
    TypeSize("\\small", 4.7, 11.0),
    TypeSize("\\footnotesize", 4.2, 9.5),
    TypeSize("\\scriptsize", 3.7, 8.2),
)


@dataclass(frozen=True)
class Page:
    """Room on a page, in points."""

    width: float
    height: float


PORTRAIT, LANDSCAPE = Page(510.0, 700.0), Page(750.0, 470.0)


@dataclass(frozen=True)
class Setting:
    """How one table is set."""

    size: TypeSize
    page: Page

    @property
    def sideways(self) -> bool:
        """Whether it is turned."""
        return self.page is LANDSCAPE

    def notes_height(self, text: str) -> float:
        """Points that notes take at \\scriptsize."""
        return SCRIPT.line * (1 + len(text) * SCRIPT.character / self.page.width)


def setting_of(blocks: Sequence[Block]) -> Setting:
    """The largest type in which the widest block fits, upright if at all possible."""
    for page in (PORTRAIT, LANDSCAPE):
        for size in (SMALL, FOOTNOTE, SCRIPT):
            if all(_width(block, size) <= page.width for block in blocks):
                return Setting(size, page)
    return Setting(SCRIPT, LANDSCAPE)


def header_lines(column: Column) -> list[str]:
    """A column's header, broken where it would widen the column."""
    if column.kind == "label":
        return [column.header]
    return textwrap.wrap(column.header, _HEADER_WIDTH, break_long_words=False) or [""]


def spread(blocks: Sequence[Block], setting: Setting, notes: str) -> list[tuple[Block, ...]]:
    """The blocks page by page, long ones continued; the last page may be empty: for notes that need it."""
    pages: list[list[Block]] = [[]]
    left = setting.page.height
    for block in blocks:
        rows = list(block.rows)
        header = _header_height(block, setting.size)
        while rows:
            fitting = int((left - header) // setting.size.line)
            if fitting < min(3, len(rows)) and pages[-1]:
                pages.append([])
                left = setting.page.height
                continue
            taken, rows = rows[: max(fitting, 3)], rows[max(fitting, 3) :]
            pages[-1].append(replace(block, rows=tuple(taken)))
            left -= header + len(taken) * setting.size.line
    if left < setting.notes_height(notes):
        pages.append([])
    return [tuple(page) for page in pages]


def _width(block: Block, size: TypeSize) -> float:
    widths = [
        max(
            *(len(line) for line in header_lines(column)),
            *(_characters(row.cells[place]) for row in block.rows),
            1,
        )
        for place, column in enumerate(block.columns)
    ]
    return size.character * sum(widths) + _COLUMN_GAP * len(widths)


def _characters(cell: Cell) -> float:
    """Characters of a cell; marks are small, bold type is wide."""
    marks = len(cell.notes()) + bool(cell.mark)
    return len(cell.text) * (1.1 if cell.bold else 1.0) + 1.2 * marks


def _header_height(block: Block, size: TypeSize) -> float:
    lines = max(len(header_lines(column)) for column in block.columns)
    aggregates = sum(row.aggregate for row in block.rows)
    return size.line * (lines + (0 if block.of_paper else 1)) + _RULE * (3 + aggregates)
