"""Score tables: a paper's rows and columns in its own order, the measured cells beside the printed ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.report.aggregates import measured_aggregate
from bench.report.further import further_blocks, left_over
from bench.report.judgement import Judgement
from bench.report.matching import Match, matched
from bench.report.measured import Measured
from bench.report.methods import column_of
from bench.report.paper import AGGREGATES, PaperCell, PaperTable
from bench.report.score_cells import (
    CONDITIONS,
    condition_cells,
    measured_cell,
    measured_header,
    printed_cell,
)
from bench.report.tables import BLANK, Block, Cell, Column, Row, Table, counted_table
from bench.report.typography import Bold, Digits, digits_of, emboldened


@dataclass(frozen=True)
class ScoreLayout:
    """What the CSV of a paper's score table does not say."""

    id: str
    own: Mapping[str, str]
    """The paper's own methods -> their headers: they always have a measured column, blank or not."""
    headings: Mapping[str, tuple[str, str]]
    """Domain in the CSV -> (heading of its block, name of its average)."""
    notes: tuple[str, ...] = ()
    bold: Bold | None = None
    further: tuple[str, ...] = ()
    """Algorithms whose twins and further configurations stand below: the table is the main one of theirs."""


def score_table(
    layout: ScoreLayout,
    paper: PaperTable,
    measured: Sequence[Measured],
    judgement: Judgement | None = None,
) -> Table:
    """The table of `layout`, filled with what was measured on its tasks.

    A paper's cell takes the configuration that comes closest to it (`bench.report.matching`), scored by the
    cell's protocol where the evaluations allow it. Everything else that was measured on these tasks or on
    their twins, of the methods that this is the main table of, stands in further blocks.
    """
    cells = paper.rows
    chosen = matched(cells, measured)
    domains: dict[str, list[PaperCell]] = {}
    for cell in cells:
        domains.setdefault(cell.domain, []).append(cell)
    blocks = [_DomainBlock(layout, domain, own, chosen, judgement).block() for domain, own in domains.items()]
    tasks = {task for cell in cells for task in (cell.task, cell.task_meant)}
    own = [entry for entry in measured if entry.algorithm in layout.further]
    blocks += further_blocks(left_over(own, tasks, chosen.values()), cells)
    bold = (layout.bold.sentence,) if layout.bold else ()
    notes = (*layout.notes, *bold, *paper.info.remarks)
    return counted_table(paper.id, paper.full_title, blocks, notes)


def row_names(tasks: Iterable[str]) -> dict[str, str]:
    """Task -> the row that it stands in: a name without version joins the task that has one.

    SRPO quotes AntMaze without saying which version, beside its own numbers on -v2.
    """
    tasks = list(dict.fromkeys(tasks))
    versioned = {task.rpartition("-v")[0]: task for task in tasks if "-v" in task}
    return {task: versioned.get(task, task) for task in tasks}


@dataclass(frozen=True)
class _DomainBlock:
    """One domain of the paper's table: its own columns, tasks and average."""

    layout: ScoreLayout
    domain: str
    cells: Sequence[PaperCell]
    chosen: Mapping[PaperCell, Match]
    """What stands in the paper's cells, scored as the cell is."""
    judgement: Judgement | None

    @cached_property
    def printed(self) -> Mapping[tuple[str, str], PaperCell]:
        """By row and column."""
        names, rows = column_of(self.cells), row_names(cell.task for cell in self.cells)
        return {(rows[cell.task], names[cell]): cell for cell in self.cells}

    @cached_property
    def by_column(self) -> Mapping[str, Sequence[PaperCell]]:
        """The cells of each column, in the paper's order."""
        columns: dict[str, list[PaperCell]] = {}
        for (_, name), cell in self.printed.items():
            columns.setdefault(name, []).append(cell)
        return columns

    @cached_property
    def digits(self) -> Mapping[str, Digits]:
        """Decimals by column, those of single tasks: averages may have others."""
        return {
            name: digits_of(cell for cell in cells if cell.task not in AGGREGATES)
            for name, cells in self.by_column.items()
        }

    def block(self) -> Block:
        heading, average = self.layout.headings[self.domain]
        columns = [Column("task", heading, "label")]
        for name, cells in self.by_column.items():
            method = cells[0].method
            header = name.replace(method, self.layout.own.get(method, method))
            columns.append(Column(f"{name} printed", header, "printed", name))
            if method in self.layout.own or any(cell in self.chosen for cell in cells):
                columns.append(Column(f"{name} measured", measured_header(header), "measured", name))
        rows = dict.fromkeys(row for row, _ in self.printed)
        tasks = [row for row in rows if row not in AGGREGATES]
        aggregates = [row for row in rows if row in AGGREGATES]
        return Block(
            heading,
            (*columns, *CONDITIONS),
            (
                *(self._task_row(task, columns) for task in tasks),
                *(self._aggregate_row(average, aggregate, columns) for aggregate in aggregates),
            ),
        )

    def _task_row(self, task: str, columns: Sequence[Column]) -> Row:
        row = [Cell("label", task)]
        shown = []
        for column in columns[1:]:
            cell = self.printed.get((task, column.method))
            if column.kind == "printed":
                row.append(printed_cell(cell))
            elif cell is None or cell not in self.chosen:
                row.append(BLANK)
            else:
                match = self.chosen[cell]
                shown.append(match.measured)
                row.append(measured_cell(match, self.digits[column.method], self.judgement))
        return Row((*emboldened(row, self.layout.bold), *condition_cells(shown)))

    def _aggregate_row(self, label: str, aggregate: str, columns: Sequence[Column]) -> Row:
        row = [Cell("label", label)]
        for column in columns[1:]:
            cells = self.by_column[column.method]
            if column.kind == "printed":
                row.append(printed_cell(self.printed.get((aggregate, column.method))))
            else:
                tasks = [cell for cell in cells if cell.task not in AGGREGATES]
                decimals = digits_of(cell for cell in cells if cell.task in AGGREGATES).mean
                row.append(measured_aggregate(tasks, self.chosen, aggregate, decimals, self.judgement))
        conditions = (Cell("condition") for _ in CONDITIONS)
        return Row(
            (*emboldened(row, self.layout.bold, aggregate=True), *conditions), aggregate=True, counted=False
        )
