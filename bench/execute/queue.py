"""What is left of a grid, handed out stack by stack: each is claimed in the store just before it starts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from bench.execute.messages import StackPlan
from bench.records import CellKey
from bench.store.claims import ClaimedStack, Nothing
from bench.store.retry import retry_while_unavailable
from bench.store.writer import Writer

_T = TypeVar("_T")
LOOK_AGAIN_SECONDS = 2.0
"""Between looks at the store while other drivers hold what is left, at least."""
LOOKING_SHARE = 0.05
"""Of a driver's time that may go into such looks: a look at a thousand cells takes a second."""


@dataclass(frozen=True)
class CellOfGrid:
    """The trials of one cell that were asked for."""

    key: CellKey
    seeds: frozenset[int]
    plan: Callable[[Sequence[int]], StackPlan]
    """Makes the plan of a stack of these seeds."""


class StackQueue:
    """Claims the stacks that are left, as other drivers on the same store do at the same time.

    Parameters
    ----------
    notify : is told in a sentence while the store cannot be reached.
    stopped : whether a person wants the driver to end.
    seeds_per_stack : of stacks that were never begun; a cut-off one keeps the seeds it was made of.
    """

    def __init__(
        self,
        cells: Sequence[CellOfGrid],
        writer: Writer,
        notify: Callable[[str], None],
        stopped: Callable[[], bool],
        *,
        seeds_per_stack: int,
    ) -> None:
        self._cells = list(cells)
        self._writer = writer
        self._notify = notify
        self._stopped = stopped
        self._seeds_per_stack = seeds_per_stack
        self._next_look = -math.inf

    @property
    def exhausted(self) -> bool:
        """Whether every trial asked for has ended."""
        return not self._cells

    def stacks_left(self) -> int:
        """How many stacks have not ended, whoever works on them."""
        cells = {cell.key: cell.seeds for cell in self._cells}
        return self._retry(lambda: self._writer.stacks_left(cells, self._seeds_per_stack))

    def next(self) -> tuple[StackPlan, ClaimedStack] | None:
        """The next stack, now claimed; None where nothing is free at the moment or nothing is left."""
        began = time.monotonic()
        if began < self._next_look:
            return None
        for cell in list(self._cells):
            claim = partial(self._writer.claim, cell.key, cell.seeds, self._seeds_per_stack)
            found = self._retry(claim)
            if found is Nothing.DONE:
                self._cells.remove(cell)
            elif isinstance(found, ClaimedStack):
                return cell.plan(found.seeds), found
            else:
                # Behind the others: of a large grid hundreds are held when the next one is looked for.
                self._cells.remove(cell)
                self._cells.append(cell)
        now = time.monotonic()
        self._next_look = now + max(LOOK_AGAIN_SECONDS, (now - began) / LOOKING_SHARE)
        return None

    def look_again(self) -> None:
        """Look at the store at the next call: a stack has ended, and others may be free now."""
        self._next_look = -math.inf

    def _retry(self, look: Callable[[], _T]) -> _T:
        return retry_while_unavailable(look, self._notify, self._stopped)
