"""The driver's side of a run: hands out stacks, stores what workers send, keeps checkpoints and claims.

All of it lives in the driver's process, wherever the workers are: the store is written with the driver's
rights, environment and folder, by one writer, and nothing of it is lost with a process of Ray's.
"""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench.errors import BenchError, WorkFailedError
from bench.execute.messages import (
    ChannelError,
    Completed,
    Ended,
    Event,
    Named,
    Notice,
    PhaseKey,
    PhaseMade,
    Progress,
    Result,
    Saved,
    Shown,
    StackPlan,
    Started,
    Stopped,
    TrialFinished,
    Weights,
    Worker,
    failures_of,
)
from bench.execute.queue import StackQueue
from bench.execute.shared_phases import keep, made_folder
from bench.files import written_whole
from bench.records import (
    FAILED,
    FINAL,
    FINISHED,
    EvaluationRecord,
    FailureRecord,
    StackProgress,
    TrialKey,
    WeightsRecord,
)
from bench.store.claims import HEARTBEAT_SECONDS, ClaimLostError
from bench.store.faults import StoreUnavailableError
from bench.store.recording import ConflictError
from bench.store.retry import retry_while_unavailable
from bench.store.weight_files import require_no_links, weights_name
from bench.store.writer import Writer
from bench.training.checkpoint import Checkpoint, SharedFolder

PIECE_BYTES = 8 * 2**20
"""A dataset travels in pieces of this size."""
STACKS_OF_A_BEAT = 100
BEAT_PAUSE_SECONDS = 0.01
"""Between the claims of so many stacks and the next: results that wait for the store get in."""
NOT_BEGUN = "it ended before it had begun"


class Watcher(Protocol):
    """Shows a person what happens."""

    def watch(self, event: Shown) -> None:
        """Called after each event has been dealt with."""


class WorkerDiedError(Exception):
    """A worker process ended without a word: killed, out of memory, or its machine was lost."""


