"""DTQL's Table 7: hours and epochs of whole trials per task, beside those of trials trained alone here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.measured import TrialDuration
from bench.report.methods import algorithm_of
from bench.report.paper import PaperCell, PaperTable
from bench.report.score_cells import DEFAULT_VARIANT, printed_cell
from bench.report.tables import BLANK, Block, Cell, Column, Row, Table, counted_table, number_text

HOURS, EPOCHS = "total_wall_time_h", "training_epochs"
ITERATIONS_PER_EPOCH = 1000


@dataclass(frozen=True)
class WallTimeLayout:
    """What the CSV of a table of wall times does not say."""

    id: str
    heading: str
    """Above the tasks."""
    hardware: str
    notes: tuple[str, ...] = ()


def wall_time_table(layout: WallTimeLayout, paper: PaperTable, durations: Sequence[TrialDuration]) -> Table:
    """One row per task; the measured hours are the median over seeds of the latest circumstances."""
    by_place: dict[tuple[str, str], list[TrialDuration]] = {}
    for duration in durations:
        by_place.setdefault((duration.algorithm, duration.task), []).append(duration)
    printed = {(cell.task, cell.metric): cell for cell in paper.rows}
    rows = [
        _row(task, printed, by_place.get((algorithm_of(method, domain), task), []), layout)
        for task, method, domain in dict.fromkeys(
            (cell.task, cell.method, cell.domain) for cell in paper.rows
        )
    ]
    block = Block("", _columns(layout.heading, paper.methods[0]), tuple(rows))
    return counted_table(paper.id, paper.full_title, [block], (*layout.notes, *paper.info.remarks))


def _columns(heading: str, method: str) -> tuple[Column, ...]:
    return (
        Column("task", heading, "label"),
        Column("hours printed", "Overall Training and Inference Time (h)", "printed", method),
        Column("hours measured", "Time measured (h)", "measured", method),
        Column("epochs printed", "Training Epochs", "printed", method),
        Column("epochs measured", "Epochs measured", "measured", method),
    )


def _row(
    task: str,
    printed: Mapping[tuple[str, str], PaperCell],
    durations: Sequence[TrialDuration],
    layout: WallTimeLayout,
) -> Row:
    measured = _same_circumstances(durations)
    return Row(
        (
            Cell("label", task),
            printed_cell(printed.get((task, HOURS))),
            _hours(measured, layout.hardware),
            printed_cell(printed.get((task, EPOCHS))),
            _epochs(measured),
        )
    )


def _same_circumstances(durations: Sequence[TrialDuration]) -> list[TrialDuration]:
    """Those that share variant, device, threads, runner and epochs with the last one: never a mixture."""

    def circumstances(duration: TrialDuration) -> tuple[object, ...]:
        machine = duration.device, duration.threads, duration.runner, duration.exclusive
        return duration.variant, duration.training_iterations, *machine

    return [one for one in durations if circumstances(one) == circumstances(durations[-1])]


def _hours(durations: Sequence[TrialDuration], hardware: str) -> Cell:
    if not durations:
        return BLANK
    first = durations[0]
    hours = statistics.median(duration.hours for duration in durations)
    machine = f"{first.device}, {first.threads} threads, runner {first.runner}"
    reasons = [f"measured on {machine}; printed on {hardware}"]
    if not first.exclusive:
        reasons.append("whether the machine did nothing else is not known")
    return Cell(
        "measured",
        number_text(hours, 1),
        hours,
        n=len(durations),
        not_comparable=tuple(reasons),
        footnotes=_variant(first),
        detail=_detail(durations) | {"quantity": "training and evaluation, hours"},
    )


def _epochs(durations: Sequence[TrialDuration]) -> Cell:
    if not durations or durations[0].training_iterations is None:
        return BLANK
    epochs = durations[0].training_iterations / ITERATIONS_PER_EPOCH
    detail = _detail(durations) | {"quantity": "training epochs"}
    return Cell(
        "measured", f"{epochs:g}", epochs, n=len(durations), footnotes=_variant(durations[0]), detail=detail
    )


def _variant(duration: TrialDuration) -> tuple[str, ...]:
    return () if duration.variant == DEFAULT_VARIANT else (f"variant {duration.variant}",)


def _detail(durations: Sequence[TrialDuration]) -> dict[str, object]:
    first = durations[0]
    return {
        "algorithm": first.algorithm,
        "variant": first.variant,
        "task": first.task,
        "trials": [duration.trial_id for duration in durations],
        "device": first.device,
        "threads": first.threads,
        "runner": first.runner,
    }
