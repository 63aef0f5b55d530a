"""The table of all methods: each beside its own paper's numbers, and what was measured on other data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from algorithms.registry import methods
from bench.catalog import shipped_domains
from bench.presets import RELEASED
from bench.records import IMPORTED
from bench.report.judgement import Judgement
from bench.report.matching import Match, conditions_against, data_against, kind_of, match_of
from bench.report.measured import Measured
from bench.report.paper import (
    AGGREGATES,
    AVERAGE,
    Bold,
    PaperCell,
    PaperTable,
    ablations,
    algorithm_of,
    digits_of,
)
from bench.report.score_tables import aggregate_cell, further_blocks, left_over, score_cell
from bench.report.tables import (
    BLANK,
    CONDITIONS,
    Amount,
    Block,
    Cell,
    Column,
    Table,
    columns_of,
    counted_table,
    filled_block,
)

COMBINED = "combined"
OTHER_METHODS = "Other methods"
COMBINED_TITLE = "All methods, measured beside their own papers"
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
    chosen: Mapping[PaperCell, Match],
    judgement: Judgement | None = None,
) -> Table:
    """All methods on all tasks that any of their papers prints.

    A task that a method's own paper does not print has a measured cell where it was measured. Methods without
    a paper here (those that the papers quote, ablations, a user's own) stand in blocks below, and so does
    what was measured on collected data and on a user's own, all without printed numbers; then come further
    configurations, unless those stand below the method's main table.

    Parameters
    ----------
    papers : all printed tables, by id.
    chosen : what stands for their cells.
    """
    imported = [entry for entry in measured if entry.imported]
    measured = [entry for entry in measured if not entry.imported]
    cells = {
        method.shown: [
            cell
            for table in method.combined
            for cell in papers[table].rows
            if cell.method == method.shown and cell.task not in AGGREGATES
        ]
        for method in methods().values()
        if method.combined
    }
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
    printed_tasks = {task for tasks in groups.values() for task in tasks}
    others = _unprinted(cells, printed_tasks, measured)
    blocks = [_group_block(name, groups[name], cells, chosen, others, judgement) for name in order]
    without_paper = [match.measured for (_, method), match in others.items() if method not in cells]
    blocks += [
        _measured_block(f"{OTHER_METHODS}: {name}", name, found, _conditions_alone)
        for name in order
        if (found := [entry for task in groups[name] for entry in without_paper if entry.task == task])
    ]
    elsewhere = [name for name, method in methods().items() if method.further]
    rest = [entry for entry in measured if entry.algorithm not in elsewhere and not _beside(entry)]
    printed = [cell for own in cells.values() for cell in own]
    placed = [*(chosen[cell] for cell in printed if cell in chosen), *others.values()]
    blocks += other_data_blocks(measured, printed)
    blocks += further_blocks(left_over(rest, printed_tasks, placed), printed)
    blocks += _imported_blocks(imported, {name: groups[name] for name in order})
    return counted_table(COMBINED, COMBINED_TITLE, blocks, _NOTES)


def _heading(cell: PaperCell) -> str:
    """`Gym`, `AntMaze-v0`."""
    domain = shipped_domains()[cell.domain]
    return f"{domain.title}-{cell.task_meant.rpartition('-')[2]}" if domain.versions_differ else domain.title


def _unprinted(
    cells: Mapping[str, Sequence[PaperCell]], tasks: Collection[str], measured: Iterable[Measured]
) -> dict[tuple[str, str], Match]:
    """What was measured by task and column where the method's own paper prints nothing."""
    names, changed = {algorithm_of(method, ""): method for method in cells}, ablations().values()
    printed = {(cell.task_meant, method) for method, own in cells.items() for cell in own}
    found: dict[tuple[str, str], Match] = {}
    for entry in sorted(measured, key=_rank):
        place = entry.task, names.get(entry.algorithm, entry.algorithm)
        if entry.task in tasks and place not in printed and not kind_of(entry, changed)[1]:
            found[place] = match_of(entry, None)
    return found


def _rank(entry: Measured) -> tuple[object, ...]:
    """Order in which configurations of an unprinted method may stand in a cell: the last one does."""
    worth = entry.budget, entry.episodes, entry.n, entry.finished_seconds
    return entry.n > 0, entry.physics == "d4rl", not entry.reduced, *worth


def _group_block(
    heading: str,
    tasks: Sequence[str],
    cells: Mapping[str, Sequence[PaperCell]],
    chosen: Mapping[PaperCell, Match],
    others: Mapping[tuple[str, str], Match],
    judgement: Judgement | None,
) -> Block:
    """One suite's rows, and the averages over them."""
    own = {name: [cell for cell in of_it if cell.task_meant in tasks] for name, of_it in cells.items()}
    printed = {(cell.task_meant, name): cell for name, of_it in own.items() for cell in of_it}
    digits = {name: digits_of(of_it) for name, of_it in cells.items()}
    unprinted = {name for task, name in others if task in tasks}
    columns = [Column("task", heading, "label")]
    for name in cells:
        prints = bool(own[name])
        columns += columns_of(name, name, printed=prints, measured=prints or name in unprinted)

    def printed_number(row: str, column: Column) -> PaperCell | Amount | None:
        if row == AVERAGE:
            return _printed_average(own.get(column.method, ()))
        return printed.get((row, column.method))

    def measured_cell(row: str, column: Column, number: PaperCell | Amount | None) -> Cell:
        name = column.method
        if row == AVERAGE:
            return aggregate_cell(own.get(name, ()), chosen, judgement, printed=number)
        if isinstance(number, PaperCell) and number in chosen:
            return score_cell(chosen[number], digits[name], judgement)
        return score_cell(others.get((row, name)))

    return filled_block(
        heading,
        columns,
        (*tasks, AVERAGE),
        lambda row, _: "Average" if row == AVERAGE else row,
        printed_number,
        measured_cell,
        bold=Bold(),
        aggregates=AGGREGATES,
    )


def _printed_average(cells: Sequence[PaperCell]) -> Amount | None:
    """The average of what a method's paper prints; None where any is missing."""
    means = [cell.mean for cell in cells if cell.mean is not None]
    return Amount(math.fsum(means) / len(means)) if means and len(means) == len(cells) else None


# What was measured on collected data, and on a user's own

COLLECTED = "Collected here, not D4RL's data"
FOREIGN_DATA = "Foreign data, of no paper"
_OTHER_DATA = "collected here, not D4RL's data"


def other_data_blocks(measured: Iterable[Measured], cells: Iterable[PaperCell]) -> list[Block]:
    """What was measured on collected twins, then on foreign data: tasks are rows, methods columns.

    Nothing printed stands beside. A block is of one domain, variant, physics and budget, so that an average
    is over rows that are alike; where a method has several configurations of a task under these, the others
    stand in further such blocks.

    Parameters
    ----------
    cells : printed ones, which tell the domain and the order of the tasks that the twins stand beside, and
        those whose presets are followed on foreign data.
    """
    domain_of = {cell.task_meant: cell.domain for cell in cells}
    order = {task: place for place, task in enumerate(domain_of)}
    grouped: dict[tuple[bool, int, _Conditions], list[Measured]] = {}
    domains = [*shipped_domains(), ""]
    for entry in measured:
        if entry.foreign or entry.twin_of is not None:
            domain = domains.index(domain_of.get(_beside(entry), ""))
            grouped.setdefault((entry.foreign, domain, _Conditions.of(entry)), []).append(entry)
    blocks = []
    for (foreign, domain, conditions), entries in sorted(grouped.items()):
        heading = shipped_domains()[domains[domain]].title if domains[domain] else "Task"
        title = conditions.titled(FOREIGN_DATA if foreign else COLLECTED)
        entries.sort(key=lambda entry: (order.get(_beside(entry), len(order)), entry.task))
        blocks += [_measured_block(title, heading, shown, _reasons) for shown in _one_per_place(entries)]
    return blocks


def _one_per_place(entries: Sequence[Measured]) -> Iterator[list[Measured]]:
    """The entries in parts that hold one per task and method, the best first."""
    while entries:
        best: dict[tuple[str, str], Measured] = {}
        for entry in sorted(entries, key=_rank):
            best[entry.task, entry.algorithm] = entry
        yield [entry for entry in entries if best[entry.task, entry.algorithm] is entry]
        entries = [entry for entry in entries if best[entry.task, entry.algorithm] is not entry]


@dataclass(frozen=True, order=True)
class _Conditions:
    """What the numbers of a block have in common; in order: the preset's own first."""

    modern: bool
    not_released: bool
    variant: str
    below: float
    """How much of the budget is missing."""

    @staticmethod
    def of(entry: Measured) -> _Conditions:
        other = entry.variant != RELEASED
        return _Conditions(entry.physics != "d4rl", other, entry.variant, 1 - entry.budget)

    def titled(self, data: str) -> str:
        """The heading of such a block of some data."""
        parts = (
            f"variant {self.variant}" if self.not_released else "",
            "modern physics" if self.modern else "",
        )
        return ", ".join(filter(None, (data, *parts)))


def _beside(entry: Measured) -> str:
    """The paper's task that an entry on other data stands beside; empty where there is none."""
    return entry.twin_of or entry.preset_of or ""


def _reasons(entry: Measured) -> list[str]:
    """Why a number must not be held against a printed one, in the same words for every task."""
    data = data_against(entry) if entry.foreign else [_OTHER_DATA]
    return [*data, *conditions_against(entry)]


# Imported scores

IMPORTED_TITLE = "Imported, as declared by their owners"


def _imported_blocks(entries: Sequence[Measured], groups: Mapping[str, Sequence[str]]) -> list[Block]:
    """Scores that people brought, under a heading of their own; `groups` are the papers' tasks by heading."""
    printed = {task for tasks in groups.values() for task in tasks}
    others = sorted({entry.task for entry in entries} - printed)
    blocks = []
    for name, tasks in {**groups, "other tasks": others}.items():
        own = [entry for task in tasks for entry in entries if entry.task == task]
        blocks += [
            _measured_block(f"{IMPORTED_TITLE}: {name}", name, shown, lambda entry: [entry.imported])
            for shown in _one_per_place(own)
        ]
    return blocks


# Blocks without printed numbers


def _conditions_alone(entry: Measured) -> list[str]:
    """Why a number on D4RL's data must not be held against a printed one, whichever that is."""
    return data_against(entry) + conditions_against(entry)


def _measured_block(
    title: str, heading: str, entries: Sequence[Measured], reasons: Callable[[Measured], list[str]]
) -> Block:
    """A number per task and method, and the averages of the methods that have all of them.

    Parameters
    ----------
    reasons : why a number must not be held against one that is printed of such data.
    """
    numbers = {(entry.task, entry.algorithm): entry.under(entry.protocol, "last") for entry in entries}
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    names = {entry.algorithm for entry in entries}
    shown = {name: method.shown for name, method in methods().items() if name in names}
    shown |= {name: name for name in sorted(names - shown.keys())}
    # Of imported scores nothing is known but what stands in their note.
    conditions = () if any(entry.imported for entry in entries) else CONDITIONS
    columns = [
        Column("task", heading, "label"),
        *(Column(f"{name} measured", label, "measured", label) for name, label in shown.items()),
        *conditions,
    ]

    def measured_cell(row: str, column: Column, _: None) -> Cell:
        name = column.key.removesuffix(" measured")
        if row == AVERAGE:
            return _average([numbers.get((task, name)) for task in tasks], reasons)
        entry = numbers.get((row, name))
        return score_cell(None if entry is None else Match(None, entry, tuple(reasons(entry))))

    return filled_block(
        title,
        columns,
        (*tasks, AVERAGE) if len(tasks) > 1 else tasks,
        lambda row, _: "Average" if row == AVERAGE else row,
        lambda row, column: None,
        measured_cell,
        bold=Bold(),
        aggregates=AGGREGATES,
        of_paper=False,
    )


def _average(entries: Sequence[Measured | None], reasons: Callable[[Measured], list[str]]) -> Cell:
    """The mean over all tasks of a block; blank while any is missing."""
    scored = [entry for entry in entries if entry is not None and entry.mean is not None]
    if len(scored) < len(entries):
        return BLANK
    mean = statistics.fmean(entry.mean for entry in scored if entry.mean is not None)
    common = dict.fromkeys(reason for entry in scored for reason in reasons(entry))
    variant = IMPORTED if any(entry.imported for entry in scored) else None
    return Cell("measured", measured=Amount(mean, variant=variant), not_comparable=tuple(common))
