"""What a file is called: `verified` by its hash alone, else by what its columns were held against."""

import json
import os
from dataclasses import replace

import h5py
import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.data import hdf5, manifest
from bench.data import verify as verification
from bench.data.collect import collect
from bench.data.folder import Ledger, dataset_path
from bench.data.manifest import DatasetFacts, KnownFile, Manifest
from bench.data.reader import read_file
from bench.data.verify import dataset_record, verify
from bench.errors import BenchError, WorkFailedError
from bench.files import sha256_of
from tests.data.files import columns, hopper, write
from tests.execute.tiny import TASK


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def path(folder):
    return write(dataset_path(hopper()), columns())


@pytest.fixture
def facts(monkeypatch):
    """Makes the manifest say what is true of columns, with changes; and which file is D4RL's."""

    def state(content=None, known=None, **changes):
        content = content or columns()
        observations = content["observations"].astype(np.float64)
        cut = content["timeouts"][:-1]
        true = {
            "rows": len(observations),
            "observation_dim": 11,
            "action_dim": 3,
            "transitions": len(observations) - 1 - int(cut.sum()),
            "timeout_contradictions": int(cut.sum()),
            "terminals": int(content["terminals"][:-1].sum()),
            "state_mean": tuple(observations.mean(axis=0)),
            "state_std": tuple(np.sqrt(((observations - observations.mean(axis=0)) ** 2).mean(axis=0))),
        }
        # model_construct: the tests also state what the manifest's own checks would refuse.
        entry = DatasetFacts.model_construct(**(true | changes))
        file = known or KnownFile(sha256="0" * 64, bytes=1)
        stated = Manifest.model_construct(
            state_tolerance=5e-3, datasets={"hopper-medium-v2": entry}, files={"hopper-medium-v2": file}
        )
        monkeypatch.setattr(verification, "load_manifest", lambda: stated)
        monkeypatch.setattr(manifest, "load_manifest", lambda: stated)

    return state


@pytest.fixture(scope="session")
def walked(tiny_data):
    """Columns of a collected file, its states among them, by their places."""
    names = ("observations", "actions", "rewards", "terminals", "timeouts", "infos/qpos", "infos/qvel")
    with h5py.File(tiny_data / "collected" / f"{TASK}.hdf5") as file:
        return {name: file[name][()] for name in names}


def outcomes(report):
    return {check.name: check.outcome for check in report.checks}


def mismatches(report):
    return [name for name, outcome in outcomes(report).items() if outcome == "mismatch"]


class TestVerified:
    def test_d4rls_own_file_is_verified_whatever_the_facts_say(self, path, facts):
        facts(known=KnownFile(sha256=sha256_of(path), bytes=path.stat().st_size), rows=7)
        report = verify(hopper(), path)
        assert report.status == "verified"
        assert set(outcomes(report).values()) == {"ok"}
        record = dataset_record(hopper(), path)
        assert (record.name, record.sha256, record.rows) == ("hopper-medium-v2", sha256_of(path), 40)
        assert (record.verification, record.replay) == ("verified", "unverified")

    def test_one_other_bit_is_enough_not_to_be(self, path, facts, walked):
        facts(known=KnownFile(sha256=sha256_of(path), bytes=path.stat().st_size))
        with h5py.File(path, "r+") as file:
            file["rewards"][17] = np.nextafter(file["rewards"][17], np.float32(9))
        report = verify(hopper(), path)
        assert report.status == "unverified"
        # A file of the same size, of which the hash alone tells that it is another one.
        assert (outcomes(report)["SHA-256"], outcomes(report)["bytes"]) == ("other", "ok")

    def test_a_ledger_cannot_make_it_so(self, path, facts):
        facts()
        verify(hopper(), path)
        ledger = path.parent / ".bench-hashes.json"
        ledger.write_text(ledger.read_text().replace('"unverified"', '"verified"', 1))
        assert dataset_record(hopper(), path).verification == "unverified"

    def test_what_was_verified_before_its_hash_was_known_is_checked_again(self, path, facts):
        facts()
        assert dataset_record(hopper(), path).verification == "unverified"
        facts(known=KnownFile(sha256=sha256_of(path), bytes=path.stat().st_size))
        assert dataset_record(hopper(), path).verification == "verified"


