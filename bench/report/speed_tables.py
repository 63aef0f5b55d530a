"""Speed tables: times printed by a paper, beside those of `bench speed` and of whole trials here."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TypeVar

from bench.records import PhaseRecord, TimingRecord
from bench.report.measured import Phases, TrialDuration, alone
from bench.report.paper import (
    Digits,
    PaperCell,
    PaperTable,
    Speed,
    SpeedBlock,
    SpeedRow,
    WallTime,
)
from bench.report.tables import (
    BLANK,
    Amount,
    Block,
    Cell,
    Column,
    Table,
    columns_of,
    counted_table,
    filled_block,
    finite,
    variant_note,
)

ITERATIONS_PER_EPOCH = 1000
_READINGS: Mapping[str, Callable[[float], float]] = {
    "as_stored": lambda value: value,
    "milliseconds": lambda seconds: 1000.0 * seconds,
    "per_second": lambda seconds: 1.0 / seconds,
    "iterations_per_second": lambda seconds_per_1k: 1000.0 / seconds_per_1k,
}


# Speeds on one task


def speed_table(paper: PaperTable, layout: Speed, timings: Sequence[TimingRecord], phases: Phases) -> Table:
    """What a paper prints of its speed; only exclusive single-seed measurements on its task enter."""
    here = [timing for timing in timings if alone(timing) and timing.task == layout.task]
    blocks = [_speed_block(paper, layout, block, here, phases) for block in layout.blocks]
    return counted_table(paper.id, paper.full_title, blocks, paper.notes, rows_are_tasks=False)


def _speed_block(
    paper: PaperTable, layout: Speed, block: SpeedBlock, timings: Sequence[TimingRecord], phases: Phases
) -> Block:
    cells = [cell for cell in paper.rows if cell.table in block.printed_in]
    usable = {
        method: _latest([timing for timing in timings if timing.algorithm == name])
        for method, name in {cell.method: cell.algorithm for cell in cells}.items()
    }
    columns, own = [Column("quantity", block.title, "label")], paper.info.own
    for method, found in usable.items():
        columns += columns_of(method, own.get(method, method), measured=method in own or bool(found))
    printed = {(cell.metric, cell.method): cell for cell in cells}

    uncounted = [row for row in block.rows if not row.metric or row.reading == "epochs" or not row.quantity]
    return filled_block(
        block.title,
        columns,
        block.rows,
        lambda row, _: row.label,
        lambda row, column: printed.get((row.metric, column.method)),
        lambda row, column, cell: _speed_cell(row, cell, usable[column.method], phases, layout.hardware),
        uncounted=uncounted,
    )


def _latest(timings: Sequence[TimingRecord]) -> list[TimingRecord]:
    """The rows that were measured as the latest one was, in order of time."""
    dated = sorted(timings, key=lambda t: t.measured_at.timestamp() if t.measured_at else 0.0)
    return _like_the_last(dated, "variant", *_MACHINE)


def _speed_cell(
    row: SpeedRow,
    printed: PaperCell | None,
    timings: Sequence[TimingRecord],
    phases: Phases,
    hardware: str,
) -> Cell:
    values = [t.value for t in timings if t.quantity == row.quantity and (finite(t.value) or 0.0) > 0.0]
    if not values:
        return BLANK
    latest, median, quantity = timings[-1], statistics.median(values), row.quantity
    footnotes = (row.caveat,) if row.caveat else ()
    if row.reading in ("epochs", "hours"):
        stages = phases.get((latest.algorithm, latest.variant, latest.task), ())
        evaluated = _of_one_pace(stages)
        if evaluated is None:
            return BLANK
        if row.reading == "epochs":
            epochs = Amount(evaluated.iterations / ITERATIONS_PER_EPOCH)
            footnotes = ("from the preset, 1,000 iterations each",)
            return Cell("measured", printed=printed, measured=epochs, footnotes=footnotes, digits=Digits(0))
        thousands = sum(phase.iterations for phase in stages) / 1000
        value, quantity = thousands * median / 3600, ""
        footnotes = (
            f"computed: {thousands:g} thousand iterations, pretraining included, at the measured pace",
        )
    else:
        value = _READINGS[row.reading](median)
    machine = _machine(latest)
    return Cell(
        "measured",
        printed=printed,
        measured=_amount(value, quantity, latest, len(values)),
        not_comparable=(f"measured on {machine}; printed on {hardware}",) if row.metric else (),
        footnotes=(() if row.metric else (f"on {machine}",)) + footnotes,
        digits=Digits(row.decimals),
    )


def _of_one_pace(phases: Sequence[PhaseRecord]) -> PhaseRecord | None:
    """The evaluated phase; None where more than a pretraining comes before it: one pace says too little."""
    place = next((place for place, phase in enumerate(phases) if phase.evaluated), 2)
    return phases[place] if place < 2 else None


# Whole trials


def wall_time_table(paper: PaperTable, layout: WallTime, durations: Sequence[TrialDuration]) -> Table:
    """DTQL's Table 7: hours and epochs of whole trials per task, the median over seeds trained alone here."""
    (method,) = paper.methods
    algorithms = {cell.task: cell.algorithm for cell in paper.rows}
    printed = {(cell.task, cell.metric): cell for cell in paper.rows}
    measured = {
        task: _like_the_last(
            [one for one in durations if (one.algorithm, one.task) == (algorithm, task)],
            "variant",
            "training_iterations",
            "exclusive",
            *_MACHINE,
        )
        for task, algorithm in algorithms.items()
    }
    columns = (
        Column("task", layout.heading, "label"),
        Column("hours printed", "Overall Training and Inference Time (h)", "printed", method),
        Column("hours measured", "Time measured (h)", "measured", method),
        Column("epochs printed", "Training Epochs", "printed", method),
        Column("epochs measured", "Epochs measured", "measured", method),
    )

    def printed_cell(task: str, column: Column) -> PaperCell | None:
        return printed.get((task, "total_wall_time_h" if _of_hours(column) else "training_epochs"))

    def measured_cell(task: str, column: Column, cell: PaperCell | None) -> Cell:
        if _of_hours(column):
            return _hours_cell(cell, measured[task], layout.hardware)
        return _epochs_cell(cell, measured[task])

    block = filled_block("", columns, algorithms, lambda task, _: task, printed_cell, measured_cell)
    return counted_table(paper.id, paper.full_title, [block], paper.notes)


