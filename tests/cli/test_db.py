"""`bench db export` and `bench db merge`, as a person sees them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two stores: they agree on one trial, contradict each other on two, and have others of their own."""
    monkeypatch.chdir(tmp_path)
    for name, seeds, score in (("laptop", range(4), 9.25), ("server", range(1, 6), 9.5)):
        run = replace(samples.run_record(f"run-{name}"), hardware={"hostname": f"{name}-1", "gpus": []})
        with open_store(f"{name}.sqlite") as store, Writer(store) as writer:
            writer.begin_run(run)
            for seed in seeds:
                trial = samples.trial_record(seed)
                writer.plan([trial])
                writer.record(samples.evaluation_record(trial.key))
                writer.record(samples.finished_record(trial.key, 30.0 if seed == 1 else score))
            writer.end_run(run.run_id)
    return tmp_path


def test_contradictions_are_one_message_that_names_all_of_them(bench, stores: Path) -> None:
    before = {path: path.read_bytes() for path in stores.glob("*.sqlite")}
    told = "9.25 (laptop-1, laptop.sqlite), but 9.5 (server-1, server.sqlite)"
    code, out, err = bench("db", "merge", "laptop.sqlite", "server.sqlite")
    named = (
        "dtql released hopper-medium-v2 seed {} (configuration " + samples.trial_record().key.config_hash[:12]
    )
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "bench: the stores cannot be merged: 2 contradictions between them, and nothing was written",
        *(f"  {named.format(seed)}): score is {told}" for seed in (2, 3)),
        "  Merge the rest, and leave these as they are, with: --leave-out-conflicts",
    ]
    assert {path: path.read_bytes() for path in stores.glob("*.sqlite")} == before


def test_the_rest_is_merged_when_asked_and_what_stays_out_is_listed(bench, stores: Path) -> None:
    code, out, err = bench("db", "merge", "laptop.sqlite", "server.sqlite", "--leave-out-conflicts")
    assert (code, out) == (
        1,
        "server.sqlite: 5 trials: 2 came, 1 there already, 2 left out, because they contradict\n",
    )
    assert err.splitlines()[0] == "Left out; what stands in the first store stays:"
    assert [line.split("seed ")[1][0] for line in err.splitlines()[1:]] == ["2", "3"]
    with closing(sqlite3.connect("laptop.sqlite")) as connection:
        scores = connection.execute("SELECT seed, score, run_id FROM scores ORDER BY seed").fetchall()
        merges = connection.execute(
            "SELECT ended_at IS NULL FROM runs WHERE run_id NOT LIKE 'run-%'"
        ).fetchall()
    assert scores == [
        (0, 9.25, "run-laptop"),
        (1, 30.0, "run-laptop"),
        (2, 9.25, "run-laptop"),
        (3, 9.25, "run-laptop"),
        (4, 9.5, "run-server"),
        (5, 9.5, "run-server"),
    ]
    assert merges == [(0,)]


def test_many_stores_become_a_new_one(bench, stores: Path) -> None:
    with open_store("third.sqlite") as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-third"))
        writer.plan([samples.trial_record(0), samples.trial_record(7)])
    code, out, err = bench("db", "merge", "all/bench.sqlite", "third.sqlite", "laptop.sqlite")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "third.sqlite: 2 trials: 2 came",
        "laptop.sqlite: 4 trials: 3 came, 1 known in part, now completed",
    ]
    code, out, _ = bench("status", "--store", "all/bench.sqlite")
    assert (code, "4 finished" in out) == (0, True)


def test_an_exported_store_has_nothing_new_for_its_own(bench, stores: Path) -> None:
    assert bench("db", "export", "copy.sqlite", "--store", "laptop.sqlite")[0] == 0
    before = (stores / "laptop.sqlite").read_bytes()
    code, out, _ = bench("db", "merge", "laptop.sqlite", "copy.sqlite")
    assert (code, out) == (0, "copy.sqlite: 4 trials: 4 there already\n")
    assert (stores / "laptop.sqlite").read_bytes() == before


def test_passwords_are_not_shown(bench, stores: Path) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/name"
    for arguments in (("merge", url, url), ("merge", "new.sqlite", url), ("merge", url, "laptop.sqlite"),
                      ("export", "out.sqlite", "--store", url)):  # fmt: skip
        code, out, err = bench("db", *arguments)
        assert code == 2
        assert "secret" not in out + err
    assert not Path("new.sqlite").exists()
