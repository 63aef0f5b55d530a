"""The driver's end of the office: answers, in a thread of its own, whatever workers ask."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError
from sqlalchemy.exc import SQLAlchemyError

from bench.errors import BenchError, WorkFailedError
from bench.execute.keeper import StackResults
from bench.execute.office import (
    PIECE_BYTES,
    Asked,
    CheckpointWanted,
    PieceWanted,
    PlanWanted,
    Question,
    Refusal,
)
from bench.provenance import code_fingerprint
from bench.visible_text import shortened

WAIT_SECONDS = 0.5
LONGEST_REASON = 300


class Desk:
    """Knows every worker by the number it was started with.

    A stack that is taken up again gets a new number. So a worker that was given up for lost, and comes back,
    is refused and ends.
    """

    def __init__(self, office: Any, stop: threading.Event) -> None:  # noqa: ANN401 (an actor's handle)
        self.office = office
        self._stop = stop
        self._stacks: dict[int, StackResults] = {}
        self._begun: set[int] = set()
        self._count = 0
        self._code = code_fingerprint()
        self._thread: Future[None] | None = None
        self.error: Exception | None = None
        """What ended the run: a result that could not be stored, a worker with other code."""

    def open(self, stack: StackResults) -> int:
        """Expect a worker for this stack; returns the number to start it with."""
        self._count += 1
        self._stacks[self._count] = stack
        return self._count

    @property
    def is_over(self) -> bool:
        """Whether the run is to end, and every worker that has begun has ended."""
        return self._stop.is_set() and not self._begun

    def has_begun(self, number: int) -> bool:
        """Whether this worker came to ask for its plan."""
        return number in self._begun

    def close(self, number: int) -> StackResults:
        """Expect no more of this worker."""
        self._begun.discard(number)
        return self._stacks.pop(number)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer questions until the end of the block."""
        over = threading.Event()
        with ThreadPoolExecutor(1, thread_name_prefix="desk") as thread:
            self._thread = thread.submit(self._answer_until, over)
            try:
                yield
            finally:
                over.set()

    def check(self) -> None:
        """Raise what made answering impossible; workers would wait for ever."""
        if self._thread is not None and self._thread.done():
            self._thread.result()

    def fail(self, error: Exception) -> None:
        """End the run for this reason; what the workers still hand over may get through."""
        self.error = self.error or error
        self._stop.set()

    def _answer_until(self, over: threading.Event) -> None:
        try:
            while not over.is_set():
                for asked in ray.get(self.office.questions.remote(WAIT_SECONDS)):
                    ray.get(self.office.answer.remote(asked.number, self._reply(asked)))
        except RayActorError as error:
            if over.is_set():
                return
            self.fail(
                WorkFailedError(
                    "no worker can reach this driver any more",
                    f"The process that passes on what they say has ended: {told_reason(str(error))}",
                    "The same command continues; without Ray: add --executor local.",
                )
            )
            raise self.error from error

    def _reply(self, asked: Asked) -> object:
        stack = self._stacks.get(asked.stack)
        if stack is None:
            return Refusal("Its stack was taken up again elsewhere, or the run has ended.")
        try:
            if isinstance(asked.question, PlanWanted):
                self._begun.add(asked.stack)
            return self._answer(stack, asked.question)
        except (BenchError, OSError, SQLAlchemyError) as error:
            self.fail(error)
            return Refusal(str(error))

    def _answer(self, stack: StackResults, question: Question) -> object:
        match question:
            case PlanWanted():
                self._check_code(question)
                return stack.plan
            case CheckpointWanted():
                return stack.checkpoint()
            case PieceWanted():
                return _piece(stack.plan.data_path, question.offset)
            case _:
                stack.receive(question)
                return stack.should_stop

    def _check_code(self, worker: PlanWanted) -> None:
        if worker.code_sha256 == self._code:
            return
        hashes = f"Source files: SHA-256 {worker.code_sha256[:12]} there, {self._code[:12]} here."
        if worker.hostname == socket.gethostname():
            what = "the code of bench has changed since this run began"
            advice = (
                "Give the same command again to go on with the code as it is now. If that does not help, the"
                " workers find another bench than this driver: install the same for both."
            )
            raise BenchError(what, hashes, advice)
        raise BenchError(
            f"the worker on {worker.hostname} runs other code than this driver",
            hashes,
            "Install the same version of bench on every machine of the cluster.",
        )


def told_reason(text: str) -> str:
    """The last exception that a traceback of Ray's names, without the traceback."""
    found = re.findall(r"^\s*((?:\w+\.)*\w+(?:Error|Exception|Exit)\b.*)$", text, re.MULTILINE)
    lines = found or [line.strip() for line in text.splitlines() if line.strip()] or ["it does not say why"]
    return shortened(lines[-1], LONGEST_REASON)


def _piece(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE_BYTES)
