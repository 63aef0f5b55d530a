"""A part of a report: some tasks or methods alone, in whatever format it is then shown.

Verdicts stay as they are: what was judged together is what the store holds, not what is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.errors import names_in
from bench.report.judgement import Judgement
from bench.report.measured import Measured, ReportData
from bench.report.paper import PaperCell
from bench.report.tables import Amount, Block, Cell, Column, Row, Table, conditions_of, counted_table


@dataclass(frozen=True)
class Only:
    """Names that are asked for; None: all."""

    tasks: frozenset[str] | None = None
    algorithms: frozenset[str] | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.tasks is None and self.algorithms is None

    def has(self, algorithm: str, *tasks: str | None) -> bool:
        """Whether a method on a task, by any of its names, is asked for."""
        return self.has_method(algorithm) and (self.tasks is None or not self.tasks.isdisjoint(tasks))

    def has_method(self, algorithm: str) -> bool:
        """Whether a method is asked for."""
        return self.algorithms is None or algorithm in self.algorithms


def narrowed(
    only: Only, tables: list[Table], judgement: Judgement, data: ReportData
) -> tuple[list[Table], Judgement, ReportData]:
    """The tables that have any of it, the verdicts on it, and what was measured of it."""
    if only.everything:
        return tables, judgement, data
    found = [narrowed_table(table, only) for table in tables]
    cells = tuple(cell for cell in judgement.cells if only.has(*cell.key[1:3]))
    suites = tuple(
        suite
        for suite in judgement.suites
        if only.has_method(suite.algorithm)
        and (only.tasks is None or only.tasks.issuperset(data.suites.get(suite.suite, ())))
    )
    return (
        [table for table in found if table.blocks],
        replace(judgement, cells=cells, suites=suites),
        _narrowed_data(data, only),
    )


def _narrowed_data(data: ReportData, only: Only) -> ReportData:
    items = tuple(item for item in data.illustrations.items if only.has(item.algorithm, item.task))
    return replace(
        data,
        measured=tuple(one for one in data.measured if only.has(one.algorithm, one.task, one.twin_of)),
        timings=tuple(one for one in data.timings if only.has(one.algorithm, one.task)),
        durations=tuple(one for one in data.durations if only.has(one.algorithm, one.task)),
        illustrations=replace(data.illustrations, items=items),
    )


def narrowed_table(table: Table, only: Only) -> Table:
    """Its rows of these tasks, its columns of these methods, counted anew; no blocks where it has none.

    An average stands only where every row that it is over does.
    """
    blocks = [_narrowed_block(block, only) for block in table.blocks]
    kept = [
        block for block in blocks if block.rows and any(column.kind != "label" for column in block.columns)
    ]
    if table.coverage.sentence:
        return replace(table, blocks=tuple(kept))
    counted = counted_table(table.id, table.title, kept, table.notes, table.rows_are_tasks)
    return replace(counted, statements=table.statements)


def _narrowed_block(block: Block, only: Only) -> Block:
    rows = [row for row in block.rows if not row.aggregate and _has_row(row, block, only)]
    if len(rows) == sum(not row.aggregate for row in block.rows):
        rows = list(block.rows)
    places = [place for place, column in enumerate(block.columns) if _has_column(column, block, only)]
    if not any(block.columns[place].kind in ("printed", "measured") for place in places):
        return replace(block, rows=())
    return replace(
        block,
        columns=tuple(block.columns[place] for place in places),
        rows=tuple(_row(row, places) for row in rows),
    )


def _row(row: Row, places: list[int]) -> Row:
    """Its cells at these places; its conditions are those of the scores that are left."""
    cells = [row.cells[place] for place in places]
    rest = [cell for cell in cells if cell.kind != "condition"]
    if len(cells) == len(row.cells) or len(rest) == len(cells):
        return replace(row, cells=tuple(cells))
    return replace(row, cells=(*rest, *conditions_of(rest)[: len(cells) - len(rest)]))


def _has_row(row: Row, block: Block, only: Only) -> bool:
    tasks = {task for cell in row.cells for task in _tasks(cell)}
    if only.tasks is not None and only.tasks.isdisjoint(tasks):
        return False
    if only.algorithms is None or any(column.method for column in block.columns):
        return True
    return any(only.has_method(name) for cell in row.cells for name in _algorithms(cell))


def _has_column(column: Column, block: Block, only: Only) -> bool:
    if only.algorithms is None or not column.method:
        return True
    same = [number for number, other in enumerate(block.columns) if other.method == column.method]
    named = {name for row in block.rows for number in same for name in _algorithms(row.cells[number])}
    return not only.algorithms.isdisjoint(named)


def _tasks(cell: Cell) -> Iterator[str]:
    for number in (cell.printed, cell.measured):
        if isinstance(number, PaperCell):
            yield from (number.task, number.task_meant)
        elif isinstance(number, Measured):
            yield from filter(None, (number.task, number.twin_of))
        elif isinstance(number, Amount) and number.task:
            yield number.task


def _algorithms(cell: Cell) -> Iterator[str]:
    for number in (cell.printed, cell.measured):
        if isinstance(number, Amount):
            # What the 2D problems' papers claim may be of several.
            yield from names_in(number.algorithm or "")
        elif number is not None:
            yield number.algorithm
