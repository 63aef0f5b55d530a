import json
from dataclasses import replace

import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.data import verify as verification
from bench.data.collect import collect
from bench.data.ledger import Ledger
from bench.data.manifest import DatasetFacts, Manifest
from bench.data.paths import dataset_path
from bench.data.verify import dataset_record, verify
from bench.errors import BenchError
from bench.files import sha256_of
from tests.data.files import columns, hopper, write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def path(folder):
    return write(dataset_path(hopper()), columns())


@pytest.fixture
def facts(monkeypatch):
    """Makes the manifest say what is true of `columns()`, with changes."""

    def state(**changes):
        observations = columns()["observations"].astype(np.float64)
        known = {
            # By hand: 40 rows, cut at 19 and 39, the last one always dropped, one terminal.
            "rows": 40,
            "observation_dim": 11,
            "action_dim": 3,
            "transitions": 38,
            "timeout_contradictions": 1,
            "terminals": 1,
            "state_mean": tuple(observations.mean(axis=0)),
            "state_std": tuple(np.sqrt(((observations - observations.mean(axis=0)) ** 2).mean(axis=0))),
        }
        # model_construct: the tests also state what the manifest's own checks would refuse.
        entry = DatasetFacts.model_construct(**(known | changes))
        manifest = Manifest.model_construct(state_tolerance=5e-3, datasets={"hopper-medium-v2": entry})
        monkeypatch.setattr(verification, "load_manifest", lambda: manifest)

    return state


def outcomes(report):
    return {check.name: check.outcome for check in report.checks}


def test_a_file_that_agrees_is_verified(path, facts):
    facts()
    report = verify(hopper(), path)
    assert set(outcomes(report).values()) == {"ok"}
    assert report.status == "verified"
    record = dataset_record(hopper(), path)
    assert (record.name, record.sha256, record.rows) == ("hopper-medium-v2", sha256_of(path), 40)
    assert (record.verification, record.replay) == ("verified", "unverified")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"rows": 41}, "rows"),
        ({"transitions": 39}, "transitions"),
        ({"timeout_contradictions": 2}, "timeouts before the last row"),
        ({"terminals": 3}, "terminals"),
        ({"state_mean": (1.25,) * 11}, "state mean"),
        ({"state_std": (1.0,) * 11}, "state deviation"),
    ],
)
def test_each_fact_can_fail(path, facts, changes, name):
    facts(**changes)
    report = verify(hopper(), path)
    assert [found for found, outcome in outcomes(report).items() if outcome == "mismatch"] == [name]
    assert report.status == "mismatch"
    assert dataset_record(hopper(), path).verification == "mismatch"


def test_a_mean_half_a_percent_of_a_deviation_off_is_let_through(path, facts):
    observations = columns()["observations"].astype(np.float64)
    shift = observations.std(axis=0)
    facts(state_mean=tuple(observations.mean(axis=0) + 0.004 * shift))
    assert verify(hopper(), path).status == "verified"
    facts(state_mean=tuple(observations.mean(axis=0) + 0.006 * shift))
    assert verify(hopper(), path).status == "mismatch"


def test_nothing_known_is_unverified(folder):
    task = replace(hopper(), name="antmaze-umaze-v0")
    report = verify(task, write(dataset_path(task), columns()))
    assert report.status == "unverified"
    assert set(outcomes(report).values()) == {"unknown"}


def test_new_facts_mean_a_new_check(path, facts):
    facts(terminals=5)
    assert dataset_record(hopper(), path).verification == "mismatch"
    facts()
    assert dataset_record(hopper(), path).verification == "verified"


class TestLedger:
    def test_another_content_is_an_error_that_says_both_hashes(self, path, facts):
        facts()
        first = verify(hopper(), path).entry.sha256
        write(path, columns(seed=1))
        for look in (verify, dataset_record):
            with pytest.raises(BenchError) as caught:
                look(hopper(), path)
            assert first in caught.value.why
            assert sha256_of(path) in caught.value.why
        accepted = verify(hopper(), path, accept=True).entry
        assert accepted.sha256 == sha256_of(path)
        assert dataset_record(hopper(), path).sha256 == accepted.sha256

    def test_a_new_content_forgets_what_was_found_of_the_old(self, path, facts):
        facts()
        ledger = Ledger()
        ledger.note(path, ledger.look_up(path), replay="modern")
        assert dataset_record(hopper(), path).replay == "modern"
        write(path, columns(seed=1))
        assert verify(hopper(), path, accept=True).entry.replay == "unverified"

    def test_large_files_are_hashed_once(self, path, facts, monkeypatch):
        facts()
        verify(hopper(), path)
        monkeypatch.setattr("bench.data.ledger.sha256_of", lambda path: pytest.fail("hashed again"))
        dataset_record(hopper(), path)

    def test_a_touched_file_is_hashed_again_and_is_the_same(self, path, facts):
        facts()
        before = verify(hopper(), path).entry
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        after = dataset_record(hopper(), path)
        assert after.sha256 == before.sha256
        assert after.verification == "verified"

    def test_what_it_holds(self, path, facts):
        facts()
        verify(hopper(), path)
        content = json.loads((path.parent / ".bench-hashes.json").read_text())
        assert list(content) == ["hopper_medium-v2.hdf5"]
        entry = content["hopper_medium-v2.hdf5"]
        assert entry["sha256"] == sha256_of(path)
        assert entry["size"] == path.stat().st_size
        assert entry["rows"] == 40

    @pytest.mark.parametrize("content", ["{", '{"a": {"sha": 1}}', "[1]"])
    def test_a_damaged_one_is_named(self, path, content):
        (path.parent / ".bench-hashes.json").write_text(content)
        with pytest.raises(BenchError, match="bench-hashes"):
            dataset_record(hopper(), path)

    def test_a_read_only_folder_is_read_without_a_trace(self, path, facts, monkeypatch):
        facts()
        monkeypatch.setattr("bench.data.ledger.os.access", lambda folder, mode: False)
        assert dataset_record(hopper(), path).verification == "verified"
        assert [file.name for file in path.parent.iterdir()] == [path.name]


class TestCollected:
    def test_a_short_one_is_verified_and_its_rows_are_told(self, folder):
        task = load_catalog().task("collected-hopper-quickstart")
        collect(task, dataset_path(task), transitions=400)
        record = dataset_record(task, dataset_path(task))
        assert (record.verification, record.rows) == ("verified", 400)

    def test_another_recipe_and_physics_are_a_mismatch(self, folder):
        catalog = load_catalog()
        task, other = catalog.task("collected-hopper-medium"), catalog.task("collected-hopper-quickstart")
        collect(other, dataset_path(task), transitions=400, physics="modern")
        report = verify(task, dataset_path(task))
        assert report.status == "mismatch"
        found = outcomes(report)
        assert found["environment"] == "ok"
        assert found["recipe"] == found["policies"] == found["physics"] == "mismatch"
