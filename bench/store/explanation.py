"""All that the store knows about one trial's number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection, select

from bench.records import RunRecord, TimingRecord, TrialKey, WeightsRecord
from bench.store.columns import number_from
from bench.store.database import Store
from bench.store.kept_files import fault_of
from bench.store.models import Duration, Episode, Evaluation, Run, Weights
from bench.store.progress import StoredFailure, failures
from bench.store.queries import StoredTrial, find_trial
from bench.store.stretches import Stretch, stretches_of
from bench.store.working import StackAtWork, stacks_at_work

_EPISODE = (Episode.score, Episode.score_is_nan, Episode.return_, Episode.return_is_nan, Episode.length)


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
class Explanation:
    """A trial with all that its number depends on."""

    trial: StoredTrial
    run: RunRecord
    """The run that planned, ran or finished it, whichever came last."""
    at_work: StackAtWork | None
    """Who works on it now."""
    stretches: tuple[Stretch, ...]
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
        run = _run(connection, trial.run_id)
        stretches = tuple(stretches_of(connection, trial_id))
        evaluations = tuple(_evaluations(connection, trial_id, trial.attempt))
        timings = tuple(_timings(connection, trial_id, key))
        files = tuple(_files(connection, store, trial_id, key))
    return Explanation(
        trial=trial,
        run=run,
        at_work=next((stack for stack in stacks_at_work(store) if trial_id in stack.trial_ids), None),
        stretches=stretches,
        evaluations=evaluations,
        timings=timings,
        failures=tuple(failure for failure in failures(store) if failure.trial_id == trial_id),
        files=files,
    )


def _run(connection: Connection, run_id: str) -> RunRecord:
    columns = [getattr(Run, field.name) for field in fields(RunRecord)]
    return RunRecord(**connection.execute(select(*columns).where(Run.run_id == run_id)).mappings().one())


def _evaluations(connection: Connection, trial_id: int, attempt: int) -> list[EvaluationSummary]:
    columns = ("number", "step", "physics", "seconds", "evaluated_at")
    chosen = (
        select(*(getattr(Evaluation, name) for name in columns), *_EPISODE)
        .join(Episode, Episode.evaluation_id == Evaluation.id)
        .where(Evaluation.trial_id == trial_id, Evaluation.attempt == attempt)
        .order_by(Evaluation.number)
    )
    summaries = []
    for _, of in groupby(connection.execute(chosen), key=attrgetter("number")):
        rows = list(of)
        summaries.append(
            EvaluationSummary(
                **{name: getattr(rows[0], name) for name in columns},
                episodes=len(rows),
                mean_score=_mean(number_from(row.score, row.score_is_nan) for row in rows),
                mean_return=_mean(number_from(row.return_, row.return_is_nan) for row in rows),
                mean_length=_mean(row.length for row in rows),
            )
        )
    return summaries


def _mean(values: Iterable[float]) -> float:
    # Not fmean, which refuses infinities of both signs.
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _timings(connection: Connection, trial_id: int, key: TrialKey) -> list[TimingRecord]:
    columns = [getattr(Duration, field.name) for field in fields(TimingRecord) if field.name != "trial"]
    chosen = select(*columns).where(Duration.trial_id == trial_id).order_by(Duration.id)
    return [TimingRecord(trial=key, **row) for row in connection.execute(chosen).mappings()]


def _files(connection: Connection, store: Store, trial_id: int, key: TrialKey) -> list[KeptFile]:
    chosen = (
        select(*Weights.__table__.columns, Run.hardware)
        .outerjoin(Run, Run.run_id == Weights.run_id)
        .where(Weights.trial_id == trial_id)
        .order_by(Weights.attempt, Weights.role)
    )
    files = []
    for row in connection.execute(chosen):
        record = WeightsRecord(key, row.role, row.path, row.sha256, row.size_bytes)
        hostname = row.hardware.get("hostname") if row.hardware else None
        files.append(KeptFile(record, row.attempt, fault_of(store.folder, record), hostname))
    return files
