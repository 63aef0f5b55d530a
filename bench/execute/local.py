"""Works off stacks in the driver's own process, one after the other or side by side; needs no Ray."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from pathlib import Path

import torch

from bench.execute.keeper import Keeper
from bench.execute.messages import ChannelError, Event, PhaseKey, StackPlan, Worker
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

    def phase_made(self, key: PhaseKey) -> tuple[Checkpoint | None, list[str]]:
        """What is kept of a shared phase."""
        return self._keeper.phase_made(self._worker, key)

    def dataset(self) -> Path:
        """The driver's own file; whoever reads it holds its bytes against the hash in the plan."""
        return self._plan.data_path


def run_locally(keeper: Keeper, stacks: int = 1) -> None:
    """Run every stack, so many at once: on a GPU each in a thread and on a stream of its own.

    Raises
    ------
    BenchError : a result cannot be stored.
    """
    stacks = min(stacks, max(1, keeper.stacks_left())) if stacks > 1 else 1
    keeper.concurrent_stacks = stacks
    if stacks == 1:
        _work(keeper, "local")
        return
    with ThreadPoolExecutor(stacks, thread_name_prefix="stack") as threads:
        working = [threads.submit(_work_on_stream, keeper, number) for number in range(stacks)]
        for ended in as_completed(working):
            error = ended.exception()
            if isinstance(error, Exception):
                keeper.fail(error)  # so that the others save their states and end
    if keeper.error is not None:
        raise keeper.error


def _work_on_stream(keeper: Keeper, number: int) -> None:
    """Work as one of several; the GPUs of the machine are taken in turn."""
    gpus = torch.cuda.device_count()
    stream = torch.cuda.Stream(torch.device("cuda", number % gpus)) if gpus else None
    with torch.cuda.stream(stream) if stream is not None else nullcontext():
        _work(keeper, f"local {number + 1}")


def _work(keeper: Keeper, name: str) -> None:
    """Run stacks one after the other until none is left."""
    worker = Worker(name, "", socket.gethostname(), keeper.code_sha256)
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
