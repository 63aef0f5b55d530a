"""Runs one stack to its end, whatever happens: every exception becomes a failure that is told."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import torch

from bench.execute.events import Emit
from bench.execute.plan import StackPlan
from bench.execute.stack import Stack
from bench.records import FailureRecord

OUT_OF_MEMORY_ADVICE = (
    "Ask for fewer seeds per stack (--seeds-per-stack) or more GPU per stack (--gpus-per-stack)."
)


def run_plan(plan: StackPlan, emit: Emit, should_stop: Callable[[], bool]) -> None:
    """Work off one stack; an exception is emitted as the failure of all its trials.

    A failure of `emit` itself is not caught: without a taker for results there is no point in going on.
    """
    failed_to_emit: list[BaseException] = []

    def guarded(event: object) -> None:
        try:
            emit(event)
        except BaseException as error:
            failed_to_emit.append(error)
            raise

    stack = None
    try:
        stack = Stack(plan, guarded, should_stop)
        stack.run()
    except Exception as error:
        # The one place where everything is caught: nothing may end a stack without a word in the store.
        if failed_to_emit:
            raise
        for failure in failures_of(plan, error, step=stack.iterations if stack else 0):
            emit(failure)


def failures_of(plan: StackPlan, error: Exception, *, step: int) -> list[FailureRecord]:
    """The failure of every trial of a stack, from the exception that ended it after `step` iterations."""
    message = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        message = f"{message}\n{OUT_OF_MEMORY_ADVICE}"
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
