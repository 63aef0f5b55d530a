"""The rows of results written with nothing but Python's sqlite3: what the writer is held against."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from bench.execute.grid import Cell
from bench.records import hash_of
from benchmarks.full_store import DEVICE, METRICS, QUANTITIES, STACK

_NOW = "2025-03-01 12:00:00.000000"
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
    facts = (run_id, cell.evaluation_steps[0], cell.physics, metrics, _NOW)
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
    timings = [(run_id, *names, quantity, STACK, DEVICE, _NOW) for quantity in QUANTITIES]

    def commit(trial: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_WEIGHTS, (trial, run_id, f"weights/{trial}.safetensors", hash_of(trial)))
        connection.executemany(_DURATION, [(trial, *timing) for timing in timings])
        connection.execute(_FINISHED, (run_id, _NOW, trial))
        connection.execute("DELETE FROM claims WHERE trial_id = ?", (trial,))
        connection.execute(_EXECUTED, (_NOW, trial))
        connection.execute("COMMIT")

    return commit
