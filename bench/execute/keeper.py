"""The driver's end of one stack: what its worker sends is stored, its checkpoints are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from bench.errors import WorkFailedError
from bench.execute.messages import (
    FINAL,
    Completed,
    Event,
    Notice,
    Progress,
    Saved,
    Shown,
    StackPlan,
    Started,
    Stopped,
    TrialFinished,
    Weights,
    failures_of,
)
from bench.files import written_whole
from bench.records import (
    EvaluationRecord,
    FailureRecord,
    StackProgress,
    TrialKey,
    WeightsRecord,
)
from bench.store.claims import ClaimLostError
from bench.store.recording import ConflictError
from bench.store.retry import retry_while_unavailable
from bench.store.weight_files import require_no_links, weights_name
from bench.store.writer import Writer
from bench.training.checkpoint import Checkpoint, CheckpointFolder

_T = TypeVar("_T")


class Watcher(Protocol):
    """Shows a person what happens."""

    def watch(self, event: Shown) -> None:
        """Called after each event has been dealt with."""


class WorkerDiedError(Exception):
    """A worker process ended without a word: killed, out of memory, or its machine was lost."""


class StackResults:
    """One claimed stack.

    Parameters
    ----------
    claimed : trials whose results are wanted; other seeds of the stack only accompany them.
    folder : the store's folder; weights go into `weights/` below it, checkpoints into `checkpoints/`.
    stopped : whether a person wants the driver to end.
    """

    def __init__(
        self,
        plan: StackPlan,
        claimed: tuple[TrialKey, ...],
        writer: Writer,
        folder: Path,
        watcher: Watcher,
        stopped: Callable[[], bool],
    ) -> None:
        self.plan = plan
        self.open = set(claimed)
        """Claimed trials that have not ended."""
        self.released = False
        """Nothing of it is stored any more: it was stopped in order, or another driver has taken over."""
        self.progress: StackProgress | None = None
        self.lost_processes = 0
        """How often its worker process was lost."""
        self.finished = 0
        self.failed = 0
        self._writer = writer
        self._folder = folder
        self._checkpoints = CheckpointFolder(folder / "checkpoints" / plan.name, plan.identity)
        self._last_metrics: dict[TrialKey, dict[str, float]] = {}
        self._watcher = watcher
        self._stopped = stopped

    @property
    def should_stop(self) -> bool:
        """Whether its worker is to save and end."""
        return self.released or not self.open or self._stopped()

    def checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """Its last intact checkpoint, and a sentence for each that had to be passed over."""
        return self._checkpoints.load()

    def remove_checkpoints(self) -> None:
        """Drop checkpoints of earlier attempts, which a stack that begins anew must not take up."""
        self._checkpoints.remove()

    def receive(self, event: Event) -> None:
        """Deal with one event of the worker; returning acknowledges it.

        While the store cannot take anything in, this waits.

        Raises
        ------
        BenchError : it cannot be stored, and waiting would not help.
        """
        try:
            told = self._patiently(lambda: self._deal_with(event))
        except ClaimLostError as error:
            self.abandon(error)
            return
        except OSError as error:
            advice = "See to that file or folder, then give the same command again: what was stored is safe."
            what = f"cannot write {error.filename or 'a file'}"
            raise WorkFailedError(what, f"{error.strerror or error}.", advice) from error
        if told is not None:
            self._watcher.watch(told)

    def abandon(self, reason: ClaimLostError) -> None:
        """Another driver works on it by now: nothing of it is stored any more."""
        if not self.released:
            self.released = True
            self._watcher.watch(Notice(f"{self.plan.title}: given up. {reason.why} {reason.do_this}"))

    def fail(self, reason: str) -> None:
        """Store that its worker was lost, as the failure of what was still open."""
        done = self.progress.iterations_done if self.progress else 0
        for failure in failures_of(self.plan, WorkerDiedError(reason), step=done):
            self.receive(failure)

    def _patiently(self, action: Callable[[], _T]) -> _T:
        return retry_while_unavailable(action, lambda text: self._watcher.watch(Notice(text)), self._stopped)

    def _deal_with(self, event: Event) -> Event | None:
        """Store what the event holds; return what is to be shown of it."""
        match event:
            case Started():
                self._writer.begin_execution(sorted(self.open, key=lambda key: key.seed), event.execution)
            case Progress():
                self.progress = event.progress
            case Saved():
                self._keep_checkpoint(event.checkpoint)
            case Stopped():
                self._stop(event)
            case Completed():
                self._complete()
            case EvaluationRecord() | FailureRecord() | Weights() | TrialFinished():
                return self._result(event)
        return event

    def _keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        # A driver that slept for minutes must not write where its successor writes by now.
        if not self.released and not self._writer.lost(self.open):
            self._checkpoints.save(checkpoint)

    def _stop(self, event: Stopped) -> None:
        if self.released:
            return
        self._writer.stop(sorted(self.open, key=lambda key: key.seed), event.iterations)
        if not self.open:
            self._checkpoints.remove()
        self.released = True

    def _complete(self) -> None:
        # Where another driver has taken over they are its checkpoints.
        if not self.released:
            self._checkpoints.remove()

    def _result(self, event: EvaluationRecord | FailureRecord | Weights | TrialFinished) -> Event | None:
        key = event.finished.trial if isinstance(event, TrialFinished) else event.trial
        if self.released or key not in self.open:
            # Of a seed that only accompanies the others, or that has ended before.
            return None
        try:
            return self._stored(event)
        except ConflictError as error:
            # This trial's numbers do not repeat; the others' are none the worse for it.
            step = event.step if isinstance(event, EvaluationRecord) else 0
            failure = _failure_of(key, step, error)
            return self._stored(failure)

    def _stored(self, event: EvaluationRecord | FailureRecord | Weights | TrialFinished) -> Event:
        match event:
            case EvaluationRecord():
                self._writer.record(event)
                self._last_metrics[event.trial] = event.metrics
            case Weights():
                self._writer.record(self._keep(event.trial, event.role, event.content))
            case FailureRecord():
                if not event.last_metrics:
                    event = replace(event, last_metrics=self._last_metrics.get(event.trial, {}))
                self._writer.record(event)
                self.open.discard(event.trial)
                self.failed += 1
            case TrialFinished():
                key = event.finished.trial
                kept = self._keep(key, FINAL, event.weights)
                self._writer.finish(event.finished, kept, event.timings)
                self.open.discard(key)
                self.finished += 1
        return event

    def _keep(self, key: TrialKey, role: str, content: bytes) -> WeightsRecord:
        stem = f"{key.algorithm}-{key.variant}-{key.task}-{key.config_hash[:12]}-seed-{key.seed}"
        digest = hashlib.sha256(content).hexdigest()
        # Named by content too: another attempt's weights must not replace these under their row.
        name = weights_name(f"{stem}-{role}-{digest[:8]}")
        require_no_links(self._folder)
        with written_whole(self._folder / name) as temporary:
            temporary.write_bytes(content)
        return WeightsRecord(key, role, name, digest, len(content))


def _failure_of(key: TrialKey, step: int, error: ConflictError) -> FailureRecord:
    return FailureRecord(
        trial=key,
        step=step,
        error=type(error).__name__,
        message=str(error),
        traceback="",
        failed_at=datetime.now(UTC),
    )
