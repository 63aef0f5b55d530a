"""Speed tables: seconds printed by a paper, beside those of `bench speed` on this hardware."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.records import TimingRecord
from bench.report.measured import SECONDS_PER_1K, Schedules
from bench.report.methods import algorithm_of
from bench.report.paper import PaperCell, PaperTable
from bench.report.score_cells import measured_header, printed_cell
from bench.report.tables import BLANK, Block, Cell, Column, Row, Table, counted_table, finite, number_text


def as_stored(value: float) -> float:
    """A stored value as a table shows it, where no other reading is named."""
    return value


@dataclass(frozen=True)
class SpeedRow:
    """A row: its name, where the printed number stands, and which stored quantity it is."""

    label: str
    metric: str
    """Metric in the paper's CSV; empty for a row that the paper does not have."""
    quantity: str | None
    """Quantity of the timing records; empty: computed from the preset's schedule; None: only printed."""
    decimals: int
    reading: Callable[[float], float] = as_stored
    """From the stored number (seconds) to the row's."""
    caveat: str = ""
    """What the measured number holds or leaves out."""


@dataclass(frozen=True)
class SpeedBlock:
    """Rows under one header, and the places of the paper that print their numbers."""

    title: str
    printed_in: tuple[str, ...]
    """Labels in the CSV's column `table`."""
    rows: tuple[SpeedRow, ...]


@dataclass(frozen=True)
class SpeedLayout:
    """What the CSV of a paper's speed table does not say."""

    id: str
    task: str
    own: Mapping[str, str]
    """The paper's own methods -> their headers."""
    hardware: str
    blocks: tuple[SpeedBlock, ...]
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
    here = [timing for timing in timings if alone(timing) and timing.task == layout.task]
    blocks = [_block(layout, block, paper.rows, here, schedules) for block in layout.blocks]
    notes = (*layout.notes, *paper.info.remarks)
    return counted_table(paper.id, paper.full_title, blocks, notes, rows_are_tasks=False)


def _block(
    layout: SpeedLayout,
    block: SpeedBlock,
    cells: Sequence[PaperCell],
    timings: Sequence[TimingRecord],
    schedules: Schedules,
) -> Block:
    cells = [cell for cell in cells if cell.table in block.printed_in]
    names = {cell.method: algorithm_of(cell.method, cell.domain) for cell in cells}
    usable = {
        method: _same_circumstances([timing for timing in timings if timing.algorithm == name])
        for method, name in names.items()
    }
    columns = [Column("quantity", block.title, "label")]
    for method in names:
        header = layout.own.get(method, method)
        columns.append(Column(f"{method} printed", header, "printed", method))
        if method in layout.own or usable[method]:
            columns.append(Column(f"{method} measured", measured_header(header), "measured", method))
    printed = {(cell.metric, cell.method): cell for cell in cells}
    rows = []
    for row in block.rows:
        row_cells = [Cell("label", row.label)]
        for column in columns[1:]:
            if column.kind == "printed":
                row_cells.append(printed_cell(printed.get((row.metric, column.method))))
            else:
                row_cells.append(_measured_cell(layout, row, usable[column.method], schedules))
        counted = bool(row.metric) and row.metric != "training_epochs" and row.quantity is not None
        rows.append(Row(tuple(row_cells), counted=counted))
    return Block(block.title, tuple(columns), tuple(rows))


def _same_circumstances(timings: Sequence[TimingRecord]) -> list[TimingRecord]:
    """The rows that share device, threads, runner and variant with the latest one: never a mixture."""

    def circumstances(timing: TimingRecord) -> tuple[object, ...]:
        return timing.device, timing.threads, timing.runner, timing.variant

    dated = sorted(timings, key=lambda t: t.measured_at.timestamp() if t.measured_at else 0.0)
    return [timing for timing in dated if circumstances(timing) == circumstances(dated[-1])]


def _measured_cell(
    layout: SpeedLayout, row: SpeedRow, timings: Sequence[TimingRecord], schedules: Schedules
) -> Cell:
    if not timings or row.quantity is None:
        return BLANK
    if not row.quantity:
        return _schedule_cell(layout, row, timings, schedules)
    values = _values(timings, row.quantity)
    if not values:
        return BLANK
    caveats = (row.caveat,) if row.caveat else ()
    return _cell(layout, row, row.reading(statistics.median(values)), len(values), timings[-1], caveats)


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
    return [t.value for t in timings if t.quantity == quantity and (finite(t.value) or 0.0) > 0.0]


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
