"""The single writer: repeating is harmless, contradicting is refused, nothing is written half."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from bench.errors import WorkFailedError
from bench.records import ResultRecord
from bench.store.claims import Nothing
from bench.store.database import Store, open_store
from bench.store.queries import evaluations, failures, find_trial, trial_states, trials, weights_of
from bench.store.recording import ConflictError
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import everything, fetched, only_sqlite

TABLES = ("runs", "datasets", "trials", "evaluations", "episodes", "durations", "failures", "weights")
TRIAL = samples.trial_record()
KEY = TRIAL.key


def content(store: Store) -> dict[str, list[tuple]]:
    """Every row of every table."""
    return everything(store.location.url)


RESULTS = (
    samples.evaluation_record(KEY),
    samples.evaluation_record(KEY, 2, (math.nan, math.inf)),
    samples.timing_record(KEY),
    samples.timing_record(None),
    samples.timing_record(KEY, 4.5, measured_at=None),
    samples.weights_record(KEY),
    samples.finished_record(KEY, math.nan),
)


def test_everything_said_twice_is_stored_once(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    for result in RESULTS:
        writer.record(result)
    once = content(store)
    assert [len(once[table]) for table in TABLES] == [1, 1, 1, 2, 5, 3, 0, 1]
    writer.begin_run(samples.run_record())
    assert writer.plan([TRIAL, TRIAL]) == {KEY: "finished"}
    for result in RESULTS:
        writer.record(result)
    assert content(store) == once


def test_a_failure_said_twice_is_stored_once_and_another_is_added(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    for step in (700, 700, 900):
        writer.record(dataclasses.replace(samples.failure_record(KEY, step), failed_at=None))
    assert sorted(failure.record.step for failure in failures(store)) == [700, 900]


def contradictions() -> list[tuple[ResultRecord, ResultRecord]]:
    evaluation, weights = samples.evaluation_record(KEY), samples.weights_record(KEY)
    return [
        (evaluation, samples.evaluation_record(KEY, returns=(300.0, 250.5, 275.26))),
        (evaluation, samples.evaluation_record(KEY, returns=(300.0, 250.5, math.nan))),
        (evaluation, samples.evaluation_record(KEY, returns=(300.0, 250.5))),
        (evaluation, dataclasses.replace(evaluation, lengths=(100, 101, 103))),
        (evaluation, dataclasses.replace(evaluation, step=999)),
        (evaluation, dataclasses.replace(evaluation, physics="modern")),
        (samples.timing_record(KEY), samples.timing_record(KEY, 3.6)),
        (weights, dataclasses.replace(weights, sha256="ef" * 32)),
        (samples.finished_record(KEY), samples.finished_record(KEY, 9.3)),
        (samples.finished_record(KEY), samples.finished_record(KEY, math.nan)),
        (samples.finished_record(KEY, -math.inf), samples.finished_record(KEY, math.nan)),
    ]


@pytest.mark.parametrize(("first", "second"), contradictions())
def test_another_result_under_the_same_key_is_refused_and_changes_nothing(
    store: Store, writer: Writer, first: ResultRecord, second: ResultRecord
) -> None:
    writer.plan([TRIAL])
    writer.record(first)
    before = content(store)
    with pytest.raises(ConflictError, match="differs from what is stored"):
        writer.record(second)
    assert content(store) == before


def test_an_evaluation_made_again_may_take_longer(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    first = samples.evaluation_record(KEY)
    writer.record(first)
    writer.record(dataclasses.replace(first, seconds=99.0, evaluated_at=samples.NOON + timedelta(days=1)))
    (stored,) = evaluations(store, 1)
    assert (stored.seconds, stored.evaluated_at) == (first.seconds, first.evaluated_at)


def test_a_trial_goes_from_planned_to_finished(store: Store, writer: Writer) -> None:
    assert trial_states(store, [KEY]) == {}
    assert writer.plan([TRIAL]) == {KEY: "planned"}
    writer.claim(KEY.cell, {KEY.seed}, 1)
    started = find_trial(store, 1)
    assert (started.state, started.score, started.finished_at) == ("running", None, None)
    writer.stop([KEY], 500)
    writer.claim(KEY.cell, {KEY.seed}, 1)  # cut off and continued
    assert find_trial(store, 1).started_at == started.started_at
    writer.record(samples.finished_record(KEY))
    assert trial_states(store, [KEY]) == {KEY: "finished"}
    assert writer.claim(KEY.cell, {KEY.seed}, 1) is Nothing.DONE


def test_a_failed_trial_is_left_alone_until_asked_for_again(store: Store, writer: Writer) -> None:
    other = samples.trial_record(1)
    writer.plan([TRIAL, other])
    writer.record(samples.evaluation_record(KEY))
    writer.record(samples.failure_record(KEY))
    with pytest.raises(ConflictError, match="--retry failed"):
        writer.record(samples.finished_record(KEY))
    assert writer.plan([TRIAL, other]) == {KEY: "failed", other.key: "planned"}
    writer.begin_run(samples.run_record("run-2"))
    assert writer.retry([KEY, other.key]) == {KEY}
    assert writer.plan([TRIAL, other]) == {KEY: "planned", other.key: "planned"}
    assert writer.retry([KEY, other.key]) == {KEY}  # asked again while that attempt is open
    assert [(trial.attempt, trial.run_id) for trial in trials(store)] == [(2, "run-2"), (1, "run-1")]


def test_a_further_attempt_stands_beside_the_first(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    writer.record(samples.evaluation_record(KEY, 1))
    writer.record(samples.evaluation_record(KEY, 2))
    writer.record(samples.weights_record(KEY))
    writer.record(samples.failure_record(KEY))
    writer.retry([KEY])
    again = samples.evaluation_record(KEY, 2, (1.0, 2.0))
    writer.record(again)
    writer.record(samples.weights_record(KEY, "ef" * 32))
    writer.record(samples.finished_record(KEY))
    assert [evaluation.returns for evaluation in evaluations(store, 1)] == [
        samples.evaluation_record(KEY, 1).returns,
        again.returns,
    ]
    assert weights_of(store, 1)["final"].sha256 == "ef" * 32
    assert [(failure.attempt, failure.current) for failure in failures(store)] == [(1, False)]
    assert len(content(store)["evaluations"]) == 3


def test_a_failure_after_the_end_does_not_take_the_result_away(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    writer.record(samples.finished_record(KEY))
    writer.record(samples.failure_record(KEY))
    assert find_trial(store, 1).state == "finished"
    assert len(failures(store)) == 1


def test_what_is_known_of_a_dataset_grows_and_is_not_forgotten(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    known = dataclasses.replace(samples.DATASET, verification="verified", replay="d4rl")
    writer.note_dataset(known)
    writer.note_dataset(samples.DATASET)
    assert find_trial(store, 1).record.dataset == known
    with pytest.raises(WorkFailedError, match="999999 rows, but 1000000"):
        writer.note_dataset(dataclasses.replace(samples.DATASET, rows=999_999))


def test_mistakes_of_the_caller_are_not_stored(store: Store, writer: Writer) -> None:
    with pytest.raises(ValueError, match="config_hash"):
        writer.plan([dataclasses.replace(TRIAL, config={"other": 1})])
    with pytest.raises(WorkFailedError, match="not in the store"):
        writer.record(samples.evaluation_record(KEY))
    writer.plan([TRIAL])
    with pytest.raises(ValueError, match="no episodes"):
        writer.record(samples.evaluation_record(KEY, returns=()))
    with pytest.raises(ValueError, match="shorter"):
        writer.record(dataclasses.replace(samples.evaluation_record(KEY), scores=(1.0,)))
    with pytest.raises(RuntimeError, match="begin_run"), Writer(store) as fresh:
        fresh.plan([TRIAL])
    assert content(store)["evaluations"] == []


def test_a_record_is_stored_whole_or_not_at_all(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    before = content(store)
    with pytest.raises(IntegrityError):
        writer.record(dataclasses.replace(samples.evaluation_record(KEY), lengths=(100, 101, None)))
    assert content(store) == before


def test_a_record_is_on_disk_when_the_call_returns(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    writer.record(samples.evaluation_record(KEY))
    assert fetched(store.location.url, "SELECT COUNT(*) FROM episodes") == [(3,)]


def test_the_store_is_free_when_its_writer_has_left(store: Store) -> None:
    for _ in range(2):
        with Writer(store) as writer:
            writer.begin_run(samples.run_record())
    with pytest.raises(KeyError), Writer(store):
        raise KeyError
    with Writer(store):
        pass


@only_sqlite
def test_a_full_disk_loses_only_the_record_in_hand(store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    limits = {"pages": 1_000_000}

    @event.listens_for(store.engine, "begin")
    def limit(connection) -> None:
        # SQLite then answers as it does when the file system has no room.
        connection.exec_driver_sql(f"PRAGMA max_page_count={limits['pages']}")

    writer.record(samples.evaluation_record(KEY, 1))
    limits["pages"] = 1
    before = content(store)
    with pytest.raises(WorkFailedError, match="has no room left on its disk"):
        for number in range(2, 200):
            before = content(store)
            writer.record(samples.evaluation_record(KEY, number, (1.0,) * 1000))
    assert content(store) == before
    limits["pages"] = 1_000_000
    writer.record(samples.evaluation_record(KEY, 500, (1.0,) * 1000))
    assert fetched(store.location.url, "PRAGMA integrity_check") == [("ok",)]


# A writer that is killed in the middle: what it acknowledged is there, whole, and the next one can write.


EPISODES = 50
LONG = 2000  # so many that most of the time goes into the transaction, where the kill then falls
WRITER = """
import sys
import time
from itertools import count
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples

