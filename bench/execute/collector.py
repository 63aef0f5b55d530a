"""The driver's end: what workers send goes into the store, and on to whoever watches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench.execute.events import Event, Progress, Started, Stopped, Weights
from bench.files import written_whole
from bench.records import (
    FAILED,
    FINISHED,
    EvaluationRecord,
    FailureRecord,
    FinishedRecord,
    ResultRecord,
    TrialKey,
    WeightsRecord,
)
from bench.store.recording import ConflictError
from bench.store.writer import Writer


class Watcher(Protocol):
    """Shows a person what happens."""

    def watch(self, event: Event) -> None:
        """Called after each event has been dealt with."""


class Collector:
    """Stores each event's result before it returns; counts what finished and what failed.

    Parameters
    ----------
    states : state of every trial in the store; results of trials that finished before are not stored again.
    folder : the store's folder; weights go into `weights/` below it.
    """

    def __init__(
        self,
        writer: Writer,
        folder: Path,
        states: Mapping[TrialKey, str],
        watcher: Watcher,
    ) -> None:
        self._writer = writer
        self._folder = folder
        self._states = dict(states)
        self._watcher = watcher
        self.finished = 0
        self.failed = 0

    @property
    def unfinished(self) -> int:
        """Trials that neither finished nor failed: of stacks that were stopped, or never begun."""
        return sum(state not in (FINISHED, FAILED) for state in self._states.values())

    def receive(self, event: Event) -> None:
        """Deal with one event; returning acknowledges it."""
        match event:
            case Started():
                left = [key for key in event.trials if self._states.get(key) not in (FINISHED, FAILED)]
                if left:
                    self._writer.claim(left[0].cell, {key.seed for key in left}, len(left))
            case Weights():
                if self._states.get(event.trial) not in (FINISHED, FAILED):
                    self._store(self._keep(event))
            case Progress() | Stopped():
                pass
            case _:
                self._store(event)
        self._watcher.watch(event)

    def _store(self, record: ResultRecord) -> None:
        if self._states.get(record.trial) in (FINISHED, FAILED):
            # Told before, or of a trial that failed and was not asked for again.
            return
        try:
            self._writer.record(record)
        except ConflictError as error:
            # This trial's numbers do not repeat; the others' are none the worse for it.
            self.receive(_failure_of(record, error))
            return
        if isinstance(record, FinishedRecord):
            self._states[record.trial] = FINISHED
            self.finished += 1
        elif isinstance(record, FailureRecord):
            self._states[record.trial] = FAILED
            self.failed += 1

    def _keep(self, weights: Weights) -> WeightsRecord:
        key = weights.trial
        stem = f"{key.algorithm}-{key.variant}-{key.task}-{key.config_hash[:12]}-seed-{key.seed}"
        digest = hashlib.sha256(weights.content).hexdigest()
        # Named by content too: another attempt's weights must not replace these under their row.
        path = self._folder / "weights" / f"{stem}-{weights.role}-{digest[:8]}.safetensors"
        with written_whole(path) as temporary:
            temporary.write_bytes(weights.content)
        relative = path.relative_to(self._folder).as_posix()
        return WeightsRecord(key, weights.role, relative, digest, len(weights.content))


def _failure_of(record: ResultRecord, error: ConflictError) -> FailureRecord:
    step = record.step if isinstance(record, EvaluationRecord) else 0
    return FailureRecord(
        trial=record.trial,
        step=step,
        error=type(error).__name__,
        message=str(error),
        traceback="",
        failed_at=datetime.now(UTC),
    )