class TestFacts:
    def test_without_states_nothing_is_known_of_rewards_and_actions(self, path, facts):
        facts()
        report = verify(hopper(), path)
        assert report.status == "unverified"
        assert [name for name, outcome in outcomes(report).items() if outcome == "unknown"] == [
            "rewards",
            "actions",
        ]

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
    def test_each_can_fail(self, path, facts, changes, name):
        facts(**changes)
        report = verify(hopper(), path)
        assert mismatches(report) == [name]
        assert report.status == "mismatch"
        assert dataset_record(hopper(), path).verification == "mismatch"

    def test_a_mean_half_a_percent_of_a_deviation_off_is_let_through(self, path, facts):
        observations = columns()["observations"].astype(np.float64)
        shift = observations.std(axis=0)
        facts(state_mean=tuple(observations.mean(axis=0) + 0.004 * shift))
        assert mismatches(verify(hopper(), path)) == []
        facts(state_mean=tuple(observations.mean(axis=0) + 0.006 * shift))
        assert mismatches(verify(hopper(), path)) == ["state mean"]

    def test_nothing_known_is_unverified(self, folder):
        task = replace(hopper(), name="antmaze-umaze-v0")
        report = verify(task, write(dataset_path(task), columns()))
        assert report.status == "unverified"
        assert set(outcomes(report).values()) == {"other", "unknown"}
        assert {"observations", "actions", "rewards", "terminals"} <= set(outcomes(report))

    def test_new_facts_mean_a_new_check(self, path, facts):
        facts(terminals=5)
        assert dataset_record(hopper(), path).verification == "mismatch"
        facts()
        assert dataset_record(hopper(), path).verification == "unverified"


def shorter_by_a_row(content):
    """As if the reward of every step were the next one's."""
    return np.roll(content["rewards"], -1)


CHANGES = {
    "rewards of -7": ("rewards", lambda content: np.full_like(content["rewards"], -7), "rewards by states"),
    "rewards of the row before": (
        "rewards",
        lambda content: np.roll(content["rewards"], 1),
        "rewards by states",
    ),
    "rewards of the row after": ("rewards", shorter_by_a_row, "rewards by states"),
    "rewards / 1000": ("rewards", lambda content: content["rewards"] / 1000, "rewards by states"),
    "one reward": (
        "rewards",
        lambda content: np.where(np.arange(2000) == 1234, 9, content["rewards"]),
        "rewards by states",
    ),
    "the reward of the last row": (
        "rewards",
        lambda content: np.where(np.arange(2000) == 1999, 9, content["rewards"]),
        "rewards by states",
    ),
    "no actions": ("actions", lambda content: 0 * content["actions"], "actions by physics"),
    "actions of the row before": (
        "actions",
        lambda content: np.roll(content["actions"], 1, axis=0),
        "actions by physics",
    ),
    # Their cost, which is part of the reward, is the same.
    "actions of the other sign": ("actions", lambda content: -content["actions"], "actions by physics"),
    "joints in another order": (
        "actions",
        lambda content: content["actions"][:, ::-1],
        "actions by physics",
    ),
    "observations of some rows": (
        "observations",
        lambda content: np.where(np.arange(2000)[:, None] < 9, 1.2, content["observations"]),
        "observations by states",
    ),
    "a fall that was none": (
        "terminals",
        lambda content: content["terminals"] | (np.arange(2000) == 500),
        "terminals by states",
    ),
}