trial = samples.trial_record()
with Writer(open_store(sys.argv[1])) as writer:
    writer.begin_run(samples.run_record())
    writer.plan([trial])
    for number in count(1):
        writer.record(samples.evaluation_record(trial.key, number, (float(number),) * int(sys.argv[2])))
        print(number, flush=True)
        time.sleep(float(sys.argv[3]))
"""


def begin_writing(path: Path, episodes: int, pause_seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, path, str(episodes), str(pause_seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_a_killed_writer_leaves_every_acknowledged_record_whole(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "bench.sqlite"
    process = begin_writing(path, LONG, 0)
    for _ in range(acknowledged):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    last = max([last, *(int(line) for line in process.stdout.read().split())])
    process.wait()

    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    trial = samples.trial_record()
    with open_store(path) as store:
        stored = evaluations(store, 1)
        # One more may have been written than its writer lived to say.
        assert [evaluation.number for evaluation in stored] in (
            list(range(1, last + 1)),
            list(range(1, last + 2)),
        )
        assert all(evaluation.returns == (float(evaluation.number),) * LONG for evaluation in stored)
        with Writer(store) as writer:
            writer.begin_run(samples.run_record("run-2"))
            assert writer.plan([trial]) == {trial.key: "planned"}


def test_readers_see_whole_records_while_a_writer_writes(tmp_path: Path) -> None:
    path = tmp_path / "bench.sqlite"
    process = begin_writing(path, EPISODES, 0.005)
    try:
        seen = []
        with open_after_first_line(process, path) as store:
            for _ in range(20):
                process.stdout.readline()
                stored = evaluations(store, 1)
                assert all(len(evaluation.returns) == EPISODES for evaluation in stored)
                seen.append(len(stored))
        assert seen == sorted(seen)
        assert seen[0] < seen[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def open_after_first_line(process: subprocess.Popen, path: Path):
    assert process.stdout.readline() == b"1\n"
    return open_store(path, read_only=True)
