"""`bench data` as typed: list, verify, info, fetch, collect."""

import contextlib
import hashlib
import sqlite3
from dataclasses import replace

import pytest

from bench.catalog import load_catalog
from bench.data.collect import collect
from bench.data.folder import Ledger, dataset_path
from bench.files import sha256_of
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.data.files import columns, hopper, write
from tests.store import samples

QUICKSTART = "collected-hopper-quickstart"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    # Not where somebody's own results/bench.sqlite may lie, into which `verify` writes.
    monkeypatch.chdir(tmp_path)
    # A closed port of this machine instead of D4RL's server.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("BENCH_D4RL_MIRRORS", raising=False)
    return tmp_path


@pytest.fixture
def bench(bench):
    """Runs `bench data ...`."""
    return lambda *arguments: bench("data", *arguments)


@pytest.fixture
def quickstart():
    task = load_catalog().task(QUICKSTART)
    collect(task, dataset_path(task), transitions=600)
    return dataset_path(task)


def row_of(output, name):
    return next(line.split() for line in output.splitlines() if line.startswith(name))


def test_list_tells_what_is_there_and_what_is_known(bench, quickstart):
    code, output, _ = bench("list", "quickstart", "hopper-medium-v2")
    assert code == 0
    assert "not checked" in " ".join(row_of(output, QUICKSTART))
    assert row_of(output, "hopper-medium-v2") == ["hopper-medium-v2", "152.8", "MB", "missing"]
    bench("verify", QUICKSTART, "--replay", "--rows", "50")
    _, output, _ = bench("list", QUICKSTART)
    assert row_of(output, QUICKSTART)[3:7] == ["600", "content", "fits", "d4rl"]


def test_list_calls_no_other_file_verified_whatever_the_ledger_says(bench):
    path = write(dataset_path(hopper()), columns())
    ledger = Ledger()
    ledger.note(path, replace(ledger.look_up(path), rows=1_000_000, verification="verified"))
    _, output, _ = bench("list", "hopper-medium-v2")
    assert "unverified" in row_of(output, "hopper-medium-v2")
    assert "verified" not in row_of(output, "hopper-medium-v2")


def test_list_without_names_says_of_every_suite_what_is_there(bench, quickstart):
    _, output, _ = bench("list")
    assert [line.split()[0] for line in output.splitlines()[1:-2]] == list(load_catalog().suites)
    assert " ".join(row_of(output, "quickstart")[1:4]) == "1 of 1"
    assert "0 of 9 there" in " ".join(row_of(output, "d4rl-locomotion"))
    assert " ".join(row_of(output, "d4rl-locomotion")[-2:]) == "2.1 GB"
    assert " ".join(row_of(output, "collected-locomotion")[-2:]) == "made here"
    assert "CC BY 4.0" in output


def test_the_licence_stands_beside_d4rls_files_alone(bench):
    assert "D4RL's files are licensed CC BY 4.0." in bench("list", "hopper-medium-v2")[1]
    assert "CC BY" not in bench("list", "collected-hopper-medium")[1]


def test_all_datasets_are_listed_one_by_one(bench):
    _, output, _ = bench("list", "--all")
    assert all(f"{name} " in output for name in load_catalog().tasks)


def test_list_says_where_files_belong(bench, folder):
    _, output, _ = bench("list", "d4rl-locomotion", "--paths")
    assert row_of(output, "hopper-medium-v2") == ["hopper-medium-v2", str(folder / "hopper_medium-v2.hdf5")]


def test_verify_prints_hash_and_physics(bench, quickstart):
    code, output, _ = bench("verify", QUICKSTART, "--replay", "--rows", "50")
    assert code == 0
    assert f"{QUICKSTART}: content fits" in output
    assert "One-step replay of 50 rows: d4rl" in output


def test_verify_fails_on_a_mismatch(bench):
    write(dataset_path(hopper()), columns())
    code, output, errors = bench("verify", "hopper-medium-v2")
    assert code == 1
    assert "1,000,000" in output
    assert "rows" in errors


