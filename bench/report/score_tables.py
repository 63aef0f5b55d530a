"""Score tables: a paper's rows and columns in its own order, the measured cells beside the printed ones."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bench.report.judgement import CellVerdict, Judgement, SuiteVerdict
from bench.report.matching import Match, match_of
from bench.report.measured import Measured
from bench.report.paper import (
    AGGREGATES,
    AVERAGE,
    DEFAULT_DIGITS,
    Averages,
    Digits,
    PaperCell,
    PaperTable,
    Scores,
    TableInfo,
    column_of,
    digits_of,
)
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
    variant_note,
)

# Cells


def score_cell(
    match: Match | None, digits: Digits = DEFAULT_DIGITS, judgement: Judgement | None = None
) -> Cell:
    """Mean ± standard deviation over seeds and n; blank, with a footnote, where no seed has a score.

    With a judgement the cell says what was judged of exactly this configuration against this number.
    """
    if match is None:
        return BLANK
    entry = match.measured
    scored = entry.mean is not None
    oracle = ("best evaluation over training, an oracle",) if entry.protocol == "oms" else ()
    return Cell(
        "measured",
        printed=match.printed,
        measured=entry,
        verdict=_verdict_on(match, judgement) if scored else None,
        not_comparable=match.reasons if scored else (),
        footnotes=variant_note(entry.variant) + oracle + entry.shortfalls(),
        digits=digits,
    )


def _verdict_on(match: Match, judgement: Judgement | None) -> CellVerdict | None:
    """The verdict on just this match; None where another number or configuration was judged.

    A paper may print a number twice, once with a misprint: the verdict is about the digits that it quotes.
    """
    entry, printed = match.measured, match.printed
    if judgement is None or printed is None:
        return None
    verdict = judgement.by_key.get(printed.key)
    if verdict is None or verdict.printed.printed != printed.printed:
        return None
    return verdict if verdict.measured.key == entry.key else None


def aggregate_cell(
    cells: Sequence[PaperCell],
    chosen: Mapping[PaperCell, Match],
    judgement: Judgement | None = None,
    *,
    total: bool = False,
    decimals: int = 1,
    printed: PaperCell | Amount | None = None,
) -> Cell:
    """Average, or sum, of what stands for `cells`, the tasks of one column; blank while any is missing.

    Parameters
    ----------
    printed : what the paper prints for it.
    """
    matches = [chosen[cell] for cell in cells if cell in chosen]
    means = [match.measured.mean for match in matches if match.measured.mean is not None]
    if not cells or len(means) < len(cells):
        return BLANK
    value = _sum(means)
    average = value / len(means)
    doubtful = sum(bool(match.reasons) for match in matches)
    verdict = _verdict_on_mean(average, cells, matches[0].measured, judgement)
    if total and verdict is not None:
        # The verdict is about the mean; the same holds of the sum, in other units.
        verdict = replace(verdict, comparison=None, reasons=())
    return Cell(
        "measured",
        printed=printed,
        measured=Amount(value if total else average),
        verdict=verdict,
        not_comparable=(f"{doubtful} of {len(cells)} cells are not comparable",) if doubtful else (),
        digits=Digits(decimals),
    )


def _sum(means: Sequence[float]) -> float:
    """The exact sum, rounded once; infinite where it is too large for a number."""
    try:
        return math.fsum(means)
    except OverflowError:
        return sum(means)


def _verdict_on_mean(
    average: float, cells: Sequence[PaperCell], entry: Measured, judgement: Judgement | None
) -> SuiteVerdict | None:
    """The verdict on the mean of exactly these cells, where a suite's mean is theirs.

    Not where the column prints other numbers than were judged: EDP misprints a whole block in Table 5.
    """
    wanted = (cells[0].paper, entry.algorithm, entry.protocol, len(cells), len(cells))
    printed = [cell.mean for cell in cells if cell.mean is not None]
    for verdict in judgement.suites if judgement else ():
        found = (verdict.paper, verdict.algorithm, verdict.protocol, verdict.tasks, verdict.judged)
        means = (average, verdict.measured), (math.fsum(printed) / len(cells), verdict.printed)
        if found == wanted and all(b is not None and math.isclose(a, b, abs_tol=1e-9) for a, b in means):
            return verdict
    return None


# A paper's scores


def score_table(
    paper: PaperTable,
    layout: Scores,
    chosen: Mapping[PaperCell, Match],
    judgement: Judgement | None = None,
    own: Sequence[Measured] = (),
) -> Table:
    """The scores that a paper prints, each with what stands for it among what was measured.

    Parameters
    ----------
    chosen : for these and other printed cells (`bench.report.matching`).
    own : what was measured of the methods whose main table this is: what of it is on these tasks or on their
        twins and stands for no number stands in further blocks.
    """
    domains: dict[str, list[PaperCell]] = {}
    for cell in paper.rows:
        domains.setdefault(cell.domain, []).append(cell)
    blocks = [
        _domain_block(paper.info, *layout.headings[domain], cells, chosen, judgement)
        for domain, cells in domains.items()
    ]
    tasks = {task for cell in paper.rows for task in (cell.task, cell.task_meant)}
    placed = (chosen[cell] for cell in paper.rows if cell in chosen)
    blocks += further_blocks(left_over(own, tasks, placed), paper.rows)
    return counted_table(paper.id, paper.full_title, blocks, paper.notes)


def row_names(tasks: Iterable[str]) -> dict[str, str]:
    """Task -> the row that it stands in: a name without version joins the task that has one.

    SRPO quotes AntMaze without saying which version, beside its own numbers on -v2.
    """
    tasks = list(dict.fromkeys(tasks))
    versioned = {task.rpartition("-v")[0]: task for task in tasks if "-v" in task}
    return {task: versioned.get(task, task) for task in tasks}


def _domain_block(
    info: TableInfo,
    heading: str,
    average: str,
    cells: Sequence[PaperCell],
    chosen: Mapping[PaperCell, Match],
    judgement: Judgement | None,
) -> Block:
    """One domain of the paper's table: its own columns, tasks and average."""
    names, rows = column_of(cells), row_names(cell.task for cell in cells)
    by_column: dict[str, dict[str, PaperCell]] = {}
    for cell in cells:
        by_column.setdefault(names[cell], {})[rows[cell.task]] = cell
    tasks = {
        name: [cell for row, cell in own.items() if row not in AGGREGATES] for name, own in by_column.items()
    }
    digits = {name: digits_of(own) for name, own in tasks.items()}
    columns = [Column("task", heading, "label")]
    for name, own in by_column.items():
        method = next(iter(own.values())).method
        header = name.replace(method, info.own.get(method, method))
        measured = method in info.own or any(cell in chosen for cell in own.values())
        columns += columns_of(name, header, measured=measured, quoted=method not in info.own)

    def measured_cell(row: str, column: Column, cell: PaperCell | None) -> Cell:
        name = column.method
        if row in AGGREGATES:
            # Averages may have other decimals than single tasks.
            decimals = digits_of([cell] if cell else ()).mean
            return aggregate_cell(
                tasks[name], chosen, judgement, total=row != AVERAGE, decimals=decimals, printed=cell
            )
        return score_cell(chosen.get(cell) if cell else None, digits[name], judgement)

    return filled_block(
        heading,
        (*columns, *CONDITIONS),
        sorted(dict.fromkeys(rows.values()), key=lambda row: row in AGGREGATES),
        lambda row, _: average if row in AGGREGATES else row,
        lambda row, column: by_column[column.method].get(row),
        measured_cell,
        bold=info.bold,
        aggregates=AGGREGATES,
    )


