"""Tables as data: what a report says, apart from how it is printed.

Every renderer reads this model and nothing else, so the formats cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.report.judgement import WORDS

CellKind = Literal["label", "printed", "measured", "condition"]

MARKS: Mapping[str, str] = {
    WORDS["reproduced"]: "≈",
    WORDS["below"]: "↓",
    WORDS["above"]: "↑",
    WORDS["inconclusive"]: "?",
    WORDS["not comparable"]: "†",
}
"""What stands behind a measured number in text for its verdict."""


@dataclass(frozen=True)
class Cell:
    """One place in a table; blank where `text` is empty."""

    kind: CellKind
    text: str = ""
    """As shown, without marks: `99.6 ± 0.87`."""
    value: float | None = None
    """The number behind the text, in full precision."""
    spread: float | None = None
    """What stands after ±; `detail["spread_kind"]` says what it means."""
    n: int | None = None
    """Training seeds (scores) or measurements (timings) behind the number."""
    bold: bool = False
    not_comparable: tuple[str, ...] = ()
    """Why a measured number must not be held against the printed one; empty where it may."""
    footnotes: tuple[str, ...] = ()
    verdict: str = ""
    """What is said of a measured number held against the printed one, in the words of `judgement.WORDS`."""
    interval: tuple[float, float] | None = None
    """90 % interval of the difference, measured minus printed, where it was tested."""
    detail: Mapping[str, object] = field(default_factory=dict)
    """What else is known (seeds, scores, protocol, episodes, ...): for CSV, JSON and the page."""

    @property
    def mark(self) -> str:
        """The sign of its verdict, or of not being comparable; empty where there is nothing to say."""
        not_comparable = MARKS[WORDS["not comparable"]] if self.not_comparable else ""
        return not_comparable or MARKS.get(self.verdict, "")

    def notes(self) -> tuple[str, ...]:
        """Everything that the cell's marks point at, reasons first."""
        reasons = (f"not comparable: {'; '.join(self.not_comparable)}",) if self.not_comparable else ()
        return reasons + self.footnotes


BLANK = Cell("measured")


@dataclass(frozen=True)
class Column:
    """A column; cells of a row stand in the order of the block's columns."""

    key: str
    header: str
    kind: CellKind
    method: str = ""
    """The paper's name of the method that a printed or measured column belongs to."""


@dataclass(frozen=True)
class Row:
    """A row of a block."""

    cells: tuple[Cell, ...]
    aggregate: bool = False
    """An average or a sum, set apart by a rule."""
    counted: bool = True
    """Its measured cells count; not so for averages, for rows that a paper lacks or that are not measured."""

    def measured(self) -> bool:
        """Whether any cell of the row holds a measured number."""
        return any(cell.kind == "measured" and cell.text for cell in self.cells)


@dataclass(frozen=True)
class Block:
    """Rows under one header; a paper's table may hold several with different methods."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    of_paper: bool = True
    """False for rows that the paper does not have (collected twins, further configurations)."""


@dataclass(frozen=True)
class Coverage:
    """Counts of a table's measurable cells."""

    cells: int
    measured: int
    comparable: int
    further: int = 0
    """Measured rows that the paper does not have."""
    sentence: str = ""
    """What a table says of itself that has no cells of a paper."""

    def __str__(self) -> str:
        if self.sentence:
            return self.sentence
        further = f"; {self.further} measured beyond the paper's cells" if self.further else ""
        return f"{self.measured} of {self.cells} cells measured, {self.comparable} comparable{further}"


