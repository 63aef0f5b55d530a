"""From a real store to the report's data, and what verdicts need of it."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from bench.catalog import load_catalog
from bench.records import PhaseRecord, hash_of
from bench.report.loading import load_configurations, load_judged_data, load_origins, load_report_data
from bench.store.database import open_store, transaction
from bench.store.models import Trial
from bench.store.queries import evaluation_means
from bench.store.writer import Writer
from benchmarks.full_store import Size, make_store
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
    curves = {trial.seed: trial for trial in data.measured[0].trials if trial.trial_id in data.steps}
    assert [data.steps[curves[seed].trial_id] for seed in (2, 0)] == [(1000, 2000)] * 2
    assert len(curves) == len(data.steps) == 2
    assert curves[2].evaluations[0] == pytest.approx((300.0 + 250.5 + 275.25) / 3 / 30)
    assert data.measured[0].config_hash != hash_of({})
    assert data.runs == (run_record(),)
    assert [failure.step for failure in data.failures] == [700]
    # The one of the grid, measured beside other work, enters no table.
    assert [(row.task, row.exclusive) for row in data.timings] == [("antmaze-umaze-v0", True)]
    assert data.timings[0].measured_at == timing_record(None).measured_at


def test_the_phases_of_the_timed_task_are_the_presets(data):
    phases = data.phases["dtql", "released", "antmaze-umaze-v0"]
    assert phases == (PhaseRecord("pretrain", 50_000, False), PhaseRecord("train", 500_000, True))


def test_latencies_of_trials(data):
    (trial,) = [trial for cell in data.measured for trial in cell.trials if trial.trial_id in data.latencies]
    assert (trial.seed, data.latencies[trial.trial_id]) == (2, 0.002)


@pytest.fixture
def store(tmp_path):
    """One finished trial and one that is only planned, with the same configuration; one with another."""
    with open_store(tmp_path / "bench.sqlite") as opened:
        with Writer(opened) as writer:
            writer.begin_run(run_record())
            done, planned, other = trial_record(0), trial_record(1), trial_record(0, extra="x")
            writer.plan([done, planned, other])
            writer.claim(done.key.cell, {0}, 1)
            writer.record(evaluation_record(done.key, 1))
            writer.record(finished_record(done.key, 10.0))
        yield opened


def test_every_trial_has_its_code_and_data_whether_it_ran_or_not(store):
    origins = load_origins(store)
    assert sorted(origins) == [1, 2, 3]
    assert {origin.dataset_sha256 for origin in origins.values()} == {trial_record(0).dataset.sha256}
    assert origins[1].code_commit == run_record().code_commit
    assert origins[1].training_seconds == finished_record(trial_record(0).key, 10.0).training_seconds
    assert origins[2].training_seconds is None


def test_a_hash_leads_to_the_whole_configuration(store):
    found = load_configurations(store)
    assert found == {
        record.key.config_hash: record.config for record in (trial_record(0), trial_record(0, extra="x"))
    }


def test_verdicts_see_the_same_cells_as_the_report(tmp_path):
    make_store(tmp_path / "s.sqlite", Size(tasks=3, seeds=2, evaluations=11, episodes=3))
    catalog = load_catalog()
    with open_store(tmp_path / "s.sqlite", read_only=True) as store:
        judged, whole = load_judged_data(store, catalog), load_report_data(store, catalog)
    assert len(judged.measured) == 12
    assert {len(trial.evaluations) for entry in judged.measured for trial in entry.trials} == {11}
    assert judged.measured == whole.measured
    assert (judged.final_episodes, judged.suites) == (whole.final_episodes, whole.suites)


def test_evaluations_in_order_of_the_latest_attempt_and_nan_as_nan(tmp_path):
    trial = trial_record(0)
    with open_store(tmp_path / "s.sqlite") as store:
        with Writer(store) as writer:
            writer.begin_run(run_record())
            writer.plan([trial])
            writer.claim(trial.key.cell, {0}, 1)
            for number in (1, 2):
                writer.record(evaluation_record(trial.key, number))
            writer.record(failure_record(trial.key))
            writer.retry([trial.key])
            writer.claim(trial.key.cell, {0}, 1)
            writer.record(evaluation_record(trial.key, 1, (30.0, 60.0, 90.0)))
            broken = evaluation_record(trial.key, 2, (30.0, 60.0, 90.0))
            writer.record(replace(broken, scores=(1.0, math.nan, 3.0)))
            # Made later by `bench evaluate`: no part of training.
            writer.record(evaluation_record(trial.key, 0, (3000.0, 3000.0, 3000.0)))
            writer.record(finished_record(trial.key))
        ((trial_id, means),) = evaluation_means(store).items()
    assert (trial_id, means[0]) == (1, pytest.approx(2.0))
    assert len(means) == 2
    assert math.isnan(means[1])


def test_a_protocol_that_chooses_by_metrics_finds_them(tmp_path):
    """BC losses 0.3, 0.1, 0.2: Diffusion-QL's rule for rank 0 takes the third evaluation (test_protocols)."""
    chosen = trial_record(0, evaluation={"selected_rank": 0})
    chosen = replace(chosen, protocol="bc-select")
    other = trial_record(1, evaluation={"selected_rank": 0})
    with open_store(tmp_path / "s.sqlite") as store:
        with Writer(store) as writer:
            writer.begin_run(run_record())
            writer.plan([chosen, other])
            for trial in (chosen, other):
                writer.claim(trial.key.cell, {trial.key.seed}, 1)
                for number, loss in enumerate((0.3, 0.1, 0.2), start=1):
                    record = evaluation_record(trial.key, number, (300.0 * number,))
                    writer.record(replace(record, metrics={"bc_loss": loss}))
                writer.record(finished_record(trial.key, 30.0))
        catalog = load_catalog()
        judged, whole = load_judged_data(store, catalog), load_report_data(store, catalog)
    for data in (judged, whole):
        found = {trial.seed: trial for entry in data.measured for trial in entry.trials}
        assert found[0].under("bc-select").score == pytest.approx(30.0)
        assert found[0].under("oms").score == pytest.approx(30.0)
        # Of others nothing is read that a report does not need.
        assert found[1].metrics == ()