def averages_table(
    paper: PaperTable,
    layout: Averages,
    single_tasks: PaperTable,
    chosen: Mapping[PaperCell, Match],
    judgement: Judgement | None = None,
) -> Table:
    """One row per domain (EDP's Table 1); an average needs every task that `single_tasks` prints of it."""
    tasks: dict[tuple[str, str], list[PaperCell]] = {}
    for cell in single_tasks.rows:
        if cell.task not in AGGREGATES:
            tasks.setdefault((cell.domain, cell.method), []).append(cell)
    with_measured = {method for (_, method), cells in tasks.items() if any(cell in chosen for cell in cells)}
    printed = {(cell.domain, cell.method): cell for cell in paper.rows}
    columns, own = [Column("domain", layout.heading, "label")], paper.info.own
    for method in paper.methods:
        ran = method in own
        columns += columns_of(
            method, own.get(method, method), measured=ran or method in with_measured, quoted=not ran
        )
    decimals = digits_of(paper.rows).mean

    def measured_cell(domain: str, column: Column, cell: PaperCell | None) -> Cell:
        averaged = tasks.get((domain, column.method), [])
        return aggregate_cell(averaged, chosen, judgement, decimals=decimals, printed=cell)

    block = filled_block(
        "",
        columns,
        dict.fromkeys(cell.domain for cell in paper.rows),
        lambda domain, _: domain,
        lambda domain, column: printed.get((domain, column.method)),
        measured_cell,
        bold=paper.info.bold,
    )
    return counted_table(paper.id, paper.full_title, [block], paper.notes, rows_are_tasks=False)


