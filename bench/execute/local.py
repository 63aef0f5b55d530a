"""Works off stacks one after the other in this process; needs no Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.execute.events import Emit
from bench.execute.plan import StackPlan
from bench.execute.worker import run_plan


def run_locally(plans: Sequence[StackPlan], emit: Emit, should_stop: Callable[[], bool]) -> None:
    """Run every stack in turn; results go to `emit` in this process."""
    for plan in plans:
        if should_stop():
            return
        run_plan(plan, emit, should_stop)
