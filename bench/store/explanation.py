"""What a trial's number depends on: how it was made, where and with what, and what changed on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from bench.records import EvaluationRecord, ExecutionRecord, RunRecord, TimingRecord, TrialKey, WeightsRecord
from bench.store import models
from bench.store.database import Store
from bench.store.queries import StoredFailure, StoredTrial, evaluations, failures, find_trial, runs
from bench.store.status import RunningStack, running_stacks
from bench.store.weight_files import read_verified

_OF_THE_WORKER = ("hostname", "cpu", "device", "gpu_driver", "threads", "runner", "stack", "simulator",
                  "matmul_precision")  # fmt: skip
_OF_THE_CODE = ("code_version", "code_commit", "code_diff_sha256")
HASH_LENGTH = 12
"""Characters of a hash that tell two apart."""


@dataclass(frozen=True)
class EvaluationSummary:
    """One evaluation of the trial's present attempt."""

    number: int
    """1, 2, ...; 0 and below are judgements made later by `bench evaluate`."""
    step: int
    physics: str
    episodes: int
    mean_score: float
    mean_return: float
    mean_length: float
    seconds: float
    """Of the whole stack."""
    evaluated_at: datetime


@dataclass(frozen=True)
class KeptFile:
    """A file of weights in the store's folder."""

    record: WeightsRecord
    attempt: int
    fault: str
    """What is wrong with it, to be read after its name; empty where it is what was stored."""
    hostname: str | None
    """Where it was written; None where that was not noted."""


@dataclass(frozen=True)
class StoredExecution:
    """One process's work on a trial, during one run of a command."""

    record: ExecutionRecord
    attempt: int
    run: RunRecord
    ended_at: datetime | None
    """None while it goes on, and where it was cut off."""
    outcome: str | None
    """`finished`, `stopped` (with its state saved) or `failed`; None as above."""
    to_iteration: int | None
    """Iterations of all phases done at its end."""
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Explanation:
    """A trial with all that its number depends on."""

    trial: StoredTrial
    run: RunRecord
    """The run that planned, ran or finished it, whichever came last."""
    at_work: RunningStack | None
    """Who works on it now."""
    executions: tuple[StoredExecution, ...]
    evaluations: tuple[EvaluationSummary, ...]
    timings: tuple[TimingRecord, ...]
    failures: tuple[StoredFailure, ...]
    """Of every attempt, the latest first."""
    files: tuple[KeptFile, ...]


def explain(store: Store, trial_id: int) -> Explanation:
    """Gather what is known of a trial; its files are read and held against their hashes.

    Raises
    ------
    BenchError : there is no such trial.
    """
    trial = find_trial(store, trial_id)
    key = trial.record.key
    with store.connect() as connection:
        work = _rows(connection, models.Execution, trial_id, "attempt", "started_at", "id")
        kept = _rows(connection, models.Weights, trial_id, "attempt", "role")
        timed = _rows(connection, models.Duration, trial_id, "id")
    known = {run.run_id: run for run in runs(store)}
    return Explanation(
        trial=trial,
        run=known[trial.run_id],
        at_work=next((stack for stack in running_stacks(store) if trial_id in stack.trial_ids), None),
        executions=tuple(_execution(row, known[row["run_id"]]) for row in work),
        evaluations=tuple(map(_summary, evaluations(store, trial_id, trial.attempt))),
        timings=tuple(TimingRecord(trial=key, **_facts(row, TimingRecord, but="trial")) for row in timed),
        failures=tuple(failure for failure in failures(store) if failure.trial_id == trial_id),
        files=tuple(_file(store, key, row, known.get(row["run_id"])) for row in kept),
    )


def changes(before: StoredExecution, after: StoredExecution) -> Iterator[str]:
    """What may change last digits and differs between two stretches: `torch 2.12.0 -> 2.13.0`."""
    old, new = before.record, after.record
    for name in _OF_THE_WORKER:
        yield from _change(name.replace("_", " "), getattr(old, name), getattr(new, name))
    yield from _changes(old.precision, new.precision)
    yield from _changes(old.packages, new.packages)
    for name in _OF_THE_CODE:
        yield from _change(name.replace("_", " "), getattr(before.run, name), getattr(after.run, name))
    yield from _change("hash of the code", old.code_sha256, new.code_sha256)


def _rows(connection: Connection, table: Any, trial_id: int, *order: str) -> Sequence[RowMapping]:  # noqa: ANN401
    columns = table.__table__.columns
    chosen = select(table.__table__).where(columns["trial_id"] == trial_id)
    return connection.execute(chosen.order_by(*(columns[name] for name in order))).mappings().all()


def _facts(row: RowMapping, record: type, but: str = "") -> dict[str, Any]:
    """The fields of a record of which a row has the columns."""
    return {field.name: row[field.name] for field in fields(record) if field.name != but}


def _summary(evaluation: EvaluationRecord) -> EvaluationSummary:
    assert evaluation.evaluated_at is not None, "the column is not nullable"
    return EvaluationSummary(
        number=evaluation.number,
        step=evaluation.step,
        physics=evaluation.physics,
        episodes=len(evaluation.scores),
        mean_score=_mean(evaluation.scores),
        mean_return=_mean(evaluation.returns),
        mean_length=_mean(evaluation.lengths),
        seconds=evaluation.seconds,
        evaluated_at=evaluation.evaluated_at,
    )


def _mean(values: Sequence[float]) -> float:
    # Not fmean, which refuses infinities of both signs.
    return sum(values) / len(values)


def _file(store: Store, key: TrialKey, row: RowMapping, run: RunRecord | None) -> KeptFile:
    record = WeightsRecord(key, row["role"], row["path"], row["sha256"], row["size_bytes"])
    hostname = run.hardware.get("hostname") if run else None
    return KeptFile(record, row["attempt"], read_verified(store.folder, record)[1], hostname)


def _changes(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        yield from _change(name, old.get(name), new.get(name))


def _change(name: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{name} {_text(old)} -> {_text(new)}"


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    text = str(value)
    is_hash = len(text) >= 40 and all(character in "0123456789abcdef" for character in text)
    return text[:HASH_LENGTH] if is_hash else text


def _execution(row: RowMapping, run: RunRecord) -> StoredExecution:
    ends = ("attempt", "ended_at", "outcome", "to_iteration", "peak_memory_bytes")
    facts = _facts(row, ExecutionRecord) | {"stack": tuple(row["stack"])}
    return StoredExecution(record=ExecutionRecord(**facts), run=run, **{name: row[name] for name in ends})
