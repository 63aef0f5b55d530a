"""Tables as the page shows them: the method, task and verdict of each place, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.report.judgement import CellVerdict, Judgement, Outcome
from bench.report.renderers.page.numbers import Number, measured_number, printed_number
from bench.report.renderers.page.words import BY_WORDS
from bench.report.tables import Block, Cell, Column, Row, Table, note_labels

Algorithms = Mapping[str, str]
"""Method as a column names it -> its name in this suite."""


@dataclass(frozen=True)
class PageCell:
    """A cell with what the page knows beyond the table."""

    cell: Cell
    number: Number | None
    outcome: Outcome | None


@dataclass(frozen=True)
class PageColumn:
    """A column; `algorithm` is empty where nothing was measured of its method."""

    column: Column
    algorithm: str
    noted: bool
    """Whether any of its cells has notes: room for their marks keeps the numbers in line."""


@dataclass(frozen=True)
class PageRow:
    """A row; `task` and `algorithms` are empty where it is of no particular ones."""

    row: Row
    task: str
    algorithms: str
    cells: tuple[PageCell, ...]


@dataclass(frozen=True)
class PageBlock:
    """Rows under one header."""

    block: Block
    columns: tuple[PageColumn, ...]
    rows: tuple[PageRow, ...]


@dataclass(frozen=True)
class PageTable:
    """A table with labels for its footnotes."""

    table: Table
    labels: Mapping[str, str]
    blocks: tuple[PageBlock, ...]

    @property
    def measured(self) -> bool:
        """Whether any row holds a measured number."""
        return any(row.row.measured() for block in self.blocks for row in block.rows)

    def numbers(self) -> Iterator[Number]:
        """What is known of its numbers, in reading order."""
        cells = (cell for block in self.blocks for row in block.rows for cell in row.cells)
        yield from (cell.number for cell in cells if cell.number is not None)


def page_tables(tables: Sequence[Table], judgement: Judgement) -> list[PageTable]:
    """Every table; methods that columns name are known from whichever table measured them."""
    anywhere = _algorithms(block for table in tables for block in table.blocks)
    return [
        PageTable(
            table,
            note_labels(table),
            tuple(_block(block, table.id, anywhere, judgement) for block in table.blocks),
        )
        for table in tables
    ]


def _algorithms(blocks: Iterator[Block]) -> dict[str, str]:
    found: dict[str, str] = {}
    for block in blocks:
        for row in block.rows:
            for column, cell in zip(block.columns, row.cells, strict=True):
                if column.method and cell.detail.get("algorithm"):
                    found.setdefault(column.method, str(cell.detail["algorithm"]))
    return found


def _block(block: Block, table: str, anywhere: Algorithms, judgement: Judgement) -> PageBlock:
    algorithms = {**anywhere, **_algorithms(iter([block]))}
    columns = tuple(
        PageColumn(
            column,
            algorithms.get(column.method, ""),
            any(row.cells[place].notes() for row in block.rows),
        )
        for place, column in enumerate(block.columns)
    )
    return PageBlock(block, columns, tuple(_row(block, row, table, judgement) for row in block.rows))


def _row(block: Block, row: Row, table: str, judgement: Judgement) -> PageRow:
    of_columns = any(column.method for column in block.columns)
    tasks = [cell.text for column, cell in zip(block.columns, row.cells, strict=True) if column.key == "task"]
    named = {str(cell.detail["algorithm"]) for cell in row.cells if cell.detail.get("algorithm")}
    printed = {
        column.method: cell
        for column, cell in zip(block.columns, row.cells, strict=True)
        if cell.kind == "printed"
    }
    cells = (
        _cell(cell, column, printed.get(column.method), table, judgement)
        for column, cell in zip(block.columns, row.cells, strict=True)
    )
    task = "" if row.aggregate or not tasks else tasks[0]
    return PageRow(row, task, "" if of_columns else ", ".join(sorted(named)), tuple(cells))


def _cell(cell: Cell, column: Column, printed: Cell | None, table: str, judgement: Judgement) -> PageCell:
    if cell.kind == "printed":
        return PageCell(cell, printed_number(cell, column.header, table), None)
    if cell.kind != "measured":
        return PageCell(cell, None, None)
    verdict = _verdict(cell, printed, judgement)
    outcome = BY_WORDS.get(cell.verdict) or ("not comparable" if cell.not_comparable else None)
    return PageCell(cell, measured_number(cell, printed, verdict, table), outcome)


def _verdict(cell: Cell, printed: Cell | None, judgement: Judgement) -> CellVerdict | None:
    """The verdict that the cell shows in short; its table has seen to it that it is of this configuration."""
    if not cell.verdict or printed is None:
        return None
    paper, protocol = printed.detail.get("paper"), cell.detail.get("protocol")
    key = (str(paper), str(cell.detail.get("algorithm")), str(cell.detail.get("task")), str(protocol))
    return judgement.by_key.get(key)