@pytest.mark.parametrize("precision", [np.float64, np.float32])
class TestStates:
    """A file of another hash whose every column is worked out again from the states in it."""

    @pytest.fixture
    def content(self, walked, facts, precision):
        """As D4RL's files, whose states are in single precision."""
        facts(walked)
        return {name: v.astype(precision) if name.startswith("infos/") else v for name, v in walked.items()}

    def test_content_that_fits(self, folder, content):
        report = verify(hopper(), write(dataset_path(hopper()), content))
        assert report.status == "content fits"
        assert outcomes(report)["SHA-256"] == "other"

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_column_that_is_not_the_rows_own_does_not_fit(self, folder, content, change):
        column, altered, name = CHANGES[change]
        path = write(
            dataset_path(hopper()), content | {column: altered(content).astype(content[column].dtype)}
        )
        report = verify(hopper(), path)
        assert report.status == "mismatch"
        assert name in mismatches(report)

    def test_states_of_other_rows_say_nothing(self, folder, content):
        content["infos/qpos"] = np.roll(content["infos/qpos"], 1, axis=0)
        report = verify(hopper(), write(dataset_path(hopper()), content))
        assert report.status == "unverified"
        assert outcomes(report)["rewards"] == outcomes(report)["actions"] == "unknown"

    def test_ready_made_transitions_are_held_against_them_too(self, folder, content, facts):
        kept = np.flatnonzero(~content["timeouts"][:-1])
        made = {name: values[kept] for name, values in content.items() if name != "timeouts"}
        made["next_observations"] = content["observations"][kept + 1]
        facts(content, state_mean=tuple(made["observations"].mean(axis=0).tolist()))
        path = write(dataset_path(hopper()), made)
        assert verify(hopper(), path).status == "content fits"
        last = np.flatnonzero(~made["terminals"])[-1]
        made["next_observations"][last] += 0.1
        report = verify(hopper(), write(path, made), accept=True)
        assert mismatches(report) == ["next_observations"]


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
        ledger.note(path, replace(ledger.look_up(path), replay="modern"))
        assert dataset_record(hopper(), path).replay == "modern"
        write(path, columns(seed=1))
        assert verify(hopper(), path, accept=True).entry.replay == "unverified"

    def test_neither_size_nor_time_stand_for_the_content(self, path, facts):
        """Files out of archives and images all have one time, and a value changed in place keeps the size."""
        facts()
        os.utime(path, (1, 1))
        first = dataset_record(hopper(), path).sha256
        with h5py.File(path, "r+") as file:
            file["actions"][...] = -file["actions"][()]
        os.utime(path, (1, 1))
        for look in (verify, dataset_record):
            with pytest.raises(BenchError, match="is not the file it was") as caught:
                look(hopper(), path)
            assert first in caught.value.why
        assert Ledger().known(path) is None

    def test_a_file_is_hashed_once_in_a_process_while_it_stays_as_it_is(self, path, facts, monkeypatch):
        facts()
        monkeypatch.setattr(hdf5, "RECENT_SECONDS", 0.0)
        hashed = []
        digest = hdf5.hashlib.file_digest
        monkeypatch.setattr(
            hdf5.hashlib, "file_digest", lambda *given: hashed.append(given) or digest(*given)
        )
        for _ in range(3):
            dataset_record(hopper(), path)
            read_file(path, hopper(), sha256_of(path))
        assert len([given for given in hashed if given[0].name != str(path)]) == 1

    def test_a_content_is_checked_once(self, path, facts, monkeypatch):
        facts()
        verify(hopper(), path)
        monkeypatch.setattr(verification, "read_rows", lambda file, task: pytest.fail("checked again"))
        dataset_record(hopper(), path)

    def test_a_copy_in_its_place_is_the_same(self, path, facts):
        facts()
        before = verify(hopper(), path).entry
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        after = dataset_record(hopper(), path)
        assert after.sha256 == before.sha256
        assert after.verification == "unverified"

    def test_what_it_holds(self, path, facts):
        facts()
        verify(hopper(), path)
        content = json.loads((path.parent / ".bench-hashes.json").read_text())
        assert list(content) == ["hopper_medium-v2.hdf5"]
        entry = content["hopper_medium-v2.hdf5"]
        assert entry["sha256"] == sha256_of(path)
        assert entry["size"] == path.stat().st_size
        assert entry["rows"] == 40

    def test_that_of_an_older_version_is_read(self, path, facts):
        facts()
        verify(hopper(), path)
        ledger = path.parent / ".bench-hashes.json"
        content = json.loads(ledger.read_text())
        for entry in content.values():
            del entry["inode"], entry["changed_ns"]
        ledger.write_text(json.dumps(content))
        assert Ledger().known(path) is None
        assert dataset_record(hopper(), path).sha256 == sha256_of(path)
        assert Ledger().known(path) is not None

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[1]",
            b"null",
            b"1",
            b'{"a": {"sha": 1}}',
            b'{"a": 1}',
            b'{"a": null}',
            b'{"a": {"sha256": "ab", "size": "1", "mtime_ns": 1, "first_seen": "x"}}',
            b'{"a": {"sha256": "ab", "size": 1, "mtime_ns": 1, "first_seen": 5}}',
            b'{"a": {"sha256": 7, "size": 1, "mtime_ns": 1, "first_seen": "x"}}',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"a": ' + b"9" * 5000 + b"}",
        ],
    )
    def test_a_damaged_one_is_named_and_kept(self, path, facts, content):
        facts()
        ledger = path.parent / ".bench-hashes.json"
        ledger.write_bytes(content)
        for look in (verify, dataset_record):
            with pytest.raises(BenchError, match="bench-hashes") as caught:
                look(hopper(), path)
            assert "move it away" in caught.value.do_this
            assert len(str(caught.value)) < 800
        assert ledger.read_bytes() == content

    def test_a_folder_in_its_place_is_named(self, path, facts):
        facts()
        (path.parent / ".bench-hashes.json").mkdir()
        with pytest.raises(BenchError, match=r"bench-hashes.json is no file"):
            verify(hopper(), path)

    def test_a_read_only_folder_is_read_without_a_trace(self, path, facts, monkeypatch):
        facts()
        monkeypatch.setattr("bench.data.folder.os.access", lambda folder, mode: mode != os.W_OK)
        assert dataset_record(hopper(), path).verification == "unverified"
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_another_content_is_accepted_in_a_read_only_folder_too(self, path, facts, monkeypatch):
        facts()
        verify(hopper(), path)
        before = Ledger().path.read_bytes()
        write(path, columns(seed=1))
        monkeypatch.setattr("bench.data.folder.os.access", lambda folder, mode: mode != os.W_OK)
        assert verify(hopper(), path, accept=True).entry.sha256 == sha256_of(path)
        assert Ledger().path.read_bytes() == before

    def test_nothing_is_noted_of_a_content_that_has_gone(self, path, facts):
        facts()
        entry = verify(hopper(), path).entry
        write(path, columns(seed=1))
        with pytest.raises(WorkFailedError, match="changed while it was being checked"):
            Ledger().note(path, replace(entry, replay="modern"))


