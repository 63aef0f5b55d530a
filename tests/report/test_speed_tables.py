"""Timings alone, and hours of trials trained alone: which enter, and hours by hand; averages of Table 4."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pandas as pd
import pytest

from bench.records import DatasetRecord, PhaseRecord, TrialKey, TrialRecord
from bench.report.loading import trial_durations
from bench.report.measured import ReportData, TrialDuration
from tests.report.builders import build_table, timing
from tests.report.filled import filled_data

WALKER = "walker2d-medium-expert-v2"
PACE = "training_seconds_per_1k_iterations"
PHASES = (PhaseRecord("pretrain", 50_000, False), PhaseRecord("train", 500_000, True))
OF_DTQL = {("dtql", "released", "antmaze-umaze-v0"): PHASES}


def _measured(*timings):
    table = build_table("dtql-2", ReportData(timings=timings, phases=OF_DTQL))
    place = [column.header for column in table.blocks[0].columns].index("DTQL measured")
    return table, {row.cells[0].text: row.cells[place] for row in table.blocks[0].rows}


def test_printed_numbers_in_the_papers_order():
    table, _ = _measured()
    rows = [[cell.text for cell in row.cells[:5]] for row in table.blocks[0].rows[:4]]
    assert rows == [
        ["Training time (s per 1k steps)", "24.13", "17.57", "24.71", "21.83"],
        ["Inference time (s per trajectory)", "3.03", "3.04", "0.22", "0.35"],
        ["Training epochs", "1000", "3000", "1000", "500"],
        ["Total training time (hours)", "6.70", "14.64", "9.42", "3.33"],
    ]


def test_median_hours_and_latency():
    table, cells = _measured(
        *(timing(PACE, seconds) for seconds in (30.0, 36.0, 90.0)),
        timing("action_latency_median_seconds", 0.0012),
        timing("trajectory_seconds", 0.84),
    )
    assert cells["Training time (s per 1k steps)"].text == "36.00"
    assert cells["Total training time (hours)"].value == pytest.approx(550 * 36 / 3600)
    assert cells["Training epochs"].text == "500"
    assert cells["Action latency, median (ms, batch 1)"].text == "1.200"
    assert cells["Inference time (s per trajectory)"].text == "0.84"
    assert "simulator" in cells["Inference time (s per trajectory)"].footnotes[0]
    reason = "measured on cpu: Some CPU, 2 threads, runner eager; printed on an RTX-A5000 server"
    assert cells["Training time (s per 1k steps)"].not_comparable == (reason,)
    assert str(table.coverage) == "3 of 3 cells measured, 0 comparable"


@pytest.mark.parametrize(
    "change",
    [
        {"exclusive": False},
        {"stack_size": 5},
        {"concurrent_stacks": 2},
        {"task": "hopper-medium-v2"},
        {"algorithm": "srpo2"},
    ],
)
def test_other_timings_stay_away(change):
    _, cells = _measured(timing(PACE, 30.0, **change))
    assert all(cell.text == "" for cell in cells.values())


def test_devices_are_never_mixed():
    earlier = timing(PACE, 1.0, device="cuda: Fast", measured_at=timing("", 0).measured_at.replace(year=2024))
    _, cells = _measured(timing(PACE, 30.0), earlier, timing(PACE, 40.0))
    assert cells["Training time (s per 1k steps)"].text == "35.00"


def _figure_2(*timings):
    phases = {("edp-td3", "released", WALKER): (PhaseRecord("train", 2_000_000, True),)}
    table = build_table("edp-figure-2", ReportData(timings=timings, phases=phases))
    return [
        {
            (row.cells[0].text.split(" (")[0], column.key): cell.text
            for row in block.rows
            for column, cell in zip(block.columns[1:], row.cells[1:], strict=True)
        }
        for block in table.blocks
    ]


def test_edps_speed_figures_as_printed():
    bars, text = _figure_2()
    training = [value for (row, _), value in bars.items() if row == "Training" and value]
    sampling = [value for (row, _), value in bars.items() if row == "Sampling" and value]
    assert training == ["4.66", "22.30", "50.94", "38.4", "116.21"]
    assert sampling == ["18.67", "123.70", "123.06", "411.0", "411.79"]
    assert text["Training", "TD3+BC (FF) printed"] == "689"
    assert text["Training time", "EDP+TD3 printed"] == "5"


def test_edps_speed_is_measured_as_rates_and_hours():
    own = {"algorithm": "edp-td3", "task": WALKER}
    bars, text = _figure_2(timing(PACE, 8.0, **own), timing("action_latency_median_seconds", 0.004, **own))
    assert bars["Training", "EDP measured"] == "125.00"  # 1000 / 8 s
    assert bars["Sampling", "EDP measured"] == "250.00"  # 1 / 4 ms
    assert text["Training time", "EDP+TD3 measured"] == "4.4"  # 2,000 * 8 s


ONE = TrialDuration(
    1, "dtql", "released", "hopper-medium-v2", 18_000.0, 1_000_000, "cuda: X", 2, "graph", True
)


def hopper(*durations):
    (block,) = build_table("dtql-7", ReportData(durations=durations)).blocks
    keys = [column.key for column in block.columns]
    row = next(row for row in block.rows if row.cells[0].text == "hopper-medium-v2")
    return dict(zip(keys, row.cells, strict=True))


def test_printed_hours_and_epochs_in_the_papers_order():
    (block,) = build_table("dtql-7", ReportData()).blocks
    assert [cell.text for cell in block.rows[0].cells] == ["halfcheetah-medium-v2", "5.1", "", "1000", ""]
    assert [cell.text for cell in block.rows[-1].cells] == ["kitchen-mixed-v0", "3.0", "", "500", ""]
    assert len(block.rows) == 26


def test_hours_are_the_median_and_epochs_thousands_of_iterations():
    seeds = [
        replace(ONE, trial_id=number, seconds=3600.0 * hours) for number, hours in enumerate((4.0, 5.0, 9.0))
    ]
    cells = hopper(*seeds)
    assert (cells["hours measured"].text, cells["hours measured"].n) == ("5.0", 3)
    assert cells["epochs measured"].text == "1000"
    assert cells["hours measured"].not_comparable == (
        "measured on cuda: X, 2 threads, runner graph; printed on 8 RTX-A5000 GPU servers",
    )


@pytest.mark.parametrize(
    "change", [{"device": "cpu: Y"}, {"variant": "paper"}, {"threads": 1}, {"exclusive": False}]
)
def test_circumstances_are_never_mixed(change):
    last = replace(ONE, seconds=7200.0, **change)
    assert hopper(ONE, last)["hours measured"].text == "2.0"


def test_a_machine_that_may_have_been_busy_is_told():
    reasons = hopper(replace(ONE, exclusive=False))["hours measured"].not_comparable
    assert reasons[1] == "whether the machine did nothing else is not known"


def stored(trial_id=1, state="finished", reduced=()):
    key = TrialKey("dtql", "released", "hopper-medium-v2", 0, "ab" * 32)
    data = DatasetRecord("hopper-medium-v2", "0" * 64, 10, "verified", "d4rl")
    config = {"hyperparameters": {"train_iterations": 1_000_000}}
    record = TrialRecord(key, config, data, 1, "d4rl", 1.0, "last", 10, reduced)
    return SimpleNamespace(
        trial_id=trial_id, record=record, state=state, training_seconds=15_000.0, evaluation_seconds=3_000.0
    )


def timings(**change):
    row = {
        "trial_id": 1, "quantity": "evaluation_seconds", "stack_size": 1, "concurrent_stacks": 1,
        "device": "cuda: X", "threads": 2, "runner": "graph", "exclusive": True, "matmul_precision": None,
        "measured_at": datetime(2025, 3, 1, tzinfo=UTC),
    } | change  # fmt: skip
    return pd.DataFrame([row])


def test_training_and_evaluation_count():
    assert trial_durations([stored()], timings()) == [ONE]
    assert ONE.hours == 5.0


@pytest.mark.parametrize(
    ("trial", "change"),
    [
        ({}, {"stack_size": 5}),
        ({}, {"concurrent_stacks": 2}),
        ({}, {"trial_id": None}),
        ({"trial_id": 2}, {}),
        ({"state": "failed"}, {}),
        ({"reduced": ("budget 0.5",)}, {}),
    ],
)
def test_only_full_trials_that_were_trained_alone_count(trial, change):
    assert trial_durations([stored(**trial)], timings(**change)) == []


def averages(data):
    (block,) = build_table("edp-1", data).blocks
    keys = [column.key for column in block.columns]
    return {row.cells[0].text: dict(zip(keys, row.cells, strict=True)) for row in block.rows}


def test_domains_and_their_printed_averages():
    shown = averages(ReportData())
    assert list(shown) == ["locomotion", "antmaze", "adroit", "kitchen"]
    assert [cell.text for cell in shown["adroit"].values() if cell.kind == "printed"] == [
        "68.3",
        "66.5",
        "89.1",
    ]


def test_measured_averages_are_of_table_4_and_need_every_task():
    data = filled_data()
    shown = averages(data)
    # Filled with Table 2's numbers in all evaluations, so the best of each seed equals its running average.
    rat = (61.5 + 52.8 + 60.8) / 3
    assert shown["kitchen"]["EDP+TD3 measured"].value == pytest.approx(rat)
    without = tuple(entry for entry in data.measured if entry.task != "kitchen-mixed-v0")
    assert averages(replace(data, measured=without))["kitchen"]["EDP+TD3 measured"].text == ""