@dataclass(frozen=True)
class Table:
    """A table of a paper with the measured numbers beside the printed ones."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    coverage: Coverage
    """Counted when the table is made (`counted_table`): a shortened table still says how much there is."""
    rows_are_tasks: bool
    """Rows of tasks may be left out where nothing was measured; rows of quantities stay."""
    statements: tuple[str, ...] = ()
    """Margins and error rates of the verdicts in its cells, the same in every table of a report."""

    def cells(self) -> Iterator[Cell]:
        """All cells, in reading order."""
        for block in self.blocks:
            for row in block.rows:
                yield from row.cells


def counted_table(
    table_id: str, title: str, blocks: Sequence[Block], notes: tuple[str, ...], rows_are_tasks: bool = True
) -> Table:
    """A table with its measurable cells counted: those of counted rows in the paper's blocks."""
    cells = [
        cell
        for block in blocks
        if block.of_paper
        for row in block.rows
        if row.counted
        for cell in row.cells
        if cell.kind == "measured"
    ]
    measured = [cell for cell in cells if cell.text]
    comparable = sum(not cell.not_comparable for cell in measured)
    further = sum(row.measured() for block in blocks if not block.of_paper for row in block.rows)
    coverage = Coverage(len(cells), len(measured), comparable, further)
    return Table(table_id, title, tuple(blocks), notes, coverage, rows_are_tasks)


def legend(table: Table) -> tuple[str, ...]:
    """What the marks in a table mean, only those that it has."""
    used = {cell.mark for cell in table.cells()}
    reason = {WORDS["not comparable"]: " with the printed number, for the reason named"}
    return tuple(f"{mark} {word}{reason.get(word, '')}" for word, mark in MARKS.items() if mark in used)


def note_labels(table: Table) -> dict[str, str]:
    """Labels a, b, ..., z, aa, ... of a table's footnotes, in order of first appearance."""
    texts = dict.fromkeys(note for cell in table.cells() for note in cell.notes())
    return {text: _letters(number) for number, text in enumerate(texts)}


def _letters(number: int) -> str:
    prefix, letter = divmod(number, 26)
    return (_letters(prefix - 1) if prefix else "") + chr(ord("a") + letter)


def finite(value: float | None) -> float | None:
    """The value, or None where there is no number to show."""
    return value if value is not None and math.isfinite(value) else None


def number_text(value: float | None, decimals: int, spread_text: str = "") -> str:
    """`12.3 ± 1.2`; empty where there is no finite value."""
    if finite(value) is None:
        return ""
    return f"{value:z.{decimals}f}" + (f" ± {spread_text}" if spread_text else "")


def compact(table: Table) -> Table:
    """Only what was measured: methods and tasks with a measured number.

    Averages stay in the blocks that stay. A table without any measured number keeps its rows and the methods
    that could be measured.
    """
    rows_too = table.rows_are_tasks and any(row.measured() for block in table.blocks for row in block.rows)
    blocks = [_compact_block(block, rows_too) for block in table.blocks]
    kept = tuple(block for block in blocks if block.rows)
    hidden = sum(len(block.rows) for block in table.blocks) - sum(len(block.rows) for block in kept)
    left_out = [f"{hidden} row{'s' if hidden > 1 else ''} without a measurement"] if hidden else []
    if any(column.kind == "printed" for block in table.blocks for column in block.columns):
        left_out.append("methods without one" if hidden else "methods without a measurement")
    note = (f"Left out here: {' and '.join(left_out)}. --full shows them.",) if left_out else ()
    return replace(table, blocks=kept, notes=(*table.notes, *note))


def _compact_block(block: Block, rows_too: bool) -> Block:
    if rows_too and not any(row.measured() for row in block.rows):
        return replace(block, rows=())
    keep = _compact_columns(block)
    rows = [
        replace(row, cells=tuple(row.cells[place] for place in keep))
        for row in block.rows
        if not rows_too or row.aggregate or row.measured()
    ]
    return replace(block, columns=tuple(block.columns[place] for place in keep), rows=tuple(rows))


def _compact_columns(block: Block) -> list[int]:
    """Places of the columns of methods with a measured number; of all that could have one where none has."""
    could, has = set(), set()
    for place, column in enumerate(block.columns):
        if column.kind == "measured":
            could.add(column.method)
            if any(row.cells[place].text for row in block.rows):
                has.add(column.method)
    shown = has or could
    return [
        place
        for place, column in enumerate(block.columns)
        if column.kind in ("label", "condition") or column.method in shown
    ]
