"""Works off stacks one after the other in the driver's own process; needs no Ray."""

from __future__ import annotations

import socket
from pathlib import Path

from bench.execute.keeper import Keeper
from bench.execute.messages import ChannelError, Event, StackPlan, Worker
from bench.execute.worker import run_plan
from bench.training.checkpoint import Checkpoint

LOOK_SECONDS = 0.5


class LocalChannel:
    """The channel of a worker in the driver's own process."""

    def __init__(self, keeper: Keeper, worker: Worker, plan: StackPlan) -> None:
        self._keeper = keeper
        self._worker = worker
        self._plan = plan

    def send(self, event: Event) -> None:
        """Have the event dealt with at once."""
        try:
            self._keeper.receive(self._worker, event)
        except Exception as error:
            raise ChannelError(str(error)) from error

    def should_stop(self) -> bool:
        """Whether to save and end."""
        return self._keeper.should_stop(self._worker)

    def checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """The last checkpoint, and what had to be passed over."""
        return self._keeper.checkpoint(self._worker)

    def dataset(self) -> Path:
        """The driver's own file; whoever reads it holds its bytes against the hash in the plan."""
        return self._plan.data_path


def run_locally(keeper: Keeper) -> None:
    """Run every stack in turn.

    Raises
    ------
    BenchError : a result cannot be stored.
    """
    worker = Worker("local", "", socket.gethostname(), keeper.code_sha256)
    while not keeper.exhausted:
        plan = keeper.next_stack(worker)
        if plan is None:
            keeper.stop.wait(LOOK_SECONDS)
            continue
        try:
            run_plan(plan, LocalChannel(keeper, worker, plan))
        except ChannelError as error:
            # What kept the driver from taking a result ends the run in its own words.
            raise error.__cause__ or error from None
        keeper.returned(worker.name)