def test_verify_tells_both_hashes_and_accepts_on_request(bench, quickstart):
    bench("verify", QUICKSTART)
    collect(load_catalog().task(QUICKSTART), quickstart, transitions=500)
    code, _, errors = bench("verify", QUICKSTART)
    assert code == 2
    assert "--accept" in errors
    assert bench("verify", QUICKSTART, "--accept")[0] == 0


def test_info_of_one_task_and_of_several(bench, quickstart):
    code, output, _ = bench("info", QUICKSTART)
    assert code == 0
    assert row_of(output, "rows") == ["rows", "600"]
    assert row_of(output, "physics") == ["physics", "d4rl"]
    code, output, _ = bench("info", QUICKSTART, "hopper-medium-v2")
    assert code == 1
    assert len(row_of(output, QUICKSTART)) == 9


def test_fetch_offline_says_where_to_put_the_file(bench, folder):
    code, _, errors = bench("fetch", "hopper-medium-v2")
    assert code == 1
    assert "gym_mujoco_v2/hopper_medium-v2.hdf5" in errors
    assert str(folder / "hopper_medium-v2.hdf5") in errors
    assert "collected-hopper-medium" in errors
    assert "Traceback" not in errors


def test_one_missing_file_does_not_keep_the_others_from_their_turn(bench, quickstart):
    code, output, errors = bench("verify", "hopper-medium-v2", QUICKSTART)
    assert code == 1
    assert f"{QUICKSTART}: content fits" in output
    assert "1 of 2 failed" in errors


@pytest.mark.parametrize("command", ["list", "fetch", "verify", "info"])
def test_unknown_name(bench, command):
    code, _, errors = bench(command, "hoper-medium-v2")
    assert code == 2
    assert "hopper-medium-v2" in errors


def test_missing_collected_data_is_to_be_collected(bench):
    assert f"bench data collect {QUICKSTART}" in bench("info", QUICKSTART)[2]


# `bench data collect` as typed.


MEDIUM = "collected-hopper-medium"


def test_the_file_lies_where_runs_look_and_its_hash_is_recorded(bench):
    code, out, _ = bench("collect", MEDIUM, "--transitions", "400")
    path = dataset_path(load_catalog().task(MEDIUM))
    assert code == 0
    assert str(path) in out
    assert sha256_of(path) in out
    assert Ledger().known(path).sha256 == sha256_of(path)


def test_what_is_there_is_left_alone_unless_told(bench):
    bench("collect", MEDIUM, "--transitions", "400")
    path = dataset_path(load_catalog().task(MEDIUM))
    first = sha256_of(path)
    code, out, _ = bench("collect", MEDIUM, "--transitions", "500")
    assert (code, sha256_of(path)) == (0, first)
    assert "--overwrite" in out
    code, _, _ = bench("collect", MEDIUM, "--transitions", "500", "--overwrite")
    assert code == 0
    assert Ledger().known(path).sha256 == sha256_of(path) != first


def test_another_place_is_not_recorded(bench, folder):
    target = folder / "elsewhere.hdf5"
    code, _, _ = bench("collect", MEDIUM, "--transitions", "300", "--out", str(target))
    assert code == 0
    assert target.exists()
    assert Ledger().known(target) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["collected-hoper-medium"], "collected-hopper-medium"),
        (["hopper-medium-v2"], "bench data collect collected-hopper-medium"),
        ([MEDIUM, "--transitions", "0"], "--transitions"),
        ([MEDIUM, "--physics", "old"], "d4rl, modern"),
        (["collected-hopper-medium-replay", "--transitions", "3"], "3 transitions"),
        (["collected-locomotion", "--out", "x.hdf5"], "--out x.hdf5"),
        ([MEDIUM, "--transitions", "300", "--out", "/proc/none/x.hdf5"], "cannot be written"),
    ],
)
def test_wrong_requests_say_what_to_type(bench, folder, arguments, message):
    code, _, err = bench("collect", *arguments)
    assert code == 2
    assert message in err
    assert list(folder.rglob("*.hdf5")) == []


# `bench data` with 2D problems, as typed.


