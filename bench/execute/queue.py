"""What is left of a grid, handed out stack by stack: each is claimed in the store just before it starts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.execute.keeper import StackResults, Watcher
from bench.execute.messages import Ended, Notice, StackPlan
from bench.records import CellKey
from bench.store.claims import HEARTBEAT_SECONDS, ClaimedStack, ClaimLostError, Nothing
from bench.store.faults import StoreUnavailableError
from bench.store.retry import retry_while_unavailable
from bench.store.writer import Writer

LOOK_AGAIN_SECONDS = 2.0
"""Between looks at the store while other drivers hold what is left."""


@dataclass(frozen=True)
class CellOfGrid:
    """The trials of one cell that were asked for."""

    key: CellKey
    seeds: frozenset[int]
    plan: Callable[[Sequence[int]], StackPlan]
    """Makes the plan of a stack of these seeds."""


class StackQueue:
    """Hands out the stacks that are left, as other drivers on the same store do at the same time.

    Parameters
    ----------
    seeds_per_stack : of stacks that were never begun; a cut-off one keeps the seeds it was made of.
    max_retries : how often a stack is taken up again whose worker process was lost.
    """

    def __init__(
        self,
        cells: Sequence[CellOfGrid],
        writer: Writer,
        folder: Path,
        watcher: Watcher,
        stopped: Callable[[], bool],
        *,
        seeds_per_stack: int,
        max_retries: int,
    ) -> None:
        self._cells = list(cells)
        self._writer = writer
        self._folder = folder
        self._watcher = watcher
        self._stopped = stopped
        self._seeds_per_stack = seeds_per_stack
        self._max_retries = max_retries
        self._again: list[StackResults] = []
        self._looked_at = -LOOK_AGAIN_SECONDS
        self._waiting_told = False
        self.running: list[StackResults] = []
        self.finished = 0
        self.failed = 0

    @property
    def exhausted(self) -> bool:
        """Whether no stack will be handed out any more."""
        return self._stopped() or not (self._cells or self._again)

    @property
    def in_hand(self) -> list[StackResults]:
        """Stacks whose claims are to be kept: at work, or waiting for their next process."""
        return [*self.running, *self._again]

    @property
    def stacks_left(self) -> int:
        """How many stacks may still be handed out, at most."""
        return sum(-(-len(cell.seeds) // self._seeds_per_stack) for cell in self._cells) + len(self._again)

    def next(self) -> StackResults | None:
        """The next stack, now claimed; None where nothing is free at the moment or nothing is left."""
        if self._stopped():
            return None
        stack = self._again.pop(0) if self._again else self._claimed()
        if stack is not None:
            self.running.append(stack)
        return stack

    def ended(self, stack: StackResults) -> None:
        """A stack's process has ended after telling all that it had to tell."""
        self.running.remove(stack)
        self.finished += stack.finished
        self.failed += stack.failed
        self._looked_at = -LOOK_AGAIN_SECONDS
        self._watcher.watch(Ended(stack.plan.title))

    def died(self, stack: StackResults, reason: str, *, again: bool = True) -> None:
        """A stack's process was lost: it is taken up `again`, or failed, as it is after so many times."""
        again = again and stack.lost_processes < self._max_retries
        if stack.open and not stack.released and not self._stopped() and again:
            stack.lost_processes += 1
            self.running.remove(stack)
            self._again.append(stack)
            times = f"retry {stack.lost_processes} of {self._max_retries}"
            self._watcher.watch(Ended(stack.plan.title))
            self._watcher.watch(Notice(f"{stack.plan.title}: its process was lost ({reason}); {times}"))
            return
        if not self._stopped():
            stack.fail(reason)
        self.ended(stack)

    def _claimed(self) -> StackResults | None:
        now = time.monotonic()
        if now - self._looked_at < LOOK_AGAIN_SECONDS:
            return None
        for cell in list(self._cells):
            found = self._patiently(
                lambda cell=cell: self._writer.claim(cell.key, cell.seeds, self._seeds_per_stack)
            )
            if found is Nothing.DONE:
                self._cells.remove(cell)
            elif found is not Nothing.HELD:
                return self._begun(cell.plan(found.seeds), found)
        self._looked_at = now
        self._tell_waiting()
        return None

    def _begun(self, plan: StackPlan, found: ClaimedStack) -> StackResults:
        stack = StackResults(plan, found.claimed, self._writer, self._folder, self._watcher, self._stopped)
        for other in self.running:
            # Taken over while this driver slept, by one that has died since.
            if not other.open.isdisjoint(stack.open):
                other.abandon(ClaimLostError("", "It was silent for too long.", "It is taken up again."))
        if found.is_fresh:
            stack.remove_checkpoints()
        return stack

    def _tell_waiting(self) -> None:
        if self._cells and not self.running and not self._waiting_told:
            self._waiting_told = True
            self._watcher.watch(Notice("Other drivers work on all that is left; waiting for them."))

    def _patiently(self, action: Callable[[], object]) -> object:
        return retry_while_unavailable(action, lambda text: self._watcher.watch(Notice(text)), self._stopped)


@contextmanager
def beating(
    queue: StackQueue, writer: Writer, stop: threading.Event, seconds: float = HEARTBEAT_SECONDS
) -> Iterator[None]:
    """Beat every so many seconds until the end of the block.

    A heart that fails sets `stop`, so that the stacks save their states, and raises at the end.
    """
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            _beat(queue, writer)

    with ThreadPoolExecutor(1, thread_name_prefix="heartbeat") as thread:
        heart = thread.submit(beat)
        heart.add_done_callback(lambda done: stop.set() if done.exception() else None)
        try:
            yield
        finally:
            over.set()
    heart.result()


def _beat(queue: StackQueue, writer: Writer) -> None:
    stacks = [stack for stack in queue.in_hand if not stack.released]
    progress = {key: stack.progress for stack in stacks for key in list(stack.open)}
    try:
        lost = writer.heartbeat(progress)
    except StoreUnavailableError:
        # Whoever stores a result meets the same trouble and tells a person; the next beat may get through.
        return
    for stack in stacks:
        if lost & stack.open:
            stack.abandon(ClaimLostError("", "Another driver has taken it over.", "Its results count."))
