"""Which tables there are, and how each is made: the papers', ours of all methods, the 2D problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from algorithms.registry import methods
from bench.errors import chosen_names
from bench.report.bandit2d_table import TABLE_2D, table_2d
from bench.report.combined_table import COMBINED, combined_table
from bench.report.judgement import Judgement
from bench.report.margins import Margins
from bench.report.matching import Match, matched, own_numbers
from bench.report.measured import ReportData
from bench.report.paper import PaperCell, PaperTable, load_paper_tables, paper_tables
from bench.report.score_tables import averages_table, score_table
from bench.report.speed_tables import speed_table, wall_time_table
from bench.report.tables import Table
from bench.report.verdicts import judge


def table_ids() -> tuple[str, ...]:
    """Every table that can be reported: the papers' in their order, the combined one, the 2D problems."""
    return *paper_tables(), COMBINED, TABLE_2D


def choose_tables(names: str) -> list[str]:
    """Ids from a comma-separated list, or all of them for `all`.

    Raises
    ------
    BenchError : a name is unknown, or none is given.
    """
    return chosen_names("table", names, table_ids(), "bench list tables")


def judged_tables(names: str, data: ReportData, margins: Margins) -> tuple[list[Table], Judgement]:
    """The tables called `names` (ids separated by commas, or `all`), filled, and the judgement they carry.

    All of them begin with that of all methods, which says what was measured, and leave out that of the 2D
    problems where nothing of these is stored.

    Raises
    ------
    BenchError : a name is unknown.
    """
    chosen = choose_tables(names)
    if names.strip() == "all":
        chosen.sort(key=lambda table: table != COMBINED)
        if not (data.illustrations.items or data.illustrations.unreadable):
            chosen.remove(TABLE_2D)
    papers = load_paper_tables()
    matches = matches_of(papers, data)
    judgement = judge(data, margins, own_numbers(papers), matches)
    return [build_table(table, data, papers, matches, judgement) for table in chosen], judgement


def matches_of(papers: Mapping[str, PaperTable], data: ReportData) -> dict[PaperCell, Match]:
    """What stands for each printed number, whichever tables and verdicts will ask for it."""
    return matched((cell for paper in papers.values() for cell in paper.rows), data.measured)


def build_table(
    table_id: str,
    data: ReportData,
    papers: Mapping[str, PaperTable],
    matches: Mapping[PaperCell, Match],
    judgement: Judgement | None = None,
) -> Table:
    """The table with this id, with the verdicts of `judgement` in its measured cells.

    Parameters
    ----------
    papers, matches : all printed tables, and what of `data` stands for their cells.
    """
    if table_id == TABLE_2D:
        return table_2d(data.illustrations, data.findings)
    if table_id == COMBINED:
        table = combined_table(papers, data.measured, matches, judgement)
    else:
        paper = papers[table_id]
        info = paper.info
        if info.speed:
            return speed_table(paper, info.speed, data.timings, data.phases)
        if info.wall_time:
            return wall_time_table(paper, info.wall_time, data.durations)
        if info.averages:
            table = averages_table(paper, info.averages, papers[info.averages.of], matches, judgement)
        elif info.scores:
            own = [name for name, method in methods().items() if method.further == table_id]
            entries = [entry for entry in data.measured if entry.algorithm in own]
            table = score_table(paper, info.scores, matches, judgement, entries)
        else:
            raise ValueError(f"tables.yaml says nothing of how {table_id} is laid out")
    if judgement is None or not any(cell.verdict for cell in table.cells()):
        return table
    return replace(table, statements=judgement.statements)
