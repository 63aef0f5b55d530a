"""Score tables: a paper's rows and columns in its own order, the measured cells beside the printed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.conditions import comparable
from bench.report.measured import Measured, algorithm_of
from bench.report.paper import PaperCell, PaperTable
from bench.report.score_cells import CONDITIONS, condition_cells, measured_cell, printed_cell
from bench.report.tables import BLANK, Block, Cell, Column, Row, Table, counted_table, number_text

AGGREGATES = ("average", "sum")


@dataclass(frozen=True)
class ScoreLayout:
    """What the CSV of a paper's score table does not say."""

    id: str
    own_method: str
    """The paper's own method: it always has a measured column, blank or not."""
    own_header: str
    headings: Mapping[str, tuple[str, str]]
    """Domain in the CSV -> (heading of its block, name of its average)."""
    notes: tuple[str, ...] = ()


def score_table(layout: ScoreLayout, paper: PaperTable, measured: Sequence[Measured]) -> Table:
    """The table of `layout`, with all that was measured on its tasks or on their collected twins.

    A paper's cell takes the configuration that comes closest to it (see `_closeness`). Everything else that
    was measured on these tasks stands in further blocks, so that nothing stored is hidden.
    """
    cells = paper.rows
    here = [entry for entry in measured if entry.task in paper.tasks or entry.twin_of in paper.tasks]
    blocks, placed = [], []
    for domain in dict.fromkeys(cell.domain for cell in cells):
        builder = _DomainBlock(layout, domain, [c for c in cells if c.domain == domain], here)
        blocks.append(builder.block())
        placed += builder.placed
    rest = [entry for entry in here if entry not in placed]
    twins = [entry for entry in rest if entry.twin_of]
    others = [entry for entry in rest if not entry.twin_of]
    blocks += _further_blocks("Collected twins, other data than the paper's", "Twin of", twins, cells)
    blocks += _further_blocks("Further configurations", "Variant", others, cells)
    return counted_table(paper.id, paper.full_title, blocks, layout.notes)


class _DomainBlock:
    """One domain of the paper's table: its own methods, tasks and average."""

    def __init__(
        self,
        layout: ScoreLayout,
        domain: str,
        cells: Sequence[PaperCell],
        measured: Sequence[Measured],
    ) -> None:
        self.layout = layout
        self.heading, self.average = layout.headings[domain]
        self.printed = {(cell.task, cell.method): cell for cell in cells}
        self.methods = list(dict.fromkeys(cell.method for cell in cells))
        self.tasks = [t for t in dict.fromkeys(cell.task for cell in cells) if t not in AGGREGATES]
        self.aggregates = [t for t in dict.fromkeys(cell.task for cell in cells) if t in AGGREGATES]
        self.chosen = self._choose(measured)
        self.placed = list(self.chosen.values())

    def _choose(self, measured: Sequence[Measured]) -> dict[tuple[str, str], Measured]:
        chosen = {}
        for (task, method), cell in self.printed.items():
            candidates = [m for m in measured if m.task == task and m.algorithm == algorithm_of(method)]
            if candidates:
                chosen[task, method] = max(candidates, key=lambda entry: _closeness(entry, cell))
        return chosen

    def _measured_methods(self) -> set[str]:
        return {self.layout.own_method} | {method for _, method in self.chosen}

    def block(self) -> Block:
        columns = [Column("task", self.heading, "label")]
        for method in self.methods:
            header = self.layout.own_header if method == self.layout.own_method else method
            columns.append(Column(f"{method} printed", header, "printed", method))
            if method in self._measured_methods():
                columns.append(Column(f"{method} measured", f"{method} measured", "measured", method))
        columns += CONDITIONS
        rows = [self._task_row(task, columns) for task in self.tasks]
        rows += [self._aggregate_row(aggregate, columns) for aggregate in self.aggregates]
        return Block(self.heading, tuple(columns), tuple(rows))

    def _task_row(self, task: str, columns: Sequence[Column]) -> Row:
        shown = [self.chosen[task, m] for m in self.methods if (task, m) in self.chosen]
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

    def _printed_cell(self, task: str, method: str) -> Cell:
        cell = self.printed.get((task, method))
        in_row = [self.printed[task, m].mean for m in self.methods if (task, m) in self.printed]
        best = max((mean for mean in in_row if mean is not None), default=None)
        return printed_cell(cell, bold=cell is not None and cell.mean is not None and cell.mean == best)

    def _measured_aggregate(self, aggregate: str, method: str) -> Cell:
        """Mean (or sum) over the block's tasks; blank while any task is missing."""
        entries = [self.chosen.get((task, method)) for task in self.tasks]
        means = [entry.mean for entry in entries if entry is not None and entry.mean is not None]
        if len(means) < len(self.tasks):
            return BLANK
        value = sum(means) / (len(means) if aggregate == "average" else 1)
        doubtful = sum(bool(comparable(self.chosen[t, method], self.printed[t, method])) for t in self.tasks)
        reasons = (f"{doubtful} of {len(means)} cells are not comparable",) if doubtful else ()
        return Cell("measured", number_text(value, 1), value, not_comparable=reasons)


def _closeness(entry: Measured, cell: PaperCell) -> tuple[object, ...]:
    """Order in which configurations may stand for a printed cell: larger is closer."""
    finished = entry.finished_at.timestamp() if entry.finished_at else 0.0
    reasons = comparable(entry, cell)
    return (entry.n > 0, not reasons, -len(reasons), entry.budget, entry.episodes, entry.n, finished)


def _further_blocks(
    title: str, beside: str, entries: Sequence[Measured], cells: Sequence[PaperCell]
) -> list[Block]:
    """One block per method: task, the printed cell it stands beside, the measured number, conditions."""
    blocks = []
    method_of = {algorithm_of(cell.method): cell.method for cell in cells}
    for algorithm in dict.fromkeys(entry.algorithm for entry in entries):
        method = method_of.get(algorithm, algorithm)
        columns = (
            Column("task", "Task", "label"),
            Column("beside", beside, "label"),
            Column(f"{method} printed", f"{method} printed", "printed", method),
            Column(f"{method} measured", f"{method} measured", "measured", method),
            *CONDITIONS,
        )
        order = {task: place for place, task in enumerate(dict.fromkeys(cell.task for cell in cells))}
        own = sorted(
            (entry for entry in entries if entry.algorithm == algorithm),
            key=lambda entry: (order[entry.twin_of or entry.task], entry.task, entry.variant, -entry.budget),
        )
        rows = tuple(_further_row(entry, method, cells) for entry in own)
        blocks.append(Block(f"{title}: {method}", columns, rows, of_paper=False))
    return blocks


def _further_row(entry: Measured, method: str, cells: Sequence[PaperCell]) -> Row:
    beside = entry.twin_of or entry.task
    printed = next((cell for cell in cells if (cell.task, cell.method) == (beside, method)), None)
    return Row(
        (
            Cell("label", entry.task),
            Cell("label", entry.twin_of or entry.variant),
            printed_cell(printed),
            measured_cell(entry, printed),
            *condition_cells([entry]),
        )
    )
