"""DTQL's Table 7 and EDP's Table 1: hours of trials trained alone, averages of another table's cells."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pandas as pd
import pytest

from bench.records import DatasetRecord, TrialKey, TrialRecord
from bench.report.build import build_table
from bench.report.loading import trial_durations
from bench.report.measured import ReportData, TrialDuration
from tests.report.filled import filled_data

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
        "device": "cuda: X", "threads": 2, "runner": "graph", "exclusive": True,
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
