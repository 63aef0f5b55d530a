"""Merging brings baselines, notes and nights along, and tells where they contradict each other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bench.store.database import open_store
from bench.store.nights import find_baseline, nights, notes
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import change, everything, fetched
from tests.store.merges import finished, merged


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