def test_a_cell_began_with_its_first_seed_and_ended_with_its_last(tmp_path):
    """Margins declared between the two did not come before the run."""
    make_store(tmp_path / "s.sqlite", Size(tasks=1, seeds=3, evaluations=1, episodes=1))
    with open_store(tmp_path / "s.sqlite") as store:
        with transaction(store.engine) as connection:
            for seed in range(3):
                times = {"started_at": datetime(2026, 1, 3 - seed, tzinfo=UTC),
                         "finished_at": datetime(2026, 2, 3 - seed, tzinfo=UTC)}  # fmt: skip
                connection.execute(update(Trial).where(Trial.seed == seed).values(times))
        for entry in load_judged_data(store, load_catalog()).measured:
            assert entry.started_at == datetime(2026, 1, 1, tzinfo=UTC)
            assert entry.finished_at == datetime(2026, 2, 3, tzinfo=UTC)


def test_what_any_seed_was_below_its_preset_holds_of_the_cell(tmp_path):
    """Ten episodes were the preset's when the first seed was planned, and fewer than that for the second."""
    whole, fewer = (
        replace(trial_record(0), reduced=()),
        replace(trial_record(1), reduced=("10 of 100 episodes",)),
    )
    assert whole.key.config_hash == fewer.key.config_hash
    with open_store(tmp_path / "s.sqlite") as store:
        with Writer(store) as writer:
            writer.begin_run(run_record())
            writer.plan([whole, fewer])
        (cell,) = load_judged_data(store, load_catalog()).measured
    assert (len(cell.trials), cell.reduced) == (2, ("10 of 100 episodes",))
