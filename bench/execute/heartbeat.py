"""Keeps a driver's claims alive in the background, and notices when another driver has taken one over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench.execute.queue import StackQueue
from bench.store.claims import HEARTBEAT_SECONDS, ClaimLostError
from bench.store.faults import StoreUnavailableError
from bench.store.writer import Writer


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
    stacks = [stack for stack in queue.in_hand if not stack.let_go]
    stands = {key: stack.stand for stack in stacks for key in list(stack.open)}
    try:
        lost = writer.heartbeat(stands)
    except StoreUnavailableError:
        # Whoever stores a result meets the same trouble and tells a person; the next beat may get through.
        return
    for stack in stacks:
        if lost & stack.open:
            stack.give_up(ClaimLostError("", "Another driver has taken it over.", "Its results count."))
