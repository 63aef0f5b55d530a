"""Rows of results. Each function stores one record, or finds it stored already, or raises a conflict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from bench.errors import WorkFailedError
from bench.records import (
    FAILED,
    FINISHED,
    RUNNING,
    EvaluationRecord,
    ExecutionRecord,
    FailureRecord,
    FinishedRecord,
    TimingRecord,
    TrialKey,
    WeightsRecord,
)
from bench.store.claims import check_holder, release
from bench.store.columns import metrics_to_json, number_columns, storable
from bench.store.models import (
    Base,
    Claim,
    Duration,
    Episode,
    Evaluation,
    Execution,
    Failure,
    Trial,
    Weights,
)
from bench.store.planning import is_trial

STOPPED = "stopped"
"""Outcome of a stretch of work that was interrupted with its state saved."""


class ConflictError(WorkFailedError):
    """A result differs from what the store holds under the same natural key; the stored one stays."""


def trial_row(connection: Connection, key: TrialKey, run_id: str) -> Row[Any]:
    """The trial's row: id, state, attempt, score, score_is_nan; locked, so that no one takes it meanwhile.

    Raises
    ------
    WorkFailedError : it was never planned.
    ClaimLostError : another driver works on it.
    """
    columns = (Trial.id, Trial.state, Trial.attempt, Trial.score, Trial.score_is_nan)
    chosen = (
        select(*columns, Claim.run_id.label("claimed_by"))
        .outerjoin(Claim, Claim.trial_id == Trial.id)
        .where(is_trial(key))
        .with_for_update(of=Trial)
    )
    row = connection.execute(chosen).first()
    if row is None:
        raise WorkFailedError(f"trial {key} is not in the store", "Trials are planned before they run.")
    check_holder(row, run_id)
    return row


def evaluation(connection: Connection, record: EvaluationRecord, run_id: str) -> None:
    """Store an evaluation with its episodes.

    Two are the same when step, physics and every episode agree; seconds and metrics may differ, because an
    evaluation that was cut off is repeated whole.
    """
    trial = trial_row(connection, record.trial, run_id)
    natural_key = {"trial_id": trial.id, "attempt": trial.attempt, "number": record.number}
    facts = {"step": record.step, "physics": record.physics}
    episodes = _episodes(record)
    stored = _find(connection, Evaluation, natural_key)
    if stored is not None:
        if not _has(stored, facts) or _stored_episodes(connection, stored["id"]) != episodes:
            raise _conflict(trial.id, f"evaluation {record.number}")
        return
    row = {
        **natural_key,
        **facts,
        "run_id": run_id,
        "seconds": record.seconds,
        "metrics": metrics_to_json(record.metrics),
        "evaluated_at": record.evaluated_at or datetime.now(UTC),
    }
    row_id = connection.scalar(insert(Evaluation).values(row).returning(Evaluation.id))
    connection.execute(insert(Episode), [{"evaluation_id": row_id, **episode} for episode in episodes])


def timing(connection: Connection, record: TimingRecord, run_id: str) -> None:
    """Store a duration; without a time of measurement, an equal one counts as the same."""
    trial_id = None if record.trial is None else trial_row(connection, record.trial, run_id).id
    measured = {name: value for name, value in vars(record).items() if name not in ("trial", "measured_at")}
    owner = {"trial_id": trial_id, "run_id": run_id}
    if record.measured_at is None:
        if _find(connection, Duration, {**owner, **measured}) is None:
            connection.execute(insert(Duration).values(**owner, **measured, measured_at=datetime.now(UTC)))
        return
    names = ("algorithm", "variant", "task", "quantity")
    natural_key = {**owner, **{name: measured[name] for name in names}, "measured_at": record.measured_at}
    stored = _find(connection, Duration, natural_key)
    if stored is None:
        connection.execute(insert(Duration).values({**natural_key, **measured}))
    elif not _has(stored, measured):
        raise _conflict(trial_id, f"timing {record.quantity!r} of {record.measured_at.isoformat()}")


def failure(connection: Connection, record: FailureRecord, run_id: str) -> None:
    """Store why an attempt failed. A trial that has finished stays finished."""
    trial = trial_row(connection, record.trial, run_id)
    facts = {
        "trial_id": trial.id,
        "attempt": trial.attempt,
        "step": record.step,
        "error": record.error,
        "message": storable(record.message),
        "traceback": storable(record.traceback),
    }
    if _find(connection, Failure, facts) is None:
        times = {"failed_at": record.failed_at or datetime.now(UTC)}
        row = {**facts, **times, "run_id": run_id, "last_metrics": metrics_to_json(record.last_metrics)}
        connection.execute(insert(Failure).values(row))
    if trial.state != FINISHED:
        connection.execute(update(Trial).where(Trial.id == trial.id).values(state=FAILED, run_id=run_id))
        release(connection, run_id, [trial.id])
        end_executions(connection, [trial.id], FAILED, record.step)


def weights(connection: Connection, record: WeightsRecord, run_id: str) -> None:
    """Store where weights lie and what their hash is."""
    trial = trial_row(connection, record.trial, run_id)
    natural_key = {"trial_id": trial.id, "attempt": trial.attempt, "role": record.role}
    stored = _find(connection, Weights, natural_key)
    facts = {"path": record.path, "sha256": record.sha256, "size_bytes": record.bytes}
    if stored is None:
        connection.execute(insert(Weights).values({**natural_key, **facts, "run_id": run_id}))
    elif not _has(stored, facts):
        raise _conflict(trial.id, f"weights {record.role!r}")


def finished(connection: Connection, record: FinishedRecord, run_id: str) -> None:
    """Mark a trial as finished; again with the same score it changes nothing."""
    trial = trial_row(connection, record.trial, run_id)
    score = number_columns("score", record.score)
    if trial.state == FINISHED:
        if {"score": trial.score, "score_is_nan": trial.score_is_nan} != score:
            raise _conflict(trial.id, "the score")
        return
    if trial.state == FAILED:
        raise ConflictError(
            f"trial {trial.id} has failed, so it cannot finish",
            "A failure of this attempt is stored.",
            "Ask for it again with: bench run ... --retry failed",
        )
    values = {
        **score,
        "state": FINISHED,
        "run_id": run_id,
        "training_seconds": record.training_seconds,
        "evaluation_seconds": record.evaluation_seconds,
        "peak_memory_bytes": record.peak_memory_bytes,
        "finished_at": record.finished_at,
    }
    connection.execute(update(Trial).where(Trial.id == trial.id).values(values))
    release(connection, run_id, [trial.id])
    end_executions(connection, [trial.id], FINISHED, record.iterations, record.peak_memory_bytes)


def execution(connection: Connection, key: TrialKey, record: ExecutionRecord, run_id: str) -> None:
    """Store that a process has begun, or goes on, to work on a trial."""
    trial = trial_row(connection, key, run_id)
    natural_key = {"trial_id": trial.id, "attempt": trial.attempt, "started_at": record.started_at}
    if _find(connection, Execution, natural_key) is None:
        facts = vars(record) | {"stack": list(record.stack), "run_id": run_id}
        connection.execute(insert(Execution).values(facts | natural_key))


def stopped(connection: Connection, key: TrialKey, iterations: int, run_id: str) -> None:
    """Note that work on a trial was stopped with its state saved; anyone may continue it."""
    trial = trial_row(connection, key, run_id)
    if trial.state == RUNNING:
        release(connection, run_id, [trial.id])
        end_executions(connection, [trial.id], STOPPED, iterations)


def end_executions(
    connection: Connection, trial_ids: Sequence[int], outcome: str, iterations: int, peak: int | None = None
) -> None:
    """Close the last stretch of work on each trial; earlier ones without an end were cut off and stay so."""
    of_trials = Execution.trial_id.in_(trial_ids)
    latest = select(func.max(Execution.id)).where(of_trials).group_by(Execution.trial_id)
    values = {"ended_at": datetime.now(UTC), "outcome": outcome, "to_iteration": iterations}
    chosen = update(Execution).where(Execution.id.in_(latest), Execution.outcome.is_(None))
    connection.execute(chosen.values(values | {"peak_memory_bytes": peak}))


def _episodes(record: EvaluationRecord) -> list[dict[str, Any]]:
    if not record.returns:
        raise ValueError(f"evaluation {record.number} of {record.trial} holds no episodes")
    episodes = zip(record.returns, record.lengths, record.scores, strict=True)
    return [
        {
            "number": number,
            **number_columns("return_", return_),
            **number_columns("score", score),
            "length": length,
        }
        for number, (return_, length, score) in enumerate(episodes, start=1)
    ]


def _stored_episodes(connection: Connection, evaluation_id: int) -> list[dict[str, Any]]:
    columns = [column for column in Episode.__table__.columns if column.name != "evaluation_id"]
    chosen = select(*columns).where(Episode.evaluation_id == evaluation_id).order_by(Episode.number)
    return [dict(row) for row in connection.execute(chosen).mappings()]


def _find(connection: Connection, table: type[Base], values: dict[str, Any]) -> dict[str, Any] | None:
    conditions = [getattr(table, name) == value for name, value in values.items()]
    row = connection.execute(select(table.__table__).where(*conditions)).mappings().first()
    return None if row is None else dict(row)


def _has(stored: dict[str, Any], facts: dict[str, Any]) -> bool:
    return all(stored[name] == value for name, value in facts.items())


def _conflict(trial_id: int | None, which: str) -> ConflictError:
    place = "" if trial_id is None else f" of trial {trial_id}"
    return ConflictError(
        f"{which}{place} differs from what is stored",
        "The stored result stays. Continuing on another device or thread count gives other last digits.",
        "Continue it where it was begun, or run it anew beside the stored results: --retry failed",
    )
