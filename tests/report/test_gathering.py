"""What verdicts need of a store, read without data frames, is what a whole report reads."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from bench.benchmarks.full_store import Size, make_store
from bench.catalog import load_catalog
from bench.report.gathering import load_judged_data
from bench.report.source import load_report_data
from bench.store.database import open_store, transaction
from bench.store.models import Trial
from bench.store.queries import evaluation_means
from bench.store.writer import Writer
from tests.store.samples import evaluation_record, failure_record, finished_record, run_record, trial_record


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