class StackResults:
    """What is kept of one claimed stack.

    Parameters
    ----------
    claimed : trials whose results are wanted; other seeds of the stack only accompany them.
    ended : counts trials by their state, as they end.
    folder : the store's folder; weights go into `weights/` below it, checkpoints into `checkpoints/` where
        the plan names no shared folder.
    stopped : whether a person wants the driver to end.
    """

    def __init__(
        self,
        plan: StackPlan,
        claimed: tuple[TrialKey, ...],
        ended: Counter[str],
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
        self._ended = ended
        self._writer = writer
        self._folder = folder
        self._checkpoints = plan.checkpoints_in(plan.shared.path if plan.shared else folder / "checkpoints")
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

    def phase_made(self, key: PhaseKey) -> tuple[Checkpoint | None, list[str]]:
        """What is kept of a phase that other methods have too, and a sentence for each fault of it."""
        return made_folder(self._folder, key).load()

    def remove_checkpoints(self) -> None:
        """Drop checkpoints of earlier attempts, which a stack that begins anew must not take up."""
        self._checkpoints.remove()

    def store(self, event: Event) -> None:
        """Deal with one event of the worker; returning acknowledges it.

        While the store cannot take anything in, this waits.

        Raises
        ------
        BenchError : it cannot be stored, and waiting would not help.
        """
        try:
            shown = retry_while_unavailable(lambda: self._deal_with(event), self._notify, self._stopped)
        except ClaimLostError as error:
            self.abandon(error)
            return
        except OSError as error:
            advice = "See to that file or folder, then give the same command again: what was stored is safe."
            what = f"cannot write {error.filename or 'a file'}"
            raise WorkFailedError(what, f"{error.strerror or error}.", advice) from error
        if shown is not None:
            self._watcher.watch(shown)

    def abandon(self, reason: ClaimLostError) -> None:
        """Another driver works on it by now: nothing of it is stored any more."""
        if not self.released:
            self.released = True
            self._notify(f"{self.plan.title}: given up. {reason.why} {reason.do_this}")

    def fail(self, reason: str) -> None:
        """Store that its worker was lost, as the failure of what was still open."""
        done = self.progress.iterations_done if self.progress else 0
        for failure in failures_of(self.plan, WorkerDiedError(reason), step=done):
            self.store(failure)

    def _notify(self, text: str) -> None:
        self._watcher.watch(Notice(text))

    def _deal_with(self, event: Event) -> Event | None:
        """Store what the event holds; return what is to be shown of it."""
        match event:
            case Started():
                self._writer.begin_execution(sorted(self.open, key=lambda key: key.seed), event.execution)
            case Progress():
                self.progress = event.progress
            case Saved() | Named():
                # A driver that slept for minutes must not write where its successor writes by now.
                if not self.released and not self._writer.lost(frozenset(self.open)):
                    self._keep_checkpoint(event)
                return None
            case PhaseMade():
                # Whoever works on the stack by now: it is what that one would make.
                keep(self._folder, event)
                return None
            case Stopped():
                self._stop(event)
            case Completed():
                # Where another driver has taken over they are its checkpoints.
                if not self.released:
                    self._checkpoints.remove()
            case EvaluationRecord() | FailureRecord() | Weights() | TrialFinished():
                return self._result(event)
        return event

    def _keep_checkpoint(self, event: Saved | Named) -> None:
        if isinstance(event, Saved):
            self._checkpoints.save(event.checkpoint)
        else:
            self._checkpoints.keep(event.delivered)

    def _stop(self, event: Stopped) -> None:
        if self.released:
            return
        self._writer.stop(sorted(self.open, key=lambda key: key.seed), event.iterations)
        if not self.open:
            self._checkpoints.remove()
        self.released = True

    def _result(self, event: Result) -> Result | None:
        key = event.finished.trial if isinstance(event, TrialFinished) else event.trial
        if self.released or key not in self.open:
            # Of a seed that only accompanies the others, or that has ended before.
            return None
        if isinstance(event, FailureRecord) and not event.last_metrics:
            event = replace(event, last_metrics=self._last_metrics.get(key, {}))
        try:
            self._write(event)
        except ConflictError as error:
            # This trial's numbers do not repeat; the others' are none the worse for it.
            step = event.step if isinstance(event, EvaluationRecord) else 0
            event = replace(_failure_of(key, step, error), last_metrics=self._last_metrics.get(key, {}))
            self._write(event)
        match event:
            case EvaluationRecord():
                self._last_metrics[key] = event.metrics
            case FailureRecord():
                self.open.discard(key)
                self._ended[FAILED] += 1
            case TrialFinished():
                self.open.discard(key)
                self._ended[FINISHED] += 1
        return event

    def _write(self, event: Result) -> None:
        """Into the store, its files before the rows that name them."""
        match event:
            case TrialFinished():
                weights = self._write_weights(event.finished.trial, FINAL, event.weights)
                self._writer.record(weights, *event.timings, event.finished)
            case Weights():
                self._writer.record(self._write_weights(event.trial, event.role, event.content))
            case _:
                self._writer.record(event)

    def _write_weights(self, key: TrialKey, role: str, content: bytes) -> WeightsRecord:
        stem = f"{key.algorithm}-{key.variant}-{key.task}-{key.config_hash[:12]}-seed-{key.seed}"
        digest = hashlib.sha256(content).hexdigest()
        # Named by content too: another attempt's weights must not replace these under their row.
        name = weights_name(f"{stem}-{role}-{digest[:8]}")
        require_no_links(self._folder)
        with written_whole(self._folder / name) as temporary:
            temporary.write_bytes(content)
        return WeightsRecord(key, role, name, digest, len(content))


class Keeper:
    """Hands out the stacks of a run and takes in what their workers send.

    Threads may share it: those of local workers, and the heartbeat's. A worker is known by its name; once its
    process is lost, only another process of that name is listened to. So one that was given up for lost, and
    comes back, is refused and ends.

    Parameters
    ----------
    folder : the store's.
    stop : set when a person wants the run to end; set here when it cannot go on.
    code_sha256 : of the source files that this driver runs.
    max_retries : how often a stack is taken up again whose worker's process was lost.
    shared : a folder of checkpoints that workers write into themselves; None: the driver writes them beside
        the store.
    """

    def __init__(
        self,
        queue: StackQueue,
        writer: Writer,
        folder: Path,
        watcher: Watcher,
        stop: threading.Event,
        *,
        code_sha256: str,
        max_retries: int,
        shared: SharedFolder | None = None,
    ) -> None:
        self.stop = stop
        self.code_sha256 = code_sha256
        self.shared = shared
        self.concurrent_stacks = 1
        """How many stacks run at once; stands in their plans."""
        self.error: Exception | None = None
        """What ended the run: a result that could not be stored, a worker with other code."""
        self.ended: Counter[str] = Counter()
        """Trials that have ended here, by their state."""
        self._queue = queue
        self._writer = writer
        self._folder = folder
        self._watcher = watcher
        self._max_retries = max_retries
        self._running: dict[str, tuple[Worker, StackResults]] = {}
        """By the worker's name."""
        self._waiting: list[StackResults] = []
        """Claimed, without a worker: its process was lost, or none has come yet."""
        self._never_begun: Counter[str] = Counter()
        """Worker's name -> processes of it that were lost before they asked for a stack."""
        self._said_waiting = False
        self._turn = threading.RLock()
        """One call at a time, but for what takes long."""

    @property
    def exhausted(self) -> bool:
        """Whether no stack will be handed out any more."""
        return self.stop.is_set() or (not self._waiting and self._queue.exhausted)

    def stacks_left(self) -> int:
        """How many stacks may still be handed out; other drivers may work on some of them."""
        return max(len(self._waiting), self._queue.stacks_left() - len(self._running))

    # Stacks

    def reserve(self) -> bool:
        """Claim a stack for the next worker, unless one waits for it; False where none is free now."""
        with self._turn:
            # Of those that waited, another driver may have taken over some.
            self._waiting = [results for results in self._waiting if not results.released]
            if not self._waiting and (results := self._claimed()) is not None:
                self._waiting.append(results)
            return bool(self._waiting)

    def is_idle(self) -> bool:
        """Whether no worker works on a stack, and the next one would get none.

        Where one is free, it is claimed for the next worker.

        Raises
        ------
        BenchError : the store cannot be reached, and the run is to end.
        """
        return not self._running and (self.stop.is_set() or not self.reserve())

    def next_stack(self, worker: Worker) -> StackPlan | None:
        """The next stack's plan; None where no stack is free at the moment, or none is left.

        The same to a worker that asks twice, as a message may come twice.

        Raises
        ------
        ChannelError : another process has taken this worker's place.
        BenchError : it runs other code than this driver, or does not see the shared folder.
        """
        with self._turn:
            if worker.name in self._running:
                return self._results_of(worker).plan
            self._require_same_code(worker)
            self._require_same_folder(worker)
            self._never_begun.pop(worker.name, None)
            if self.stop.is_set() or not self.reserve():
                return None
            results = self._waiting.pop(0)
            self._running[worker.name] = worker, results
            return results.plan

    def returned(self, name: str) -> None:
        """A worker's process has ended after telling all that it had to tell."""
        with self._turn:
            if name in self._running:
                _, results = self._running.pop(name)
                self._end(results)

    def lost(self, name: str, reason: str) -> None:
        """A worker's process was lost: its stack is taken up again, or failed, as it is after so many times.

        `reason` says why, as part of a sentence.

        Raises
        ------
        BenchError : the failure cannot be stored; a worker was lost again and again before it had begun.
        """
        if name not in self._running:
            self._begin_again(name, reason)
            return
        _, results = self._running[name]
        again = results.open and not results.released and results.lost_processes < self._max_retries
        if again and not self.stop.is_set():
            results.lost_processes += 1
            self._waiting.append(results)
            del self._running[name]
            self._watcher.watch(Ended(results.plan.title))
            self._notify_of_loss(results.plan.title, reason, results.lost_processes)
            return
        del self._running[name]
        if not self.stop.is_set():
            results.fail(reason)
        self._end(results)

    def fail(self, error: Exception) -> None:
        """End the run for this reason; what the workers still hand over may get through."""
        self.error = self.error or error
        self.stop.set()

    # What a worker asks for and hands over

    def receive(self, worker: Worker, event: Event) -> bool:
        """Deal with an event of a worker; returning acknowledges it, and says whether to save and end.

        Raises
        ------
        ChannelError : no process of that kind is known, or it was given up for lost.
        BenchError : the event cannot be stored, and waiting would not help.
        """
        results = self._results_of(worker)
        if isinstance(event, Saved | Named):
            # Seconds where it is large, and the folder is this stack's alone: the others need not wait.
            results.store(event)
        else:
            with self._turn:
                results.store(event)
        return results.should_stop

    def should_stop(self, worker: Worker) -> bool:
        """Whether a worker is to save its stack's state and end."""
        return self._results_of(worker).should_stop

    def checkpoint(self, worker: Worker) -> tuple[Checkpoint | None, list[str]]:
        """The last intact checkpoint of its stack, and a sentence for each that had to be passed over."""
        return self._results_of(worker).checkpoint()

    def phase_made(self, worker: Worker, key: PhaseKey) -> tuple[Checkpoint | None, list[str]]:
        """What is kept of a phase that other methods share, and a sentence for each fault of it."""
        return self._results_of(worker).phase_made(key)

    def dataset_piece(self, worker: Worker, offset: int) -> bytes:
        """`PIECE_BYTES` of the dataset of its stack, from `offset` on; empty behind the end."""
        with self._results_of(worker).plan.data_path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)

    # Claims

    def heartbeat(self) -> None:
        """Keep the claims of this run alive, and notice what another driver has taken over."""
        running = [results for _, results in list(self._running.values())]
        stacks = [results for results in (*running, *self._waiting) if not results.released]
        for first in range(0, len(stacks), STACKS_OF_A_BEAT):
            if first:
                time.sleep(BEAT_PAUSE_SECONDS)
            try:
                self._beat(stacks[first : first + STACKS_OF_A_BEAT])
            except StoreUnavailableError:
                # Whoever stores a result meets the same trouble and tells a person; the next beat may get
                # through.
                return

    def _beat(self, stacks: Sequence[StackResults]) -> None:
        progress = {key: results.progress for results in stacks for key in list(results.open)}
        lost = self._writer.heartbeat(progress)
        for results in stacks:
            if lost & results.open:
                results.abandon(ClaimLostError("", "Another driver has taken it over.", "Its results count."))

    def _claimed(self) -> StackResults | None:
        found = self._queue.next()
        if found is None:
            self._say_waiting()
            return None
        plan, claim = found
        plan = replace(plan, concurrent_stacks=self.concurrent_stacks, shared=self.shared)
        results = StackResults(
            plan, claim.claimed, self.ended, self._writer, self._folder, self._watcher, self.stop.is_set
        )
        for _, other in self._running.values():
            # Taken over while this driver slept, by one that has died since.
            if not other.open.isdisjoint(results.open):
                other.abandon(ClaimLostError("", "It was silent for too long.", "It is taken up again."))
        if claim.is_fresh:
            results.remove_checkpoints()
        return results

    def _results_of(self, worker: Worker) -> StackResults:
        process, results = self._running.get(worker.name, (None, None))
        if results is None or process != worker:
            reason = "Its stack was taken up again elsewhere, or the run has ended."
            raise ChannelError("the driver refuses this worker", reason)
        return results

    def _end(self, results: StackResults) -> None:
        self._queue.look_again()
        self._watcher.watch(Ended(results.plan.title))

    def _begin_again(self, name: str, reason: str) -> None:
        self._never_begun[name] += 1
        times = self._never_begun[name]
        if times > self._max_retries:
            advice = "Look at the memory and the log of the machines, then give the same command again."
            why = f"{NOT_BEGUN}: {reason}."
            raise WorkFailedError("no worker gets as far as its first question", why, advice)
        if not self.stop.is_set():
            self._notify_of_loss("a worker", f"{NOT_BEGUN}: {reason}", times)

    def _notify_of_loss(self, whose: str, reason: str, times: int) -> None:
        retry = f"retry {times} of {self._max_retries}"
        self._watcher.watch(Notice(f"{whose}: its process was lost ({reason}); {retry}"))

    def _say_waiting(self) -> None:
        if not (self._queue.exhausted or self._running or self._said_waiting):
            self._said_waiting = True
            self._watcher.watch(Notice("Other drivers work on all that is left; waiting for them."))

    def _require_same_code(self, worker: Worker) -> None:
        if worker.code_sha256 == self.code_sha256:
            return
        hashes = f"Source files: SHA-256 {worker.code_sha256[:12]} there, {self.code_sha256[:12]} here."
        if worker.hostname == socket.gethostname():
            what = "the code of bench has changed since this run began"
            advice = (
                "Give the same command again to go on with the code as it is now. If that does not help, the"
                " workers find another bench than this driver: install the same for both."
            )
            raise BenchError(what, hashes, advice)
        raise BenchError(
            f"the worker on {worker.hostname} runs other code than this driver",
            hashes,
            "Install the same version of bench on every machine of the cluster.",
        )

    def _require_same_folder(self, worker: Worker) -> None:
        if self.shared is not None and not worker.sees_shared:
            raise BenchError(
                f"the worker on {worker.hostname} does not see {self.shared.path}",
                "All machines are to share that folder; there is none at this path there, or another one.",
                "Name one that they share with --shared-checkpoints; without it checkpoints travel.",
            )


@contextmanager
def beating(keeper: Keeper, seconds: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Keep the claims alive in the background, every so many seconds, until the end of the block.

    A heart that fails stops the run, so that the stacks save their states, and raises at the end.
    """
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            keeper.heartbeat()

    with ThreadPoolExecutor(1, thread_name_prefix="heartbeat") as thread:
        heart = thread.submit(beat)
        heart.add_done_callback(lambda done: keeper.stop.set() if done.exception() else None)
        try:
            yield
        finally:
            over.set()
    heart.result()


def _failure_of(key: TrialKey, step: int, error: ConflictError) -> FailureRecord:
    return FailureRecord(
        trial=key,
        step=step,
        error=type(error).__name__,
        message=str(error),
        traceback="",
        failed_at=datetime.now(UTC),
    )
