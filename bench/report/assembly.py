"""From what was measured to what is shown: verdicts once, then the tables that carry them."""

from __future__ import annotations

from bench.report.judgement import Judgement
from bench.report.layouts import build_table, choose_tables
from bench.report.margins import Margins
from bench.report.measured import ReportData
from bench.report.table2d import TABLE_2D
from bench.report.tables import Table
from bench.report.verdicts import judge


def assembled(names: str, data: ReportData, margins: Margins) -> tuple[list[Table], Judgement]:
    """The tables called `names` (ids separated by commas, or `all`), filled, and the judgement they carry.

    All of them leaves out the table of the 2D problems where nothing of these is stored.

    Raises
    ------
    BenchError : a name is unknown.
    """
    chosen = choose_tables(names)
    if names.strip() == "all" and not (data.illustrations.items or data.illustrations.unreadable):
        chosen.remove(TABLE_2D)
    judgement = judge(data, margins)
    return [build_table(table, data, judgement) for table in chosen], judgement
