"""Which tables there are: the papers' tables as layouts over their CSV files, and ours of all methods."""

from __future__ import annotations

from dataclasses import replace

from algorithms.registry import methods
from bench.errors import BenchError, unknown_name
from bench.report.averages_table import AveragesLayout, averages_table
from bench.report.combined_table import COMBINED, combined_table, sources
from bench.report.judgement import Judgement
from bench.report.measured import ReportData
from bench.report.paper import load_paper_table, paper_tables
from bench.report.score_layouts import HIGHEST, OMS, SCORE_LAYOUTS, SCORES
from bench.report.score_table import ScoreLayout, score_table
from bench.report.speed_layouts import SPEED_LAYOUTS
from bench.report.speed_table import SpeedLayout, speed_table
from bench.report.table2d import TABLE_2D, table_2d
from bench.report.tables import Table
from bench.report.wall_time_table import WallTimeLayout, wall_time_table

Layout = ScoreLayout | SpeedLayout | AveragesLayout | WallTimeLayout

DTQL_WALL_TIME = WallTimeLayout(
    id="dtql-7",
    heading="Tasks",
    hardware="8 RTX-A5000 GPU servers",
    notes=(
        "Measured: training and all evaluations of full trials that were trained one seed at a time with no "
        "other stack beside (bench run --executor local --seeds-per-stack 1); median over seeds. Epochs of "
        "1,000 iterations, pretraining not counted.",
    ),
)
EDP_AVERAGES = AveragesLayout(
    id="edp-1",
    single_tasks="edp-4",
    own={"DQL (JAX)": "DQL (JAX)", "EDP+TD3": "EDP"},
    heading="Dataset",
    notes=(SCORES, OMS, "Measured: averages of the measured cells of Table 4, blank while one is missing."),
    bold=HIGHEST,
)
_ALL: tuple[Layout, ...] = (*SCORE_LAYOUTS, *SPEED_LAYOUTS, DTQL_WALL_TIME, EDP_AVERAGES)
LAYOUTS: dict[str, Layout] = {layout.id: layout for layout in _ALL}


def table_ids() -> tuple[str, ...]:
    """Every table that can be reported: the papers' in their order, the combined one, the 2D problems."""
    return *(table for table in paper_tables() if table in LAYOUTS), COMBINED, TABLE_2D


def choose_tables(names: str) -> list[str]:
    """Ids from a comma-separated list, or all of them for `all`.

    Raises
    ------
    BenchError : a name is unknown, or none is given.
    """
    reported = list(table_ids())
    if names.strip() == "all":
        return reported
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not chosen:
        raise BenchError(f"no table named in {names!r}", "", f"Known: {', '.join(reported)}, or all.")
    for name in chosen:
        if name not in reported:
            raise unknown_name("table", name, reported, "bench list tables")
    return chosen


def build_table(table_id: str, data: ReportData, judgement: Judgement | None = None) -> Table:
    """The table with this id, filled from `data`, with the verdicts of `judgement` in its measured cells."""
    table = _built(table_id, data, judgement)
    if judgement is None or not any(cell.verdict for cell in table.cells()):
        return table
    return replace(table, statements=judgement.statements)


def _further(table_id: str) -> tuple[str, ...]:
    """Methods whose twins and further configurations stand below a table."""
    return tuple(name for name, method in methods().items() if method.further == table_id)


def _built(table_id: str, data: ReportData, judgement: Judgement | None) -> Table:
    if table_id == TABLE_2D:
        return table_2d(data.illustrations)
    if table_id == COMBINED:
        ids = {table for source in sources() for table in source.tables}
        papers = {table: load_paper_table(table) for table in ids}
        elsewhere = {name for name, method in methods().items() if method.further in LAYOUTS}
        return combined_table(papers, data.measured, judgement, elsewhere=elsewhere)
    layout, paper = LAYOUTS[table_id], load_paper_table(table_id)
    if isinstance(layout, ScoreLayout):
        return score_table(replace(layout, further=_further(table_id)), paper, data.measured, judgement)
    if isinstance(layout, AveragesLayout):
        return averages_table(layout, paper, load_paper_table(layout.single_tasks), data.measured, judgement)
    if isinstance(layout, WallTimeLayout):
        return wall_time_table(layout, paper, data.durations)
    return speed_table(layout, paper, data.timings, data.schedules)
