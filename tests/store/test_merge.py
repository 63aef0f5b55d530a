"""Merging stores: after a kill or a full disk, contradictions, baselines, nights, and on servers."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bench.cli import main
from bench.store.database import open_store
from bench.store.nights import find_baseline, nights, notes
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import change, everything, fetched
from tests.store.full_disk import fill, small_disk
from tests.store.machines import Machine, seen
from tests.store.merges import (
    KEY,
    TRIAL,
    claimed,
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


# Stores that contradict each other, or cannot be merged: all is told, nothing is written.


def contradictions():
    """SQL that makes two equal stores contradict each other, and what is then told."""
    return {
        "UPDATE trials SET score = 9.3": "score is 9.2 (a, {a}), but 9.3 (a, {b})",
        "UPDATE trials SET score = -1e999, score_is_nan = 1": "score is 9.2 (a, {a}), but NaN (a, {b})",
        "UPDATE episodes SET return_ = 11.5 WHERE number = 2": (
            "evaluation 1, episode 2 is return 7.5, score 0.25, length 101 (a, {a}), "
            "but return 11.5, score 0.25, length 101 (a, {b})"
        ),
        "UPDATE weights SET sha256 = 'ee'": (
            f"SHA-256 of the weights 'final' is {'cd' * 32} (a, {{a}}), but ee (a, {{b}})"
        ),
        "UPDATE datasets SET rows = 999999": (
            "rows of dataset hopper-medium-v2 (abababababab...) is 1000000, but 999999 in {b}"
        ),
        "UPDATE runs SET code_commit = 'dddd'": f"code_commit of run run-a is {'c' * 40}, but dddd in {{b}}",
        "UPDATE executions SET device = 'cpu: b'": "device of executions",
        "UPDATE durations SET value = 4.5": "value of durations",
    }


@pytest.mark.parametrize(("sql", "told"), contradictions().items())
def test_a_contradiction_is_told_and_nothing_is_written(
    machine, tmp_path: Path, capsys, sql: str, told: str
) -> None:
    a = machine(
        "a", claimed(0), evaluated(1), lambda writer: writer.record(samples.timing_record(KEY)), finished()
    )
    b = shutil.copytree(a.parent, tmp_path / "b") / "bench.sqlite"
    change(str(b), sql)
    other = samples.trial_record(5, task="walker2d-medium-v2")
    with open_store(b) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("run-b"))
        if "runs" not in sql and "datasets" not in sql:
            writer.plan([other])
        writer.end_run("run-b")
    before = {path: path.read_bytes() for path in (a, b)}
    assert merged(a, b) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench: the stores cannot be merged: a contradiction between them")
    assert told.format(a=a, b=b) in error
    assert "--leave-out-conflicts" in error
    assert {path: path.read_bytes() for path in (a, b)} == before
    # The rest comes, and the stored result stays.
    first = seen(a)[0]
    assert merged(a, b, leave_out=True) == 1
    captured = capsys.readouterr()
    assert told.format(a=a, b=b) in captured.err
    assert "1 left out, because they contradict" in captured.out
    assert seen(a)[0] == first
    assert len(seen(a)) == len(seen(b))
    assert b.read_bytes() == before[b]


def test_where_values_come_from_is_no_contradiction(machine, tmp_path: Path) -> None:
    trial = replace(TRIAL, config=TRIAL.config | {"sources": {"discount": "Table 8"}})
    a = machine("a", trials=[trial])
    b = shutil.copytree(a.parent, tmp_path / "b") / "bench.sqlite"
    change(str(b), "UPDATE trials SET config = REPLACE(config, 'Table 8', 'Table 9')")
    assert merged(a, b) == 0
    assert "Table 8" in fetched(a, "SELECT config FROM trials")[0][0]


def test_stores_that_are_merged_may_not_contradict_each_other_either(machine, tmp_path: Path, capsys) -> None:
    b = machine("b", evaluated(1), finished())
    c = machine("c", evaluated(1), finished(8.0))
    assert merged(tmp_path / "a" / "bench.sqlite", b, c) == 2
    assert f"score is 9.2 (b, {b}), but 8.0 (c, {c})" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_dry_run_says_what_would_come_and_makes_nothing(machine, tmp_path: Path, capsys) -> None:
    b = machine("b", evaluated(1), finished(), trials=[TRIAL, samples.trial_record(1)])
    before = b.read_bytes()
    with pytest.raises(SystemExit) as exit_:
        main(["db", "merge", str(tmp_path / "a" / "a.sqlite"), str(b), "--dry-run"])
    assert (exit_.value.code, capsys.readouterr().out) == (0, f"{b}: 2 trials: 2 would come\n")
    assert not (tmp_path / "a").exists()
    assert b.read_bytes() == before


def test_an_older_store_is_left_as_it_is(machine, tmp_path: Path, capsys) -> None:
    old = Path(shutil.copy(Path(__file__).parents[1] / "fixtures" / "store_0001.sqlite", tmp_path))
    before = old.read_bytes()
    for into, source in ((machine("a"), old), (old, machine("a"))):
        assert merged(into, source) == 2
        assert f"bench db upgrade --store {old}" in capsys.readouterr().err
    assert old.read_bytes() == before


@pytest.mark.parametrize("again", ["{b}", "sqlite:///{b}", "{b.parent}/../b/bench.sqlite"])
def test_no_store_is_merged_with_itself(machine, capsys, again: str) -> None:
    b = machine("b")
    assert merged(b, again.format(b=b)) == 2
    assert "is named twice" in capsys.readouterr().err


def test_a_store_that_is_not_there_is_not_made(machine, tmp_path: Path, capsys) -> None:
    absent = tmp_path / "absent.sqlite"
    assert merged(machine("a"), absent) == merged(tmp_path / "new.sqlite", absent) == 2
    assert "there is no results database" in capsys.readouterr().err
    assert not absent.exists()
    assert not (tmp_path / "new.sqlite").exists()


# Merging brings baselines, notes and nights along, and tells where they contradict each other.


def froze(writer: Writer) -> None:
    writer.freeze(samples.baseline_record())


def wrote(text: str, minutes: int):
    return lambda writer: writer.annotate(samples.note_record(text, minutes))


def night(run_id: str, *, ended: bool = True, **changes: object):
    """A night of the run, which may go on."""

    def step(writer: Writer) -> None:
        record = samples.night_record(run_id, **changes)
        writer.begin_night(samples.begun(record))
        if ended:
            writer.end_night(record)

    return step


def test_baselines_notes_and_nights_come_along_and_a_second_merge_changes_nothing(machine) -> None:
    a = machine("a", wrote_nothing, finished())
    b = machine("b", froze, wrote("why", 1), night("run-b"))
    assert merged(a, b) == 0
    with open_store(a, read_only=True) as store:
        assert replace(find_baseline(store), scores=()) == replace(samples.baseline_record(), scores=())
        assert len(find_baseline(store).scores) == 3
        assert [note.text for note in notes(store, "first")] == ["why"]
        assert nights(store) == [samples.night_record("run-b")]
    before = everything(str(a))
    assert merged(a, b) == 0
    assert everything(str(a)) == before


def wrote_nothing(writer: Writer) -> None:
    pass


def test_two_stores_that_went_on_from_one_baseline_become_one_history(machine, tmp_path: Path) -> None:
    a = machine("a", froze)
    b = Path(shutil.copytree(a.parent, tmp_path / "b")) / "bench.sqlite"
    later = samples.NOON + timedelta(days=1)
    machine("a", wrote("of a", 1), night("run-a-2"))
    machine("b", wrote("of b", 2), night("run-b", ended_at=later))
    assert merged(a, b) == 0
    with open_store(a, read_only=True) as store:
        assert [note.text for note in notes(store, "first")] == ["of a", "of b"]
        # Both are goes at the same night; the later one counts.
        assert [found.run_id for found in nights(store)] == ["run-b"]
    assert fetched(a, "SELECT COUNT(*) FROM nights") == [(2,)]
    assert fetched(a, "SELECT COUNT(*) FROM baseline_scores") == [(3,)]


@pytest.mark.parametrize("into_copy", [False, True])
def test_a_night_that_went_on_when_it_was_copied_gets_its_end(machine, tmp_path: Path, into_copy) -> None:
    a = machine("a", froze, night("run-a", ended=False))
    b = Path(shutil.copytree(a.parent, tmp_path / "b")) / "bench.sqlite"
    with open_store(a) as store, Writer(store) as writer:
        writer.end_night(samples.night_record("run-a"))
    into, other = (b, a) if into_copy else (a, b)
    assert merged(into, other) == 0
    with open_store(into, read_only=True) as store:
        assert nights(store) == [samples.night_record("run-a")]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE baselines SET reason = 'other'", "reason of baseline 'first' is the release, but other in"),
        ("UPDATE baseline_scores SET score = 1.5 WHERE seed = 1", "scores of baseline 'first' is"),
        ("DELETE FROM baseline_scores WHERE seed = 2", "scores of baseline 'first' is of length 3, but of"),
        (
            "UPDATE notes SET text = 'other'",
            "text of the note of 2025-03-01 12:01 on 'first' is why, but other",
        ),
        ("UPDATE nights SET outcome = 'green'", "outcome of night 2026-11-21 (run run-a) is red, but green"),
        ("UPDATE night_cells SET mean = 4.5", "cells of night 2026-11-21 (run run-a) is"),
    ],
)
def test_contradictions_are_told_and_nothing_is_written(
    machine, tmp_path: Path, capsys, sql: str, told: str
) -> None:
    a = machine("a", froze, wrote("why", 1), night("run-a"))
    b = Path(shutil.copytree(a.parent, tmp_path / "b")) / "bench.sqlite"
    change(str(b), sql)
    before = {path: everything(str(path)) for path in (a, b)}
    assert merged(a, b) == 2
    assert told in capsys.readouterr().err
    assert {path: everything(str(path)) for path in (a, b)} == before
    assert merged(a, b, leave_out=True) == 1
    kept = everything(str(a))
    assert {name: rows for name, rows in kept.items() if name != "runs"} == {
        name: rows for name, rows in before[a].items() if name != "runs"
    }


def test_what_was_said_of_another_baseline_of_that_name_stays_behind(machine) -> None:
    a = machine("a", froze)
    b = machine(
        "b",
        lambda writer: writer.freeze(samples.baseline_record(author="Cleo")),
        wrote("b", 1),
        night("run-b"),
    )
    assert merged(a, b) == 2
    assert merged(a, b, leave_out=True) == 1
    with open_store(a, read_only=True) as store:
        assert (find_baseline(store).author, notes(store, "first"), nights(store)) == ("Ada", [], [])
