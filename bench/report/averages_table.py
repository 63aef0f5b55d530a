"""A table of averages whose single tasks stand in another table of the same paper (EDP's Table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.aggregates import measured_aggregate
from bench.report.judgement import Judgement
from bench.report.matching import matched
from bench.report.measured import Measured
from bench.report.paper import AGGREGATES, PaperCell, PaperTable
from bench.report.score_cells import measured_header, printed_cell
from bench.report.tables import Block, Cell, Column, Row, Table, counted_table
from bench.report.typography import Bold, digits_of, emboldened


@dataclass(frozen=True)
class AveragesLayout:
    """What the CSV of a table of averages does not say."""

    id: str
    single_tasks: str
    """Id of the table that prints what is averaged."""
    own: Mapping[str, str]
    """The paper's own methods -> their headers."""
    heading: str
    notes: tuple[str, ...] = ()
    bold: Bold | None = None


def averages_table(
    layout: AveragesLayout,
    paper: PaperTable,
    detail: PaperTable,
    measured: Sequence[Measured],
    judgement: Judgement | None = None,
) -> Table:
    """One row per domain; a measured average needs every task that `detail` prints of it."""
    chosen = matched((cell for cell in detail.rows if cell.task not in AGGREGATES), measured)
    printed = {(cell.domain, cell.method): cell for cell in paper.rows}
    tasks: dict[tuple[str, str], list[PaperCell]] = {}
    for cell in detail.rows:
        if cell.task not in AGGREGATES:
            tasks.setdefault((cell.domain, cell.method), []).append(cell)
    columns = [Column("domain", layout.heading, "label")]
    for method in paper.methods:
        header = layout.own.get(method, method)
        columns.append(Column(f"{method} printed", header, "printed", method))
        if method in layout.own or any(cell.method == method for cell in chosen):
            columns.append(Column(f"{method} measured", measured_header(header), "measured", method))
    decimals = digits_of(paper.rows).mean
    rows = []
    for domain in dict.fromkeys(cell.domain for cell in paper.rows):
        row = [Cell("label", domain)]
        for column in columns[1:]:
            place = domain, column.method
            row.append(
                printed_cell(printed.get(place))
                if column.kind == "printed"
                else measured_aggregate(tasks.get(place, []), chosen, "average", decimals, judgement)
            )
        rows.append(Row(emboldened(row, layout.bold)))
    bold = (layout.bold.sentence,) if layout.bold else ()
    block = Block("", tuple(columns), tuple(rows))
    notes = (*layout.notes, *bold, *paper.info.remarks)
    return counted_table(paper.id, paper.full_title, [block], notes, rows_are_tasks=False)
