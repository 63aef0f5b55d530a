"""Commits of results through the writer, against bare SQLite commits of the same rows on the same disk."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from bench.execute.grid import Cell, plan_cells
from bench.provenance import describe_run
from bench.records import (
    EvaluationRecord,
    FinishedRecord,
    ResultRecord,
    RunRecord,
    TimingRecord,
    TrialKey,
    WeightsRecord,
    hash_of,
)
from bench.store.claims import ClaimedStack
from bench.store.database import open_store
from bench.store.writer import Writer
from benchmarks.full_store import DEVICE, METRICS, QUANTITIES, STACK, Size, dataset_of, execution_of
from benchmarks.measuring import Comparison, Measure, compare

TARGET = 0.5
"""A commit takes at most twice as long as a bare one."""
UNIT = "commits per second"
TURN = 5
"""Commits of one way before it is the other's turn: few, because how long a disk takes changes at once."""
_NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
_NOW_TEXT = "2025-03-01 12:00:00.000000"
"""As SQLite keeps it."""
_EVALUATION = """INSERT INTO evaluations
(trial_id, run_id, attempt, number, step, physics, seconds, metrics, evaluated_at)
VALUES (?, ?, 1, 1, ?, ?, 12.5, ?, ?)"""
_EPISODE = """INSERT INTO episodes
(evaluation_id, number, return_, return_is_nan, score, score_is_nan, length)
VALUES (?, ?, ?, 0, ?, 0, 1000)"""
_WEIGHTS = """INSERT INTO weights (trial_id, run_id, attempt, role, path, sha256, size_bytes)
VALUES (?, ?, 1, 'final', ?, ?, 1234567)"""
_DURATION = """INSERT INTO durations
(trial_id, run_id, algorithm, variant, task, quantity, value, stack_size, concurrent_stacks, device, threads,
 runner, exclusive, measured_at)
VALUES (?, ?, ?, ?, ?, ?, 1.25, ?, 1, ?, 1, 'graph', 0, ?)"""
_FINISHED = """UPDATE trials
SET score = 85.5, score_is_nan = 0, state = 'finished', run_id = ?, training_seconds = 9000.0,
    evaluation_seconds = 1250.0, peak_memory_bytes = 2147483648, finished_at = ?
WHERE id = ?"""
_EXECUTED = """UPDATE executions SET ended_at = ?, outcome = 'finished', to_iteration = 1050000,
peak_memory_bytes = 2147483648 WHERE trial_id = ?"""

Item = TypeVar("Item")


def compare_commits(path: Path, size: Size, turns: int) -> Iterator[Comparison]:
    """Commit evaluations, then whole results, to the store at `path` and bare to a copy of it."""
    cell = plan_cells(size.request())[0]
    run = describe_run("bench run")
    keys = _running_trials(path, cell, run, range(size.seeds, size.seeds + (turns + 1) * TURN))
    copy = path.with_name("bare.sqlite")
    shutil.copyfile(path, copy)
    with (
        open_store(path) as store,
        Writer(store) as writer,
        closing(connected(copy)) as connection,
    ):
        writer.begin_run(run)
        trials = trials_of(connection, run.run_id)
        bare_evaluation = committing_evaluations(connection, cell, run.run_id)
        ways = {
            "writer": _rate((_evaluation(cell, key) for key in keys), writer.record),
            "bare": _rate(trials, bare_evaluation),
        }
        yield compare(f"an evaluation of {cell.episodes} episodes", UNIT, TARGET, ways, turns)
        bare_result = committing_results(connection, cell, run.run_id)
        ways = {
            "writer": _rate(map(_result, keys), lambda records: writer.record(*records)),
            "bare": _rate(trials, bare_result),
        }
        yield compare("the end of a trial", UNIT, TARGET, ways, turns)


