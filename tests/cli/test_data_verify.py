"""`bench data verify` tells the store what it found."""

import contextlib
import hashlib
import sqlite3
from dataclasses import replace

import pytest

from bench.catalog import load_catalog
from bench.data.collect import collect
from bench.data.folder import dataset_path
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.data.files import columns, hopper, write
from tests.store import samples

QUICKSTART = "collected-hopper-quickstart"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with a data folder in it."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quickstart():
    """Path of a small dataset."""
    task = load_catalog().task(QUICKSTART)
    collect(task, dataset_path(task), transitions=600)
    return dataset_path(task)


def rows(store, sql):
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return connection.execute(sql).fetchall()


DATASETS = "SELECT name, sha256, rows, verification, replay FROM datasets ORDER BY name"


def test_what_was_found_is_in_the_store_at_once(bench, quickstart, folder):
    store = folder / "bench.sqlite"
    sha256 = hashlib.sha256(quickstart.read_bytes()).hexdigest()
    trial = samples.trial_record(task=QUICKSTART, dataset=sha256)
    unknown = replace(samples.DATASET, name=QUICKSTART, sha256=sha256, rows=600)
    with open_store(store) as opened, Writer(opened) as writer:
        writer.begin_run(samples.run_record())
        writer.plan([replace(trial, dataset=unknown)])
    assert rows(store, DATASETS) == [(QUICKSTART, sha256, 600, "unverified", "unverified")]

    code, output, _ = bench("data", "verify", QUICKSTART, "--replay", "--rows", "50", "--store", store)
    assert code == 0
    assert f"Noted in the store {store}: {QUICKSTART}\n" in output
    assert rows(store, DATASETS) == [(QUICKSTART, sha256, 600, "content fits", "d4rl")]
    assert rows(store, "SELECT verification, replay FROM scores") == [("content fits", "d4rl")]
    ((_, ended),) = rows(store, "SELECT command, ended_at FROM runs WHERE run_id != 'run-1'")
    assert ended is not None
    # Without a replay this time: what the one before found stays.
    assert bench("data", "verify", QUICKSTART, "--store", store)[0] == 0
    assert rows(store, DATASETS) == [(QUICKSTART, sha256, 600, "content fits", "d4rl")]


def test_a_mismatch_is_noted_too_and_others_with_it(bench, quickstart, folder):
    store = folder / "results" / "bench.sqlite"
    open_store(store).close()
    write(dataset_path(hopper()), columns())
    code, output, errors = bench("data", "verify", "hopper-medium-v2", QUICKSTART)
    assert code == 1
    assert "1 of 2 failed" in errors
    assert f"hopper-medium-v2, {QUICKSTART}" in output
    found = [(name, verification) for name, _, _, verification, _ in rows(store, DATASETS)]
    assert found == [(QUICKSTART, "content fits"), ("hopper-medium-v2", "mismatch")]


def test_without_a_store_none_is_made(bench, quickstart, folder):
    code, output, _ = bench("data", "verify", QUICKSTART)
    assert code == 0
    assert "Noted" not in output
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_a_store_that_is_missing_or_bad_is_told_before_the_work(bench, quickstart, folder):
    (folder / "notes.txt").write_text("some notes")
    for store, words in (("absent.sqlite", "no results database at"), ("notes.txt", "no results database")):
        code, output, errors = bench("data", "verify", QUICKSTART, "--store", store)
        assert (code, output) == (2, "")
        assert words in errors
    assert sorted(path.name for path in folder.iterdir()) == ["data", "notes.txt"]


def test_nothing_is_noted_where_nothing_was_found(bench, folder):
    store = folder / "results" / "bench.sqlite"
    open_store(store).close()
    code, output, _ = bench("data", "verify", QUICKSTART)
    assert (code, output) == (2, "")
    assert rows(store, "SELECT COUNT(*) FROM runs") == [(0,)]
