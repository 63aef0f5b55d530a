"""What each trial's numbers depend on, read back from a store."""

import pytest

from bench.report.origins import load_configurations, load_origins
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store.samples import evaluation_record, finished_record, run_record, trial_record


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
