"""What is left of a grid, handed out stack by stack: each is claimed in the store just before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.execute.messages import StackPlan
from bench.records import CellKey
from bench.store.claims import ClaimedStack, Nothing
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
        self._unclaimed = {cell.key: set(cell.seeds) for cell in cells}
        self._looked_at = -LOOK_AGAIN_SECONDS

    @property
    def exhausted(self) -> bool:
        """Whether every trial asked for has ended."""
        return not self._cells

    @property
    def stacks_left(self) -> int:
        """How many stacks this driver has not claimed yet, as far as one can tell without a look."""
        return sum(-(-len(seeds) // self._seeds_per_stack) for seeds in self._unclaimed.values())

    def next(self) -> tuple[StackPlan, ClaimedStack] | None:
        """The next stack, now claimed; None where nothing is free at the moment or nothing is left."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_AGAIN_SECONDS:
            return None
        for cell in list(self._cells):
            found = self._claim(cell)
            if found is Nothing.DONE:
                self._cells.remove(cell)
                self._unclaimed.pop(cell.key)
            elif isinstance(found, ClaimedStack):
                self._unclaimed[cell.key] -= set(found.seeds)
                return cell.plan(found.seeds), found
        self._looked_at = now
        return None

    def look_again(self) -> None:
        """Look at the store at the next call: a stack has ended, and others may be free now."""
        self._looked_at = -LOOK_AGAIN_SECONDS

    def _claim(self, cell: CellOfGrid) -> ClaimedStack | Nothing:
        return retry_while_unavailable(
            lambda: self._writer.claim(cell.key, cell.seeds, self._seeds_per_stack),
            self._notify,
            self._stopped,
        )
