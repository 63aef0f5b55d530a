"""What is left of a grid, handed out stack by stack: each is claimed in the store just before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.execute.at_work import StackAtWork, Watcher
from bench.execute.events import Ended, Notice
from bench.execute.plan import StackPlan
from bench.records import CellKey
from bench.store.claims import ClaimedStack, ClaimLostError, Nothing
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
        self._again: list[StackAtWork] = []
        self._looked_at = -LOOK_AGAIN_SECONDS
        self._waiting_told = False
        self.at_work: list[StackAtWork] = []
        self.finished = 0
        self.failed = 0

    @property
    def exhausted(self) -> bool:
        """Whether no stack will be handed out any more."""
        return self._stopped() or not (self._cells or self._again)

    @property
    def in_hand(self) -> list[StackAtWork]:
        """Stacks whose claims are to be kept: at work, or waiting for their next process."""
        return [*self.at_work, *self._again]

    @property
    def stacks_left(self) -> int:
        """How many stacks may still be handed out, at most."""
        return sum(-(-len(cell.seeds) // self._seeds_per_stack) for cell in self._cells) + len(self._again)

    def next(self) -> StackAtWork | None:
        """The next stack, now claimed; None where nothing is free at the moment or nothing is left."""
        if self._stopped():
            return None
        stack = self._again.pop(0) if self._again else self._claimed()
        if stack is not None:
            self.at_work.append(stack)
        return stack

    def ended(self, stack: StackAtWork) -> None:
        """A stack's process has ended after telling all that it had to tell."""
        self.at_work.remove(stack)
        self.finished += stack.finished
        self.failed += stack.failed
        self._looked_at = -LOOK_AGAIN_SECONDS
        self._watcher.watch(Ended(stack.plan.title))

    def died(self, stack: StackAtWork, reason: str, *, again: bool = True) -> None:
        """A stack's process was lost: it is taken up `again`, or failed, as it is after so many times."""
        again = again and stack.deaths < self._max_retries
        if stack.open and not stack.let_go and not self._stopped() and again:
            stack.deaths += 1
            self.at_work.remove(stack)
            self._again.append(stack)
            times = f"retry {stack.deaths} of {self._max_retries}"
            self._watcher.watch(Ended(stack.plan.title))
            self._watcher.watch(Notice(f"{stack.plan.title}: its process was lost ({reason}); {times}"))
            return
        if not self._stopped():
            stack.died(reason)
        self.ended(stack)

    def _claimed(self) -> StackAtWork | None:
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

    def _begun(self, plan: StackPlan, found: ClaimedStack) -> StackAtWork:
        stack = StackAtWork(plan, found.claimed, self._writer, self._folder, self._watcher, self._stopped)
        for other in self.at_work:
            # Taken over while this driver slept, by one that has died since.
            if not other.open.isdisjoint(stack.open):
                other.give_up(ClaimLostError("", "It was silent for too long.", "It is taken up again."))
        if found.is_fresh:
            stack.forget()
        return stack

    def _tell_waiting(self) -> None:
        if self._cells and not self.at_work and not self._waiting_told:
            self._waiting_told = True
            self._watcher.watch(Notice("Other drivers work on all that is left; waiting for them."))

    def _patiently(self, action: Callable[[], object]) -> object:
        return retry_while_unavailable(action, lambda text: self._watcher.watch(Notice(text)), self._stopped)
