"""Speed tables: seconds printed by a paper, beside those of `bench speed` on this hardware."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import TimingRecord
from bench.report.measured import Schedules
from bench.report.methods import algorithm_of
from bench.report.paper import PaperTable
from bench.report.score_cells import printed_cell
from bench.report.tables import BLANK, Block, Cell, Column, Row, Table, counted_table, finite, number_text

SECONDS_PER_1K = "training_seconds_per_1k_iterations"


@dataclass(frozen=True)
class SpeedRow:
    """A row: its name, where the printed number stands, and which stored quantity it is."""

    label: str
    metric: str
    """Metric in the paper's CSV; empty for a row that the paper does not have."""
    quantity: str
    """Quantity of the timing records; empty for rows computed from the preset's schedule."""
    decimals: int
    scale: float = 1.0
    """Factor from the stored unit to the row's."""


@dataclass(frozen=True)
class SpeedLayout:
    """What the CSV of a paper's speed table does not say."""

    id: str
    task: str
    own_method: str
    own_header: str
    hardware: str
    rows: tuple[SpeedRow, ...]
    notes: tuple[str, ...] = ()


def alone(timing: TimingRecord) -> bool:
    """Whether a row may enter a paper's timing table: one seed, nothing else running."""
    return timing.exclusive and timing.stack_size == 1 and timing.concurrent_stacks <= 1


def speed_table(
    layout: SpeedLayout,
    paper: PaperTable,
    timings: Sequence[TimingRecord],
    schedules: Schedules,
) -> Table:
    """The table of `layout`; only exclusive single-seed measurements on its task enter, others stay blank."""
    cells, methods = paper.rows, paper.methods
    here = [timing for timing in timings if alone(timing) and timing.task == layout.task]
    names = {cell.method: algorithm_of(cell.method, cell.domain) for cell in cells}
    usable = {
        method: _same_circumstances([timing for timing in here if timing.algorithm == names[method]])
        for method in methods
    }
    columns = [Column("quantity", layout.task, "label")]
    for method in methods:
        own = method == layout.own_method
        columns.append(Column(f"{method} printed", layout.own_header if own else method, "printed", method))
        if own or usable[method]:
            columns.append(Column(f"{method} measured", f"{method} measured", "measured", method))
    rows = []
    for row in layout.rows:
        row_cells = [Cell("label", row.label)]
        for column in columns[1:]:
            if column.kind == "printed":
                printed = [c for c in cells if (c.metric, c.method) == (row.metric, column.method)]
                row_cells.append(printed_cell(printed[0] if printed else None))
            else:
                row_cells.append(_measured_cell(layout, row, usable[column.method], schedules))
        rows.append(Row(tuple(row_cells), counted=bool(row.metric) and row.metric != "training_epochs"))
    block = Block("", tuple(columns), tuple(rows))
    return counted_table(paper.id, paper.full_title, [block], layout.notes, rows_are_tasks=False)


def _same_circumstances(timings: Sequence[TimingRecord]) -> list[TimingRecord]:
    """The rows that share device, threads, runner and variant with the latest one: never a mixture."""

    def circumstances(timing: TimingRecord) -> tuple[object, ...]:
        return timing.device, timing.threads, timing.runner, timing.variant

    dated = sorted(timings, key=lambda t: t.measured_at.timestamp() if t.measured_at else 0.0)
    return [timing for timing in dated if circumstances(timing) == circumstances(dated[-1])]


def _measured_cell(
    layout: SpeedLayout, row: SpeedRow, timings: Sequence[TimingRecord], schedules: Schedules
) -> Cell:
    if not timings:
        return BLANK
    if not row.quantity:
        return _schedule_cell(layout, row, timings, schedules)
    values = _values(timings, row.quantity)
    if not values:
        return BLANK
    return _cell(layout, row, statistics.median(values) * row.scale, len(values), timings[-1])


def _schedule_cell(
    layout: SpeedLayout, row: SpeedRow, timings: Sequence[TimingRecord], schedules: Schedules
) -> Cell:
    """Epochs of the preset, and the hours that they take at the measured pace."""
    seconds = _values(timings, SECONDS_PER_1K)
    schedule = schedules.get((timings[-1].algorithm, timings[-1].variant, layout.task))
    if schedule is None or not seconds:
        return BLANK
    if row.metric == "training_epochs":
        epochs = schedule.training_iterations / 1000
        return Cell(
            "measured", f"{epochs:.0f}", epochs, footnotes=("from the preset, 1,000 iterations each",)
        )
    thousands = (schedule.pretraining_iterations + schedule.training_iterations) / 1000
    hours = thousands * statistics.median(seconds) / 3600
    computed = f"computed: {thousands:g} thousand iterations, pretraining included, at the measured pace"
    return _cell(layout, row, hours, len(seconds), timings[-1], (computed,))


def _values(timings: Sequence[TimingRecord], quantity: str) -> list[float]:
    return [t.value for t in timings if t.quantity == quantity and finite(t.value) is not None]


def _cell(
    layout: SpeedLayout,
    row: SpeedRow,
    value: float,
    count: int,
    timing: TimingRecord,
    footnotes: tuple[str, ...] = (),
) -> Cell:
    circumstances = f"{timing.device}, {timing.threads} threads, runner {timing.runner}"
    return Cell(
        "measured",
        number_text(value, row.decimals),
        value,
        n=count,
        not_comparable=(f"measured on {circumstances}; printed on {layout.hardware}",) if row.metric else (),
        footnotes=(() if row.metric else (f"on {circumstances}",)) + footnotes,
        detail={
            "algorithm": timing.algorithm,
            "variant": timing.variant,
            "task": timing.task,
            "quantity": row.quantity,
            "device": timing.device,
            "threads": timing.threads,
            "runner": timing.runner,
        },
    )