def _running_trials(path: Path, cell: Cell, run: RunRecord, seeds: range) -> list[TrialKey]:
    """Trials of further seeds, claimed and begun, in the order of their numbers."""
    trials = cell.trials(seeds, dataset_of(cell.task))
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(run)
        writer.plan(trials)
        stack = writer.claim(trials[0].key.cell, seeds, len(seeds))
        assert isinstance(stack, ClaimedStack)
        writer.begin_execution(stack.claimed, execution_of((0,)))
    return list(stack.claimed)


def _rate(items: Iterable[Item], commit: Callable[[Item], None]) -> Measure:
    """Commits per second of the next items, prepared beforehand."""
    left = iter(items)

    def rate() -> float:
        prepared = list(islice(left, TURN))
        started = time.perf_counter()
        for item in prepared:
            commit(item)
        return len(prepared) / (time.perf_counter() - started)

    return rate


def _evaluation(cell: Cell, key: TrialKey) -> EvaluationRecord:
    scores = tuple(80 + episode / 7 for episode in range(cell.episodes))
    return EvaluationRecord(
        trial=key,
        number=1,
        step=cell.evaluation_steps[0],
        physics=cell.physics,
        returns=tuple(30 * score for score in scores),
        lengths=(1000,) * cell.episodes,
        scores=scores,
        seconds=12.5,
        metrics=dict.fromkeys(METRICS[cell.algorithm], 1 / 3),
        evaluated_at=_NOW,
    )


def _result(key: TrialKey) -> list[ResultRecord]:
    timings = [
        TimingRecord(
            quantity=quantity,
            value=1.25,
            algorithm=key.algorithm,
            variant=key.variant,
            task=key.task,
            trial=key,
            stack_size=STACK,
            concurrent_stacks=1,
            device=DEVICE,
            threads=1,
            runner="graph",
            exclusive=False,
            measured_at=_NOW,
        )
        for quantity in QUANTITIES
    ]
    weights = WeightsRecord(key, "final", f"weights/{key.seed}.safetensors", hash_of(key.seed), 1_234_567)
    return [weights, *timings, FinishedRecord(key, 85.5, 9000.0, 1250.0, 2**31, 1_050_000, _NOW)]


# The same rows with nothing but Python's sqlite3: what the writer is held against.


def connected(path: Path) -> sqlite3.Connection:
    """A connection as safe as the store's: a commit returns when its rows are on disk."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def trials_of(connection: sqlite3.Connection, run_id: str) -> list[int]:
    """Numbers of the trials that a run works on, in order."""
    return [number for (number,) in connection.execute("SELECT id FROM trials WHERE run_id = ?", (run_id,))]


def committing_evaluations(connection: sqlite3.Connection, cell: Cell, run_id: str) -> Callable[[int], None]:
    """A function that commits the first evaluation of a trial."""
    metrics = json.dumps(dict.fromkeys(METRICS[cell.algorithm], 1 / 3))
    facts = (run_id, cell.evaluation_steps[0], cell.physics, metrics, _NOW_TEXT)
    scores = [80 + episode / 7 for episode in range(cell.episodes)]
    episodes = [(number, 30 * score, score) for number, score in enumerate(scores, start=1)]

    def commit(trial: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        evaluation = connection.execute(_EVALUATION, (trial, *facts)).lastrowid
        connection.executemany(_EPISODE, [(evaluation, *episode) for episode in episodes])
        connection.execute("COMMIT")

    return commit


def committing_results(connection: sqlite3.Connection, cell: Cell, run_id: str) -> Callable[[int], None]:
    """A function that commits all that completes a trial."""
    names = (cell.algorithm, cell.variant, cell.task.name)
    timings = [(run_id, *names, quantity, STACK, DEVICE, _NOW_TEXT) for quantity in QUANTITIES]

    def commit(trial: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_WEIGHTS, (trial, run_id, f"weights/{trial}.safetensors", hash_of(trial)))
        connection.executemany(_DURATION, [(trial, *timing) for timing in timings])
        connection.execute(_FINISHED, (run_id, _NOW_TEXT, trial))
        connection.execute("DELETE FROM claims WHERE trial_id = ?", (trial,))
        connection.execute(_EXECUTED, (_NOW_TEXT, trial))
        connection.execute("COMMIT")

    return commit
