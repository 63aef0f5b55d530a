"""Stores as several machines fill them: random histories of a few trials, and plain SQL to look at them."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from bench.records import FailureRecord, TrialKey, WeightsRecord
from bench.store.database import Store, open_store
from bench.store.queries import find_trial, next_reevaluation
from bench.store.recording import ConflictError
from bench.store.writer import Writer
from tests.store import samples

EVALUATIONS = 3
"""Of a finished trial."""
TRIALS = [samples.trial_record(seed) for seed in range(3)]


class Machine:
    """A machine that works on the trials of its store in one run after the other."""

    def __init__(self, path: Path, name: str, seed: int) -> None:
        self.path = path
        self.name = name
        self._random = random.Random(f"{name} {seed}")
        self._runs = 0
        # Each machine's own clock: no two events of any two machines are at the same time.
        self._clock = samples.NOON + timedelta(milliseconds=sum(name.encode()))

    def work(self, runs: int = 1) -> None:
        """Some runs: each trial is left alone, planned, begun, cut off, failed, finished or judged again."""
        for _ in range(runs):
            self._runs += 1
            run_id = f"{self.name}-{self._runs}"
            run = replace(samples.run_record(run_id), hardware={"hostname": self.name, "gpus": []})
            with open_store(self.path) as store, Writer(store) as writer:
                writer.begin_run(run)
                for trial in self._random.sample(TRIALS, self._random.randint(1, len(TRIALS))):
                    state = writer.plan([trial])[trial.key]
                    if state == "failed" and self._random.random() < 0.7:
                        writer.retry([trial.key])
                        state = "planned"
                    if state in ("planned", "running") and self._random.random() < 0.8:
                        self._train(writer, trial.key)
                    elif state == "finished" and self._random.random() < 0.5:
                        self._judge(writer, store, trial.key)
                writer.end_run(run_id)

    def _train(self, writer: Writer, key: TrialKey) -> None:
        """Begin it anew, and get as far as it comes."""
        # Some machines have other last digits.
        digits = self._random.choice((0.0, 0.0, 2.0**-40))
        writer.claim(key.cell, {key.seed}, 1)
        writer.begin_execution([key], samples.execution_record(started_at=self._now(), hostname=self.name))
        reached = self._random.choice((0, 1, 2, *[EVALUATIONS] * 5))
        try:
            for number in range(1, reached + 1):
                record = samples.evaluation_record(key, number, (10.0 * number + key.seed + digits, 7.5))
                writer.record(replace(record, evaluated_at=self._now()))
        except ConflictError:
            self._fail(writer, key, "ConflictError")
            return
        ending = self._random.choice(
            ("stop", "fail") if reached < EVALUATIONS else ("stop", "fail", "", "", "")
        )
        if ending == "stop":
            writer.stop([key], 100 * reached)
        elif ending == "fail":
            self._fail(writer, key, self._random.choice(("diverged", "MemoryError")))
        else:
            self._finish(writer, key, digits)

    def _fail(self, writer: Writer, key: TrialKey, error: str) -> None:
        writer.record(FailureRecord(key, 700, error, "it failed", "", failed_at=self._now()))

    def _finish(self, writer: Writer, key: TrialKey, digits: float) -> None:
        content = f"weights {key.seed} {digits}".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"weights/{key.seed}-{sha256[:8]}.safetensors"
        file = self.path.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        finished = replace(samples.finished_record(key, 10.0 + digits), finished_at=self._now())
        weights = WeightsRecord(key, "final", name, sha256, len(content))
        writer.record(weights, samples.timing_record(key, measured_at=self._now()), finished)

    def _judge(self, writer: Writer, store: Store, key: TrialKey) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            ((trial_id,),) = connection.execute("SELECT id FROM trials WHERE seed = ?", [key.seed])
        assert find_trial(store, trial_id).record.key == key
        record = samples.evaluation_record(key, next_reevaluation(store, trial_id), (self._random.random(),))
        writer.record(replace(record, evaluated_at=self._now()))

    def _now(self) -> datetime:
        self._clock += timedelta(seconds=1)
        return self._clock


@dataclass(frozen=True)
class Seen:
    """One attempt at a trial as plain SQL shows it."""

    number: int
    evaluations: frozenset[tuple]
    failures: frozenset[tuple]
    weights: frozenset[tuple]
    executions: frozenset[tuple]

    def is_within(self, other: Seen) -> bool:
        """Whether the other has all of its results."""
        return (
            self.evaluations <= other.evaluations
            and self.failures <= other.failures
            and self.weights <= other.weights
        )

    @property
    def results(self) -> tuple:
        """All but its number, and where it was made."""
        return self.evaluations, self.failures, self.weights


@dataclass(frozen=True)
class SeenTrial:
    """A trial as plain SQL shows it; cut off is the same as planned."""

    state: str
    score: float | None
    attempts: tuple[Seen, ...]
    judgements: frozenset[tuple]
    durations: frozenset[tuple]

    @property
    def is_begun(self) -> bool:
        """Whether anything was done on it."""
        return any(any(attempt.results) or attempt.executions for attempt in self.attempts)

    @property
    def executions(self) -> frozenset[tuple]:
        """Of all attempts."""
        return frozenset().union(*(attempt.executions for attempt in self.attempts))


def seen(path: Path) -> dict[int, SeenTrial]:
    """All trials of a store, by seed."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, seed, state, score, attempt FROM trials").fetchall()
        return {
            seed: _trial(connection, trial_id, state, score, attempt)
            for trial_id, seed, state, score, attempt in rows
        }


def _trial(
    connection: sqlite3.Connection, trial_id: int, state: str, score: float | None, current: int
) -> SeenTrial:
    def rows(sql: str) -> list[tuple]:
        return connection.execute(sql, [trial_id]).fetchall()

    played = rows("""
        SELECT attempt, evaluations.number, step, physics, evaluated_at,
               GROUP_CONCAT(PRINTF('%d %!.17g %!.17g %d', episodes.number, return_, score, length), '; ')
        FROM evaluations JOIN episodes ON evaluation_id = id WHERE trial_id = ? GROUP BY id
    """)
    failed = rows("SELECT attempt, step, error, message, traceback FROM failures WHERE trial_id = ?")
    weighed = rows("SELECT attempt, role, sha256, path FROM weights WHERE trial_id = ?")
    executed = rows(
        "SELECT attempt, run_id, started_at, outcome, hostname FROM executions WHERE trial_id = ?"
    )
    numbers = sorted({current, *(row[0] for row in (*played, *failed, *weighed, *executed))})
    attempts = tuple(
        Seen(
            number,
            frozenset(row[1:4] + row[5:] for row in played if row[0] == number and row[1] >= 1),
            *(frozenset(row[1:] for row in of if row[0] == number) for of in (failed, weighed, executed)),
        )
        for number in numbers
    )
    return SeenTrial(
        "planned" if state == "running" else state,
        score,
        attempts,
        frozenset(row[2:] for row in played if row[1] < 1),
        frozenset(rows("SELECT run_id, quantity, value, measured_at FROM durations WHERE trial_id = ?")),
    )
