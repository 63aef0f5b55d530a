"""Merging goes on after a kill or a full disk, brings the weights verified, and works on a server too."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import change, everything, fetched
from tests.store.full_disk import fill, small_disk
from tests.store.machines import Machine, seen
from tests.store.merges import (
    evaluated,
    finished,
    merged,
    picture,
    two_machines,
    weights_in,
)


def test_weights_come_along_verified(tmp_path: Path, empty: Path, capsys) -> None:
    b = tmp_path / "b" / "bench.sqlite"
    b.parent.mkdir()
    shutil.copy(empty, b)
    Machine(b, "b", 3).work(8)
    files = weights_in(b)
    assert len(files) == 3
    missing, changed, good = sorted(files)
    (b.parent / "weights" / missing).unlink()
    (b.parent / "weights" / changed).write_bytes(b"torn")
    a = tmp_path / "a" / "bench.sqlite"
    assert merged(a, b) == 1
    captured = capsys.readouterr()
    assert f"Weights that are missing: {b.parent}/weights/{missing}. Put there" in captured.out
    assert f"{changed} is not what was stored: its SHA-256 differs; it was not brought." in captured.err
    assert weights_in(a) == {good: files[good]}
    assert fetched(a, "SELECT COUNT(*) FROM weights") == [(3,)]
    # Repaired, they come with the same command, although the rows are there.
    for name, content in files.items():
        (b.parent / "weights" / name).write_bytes(content)
    assert merged(a, b) == 0
    assert weights_in(a) == files
    assert capsys.readouterr().err == ""


def test_another_file_in_the_place_of_weights_stays(machine, capsys) -> None:
    a, b = machine("a"), machine("b", evaluated(1), finished())
    (a.parent / "weights").mkdir()
    (a.parent / "weights" / "0.safetensors").write_bytes(b"ours")
    assert merged(a, b) == 1
    assert f"0.safetensors is another one in {a.parent}" in capsys.readouterr().err
    assert weights_in(a) == {"0.safetensors": b"ours"}


@pytest.mark.parametrize("kill_after", [0.0, 0.02, 0.1, 0.3])
def test_a_merge_that_is_killed_and_repeated_ends_as_one_undisturbed(
    tmp_path: Path, empty: Path, kill_after: float
) -> None:
    trials = [samples.trial_record(seed) for seed in range(40)]
    paths = {name: tmp_path / name / "bench.sqlite" for name in ("a", "b", "undisturbed")}
    for path in paths.values():
        path.parent.mkdir()
        shutil.copy(empty, path)
    with open_store(paths["b"]) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-b"))
        writer.plan(trials)
        for trial in trials:
            writer.record(samples.evaluation_record(trial.key))
            writer.record(samples.finished_record(trial.key))
    assert merged(paths["undisturbed"], paths["b"]) == 0
    command = ["-m", "bench", "db", "merge", str(paths["a"]), str(paths["b"])]
    process = subprocess.Popen([sys.executable, *command], cwd=Path(__file__).parents[2])
    begun = "SELECT COUNT(*) FROM runs"
    with closing(sqlite3.connect(paths["a"])) as connection:
        while connection.execute(begun).fetchone() == (0,) and process.poll() is None:
            time.sleep(0.002)
    time.sleep(kill_after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert fetched(paths["a"], "PRAGMA integrity_check") == [("ok",)]
    assert merged(paths["a"], paths["b"]) == 0
    assert picture(paths["a"]) == picture(paths["undisturbed"])


def test_a_merge_onto_a_full_disk_goes_on_when_there_is_room(
    tmp_path: Path, machine, empty: Path, capsys
) -> None:
    returns = tuple(float(value) for value in range(3000))
    b = machine(
        "b",
        *(
            lambda writer, trial=trial: writer.record(samples.evaluation_record(trial.key, 1, returns))
            for trial in map(samples.trial_record, range(10))
        ),
        trials=[samples.trial_record(seed) for seed in range(10)],
    )
    with small_disk(tmp_path / "disk", "4m") as disk:
        a = Path(shutil.copy(empty, disk))
        ballast = fill(disk)
        os.truncate(ballast, ballast.stat().st_size - 800_000)
        assert merged(a, b) == 1
        assert f"store {a} has no room left on its disk" in capsys.readouterr().err
        assert fetched(a, "PRAGMA integrity_check") == [("ok",)]
        ballast.unlink()
        assert 0 < fetched(a, "SELECT COUNT(*) FROM trials")[0][0] < 10
        assert merged(a, b) == 0
        assert picture(a)["episodes"] == picture(b)["episodes"]


@pytest.mark.slow
def test_a_server_and_a_file_exchange_what_they_hold(
    tmp_path: Path, empty: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)  # a server's files lie below the current folder
    a, b = two_machines(tmp_path, empty, 5)
    expected = Path(shutil.copytree(a.parent, tmp_path / "expected")) / "bench.sqlite"
    merged(expected, b, leave_out=True)
    assert merged(postgres_url, a) == 0
    merged(postgres_url, b, leave_out=True)
    back = tmp_path / "back" / "bench.sqlite"
    assert merged(back, postgres_url) == 0
    assert seen(back) == seen(expected)
    assert weights_in(back) == weights_in(tmp_path / "results" / "bench.sqlite") == weights_in(expected)
    everything_before = everything(postgres_url)
    assert merged(postgres_url, back, leave_out=True) == merged(back, postgres_url) == 0
    assert everything(postgres_url) == everything_before
    change(str(back), "UPDATE trials SET score = score + 1 WHERE state = 'finished'")
    assert merged(postgres_url, back) == merged(back, postgres_url) == 2
    assert "score is" in capsys.readouterr().err
    assert everything(postgres_url) == everything_before
