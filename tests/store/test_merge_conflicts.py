"""Stores that contradict each other, or cannot be merged: all is told, nothing is written."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import change, fetched
from tests.store.machines import seen
from tests.store.merges import (
    KEY,
    TRIAL,
    claimed,
    evaluated,
    finished,
    merged,
)


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
