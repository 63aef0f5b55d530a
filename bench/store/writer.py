"""The only code that writes results: short transactions, acknowledged by returning, safe to repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Self

from sqlalchemy import Connection, insert, select, update

from bench.errors import BenchError
from bench.records import (
    FINISHED,
    RUNNING,
    DatasetRecord,
    EvaluationRecord,
    FailureRecord,
    FinishedRecord,
    ResultRecord,
    RunRecord,
    TimingRecord,
    TrialKey,
    TrialRecord,
    WeightsRecord,
)
from bench.store import planning, recording
from bench.store.database import Store, transaction
from bench.store.faults import explained
from bench.store.lock import only_writer
from bench.store.models import Run, Trial


class Writer:
    """Writes one run's results into a store; a context manager that keeps other writers of the file out.

    Each method is one transaction; when it returns, the rows are on disk. The same record again changes
    nothing; another record under the same natural key raises `ConflictError` and changes nothing either.

    Raises
    ------
    BenchError : on entering, where another process writes this store, or where it was opened read-only.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held = ExitStack()
        self._run_id: str | None = None

    def __enter__(self) -> Self:
        if self._store.read_only:
            raise BenchError(f"store {self._store.location} was opened read-only")
        self._held.enter_context(only_writer(self._store.location))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def begin_run(self, run: RunRecord) -> None:
        """Store the run; all that follows is marked with it."""
        with self._transaction() as connection:
            if not connection.scalar(select(Run.run_id).where(Run.run_id == run.run_id)):
                connection.execute(insert(Run).values(vars(run)))
        self._run_id = run.run_id

    def end_run(self, run_id: str) -> None:
        """Note when the run ended; one that was killed has no end."""
        with self._transaction() as connection:
            connection.execute(update(Run).where(Run.run_id == run_id).values(ended_at=datetime.now(UTC)))

    def plan(self, trials: Sequence[TrialRecord], *, retry: bool = False) -> dict[TrialKey, str]:
        """Store the trials that are not there yet, in one transaction; return the state of each.

        With `retry`, those that failed become planned again, as a further attempt.
        """
        with self._transaction() as connection:
            return planning.plan(connection, trials, self._run, retry=retry)

    def note_dataset(self, dataset: DatasetRecord) -> None:
        """Store what is known about a dataset; `unverified` never replaces an answer."""
        with self._transaction() as connection:
            planning.dataset_id(connection, dataset)

    def start(self, key: TrialKey) -> None:
        """Mark a planned trial, or one that was cut off, as running in this run."""
        now = datetime.now(UTC)
        with self._transaction() as connection:
            trial = recording.trial_row(connection, key)
            if trial.state == FINISHED:
                raise recording.ConflictError(f"trial {trial.id} has finished already")
            values = {"state": RUNNING, "run_id": self._run, "started_at": trial.started_at or now}
            connection.execute(update(Trial).where(Trial.id == trial.id).values(values))

    def record(self, record: ResultRecord) -> None:
        """Store one result of the current run; returning acknowledges it.

        Raises
        ------
        ConflictError : another result stands under the same natural key; that one stays.
        """
        with self._transaction() as connection:
            match record:
                case EvaluationRecord():
                    recording.evaluation(connection, record, self._run)
                case TimingRecord():
                    recording.timing(connection, record, self._run)
                case FailureRecord():
                    recording.failure(connection, record, self._run)
                case WeightsRecord():
                    recording.weights(connection, record)
                case FinishedRecord():
                    recording.finished(connection, record, self._run)

    @property
    def _run(self) -> str:
        if self._run_id is None:
            raise RuntimeError("begin_run comes before anything that belongs to a run")
        return self._run_id

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with explained(str(self._store.location)), transaction(self._store.engine) as connection:
            yield connection