def test_generated_files_are_made_checked_and_listed(bench):
    code, out, _ = bench("collect", "bandit-energy-moons", "--transitions", "400")
    assert code == 0
    assert "400 rows" in out
    code, out, _ = bench("verify", "bandit-energy-moons")
    assert (code, out.splitlines()[0]) == (0, "bandit-energy-moons: content fits")
    listed = bench("list", "bandit2d")[1]
    assert next(line for line in listed.splitlines() if "moons" in line).split()[-3:] == [
        "400",
        "content",
        "fits",
    ]
    assert "already at" in bench("collect", "bandit-energy-moons")[1]
    assert bench("collect", "bandit-energy-moons", "--overwrite", "--physics", "modern")[0] == 2


# `bench data verify` tells the store what it found.


@pytest.fixture
def workplace(folder, monkeypatch):
    """The folder one stands in, with nothing but a data folder in it."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(folder / "data"))
    (folder / "data").mkdir()
    return folder


def rows(store, sql):
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return connection.execute(sql).fetchall()


DATASETS = "SELECT name, sha256, rows, verification, replay FROM datasets ORDER BY name"


def test_what_was_found_is_in_the_store_at_once(bench, workplace, quickstart):
    store = workplace / "bench.sqlite"
    sha256 = hashlib.sha256(quickstart.read_bytes()).hexdigest()
    trial = samples.trial_record(task=QUICKSTART, dataset=sha256)
    unknown = replace(samples.DATASET, name=QUICKSTART, sha256=sha256, rows=600)
    with open_store(store) as opened, Writer(opened) as writer:
        writer.begin_run(samples.run_record())
        writer.plan([replace(trial, dataset=unknown)])
    assert rows(store, DATASETS) == [(QUICKSTART, sha256, 600, "unverified", "unverified")]

    code, output, _ = bench("verify", QUICKSTART, "--replay", "--rows", "50", "--store", store)
    assert code == 0
    assert f"Noted in the store {store}: {QUICKSTART}\n" in output
    assert rows(store, DATASETS) == [(QUICKSTART, sha256, 600, "content fits", "d4rl")]
    assert rows(store, "SELECT verification, replay FROM scores") == [("content fits", "d4rl")]
    ((_, ended),) = rows(store, "SELECT command, ended_at FROM runs WHERE run_id != 'run-1'")
    assert ended is not None
    # Without a replay this time: what the one before found stays.
    assert bench("verify", QUICKSTART, "--store", store)[0] == 0
    assert rows(store, DATASETS) == [(QUICKSTART, sha256, 600, "content fits", "d4rl")]


def test_a_mismatch_is_noted_too_and_others_with_it(bench, workplace, quickstart):
    store = workplace / "results" / "bench.sqlite"
    open_store(store).close()
    write(dataset_path(hopper()), columns())
    code, output, errors = bench("verify", "hopper-medium-v2", QUICKSTART)
    assert code == 1
    assert "1 of 2 failed" in errors
    assert f"hopper-medium-v2, {QUICKSTART}" in output
    found = [(name, verification) for name, _, _, verification, _ in rows(store, DATASETS)]
    assert found == [(QUICKSTART, "content fits"), ("hopper-medium-v2", "mismatch")]


def test_without_a_store_none_is_made(bench, workplace, quickstart):
    code, output, _ = bench("verify", QUICKSTART)
    assert code == 0
    assert "Noted" not in output
    assert [path.name for path in workplace.iterdir()] == ["data"]


def test_a_store_that_is_missing_or_bad_is_told_before_the_work(bench, workplace, quickstart):
    (workplace / "notes.txt").write_text("some notes")
    for store, words in (("absent.sqlite", "no results database at"), ("notes.txt", "no results database")):
        code, output, errors = bench("verify", QUICKSTART, "--store", store)
        assert (code, output) == (2, "")
        assert words in errors
    assert sorted(path.name for path in workplace.iterdir()) == ["data", "notes.txt"]


def test_nothing_is_noted_where_nothing_was_found(bench, workplace):
    store = workplace / "results" / "bench.sqlite"
    open_store(store).close()
    code, output, _ = bench("verify", QUICKSTART)
    assert (code, output) == (2, "")
    assert rows(store, "SELECT COUNT(*) FROM runs") == [(0,)]
