"""Rows of results. Each function stores a record, or finds it stored already, or raises a conflict.

The statements are made once: making one takes SQLAlchemy longer than the database needs to carry it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, delete, func, insert, select, update

from bench.errors import WorkFailedError
from bench.records import (
    FAILED,
    FINISHED,
    RUNNING,
    EvaluationRecord,
    ExecutionRecord,
    FailureRecord,
    FinishedRecord,
    ResultRecord,
    TimingRecord,
    TrialKey,
    WeightsRecord,
)
from bench.store.claims import check_holder
from bench.store.columns import metrics_to_json, number_columns, storable
from bench.store.models import (
    AnyRow,
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
from bench.store.planning import KEY_COLUMNS

STOPPED = "stopped"
"""Outcome of a stretch of work that was interrupted with its state saved."""


def _by(table: type[Base], *names: str) -> Select[Any]:
    """The rows of a table that have given values in these columns."""
    columns = table.__table__.columns
    return select(*columns).where(*(columns[name] == bindparam(name) for name in names))


_TRIAL = (
    select(Trial.id, Trial.state, Trial.attempt, Trial.run_id, Trial.score, Trial.score_is_nan)
    .add_columns(Claim.run_id.label("claimed_by"))
    .outerjoin(Claim, Claim.trial_id == Trial.id)
    .where(*(column == bindparam(column.key) for column in KEY_COLUMNS))
)
_TRIAL_AND_EVALUATION = _TRIAL.add_columns(
    Evaluation.id.label("evaluation_id"), Evaluation.step, Evaluation.physics
).outerjoin(
    Evaluation,
    (Evaluation.trial_id == Trial.id)
    & (Evaluation.attempt == Trial.attempt)
    & (Evaluation.number == bindparam("number")),
)
"""With the evaluation of that number, where there is one."""
_TRIAL_AND_WEIGHTS = _TRIAL.add_columns(Weights.path, Weights.sha256, Weights.size_bytes).outerjoin(
    Weights,
    (Weights.trial_id == Trial.id) & (Weights.attempt == Trial.attempt) & (Weights.role == bindparam("role")),
)
"""With the weights of that role, where there are any."""
_EPISODES = _by(Episode, "evaluation_id").order_by(Episode.number)
_DURATIONS = _by(Duration, "trial_id", "run_id")
_DURATIONS_WITHOUT_TRIAL = _by(Duration, "run_id").where(Duration.trial_id.is_(None))
_FAILURES = _by(Failure, "trial_id", "attempt")
_EXECUTION = _by(Execution, "trial_id", "attempt", "started_at")
_INSERTS = {table: insert(table.__table__) for table in (Episode, Duration, Failure, Weights, Execution)}
_INSERT_EVALUATION = insert(Evaluation.__table__).returning(Evaluation.id)
_UPDATE_TRIAL = update(Trial.__table__).where(Trial.id == bindparam("of_trial"))
_RELEASE = delete(Claim.__table__).where(
    Claim.trial_id == bindparam("trial_id"), Claim.run_id == bindparam("run_id")
)
_LAST_EXECUTION = (
    select(func.max(Execution.id)).where(Execution.trial_id == bindparam("of_trial")).scalar_subquery()
)
_END_EXECUTION = update(Execution.__table__).where(
    Execution.id == _LAST_EXECUTION,
    Execution.run_id == bindparam("of_run"),
    Execution.outcome.is_(None),
)


class ConflictError(WorkFailedError):
    """A result differs from what the store holds under the same natural key; the stored one stays."""


def trial_row(
    connection: Connection, key: TrialKey, run_id: str, chosen: Select[Any] = _TRIAL, **more: str | int
) -> AnyRow:
    """The trial's row: id, state, attempt, run_id, score, score_is_nan, claimed_by; `chosen` may add to it.

    Raises
    ------
    WorkFailedError : it was never planned.
    ClaimLostError : another driver works on it, or has ended it.
    """
    row = connection.execute(chosen, vars(key) | more).first()
    if row is None:
        raise WorkFailedError(f"trial {key!r} is not in the store", "Trials are planned before they run.")
    # Anyone may judge stored weights again (numbers 0 and below).
    if "number" not in more or int(more["number"]) > 0:
        check_holder(row, run_id)
    return row


def evaluation(connection: Connection, record: EvaluationRecord, run_id: str) -> None:
    """Store an evaluation with its episodes.

    Two are the same when step, physics and every episode agree; seconds and metrics may differ, because an
    evaluation that was cut off is repeated whole.
    """
    trial = trial_row(connection, record.trial, run_id, _TRIAL_AND_EVALUATION, number=record.number)
    episodes = _episodes(record)
    if trial.evaluation_id is not None:
        same = (trial.step, trial.physics) == (record.step, record.physics)
        if not same or _stored_episodes(connection, trial.evaluation_id) != episodes:
            raise _conflict(trial.id, f"evaluation {record.number}")
        return
    row = {
        "trial_id": trial.id,
        "attempt": trial.attempt,
        "number": record.number,
        "step": record.step,
        "physics": record.physics,
        "run_id": run_id,
        "seconds": record.seconds,
        "metrics": metrics_to_json(record.metrics),
        "evaluated_at": record.evaluated_at or datetime.now(UTC),
    }
    row_id = connection.scalar(_INSERT_EVALUATION, row)
    connection.execute(_INSERTS[Episode], [{"evaluation_id": row_id, **episode} for episode in episodes])


def timings(
    connection: Connection, key: TrialKey | None, records: Sequence[TimingRecord], run_id: str
) -> None:
    """Store durations of a trial, or of none; without a time of measurement, equal ones are the same.

    Together, because what is stored already is asked for once.
    """
    trial_id = None if key is None else trial_row(connection, key, run_id).id
    owner = {"trial_id": trial_id, "run_id": run_id}
    stored = _found(connection, _DURATIONS if trial_id is not None else _DURATIONS_WITHOUT_TRIAL, owner)
    rows = []
    for record in records:
        row = {name: value for name, value in vars(record).items() if name != "trial"}
        if record.measured_at is None:
            del row["measured_at"]
            natural_key = row
        else:
            names = ("algorithm", "variant", "task", "quantity", "measured_at")
            natural_key = {name: row[name] for name in names}
        same = [other for other in stored if _has(other, natural_key)]
        if not same:
            rows.append(owner | {"measured_at": datetime.now(UTC)} | row)
        elif not _has(same[0], row):
            raise _conflict(trial_id, f"timing {record.quantity!r} of {record.measured_at}")
    if rows:
        connection.execute(_INSERTS[Duration], rows)


def failure(connection: Connection, record: FailureRecord, run_id: str) -> None:
    """Store why an attempt failed. A trial that has finished stays finished."""
    trial = trial_row(connection, record.trial, run_id)
    owner = {"trial_id": trial.id, "attempt": trial.attempt}
    texts = {"message": storable(record.message), "traceback": storable(record.traceback)}
    facts = {"step": record.step, "error": record.error, **texts}
    if not any(_has(stored, facts) for stored in _found(connection, _FAILURES, owner)):
        times = {"failed_at": record.failed_at or datetime.now(UTC)}
        metrics = metrics_to_json(record.last_metrics)
        row = {**owner, **facts, **times, "run_id": run_id, "last_metrics": metrics}
        connection.execute(_INSERTS[Failure], row)
    if trial.state != FINISHED:
        connection.execute(_UPDATE_TRIAL, {"of_trial": trial.id, "state": FAILED, "run_id": run_id})
        _release(connection, trial.id, run_id, FAILED, record.step)


def weights(connection: Connection, record: WeightsRecord, run_id: str) -> None:
    """Store where weights lie and what their hash is."""
    trial = trial_row(connection, record.trial, run_id, _TRIAL_AND_WEIGHTS, role=record.role)
    facts = {"path": record.path, "sha256": record.sha256, "size_bytes": record.bytes}
    if trial.path is None:
        owner = {"trial_id": trial.id, "attempt": trial.attempt, "role": record.role, "run_id": run_id}
        connection.execute(_INSERTS[Weights], owner | facts)
    elif not _has(trial._mapping, facts):
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
    costs = ("training_seconds", "evaluation_seconds", "peak_memory_bytes", "finished_at")
    values = {"state": FINISHED, "run_id": run_id, **{name: getattr(record, name) for name in costs}, **score}
    connection.execute(_UPDATE_TRIAL, {"of_trial": trial.id, **values})
    _release(connection, trial.id, run_id, FINISHED, record.iterations, record.peak_memory_bytes)


def execution(connection: Connection, key: TrialKey, record: ExecutionRecord, run_id: str) -> None:
    """Store that a process has begun, or goes on, to work on a trial."""
    trial = trial_row(connection, key, run_id)
    natural_key = {"trial_id": trial.id, "attempt": trial.attempt, "started_at": record.started_at}
    if not _found(connection, _EXECUTION, natural_key):
        facts = vars(record) | {"stack": list(record.stack), "run_id": run_id}
        connection.execute(_INSERTS[Execution], facts | natural_key)


def stopped(connection: Connection, key: TrialKey, iterations: int, run_id: str) -> None:
    """Note that work on a trial was stopped with its state saved; anyone may continue it."""
    trial = trial_row(connection, key, run_id)
    if trial.state == RUNNING:
        _release(connection, trial.id, run_id, STOPPED, iterations)


_ALONE: dict[type[ResultRecord], Callable[[Connection, Any, str], None]] = {
    EvaluationRecord: evaluation,
    FailureRecord: failure,
    WeightsRecord: weights,
    FinishedRecord: finished,
}


def results(connection: Connection, records: Sequence[ResultRecord], run_id: str) -> None:
    """Store records of any kind, durations first: nothing follows the end of a trial."""
    durations = [record for record in records if isinstance(record, TimingRecord)]
    for key in dict.fromkeys(record.trial for record in durations):
        timings(connection, key, [record for record in durations if record.trial == key], run_id)
    for record in records:
        if not isinstance(record, TimingRecord):
            _ALONE[type(record)](connection, record, run_id)


def _release(
    connection: Connection, trial_id: int, run_id: str, outcome: str, iterations: int, peak: int | None = None
) -> None:
    """Give up the claim and close the run's last stretch of work; others without an end were cut off."""
    connection.execute(_RELEASE, {"trial_id": trial_id, "run_id": run_id})
    values = {"ended_at": datetime.now(UTC), "outcome": outcome, "to_iteration": iterations}
    values |= {"of_trial": trial_id, "of_run": run_id, "peak_memory_bytes": peak}
    connection.execute(_END_EXECUTION, values)


def _episodes(record: EvaluationRecord) -> list[dict[str, Any]]:
    if not record.returns:
        raise ValueError(f"evaluation {record.number} of {record.trial!r} holds no episodes")
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
    stored = _found(connection, _EPISODES, {"evaluation_id": evaluation_id})
    return [{name: row[name] for name in row if name != "evaluation_id"} for row in stored]


def _found(connection: Connection, chosen: Select[Any], values: dict[str, Any]) -> Sequence[RowMapping]:
    return connection.execute(chosen, values).mappings().all()


def _has(stored: RowMapping, facts: dict[str, Any]) -> bool:
    return all(stored[name] == value for name, value in facts.items())


def _conflict(trial_id: int | None, which: str) -> ConflictError:
    place = "" if trial_id is None else f" of trial {trial_id}"
    return ConflictError(
        f"{which}{place} differs from what is stored",
        "The stored result stays. Continuing on another device or thread count gives other last digits.",
        "Continue it where it was begun, or run it anew beside the stored results: --retry failed",
    )