# What was measured beside a paper's cells


def left_over(
    measured: Iterable[Measured], tasks: Container[str | None], placed: Iterable[Match]
) -> list[Measured]:
    """What was measured on the tasks or on their twins and has no place in the paper's cells."""
    keys = {match.measured.key for match in placed}
    return [
        entry
        for entry in measured
        if (entry.task in tasks or entry.twin_of in tasks) and entry.key not in keys
    ]


def further_blocks(entries: Sequence[Measured], cells: Sequence[PaperCell]) -> list[Block]:
    """Blocks of collected twins, then of further configurations of the paper's tasks."""
    twins = [entry for entry in entries if entry.twin_of]
    others = [entry for entry in entries if not entry.twin_of]
    return [
        *_further("Collected twins, other data than the paper's", "Twin of", twins, cells),
        *_further("Further configurations", "Variant", others, cells),
    ]


def _further(
    title: str, beside: str, entries: Sequence[Measured], cells: Sequence[PaperCell]
) -> Iterator[Block]:
    """One block per column of the paper (per method, where it prints none of it).

    Rows hold the task, what it stands beside (`beside`), the printed number, the measured one, conditions.
    """
    named = dict.fromkeys(task for cell in cells for task in (cell.task, cell.task_meant))
    order = {task: place for place, task in enumerate(named)}
    for algorithm in dict.fromkeys(entry.algorithm for entry in entries):
        own = sorted(
            (entry for entry in entries if entry.algorithm == algorithm),
            key=lambda entry: (order[entry.twin_of or entry.task], entry.task, entry.variant, -entry.budget),
        )
        for name, printed in _columns_of(algorithm, cells).items():
            yield _further_block(f"{title}: {name}", beside, name, printed, own)


def _further_block(
    title: str, beside: str, name: str, printed: Mapping[str, PaperCell], entries: Sequence[Measured]
) -> Block:
    columns = (
        Column("task", "Task", "label"),
        Column("beside", beside, "label"),
        Column(f"{name} printed", f"{name} printed", "printed", name),
        Column(f"{name} measured", f"{name} measured", "measured", name),
        *CONDITIONS,
    )
    digits = digits_of(printed.values())

    return filled_block(
        title,
        columns,
        entries,
        lambda entry, column: entry.task if column.key == "task" else entry.twin_of or entry.variant,
        lambda entry, _: printed.get(entry.twin_of or entry.task),
        lambda entry, _, cell: score_cell(match_of(entry, cell), digits),
        of_paper=False,
    )


def _columns_of(algorithm: str, cells: Sequence[PaperCell]) -> dict[str, dict[str, PaperCell]]:
    """The paper's columns of a method, each with its cells by task."""
    own = [cell for cell in cells if cell.algorithm == algorithm]
    columns: dict[str, dict[str, PaperCell]] = {}
    for cell, name in column_of(own).items():
        columns.setdefault(name, {})[cell.task_meant] = cell
    return columns or {algorithm: {}}
