"""Blocks for what was measured beside a paper's cells: collected twins, further configurations."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from bench.report.matching import Match, identity, match_of
from bench.report.measured import Measured
from bench.report.methods import algorithm_of, column_of
from bench.report.paper import PaperCell
from bench.report.score_cells import CONDITIONS, condition_cells, measured_cell, printed_cell
from bench.report.tables import Block, Cell, Column, Row
from bench.report.typography import Digits, digits_of


def left_over(
    measured: Iterable[Measured], tasks: Container[str | None], placed: Iterable[Match]
) -> list[Measured]:
    """What was measured on the tasks or on their twins and has no place in the paper's cells."""
    names = {identity(match.measured) for match in placed}
    return [
        entry
        for entry in measured
        if (entry.task in tasks or entry.twin_of in tasks) and identity(entry) not in names
    ]


def further_blocks(entries: Sequence[Measured], cells: Sequence[PaperCell]) -> list[Block]:
    """Blocks of collected twins, then of further configurations of the paper's tasks."""
    twins = [entry for entry in entries if entry.twin_of]
    others = [entry for entry in entries if not entry.twin_of]
    return [
        *_blocks("Collected twins, other data than the paper's", "Twin of", twins, cells),
        *_blocks("Further configurations", "Variant", others, cells),
    ]


def _blocks(title: str, beside: str, entries: Sequence[Measured], cells: Sequence[PaperCell]) -> list[Block]:
    """One block per column of the paper (per method, where it prints none of it).

    Rows hold the task, what it stands beside (`beside`), the printed number, the measured one, conditions.
    """
    named = dict.fromkeys(task for cell in cells for task in (cell.task, cell.task_meant))
    order = {task: place for place, task in enumerate(named)}
    blocks = []
    for algorithm in dict.fromkeys(entry.algorithm for entry in entries):
        own = sorted(
            (entry for entry in entries if entry.algorithm == algorithm),
            key=lambda entry: (order[entry.twin_of or entry.task], entry.task, entry.variant, -entry.budget),
        )
        for name, printed in _columns(algorithm, cells).items():
            columns = (
                Column("task", "Task", "label"),
                Column("beside", beside, "label"),
                Column(f"{name} printed", f"{name} printed", "printed", name),
                Column(f"{name} measured", f"{name} measured", "measured", name),
                *CONDITIONS,
            )
            digits = digits_of(printed.values())
            rows = tuple(_row(entry, printed.get(entry.twin_of or entry.task), digits) for entry in own)
            blocks.append(Block(f"{title}: {name}", columns, rows, of_paper=False))
    return blocks


def _columns(algorithm: str, cells: Sequence[PaperCell]) -> dict[str, dict[str, PaperCell]]:
    """The paper's columns of a method, each with its cells by task."""
    own = [cell for cell in cells if algorithm_of(cell.method, cell.domain) == algorithm]
    columns: dict[str, dict[str, PaperCell]] = {}
    for cell, name in column_of(own).items():
        columns.setdefault(name, {})[cell.task_meant] = cell
    return columns or {algorithm: {}}


def _row(entry: Measured, printed: PaperCell | None, digits: Digits) -> Row:
    match = match_of(entry, printed)
    return Row(
        (
            Cell("label", entry.task),
            Cell("label", entry.twin_of or entry.variant),
            printed_cell(printed),
            measured_cell(match, digits),
            *condition_cells([match.measured]),
        )
    )