def _of_hours(column: Column) -> bool:
    return column.key.startswith("hours")


def _hours_cell(printed: PaperCell | None, durations: Sequence[TrialDuration], hardware: str) -> Cell:
    if not durations:
        return BLANK
    first = durations[0]
    reasons = [f"measured on {_machine(first)}; printed on {hardware}"]
    if not first.exclusive:
        reasons.append("whether the machine did nothing else is not known")
    hours = statistics.median(duration.hours for duration in durations)
    return Cell(
        "measured",
        printed=printed,
        measured=_of_trials(hours, "training and evaluation, hours", durations),
        not_comparable=tuple(reasons),
        footnotes=variant_note(first.variant),
    )


def _epochs_cell(printed: PaperCell | None, durations: Sequence[TrialDuration]) -> Cell:
    if not durations or durations[0].training_iterations is None:
        return BLANK
    epochs = durations[0].training_iterations / ITERATIONS_PER_EPOCH
    return Cell(
        "measured",
        f"{epochs:g}",
        printed=printed,
        measured=_of_trials(epochs, "training epochs", durations),
        footnotes=variant_note(durations[0].variant),
    )


def _of_trials(value: float, quantity: str, durations: Sequence[TrialDuration]) -> Amount:
    trials = tuple(duration.trial_id for duration in durations)
    return replace(_amount(value, quantity, durations[0], len(durations)), trials=trials)


# Under which circumstances

Timed = TypeVar("Timed", TimingRecord, TrialDuration)

_MACHINE = ("device", "threads", "runner", "matmul_precision")


def _like_the_last(found: Sequence[Timed], *names: str) -> list[Timed]:
    """Those that share what the last one has under these names: never a mixture."""
    circumstances = attrgetter(*names)
    return [one for one in found if circumstances(one) == circumstances(found[-1])]


def _machine(one: TimingRecord | TrialDuration) -> str:
    precision = f", {one.matmul_precision}" if one.matmul_precision else ""
    return f"{one.device}, {one.threads} threads, runner {one.runner}{precision}"


def _amount(value: float, quantity: str | None, one: TimingRecord | TrialDuration, n: int) -> Amount:
    """A number from `n` measurements such as `one`."""
    return Amount(
        value,
        n=n,
        algorithm=one.algorithm,
        variant=one.variant,
        task=one.task,
        quantity=quantity,
        device=one.device,
        threads=one.threads,
        runner=one.runner,
        matmul_precision=one.matmul_precision,
    )
