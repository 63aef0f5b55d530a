"""Baselines, notes and nights: kept as they were given, never changed, brought along by a merge."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta

import pytest

from bench.errors import BenchError
from bench.store.database import Store
from bench.store.nights import baselines, find_baseline, nights, notes
from bench.store.recording import ConflictError
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import everything, fetched


def test_a_baseline_is_read_back_as_it_was_frozen(store: Store, writer: Writer) -> None:
    writer.freeze(samples.baseline_record())
    found = find_baseline(store)
    expected = samples.baseline_record()
    assert replace(found, scores=()) == replace(expected, scores=())
    assert [score.trial for score in found.scores] == [score.trial for score in expected.scores]
    assert found.scores_of(samples.trial_record().key.cell)[:2] == (9.25, 10.5)
    assert math.isnan(found.scores[2].score)
    sql = "SELECT seed, score, score_is_nan FROM baseline_scores ORDER BY seed"
    assert [bool(row[2]) for row in fetched(store.location.url, sql)] == [False, False, True]


def test_scores_in_a_baseline_do_not_follow_the_trials(store: Store, writer: Writer) -> None:
    trial = samples.trial_record()
    writer.plan([trial])
    writer.freeze(samples.baseline_record())
    writer.record(samples.finished_record(trial.key, 55.0))
    assert find_baseline(store).scores[0].score == 9.25


def test_a_name_is_given_once_and_the_same_record_again_changes_nothing(store: Store, writer: Writer) -> None:
    writer.freeze(samples.baseline_record())
    before = everything(store.location.url)
    writer.freeze(samples.baseline_record())
    with pytest.raises(ConflictError, match="baseline 'first' exists"):
        writer.freeze(samples.baseline_record(frozen_at=samples.NOON + timedelta(days=1)))
    assert everything(store.location.url) == before


def test_the_latest_is_meant_where_no_name_is_given(store: Store, writer: Writer) -> None:
    for name, day in (("old", -1), ("new", 1), ("middle", 0)):
        writer.freeze(samples.baseline_record(name, samples.NOON + timedelta(days=day)))
    assert find_baseline(store).name == "new"
    assert find_baseline(store, "old").name == "old"
    assert [baseline.name for baseline in baselines(store)] == ["new", "middle", "old"]
    with pytest.raises(BenchError, match="unknown baseline 'odl'") as refused:
        find_baseline(store, "odl")
    assert "Did you mean old" in refused.value.do_this


def test_without_a_baseline_the_command_that_makes_one_is_told(store: Store, writer: Writer) -> None:
    with pytest.raises(BenchError) as refused:
        find_baseline(store)
    assert "bench baseline freeze" in refused.value.do_this
    with pytest.raises(BenchError):
        writer.annotate(samples.note_record())


def test_notes_come_back_in_the_order_of_time(store: Store, writer: Writer) -> None:
    writer.freeze(samples.baseline_record())
    late = samples.note_record("NUL \x00 is kept as text", 5, fingerprints={"losses": {"a": 1}})
    for note in (late, samples.note_record(), late):
        writer.annotate(note)
    assert [note.text for note in notes(store, "first")] == [
        "sums in another order",
        "NUL \\x00 is kept as text",
    ]
    assert [note.fingerprints for note in notes(store, "first")] == [None, {"losses": {"a": 1}}]


def test_a_night_is_read_back_once_it_has_ended_and_stays_as_it_ended(store: Store, writer: Writer) -> None:
    writer.freeze(samples.baseline_record())
    night = samples.night_record()
    writer.begin_night(samples.begun(night))
    writer.begin_night(samples.begun(night))
    assert nights(store) == []
    writer.end_night(night)
    assert nights(store) == [night]
    writer.end_night(replace(night, outcome="green", cells=()))
    assert nights(store) == [night]
    sql = "SELECT date, baseline, task, status, mean, drift FROM nightly"
    ((day, *rest),) = fetched(store.location.url, sql)
    assert str(day) == "2026-11-21"
    assert rest == ["first", "hopper-medium-v2", "below", 3.5, 1.25]


def test_of_several_goes_at_one_night_the_last_counts(store: Store, writer: Writer) -> None:
    writer.freeze(samples.baseline_record())
    for number, (day, hours, outcome) in enumerate(((22, 30, "green"), (21, 5, "green"), (21, 3, "red"))):
        run_id = f"night-{number}"
        writer.begin_run(samples.run_record(run_id))
        ended_at = samples.NOON + timedelta(hours=hours)
        night = samples.night_record(run_id, date(2026, 11, day), ended_at=ended_at, outcome=outcome)
        writer.begin_night(samples.begun(night))
        writer.end_night(night)
    assert [(night.date.day, night.run_id) for night in nights(store)] == [(21, "night-1"), (22, "night-0")]
    assert nights(store, "second") == []


def test_a_go_that_stopped_early_does_not_hide_what_another_found(store: Store, writer: Writer) -> None:
    writer.freeze(samples.baseline_record())
    for number, found in enumerate(({}, {"cells": (), "verdicts": {}})):
        run_id = f"night-{number}"
        writer.begin_run(samples.run_record(run_id))
        night = samples.night_record(run_id, ended_at=samples.NOON + timedelta(hours=number), **found)
        writer.begin_night(samples.begun(night))
        writer.end_night(night)
    assert [night.run_id for night in nights(store)] == ["night-0"]
