"""From a real store to the report's data."""

from dataclasses import replace

import pytest

from bench.catalog import load_catalog
from bench.records import hash_of
from bench.report.source import load_report_data
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store.samples import (
    evaluation_record,
    failure_record,
    finished_record,
    run_record,
    timing_record,
    trial_record,
)


@pytest.fixture
def data(tmp_path):
    """Two finished seeds, one failed, a twin, another configuration, and two timings."""
    with open_store(tmp_path / "bench.sqlite") as store:
        with Writer(store) as writer:
            writer.begin_run(run_record())
            seeds = [trial_record(seed) for seed in (2, 0, 1)]
            twin = trial_record(0, "collected-hopper-medium")
            other = trial_record(0, extra="x")
            writer.plan([*seeds, twin, other])
            for trial, score in zip(seeds, (30.0, 10.0, None), strict=True):
                writer.claim(trial.key.cell, {trial.key.seed}, 1)
                if score is None:
                    writer.record(failure_record(trial.key))
                    continue
                for number in (1, 2):
                    writer.record(evaluation_record(trial.key, number))
                writer.record(finished_record(trial.key, score))
            alone = replace(timing_record(None), task="antmaze-umaze-v0")
            writer.record(alone)
            writer.record(replace(timing_record(seeds[0].key)))
            latency = replace(timing_record(seeds[0].key), quantity="action_latency_median_seconds")
            writer.record(replace(latency, value=0.002))
        yield load_report_data(store, load_catalog())


def test_trials_that_differ_in_the_seed_alone_are_one_cell(data):
    cell = data.measured[0]
    tasks = ["hopper-medium-v2", "collected-hopper-medium", "hopper-medium-v2"]
    assert [entry.task for entry in data.measured] == tasks
    assert [trial.seed for trial in cell.trials] == [0, 1, 2]
    assert (cell.scores, cell.mean, cell.n) == ((10.0, 30.0), 20.0, 2)
    assert cell.shortfalls() == ("1 of 3 seeds failed",)
    assert (cell.budget, cell.reduced) == (0.001, ("budget 0.001", "episodes 3"))


def test_twins_and_versions_come_from_the_catalog(data):
    assert data.measured[1].twin_of == "hopper-medium-v2"
    assert data.measured[0].twin_of is None
    assert data.measured[0].current_task_version == load_catalog().task("hopper-medium-v2").version


def test_curves_runs_failures_and_timings(data):
    assert [(curve.seed, curve.steps) for curve in data.curves] == [(2, (1000, 2000)), (0, (1000, 2000))]
    assert data.curves[0].scores[0] == pytest.approx((300.0 + 250.5 + 275.25) / 3 / 30)
    assert data.curves[0].config_hash == data.measured[0].config_hash != hash_of({})
    assert data.runs == (run_record(),)
    assert [failure.step for failure in data.failures] == [700]
    # The one of the grid, measured beside other work, enters no table.
    assert [(row.task, row.exclusive) for row in data.timings] == [("antmaze-umaze-v0", True)]
    assert data.timings[0].measured_at == timing_record(None).measured_at


def test_the_schedule_of_the_timed_task_is_the_presets(data):
    schedule = data.schedules["dtql", "released", "antmaze-umaze-v0"]
    assert (schedule.pretraining_iterations, schedule.training_iterations) == (50_000, 500_000)


def test_phases_of_what_was_timed_and_latencies_of_trials(data):
    phases = data.phase_iterations["dtql", "released", "antmaze-umaze-v0"]
    assert phases == {"pretrain": 50_000, "train": 500_000}
    (trial,) = [trial for cell in data.measured for trial in cell.trials if trial.trial_id in data.latencies]
    assert (trial.seed, data.latencies[trial.trial_id]) == (2, 0.002)
