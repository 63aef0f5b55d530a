"""The only code that writes results: short transactions, acknowledged by returning, safe to repeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, insert, select, update

from bench.errors import BenchError
from bench.records import (
    BaselineRecord,
    CellKey,
    DatasetRecord,
    ExecutionRecord,
    NightRecord,
    NoteRecord,
    ResultRecord,
    RunRecord,
    StackProgress,
    TrialKey,
    TrialRecord,
)
from bench.store import claims, nights, planning, recording
from bench.store.claims import ClaimedStack, HeartbeatWatch, Nothing
from bench.store.database import Store, transaction
from bench.store.faults import explained
from bench.store.models import Run
from bench.store.process_lock import held, writing
from bench.store.weight_files import require_no_links


class Writer:
    """Writes one run's results into a store; a context manager.

    Each method is one transaction; when it returns, the rows are on disk. The same record again changes
    nothing; another record under the same natural key raises `ConflictError` and changes nothing either.
    Several drivers, each with its writer, may share a store: who works on a trial is settled by claims.

    Parameters
    ----------
    clock : seconds that only ever go on, by which the heartbeats of other drivers are watched.

    Raises
    ------
    BenchError : on entering, where the store is being upgraded, or where it was opened read-only; its
        folder of weights is a link.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._held = ExitStack()
        self._turn = Lock()
        self._connection: Connection | None = None
        self._run_id: str | None = None
        self._watch: HeartbeatWatch | None = None

    def __enter__(self) -> Self:
        if self._store.read_only:
            raise BenchError(f"store {self._store.location} was opened read-only")
        # Said now and not when the first trial has been trained.
        require_no_links(self._store.folder)
        self._held.enter_context(writing(self._store.location))
        if self._store.location.path is not None:
            # Kept, because taking one takes as long as a short transaction. A server's may break meanwhile.
            connection = self._store.engine.connect().execution_options(writing=True)
            self._connection = self._held.enter_context(connection)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Told of the error, a run that could not let go of its claims leaves a sign that nobody holds them.
        self._held.__exit__(kind, error, trace)

    # Runs

    def begin_run(self, run: RunRecord) -> None:
        """Store the run; all that follows is marked with it."""
        with self.transaction() as connection:
            if not connection.scalar(select(Run.run_id).where(Run.run_id == run.run_id)):
                connection.execute(insert(Run).values(vars(run)))
        if self._run_id != run.run_id:
            self._held.enter_context(held(self._store.folder, run.run_id))
            self._watch = HeartbeatWatch(self._store.folder, run.run_id, self._clock)
        self._run_id = run.run_id

    def end_run(self, run_id: str) -> None:
        """Note when the run ended, and let go of what it still claims; one that was killed has no end."""
        with self.transaction() as connection:
            claims.release(connection, run_id)
            connection.execute(update(Run).where(Run.run_id == run_id).values(ended_at=datetime.now(UTC)))

    # Trials

    def plan(self, trials: Sequence[TrialRecord]) -> dict[TrialKey, str]:
        """Store the trials that are not there yet, in one transaction; return the state of each."""
        with self.transaction() as connection:
            return planning.plan(connection, trials, self._run)

    def retry(self, trials: Collection[TrialKey]) -> frozenset[TrialKey]:
        """Plan a further attempt at those that failed; return these and any whose further attempt is open."""
        with self.transaction() as connection:
            return planning.retry(connection, trials, self._run)

    def note_dataset(self, dataset: DatasetRecord) -> None:
        """Store what is known about a dataset; `unverified` never replaces an answer."""
        with self.transaction() as connection:
            planning.dataset_id(connection, dataset)

    def claim(self, cell: CellKey, seeds: Collection[int], size: int) -> ClaimedStack | Nothing:
        """Claim the next stack of a cell that holds one of `seeds`; fresh ones have at most `size` seeds."""
        with self.transaction() as connection:
            run_id = self._run
            assert self._watch is not None, "it is made with the run"
            return claims.claim_next(connection, cell, seeds, size, run_id, self._watch.is_held)

    def stacks_left(self, cells: Mapping[CellKey, Collection[int]], size: int) -> int:
        """How many stacks the seeds of these cells are that have not ended, whoever works on them."""
        with self._store.connect() as connection:
            return sum(claims.stacks_left(connection, cell, seeds, size) for cell, seeds in cells.items())

    def heartbeat(self, progress: Mapping[TrialKey, StackProgress | None]) -> frozenset[TrialKey]:
        """Keep this run's claims alive, note how far its stacks are; return the trials it has lost."""
        with self.transaction() as connection:
            return claims.heartbeat(connection, self._run, progress)

    def lost(self, trials: Collection[TrialKey]) -> frozenset[TrialKey]:
        """Those of the trials that another driver works on by now, or has ended."""
        with self._store.connect() as connection:
            return claims.lost(connection, self._run, trials)

    def begin_execution(self, trials: Sequence[TrialKey], record: ExecutionRecord) -> None:
        """Store that a process has begun, or goes on, to work on claimed trials."""
        with self.transaction() as connection:
            for key in trials:
                recording.execution(connection, key, record, self._run)

    def stop(self, trials: Sequence[TrialKey], iterations: int) -> None:
        """Let go of trials that were stopped with their state saved after `iterations`."""
        with self.transaction() as connection:
            for key in trials:
                recording.stopped(connection, key, iterations, self._run)

    # Results

    def record(self, *records: ResultRecord) -> None:
        """Store results of the current run in one transaction; returning acknowledges them.

        Raises
        ------
        ConflictError : another result stands under the same natural key; that one stays.
        ClaimLostError : another driver works on the trial by now; nothing is stored.
        """
        with self.transaction() as connection:
            recording.results(connection, records, self._run)

    # Baselines and nights

    def freeze(self, baseline: BaselineRecord) -> None:
        """Store a baseline with copies of its scores; one under that name stays as it is."""
        with self.transaction() as connection:
            nights.freeze(connection, baseline, self._run)

    def annotate(self, note: NoteRecord) -> None:
        """Store what a person wrote about a baseline."""
        with self.transaction() as connection:
            nights.annotate(connection, note)

    def begin_night(self, night: NightRecord) -> None:
        """Store that a night has begun."""
        with self.transaction() as connection:
            nights.begin_night(connection, night)

    def end_night(self, night: NightRecord) -> None:
        """Store how it ended, with its cells and verdicts, in one transaction."""
        with self.transaction() as connection:
            nights.end_night(connection, night)

    @property
    def _run(self) -> str:
        if self._run_id is None:
            raise RuntimeError("begin_run comes before anything that belongs to a run")
        return self._run_id

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction of this writer, for rows that come out of another store (`bench.store.merge`)."""
        with explained(str(self._store.location), self._store.engine), self._turn:
            if self._connection is None:
                with transaction(self._store.engine) as connection:
                    yield connection
            else:
                with self._connection.begin():
                    yield self._connection
