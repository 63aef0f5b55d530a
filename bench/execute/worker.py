"""Runs one stack to its end, whatever happens: every exception becomes a failure that is told."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench.execute.events import Event
from bench.execute.link import DriverRefusedError, Link
from bench.execute.plan import StackPlan
from bench.execute.stack import Stack
from bench.records import FailureRecord
from bench.training.checkpoint import Checkpoint

OUT_OF_GPU_MEMORY = (
    "Ask for fewer seeds per stack (--seeds-per-stack) or more GPU per stack (--gpus-per-stack)."
)
OUT_OF_MEMORY = (
    "Ask for fewer seeds per stack (--seeds-per-stack), or for fewer stacks at once (more --cpus-per-stack)."
)


class _Watched:
    """A link that remembers when the driver could not be reached."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.broken = False

    def send(self, event: Event) -> None:
        self.broken = True
        self._link.send(event)
        self.broken = False

    def should_stop(self) -> bool:
        return self._link.should_stop()

    def checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        return self._link.checkpoint()

    def dataset(self) -> Path:
        return self._link.dataset()


def run_plan(plan: StackPlan, link: Link) -> None:
    """Work off one stack; an exception is sent as the failure of all its trials.

    A failure of sending itself is not caught: without a taker for results there is no point in going on.
    """
    watched = _Watched(link)
    stack = None
    try:
        stack = Stack(plan, watched)
        stack.run()
    except DriverRefusedError:
        # What the driver could not give is no failure of the trials.
        raise
    except Exception as error:
        # The one place where everything is caught: nothing may end a stack without a word in the store.
        if watched.broken:
            raise
        for failure in failures_of(plan, error, step=stack.iterations if stack else 0):
            link.send(failure)


def failures_of(plan: StackPlan, error: Exception, *, step: int) -> list[FailureRecord]:
    """The failure of every trial of a stack, from the exception that ended it after `step` iterations."""
    message = "\n".join(part for part in (str(error), _advice(error)) if part)
    return [
        FailureRecord(
            trial=trial.key,
            step=step,
            error=type(error).__name__,
            message=message,
            traceback="".join(traceback.format_exception(error)),
            failed_at=datetime.now(UTC),
        )
        for trial in plan.trials
    ]


def _advice(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return OUT_OF_GPU_MEMORY
    # torch has no type of its own for the memory of the machine.
    return OUT_OF_MEMORY if isinstance(error, MemoryError) or "allocate memory" in str(error) else ""
