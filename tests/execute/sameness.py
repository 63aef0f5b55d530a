"""What two stores must agree on to the last bit, and what must hold of every store after a run."""

import json
import sqlite3
from collections import Counter
from pathlib import Path


def rows(store: Path, sql: str) -> list[tuple]:
    """Rows of an SQLite store, read behind the back of the code under test."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        return connection.execute(sql).fetchall()


def numbers_of(store: Path) -> dict[tuple, tuple]:
    """(algorithm, task, seed) -> state, score, weights and every episode of every evaluation.

    Of several attempts at a trial the last one's. NaN among the metrics is text, equal to itself.
    """
    trials = rows(store, "SELECT id, algorithm, task, seed, state, score, attempt FROM trials")
    numbers = {}
    for trial_id, algorithm, task, seed, state, score, attempt in trials:
        of = f"trial_id = {trial_id} AND attempt = {attempt}"
        weights = rows(store, f"SELECT role, sha256 FROM weights WHERE {of} ORDER BY role")
        evaluations = rows(
            store,
            "SELECT e.number, step, physics, metrics, p.number, return_, score, length FROM evaluations e"
            f" JOIN episodes p ON p.evaluation_id = e.id WHERE {of} ORDER BY e.number, p.number",
        )
        # The order of the metrics says nothing.
        evaluations = [(*row[:3], sorted(json.loads(row[3]).items()), *row[4:]) for row in evaluations]
        assert (algorithm, task, seed) not in numbers, "a trial is there twice"
        numbers[algorithm, task, seed] = (state, score, weights, evaluations)
    return numbers


def faults_of(store: Path) -> list[str]:
    """What is wrong with a store whose grid is complete; empty where nothing is."""
    faults = [f"integrity check: {line}" for (line,) in rows(store, "PRAGMA integrity_check") if line != "ok"]
    faults += [f"foreign key: {row}" for row in rows(store, "PRAGMA foreign_key_check")]
    faults += [f"claim left on trial {trial}" for (trial,) in rows(store, "SELECT trial_id FROM claims")]
    states = Counter(state for (state,) in rows(store, "SELECT state FROM trials"))
    faults += [f"{count} trials are {state}" for state, count in states.items() if state != "finished"]
    twice = rows(
        store, "SELECT trial_id, quantity, COUNT(*) FROM durations GROUP BY 1, 2 HAVING COUNT(*) > 1"
    )
    faults += [f"{quantity} of trial {trial} stored {count} times" for trial, quantity, count in twice]
    ends = rows(store, "SELECT trial_id, COUNT(*) FROM executions WHERE outcome = 'finished' GROUP BY 1")
    faults += [f"trial {trial} finished {count} times" for trial, count in ends if count != 1]
    without = rows(store, "SELECT id FROM trials WHERE id NOT IN (SELECT trial_id FROM executions)")
    faults += [f"trial {trial} has no execution" for (trial,) in without]
    faults += [f"left behind: {path.name}" for path in store.parent.rglob("*.part")]
    faults += [f"checkpoint left: {path.name}" for path in store.parent.glob("checkpoints/*")]
    kept = {store.parent / path: sha for path, sha in rows(store, "SELECT path, sha256 FROM weights")}
    faults += [f"weights missing: {path.name}" for path in kept if not path.is_file()]
    return faults
