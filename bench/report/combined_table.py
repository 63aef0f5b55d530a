"""One table of all methods: tasks by suite, each method measured beside what its own paper prints."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from algorithms.registry import methods
from bench.catalog import shipped_domains
from bench.report.aggregates import measured_aggregate
from bench.report.further import further_blocks, left_over
from bench.report.judgement import Judgement
from bench.report.matching import Match, kind_of, match_of, matched
from bench.report.measured import Measured
from bench.report.methods import algorithm_of
from bench.report.paper import AGGREGATES, PaperCell, PaperTable
from bench.report.score_cells import measured_cell, printed_cell
from bench.report.tables import BLANK, Block, Cell, Column, Row, Table, counted_table, number_text
from bench.report.typography import Bold, Digits, digits_of, emboldened

COMBINED = "combined"
TITLE = "All methods, measured beside their own papers"


@dataclass(frozen=True)
class Source:
    """Where a method's own numbers stand."""

    method: str
    """As its paper names it."""
    tables: tuple[str, ...]


def sources() -> tuple[Source, ...]:
    """Of every method that declares such tables, in the order of the methods."""
    return tuple(Source(method.shown, method.combined) for method in methods().values() if method.combined)


_BOLD = Bold()
_NOTES = (
    "Scores are D4RL-normalised: 0 is a random policy, 100 an expert. Printed: each method's own paper, "
    "under its protocol (EDP: mean of the last ten evaluations; the others: the last one); measured alike.",
    "Printed ±: standard error over rollouts (DTQL), standard deviation over seeds (SRPO, BDPO), none (EDP). "
    "Measured ±: standard deviation over n training seeds.",
    "Averages are over the tasks that the method's paper prints, those of printed numbers computed here.",
    "Bold: the highest number of a row, printed among printed and, where there are two, measured among "
    "measured.",
)


def combined_table(
    papers: Mapping[str, PaperTable],
    measured: Sequence[Measured],
    judgement: Judgement | None = None,
    elsewhere: Collection[str] = (),
) -> Table:
    """All methods on all tasks that any of their papers prints.

    What its own paper does not print (baselines, ablations, tasks of another version) has a measured cell
    where it was measured, and blocks for twins and further configurations.

    Parameters
    ----------
    papers : the tables that `sources` names, by id.
    elsewhere : algorithms whose twins and further configurations stand below their own main table.
    """
    cells = {
        source.method: [
            cell
            for table in source.tables
            for cell in papers[table].rows
            if cell.method == source.method and cell.task not in AGGREGATES
        ]
        for source in sources()
    }
    chosen = matched((cell for own in cells.values() for cell in own), measured)
    groups: dict[str, list[str]] = {}
    domains: dict[str, str] = {}
    for own in cells.values():
        for cell in own:
            heading = _heading(cell)
            domains[heading] = cell.domain
            tasks = groups.setdefault(heading, [])
            if cell.task_meant not in tasks:
                tasks.append(cell.task_meant)
    order = sorted(groups, key=lambda heading: list(shipped_domains()).index(domains[heading]))
    built = [_Group(name, groups[name], cells, chosen, measured, judgement) for name in order]
    placed = [*chosen.values(), *(entry for group in built for entry in group.others.values())]
    rest = [entry for entry in measured if entry.algorithm not in elsewhere]
    further = left_over(rest, {task for tasks in groups.values() for task in tasks}, placed)
    blocks = [group.block() for group in built]
    blocks += further_blocks(further, [cell for own in cells.values() for cell in own])
    return counted_table(COMBINED, TITLE, blocks, _NOTES)


def _heading(cell: PaperCell) -> str:
    """`Gym`, `AntMaze-v0`."""
    domain = shipped_domains()[cell.domain]
    return f"{domain.title}-{cell.task_meant.rpartition('-')[2]}" if domain.versions_differ else domain.title


@dataclass(frozen=True)
class _Group:
    """One suite's rows."""

    heading: str
    tasks: Sequence[str]
    cells: Mapping[str, Sequence[PaperCell]]
    chosen: Mapping[PaperCell, Match]
    measured: Sequence[Measured]
    judgement: Judgement | None

    @cached_property
    def printed(self) -> Mapping[tuple[str, str], PaperCell]:
        """By task and method."""
        return {
            (cell.task_meant, method): cell
            for method, own in self.cells.items()
            for cell in own
            if cell.task_meant in self.tasks
        }

    @cached_property
    def digits(self) -> Mapping[str, Digits]:
        """Decimals by method."""
        return {method: digits_of(own) for method, own in self.cells.items()}

    @cached_property
    def others(self) -> Mapping[tuple[str, str], Match]:
        """What was measured by task and column where the method's own paper prints nothing."""
        names = {algorithm_of(method, ""): method for method in self.cells}
        found: dict[tuple[str, str], Match] = {}
        for entry in sorted(self.measured, key=_rank):
            place = entry.task, names.get(entry.algorithm, entry.algorithm)
            if entry.task in self.tasks and place not in self.printed and not kind_of(entry)[1]:
                found[place] = match_of(entry, None)
        return found

    def block(self) -> Block:
        columns = [Column("task", self.heading, "label")]
        printed = {method for _, method in self.printed}
        measured = {method for _, method in self.others}
        for method in (*self.cells, *sorted(measured - self.cells.keys())):
            if method in printed:
                columns.append(Column(f"{method} printed", method, "printed", method))
            if method in printed | measured:
                columns.append(Column(f"{method} measured", f"{method} measured", "measured", method))
        rows = [self._row(task, columns) for task in self.tasks]
        return Block(self.heading, tuple(columns), (*rows, self._averages(columns)))

    def _row(self, task: str, columns: Iterable[Column]) -> Row:
        cells = [self._cell(task, column) for column in columns]
        return Row(emboldened(cells, _BOLD))

    def _cell(self, task: str, column: Column) -> Cell:
        place = task, column.method
        cell, other = self.printed.get(place), self.others.get(place)
        if column.kind == "label":
            return Cell("label", task)
        if column.kind == "printed":
            return printed_cell(cell)
        if cell in self.chosen:
            return measured_cell(self.chosen[cell], self.digits[column.method], self.judgement)
        return measured_cell(other) if other is not None else BLANK

    def _averages(self, columns: Iterable[Column]) -> Row:
        cells = []
        for column in columns:
            own = [cell for (_, method), cell in self.printed.items() if method == column.method]
            if column.kind == "label":
                cells.append(Cell("label", "Average"))
            elif column.kind == "printed":
                cells.append(_printed_average(own))
            else:
                cells.append(measured_aggregate(own, self.chosen, "average", 1, self.judgement))
        return Row(emboldened(cells, _BOLD), aggregate=True, counted=False)


def _rank(entry: Measured) -> tuple[object, ...]:
    """Order in which configurations of an unprinted method may stand in a cell: the last one does."""
    finished = entry.finished_at.timestamp() if entry.finished_at else 0.0
    return entry.n > 0, entry.physics == "d4rl", entry.budget, entry.episodes, entry.n, finished


def _printed_average(cells: Sequence[PaperCell]) -> Cell:
    means = [cell.mean for cell in cells if cell.mean is not None]
    if not means or len(means) < len(cells):
        return Cell("printed")
    average = math.fsum(means) / len(means)
    return Cell("printed", number_text(average, 1), average)
