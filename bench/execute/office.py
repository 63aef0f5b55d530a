"""How stacks on a Ray cluster reach their driver: through a small actor on the driver's machine.

A worker asks, the actor keeps the question until the driver's desk has answered it.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from bench.data.folder import dataset_path, local_file
from bench.execute.messages import ChannelError, Event, StackPlan
from bench.training.checkpoint import Checkpoint

PIECE_BYTES = 8 * 2**20
"""A dataset travels in pieces of this size."""


@dataclass(frozen=True)
class PlanWanted:
    """A worker has started and wants its plan."""

    hostname: str
    code_sha256: str


@dataclass(frozen=True)
class CheckpointWanted:
    """A worker wants its stack's last checkpoint."""


@dataclass(frozen=True)
class PieceWanted:
    """A worker wants `PIECE_BYTES` of its dataset, from `offset` on."""

    offset: int


@dataclass(frozen=True)
class Refusal:
    """The driver has no use for this worker any more."""

    reason: str


Question = Event | PlanWanted | CheckpointWanted | PieceWanted


@dataclass(frozen=True)
class Asked:
    """A question as it reaches the desk."""

    number: str
    stack: int
    question: Question


class Office:
    """Keeps questions until they are answered; runs as an asynchronous Ray actor.

    It holds nothing that matters: when its process is lost, Ray starts it anew and repeats the questions.
    """

    def __init__(self) -> None:
        self._asked: asyncio.Queue[Asked] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[object]] = {}

    async def ask(self, stack: int, question: Question) -> object:
        """For workers: put a question, wait for its answer."""
        # Random, because an answer given before the process was lost must not meet another question.
        number = secrets.token_hex(8)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._asked.put(Asked(number, stack, question))
        try:
            return await self._answers[number]
        finally:
            del self._answers[number]

    async def questions(self, seconds: float) -> list[Asked]:
        """For the desk: what has been asked, waiting up to so long for the first."""
        try:
            found = [await asyncio.wait_for(self._asked.get(), seconds)]
        except TimeoutError:
            return []
        while not self._asked.empty():
            found.append(self._asked.get_nowait())
        return found

    async def answer(self, number: str, reply: object) -> None:
        """For the desk: answer a question."""
        if number in self._answers and not self._answers[number].done():
            self._answers[number].set_result(reply)


class RayChannel:
    """A worker's channel to its driver through the office.

    Raises
    ------
    ChannelError : by every method, once the driver has no use for this worker.
    """

    def __init__(self, office: Any, stack: int) -> None:  # noqa: ANN401 (an actor's handle)
        self._office = office
        self._stack = stack
        self._stop = False
        self._plan: StackPlan | None = None

    def plan(self, code_sha256: str) -> StackPlan:
        """What to work on; tells the driver which code runs here."""
        self._plan = self._ask(PlanWanted(socket.gethostname(), code_sha256))
        return self._plan

    def send(self, event: Event) -> None:
        """Hand over an event; its answer says whether to stop."""
        self._stop = self._ask(event)

    def should_stop(self) -> bool:
        """What the last answer said; a stack at work sends its progress about once a second."""
        return self._stop

    def checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """The last checkpoint, from the driver's machine."""
        return self._ask(CheckpointWanted())

    def dataset(self) -> Path:
        """The dataset on this machine; it is brought here once, whoever needs it first."""
        plan = self._plan
        candidates = [plan.data_path, dataset_path(plan.task)]
        return local_file(plan.task.name, plan.trials[0].dataset.sha256, candidates, self._pieces)

    def _pieces(self) -> Iterator[bytes]:
        offset = 0
        while piece := self._ask(PieceWanted(offset)):
            yield piece
            offset += len(piece)

    def _ask(self, question: Question) -> Any:  # noqa: ANN401 (depends on the question)
        reply = ray.get(self._office.ask.remote(self._stack, question))
        if isinstance(reply, Refusal):
            raise ChannelError("the driver refuses this worker", reply.reason)
        return reply
