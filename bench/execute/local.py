"""Works off stacks one after the other in this process; needs no Ray."""

from __future__ import annotations

import threading
from pathlib import Path

from bench.execute.keeper import StackResults
from bench.execute.messages import ChannelError, Event
from bench.execute.queue import StackQueue
from bench.execute.worker import run_plan
from bench.training.checkpoint import Checkpoint

LOOK_SECONDS = 0.5


class LocalChannel:
    """The channel of a stack in the driver's own process."""

    def __init__(self, stack: StackResults) -> None:
        self._stack = stack

    def send(self, event: Event) -> None:
        """Have the event dealt with at once."""
        try:
            self._stack.receive(event)
        except Exception as error:
            raise ChannelError(str(error)) from error

    def should_stop(self) -> bool:
        """Whether to save and end."""
        return self._stack.should_stop

    def checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """The last checkpoint, and what had to be passed over."""
        return self._stack.checkpoint()

    def dataset(self) -> Path:
        """The driver's own file; whoever reads it holds its bytes against the hash in the plan."""
        return self._stack.plan.data_path


def run_locally(queue: StackQueue, stop: threading.Event) -> None:
    """Run every stack of the queue in turn."""
    while not queue.exhausted:
        stack = queue.next()
        if stack is None:
            stop.wait(LOOK_SECONDS)
            continue
        try:
            run_plan(stack.plan, LocalChannel(stack))
        except ChannelError as error:
            # What kept the driver from taking a result ends the run in its own words.
            raise error.__cause__ or error from None
        queue.ended(stack)