class TestCollected:
    def test_a_short_one_fits_and_its_rows_are_told(self, folder):
        task = load_catalog().task("collected-hopper-quickstart")
        collect(task, dataset_path(task), transitions=400)
        record = dataset_record(task, dataset_path(task))
        assert (record.verification, record.rows) == ("content fits", 400)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("observations", ">f4"),
            ("rewards", "<f8"),
            ("terminals", "i1"),
            ("timeouts", "u1"),
            ("infos/qpos", ">f8"),
        ],
    )
    def test_the_same_numbers_of_another_type_fit(self, folder, name, kind):
        task = load_catalog().task(TASK)
        path = dataset_path(task)
        collect(task, path, transitions=400)
        with h5py.File(path, "r+") as file:
            values = file[name][()]
            del file[name]
            file[name] = values.astype(kind)
        assert verify(task, path).status == "content fits"

    @pytest.mark.parametrize("name", ["observations", "rewards", "terminals", "infos/qvel"])
    def test_one_other_number_does_not(self, folder, name):
        task = load_catalog().task(TASK)
        path = dataset_path(task)
        collect(task, path, transitions=400)
        with h5py.File(path, "r+") as file:
            values = file[name][()]
            values.flat[7] = 1 - values.flat[7]
            file[name][...] = values
        assert verify(task, path).status == "mismatch"

    def test_another_recipe_and_physics_are_a_mismatch(self, folder):
        catalog = load_catalog()
        task, other = catalog.task("collected-hopper-medium"), catalog.task("collected-hopper-quickstart")
        collect(other, dataset_path(task), transitions=400, physics="modern")
        report = verify(task, dataset_path(task))
        assert report.status == "mismatch"
        found = outcomes(report)
        assert found["environment"] == "ok"
        assert found["recipe"] == found["policies"] == found["physics"] == "mismatch"

    @pytest.mark.parametrize(
        ("place", "name"),
        [
            ("observations", "observations"),
            ("actions", "actions"),
            ("rewards", "rewards"),
            ("terminals", "terminals"),
            ("timeouts", "timeouts"),
            ("infos/qpos", "qpos"),
            ("infos/action_log_probs", "action_log_probs"),
        ],
    )
    def test_an_altered_column_is_found_by_its_digest(self, folder, tiny_data, place, name):
        task = load_catalog().task(TASK)
        path = dataset_path(task)
        path.parent.mkdir()
        path.write_bytes((tiny_data / "collected" / f"{TASK}.hdf5").read_bytes())
        with h5py.File(path, "r+") as file:
            values = file[place][()]
            row = values[3]
            file[place][3] = ~row if values.dtype == bool else np.nextafter(row, np.zeros_like(row))
        report = verify(task, path)
        assert report.status == "mismatch"
        assert name in mismatches(report)

    def test_an_older_one_without_digests_is_unverified(self, folder, tiny_data):
        task = load_catalog().task(TASK)
        path = dataset_path(task)
        path.parent.mkdir()
        path.write_bytes((tiny_data / "collected" / f"{TASK}.hdf5").read_bytes())
        with h5py.File(path, "r+") as file:
            del file["metadata/sha256_rewards"]
        report = verify(task, path)
        assert report.status == "unverified"
        assert outcomes(report)["digests of columns"] == "unknown"
