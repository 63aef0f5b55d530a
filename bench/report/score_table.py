"""Score tables: a paper's rows and columns in its own order, the measured cells beside the printed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.conditions import comparable
from bench.report.further import further_blocks
from bench.report.matching import identity, matched
from bench.report.measured import Measured
from bench.report.methods import algorithm_of, column_of
from bench.report.paper import PaperCell, PaperTable
from bench.report.score_cells import CONDITIONS, condition_cells, measured_cell, printed_cell
from bench.report.tables import BLANK, Block, Cell, Column, Row, Table, counted_table, number_text

AGGREGATES = ("average", "sum")


@dataclass(frozen=True)
class ScoreLayout:
    """What the CSV of a paper's score table does not say."""

    id: str
    own: Mapping[str, str]
    """The paper's own methods -> their headers: they always have a measured column, blank or not."""
    headings: Mapping[str, tuple[str, str]]
    """Domain in the CSV -> (heading of its block, name of its average)."""
    notes: tuple[str, ...] = ()
    takes_all: bool = False
    """Whether what was measured of methods that the paper does not print stands below the table, too."""


def score_table(layout: ScoreLayout, paper: PaperTable, measured: Sequence[Measured]) -> Table:
    """The table of `layout`, with what was measured on its tasks or on their collected twins.

    A paper's cell takes the configuration that comes closest to it (see `matched`), scored by the cell's
    protocol where the evaluations allow it. Everything else that was measured of the table's methods on these
    tasks stands in further blocks, so that nothing stored is hidden.
    """
    cells = paper.rows
    printed_here = {algorithm_of(cell.method, cell.domain) for cell in cells}
    here = [
        entry
        for entry in measured
        if (entry.task in paper.tasks or entry.twin_of in paper.tasks)
        and (layout.takes_all or entry.algorithm in printed_here)
    ]
    blocks, placed = [], set()
    for domain in dict.fromkeys(cell.domain for cell in cells):
        builder = _DomainBlock(layout, domain, [c for c in cells if c.domain == domain], here)
        blocks.append(builder.block())
        placed |= {identity(entry) for entry in builder.chosen.values()}
    rest = [entry for entry in here if identity(entry) not in placed]
    twins = [entry for entry in rest if entry.twin_of]
    others = [entry for entry in rest if not entry.twin_of]
    blocks += further_blocks("Collected twins, other data than the paper's", "Twin of", twins, cells)
    blocks += further_blocks("Further configurations", "Variant", others, cells)
    return counted_table(paper.id, paper.full_title, blocks, layout.notes)


class _DomainBlock:
    """One domain of the paper's table: its own columns, tasks and average."""

    def __init__(
        self,
        layout: ScoreLayout,
        domain: str,
        cells: Sequence[PaperCell],
        measured: Sequence[Measured],
    ) -> None:
        self.layout = layout
        self.heading, self.average = layout.headings[domain]
        names = column_of(cells)
        self.printed = {(cell.task, names[cell]): cell for cell in cells}
        self.method_of = {names[cell]: cell.method for cell in cells}
        self.tasks = [t for t in dict.fromkeys(cell.task for cell in cells) if t not in AGGREGATES]
        self.aggregates = [t for t in dict.fromkeys(cell.task for cell in cells) if t in AGGREGATES]
        self.chosen = {(cell.task, names[cell]): entry for cell, entry in matched(cells, measured).items()}
        """What stands in the paper's cells, by task and column, scored as the cell is."""

    def block(self) -> Block:
        columns = [Column("task", self.heading, "label")]
        measured = {name for _, name in self.chosen}
        for name, method in self.method_of.items():
            header = name.replace(method, self.layout.own.get(method, method))
            columns.append(Column(f"{name} printed", header, "printed", name))
            if name in measured or method in self.layout.own:
                columns.append(Column(f"{name} measured", f"{name} measured", "measured", name))
        columns += CONDITIONS
        rows = [self._task_row(task, columns) for task in self.tasks]
        rows += [self._aggregate_row(aggregate, columns) for aggregate in self.aggregates]
        return Block(self.heading, tuple(columns), tuple(rows))

    def _task_row(self, task: str, columns: Sequence[Column]) -> Row:
        shown = [self.chosen[task, name] for name in self.method_of if (task, name) in self.chosen]
        cells = [Cell("label", task)]
        for column in columns[1 : -len(CONDITIONS)]:
            if column.kind == "printed":
                cells.append(self._printed_cell(task, column.method))
            else:
                entry = self.chosen.get((task, column.method))
                cells.append(measured_cell(entry, self.printed[task, column.method]) if entry else BLANK)
        return Row((*cells, *condition_cells(shown)))

    def _aggregate_row(self, aggregate: str, columns: Sequence[Column]) -> Row:
        cells = [Cell("label", self.average)]
        for column in columns[1 : -len(CONDITIONS)]:
            if column.kind == "printed":
                cells.append(self._printed_cell(aggregate, column.method))
            else:
                cells.append(self._measured_aggregate(aggregate, column.method))
        return Row((*cells, *(Cell("condition") for _ in CONDITIONS)), aggregate=True, counted=False)

    def _printed_cell(self, task: str, name: str) -> Cell:
        cell = self.printed.get((task, name))
        in_row = [self.printed[task, n].mean for n in self.method_of if (task, n) in self.printed]
        best = max((mean for mean in in_row if mean is not None), default=None)
        return printed_cell(cell, bold=cell is not None and cell.mean is not None and cell.mean == best)

    def _measured_aggregate(self, aggregate: str, name: str) -> Cell:
        """Mean (or sum) over the tasks that the paper prints for the column; blank while any is missing."""
        tasks = [task for task in self.tasks if (task, name) in self.printed]
        entries = [self.chosen.get((task, name)) for task in tasks]
        means = [entry.mean for entry in entries if entry is not None and entry.mean is not None]
        if len(means) < len(tasks):
            return BLANK
        value = sum(means) / (len(means) if aggregate == "average" else 1)
        doubtful = sum(bool(comparable(self.chosen[task, name], self.printed[task, name])) for task in tasks)
        reasons = (f"{doubtful} of {len(means)} cells are not comparable",) if doubtful else ()
        return Cell("measured", number_text(value, 1), value, not_comparable=reasons)
