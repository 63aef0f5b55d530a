"""How workers on a Ray cluster reach the driver's keeper: through a small actor on the driver's machine.

A driver is no actor, so nobody can call it: the mailbox holds each request until the driver has answered it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from bench.data.folder import dataset_path, local_file
from bench.execute.messages import ChannelError, Event, Named, PhaseKey, Saved, StackPlan, Worker
from bench.store.retry import retry_while_unavailable
from bench.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Request:
    """A call of one of the keeper's methods."""

    number: str
    method: str
    arguments: tuple[object, ...]


class Mailbox:
    """Holds requests until they are answered; runs as an asynchronous Ray actor.

    It holds nothing that matters: when its process is lost, Ray starts it anew and repeats the requests.
    """

    def __init__(self) -> None:
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._replies: dict[str, asyncio.Future[object]] = {}

    async def ask(self, method: str, *arguments: object) -> object:
        """For workers: have the keeper's method called, wait for what it answers."""
        # Random, because a reply given before the process was lost must not meet another request.
        number = secrets.token_hex(8)
        self._replies[number] = asyncio.get_running_loop().create_future()
        await self._requests.put(Request(number, method, arguments))
        try:
            return await self._replies[number]
        finally:
            del self._replies[number]

    async def requests(self, seconds: float) -> list[Request]:
        """For the driver: what has been asked, waiting up to so long for the first."""
        try:
            found = [await asyncio.wait_for(self._requests.get(), seconds)]
        except TimeoutError:
            return []
        while not self._requests.empty():
            found.append(self._requests.get_nowait())
        return found

    async def reply(self, replies: Mapping[str, object]) -> None:
        """For the driver: answer requests, by their numbers."""
        for number, reply in replies.items():
            if number in self._replies and not self._replies[number].done():
                self._replies[number].set_result(reply)


@dataclass(frozen=True)
class MailboxHandle:
    """The mailbox, as its actor is reached from the driver, from Tune and from workers."""

    actor: Any

    def ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 (depends on the method)
        """What a method of the keeper answers.

        Raises
        ------
        ChannelError : the driver refuses, or cannot be reached any more.
        """
        try:
            reply = ray.get(self.actor.ask.remote(method, *arguments))
        except RayError as error:
            raise ChannelError("the driver cannot be reached", str(error)) from error
        if isinstance(reply, ChannelError):
            raise reply
        return reply

    def requests(self, seconds: float) -> list[Request]:
        """For the driver: what has been asked, waiting up to so long for the first."""
        return ray.get(self.actor.requests.remote(seconds))

    def reply(self, replies: Mapping[str, object]) -> None:
        """For the driver: answer requests, by their numbers."""
        ray.get(self.actor.reply.remote(replies))


class RayChannel:
    """A worker's channel to its driver through the mailbox.

    Raises
    ------
    ChannelError : by every method, once the driver has no use for this worker.
    """

    def __init__(self, mailbox: MailboxHandle, worker: Worker, plan: StackPlan) -> None:
        self._mailbox = mailbox
        self._worker = worker
        self._plan = plan
        self._folder = plan.checkpoints_in(plan.shared.path) if plan.shared else None
        self._stop = False

    def send(self, event: Event) -> None:
        """Hand over an event, of a state in a shared folder its name; the answer says whether to stop."""
        if isinstance(event, Saved) and self._folder is not None:
            event = self._delivered(event)
        self._stop = self._mailbox.ask("receive", self._worker, event)

    def should_stop(self) -> bool:
        """What the last answer said; a stack at work sends its progress about once a second."""
        return self._stop

    def checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """The last checkpoint, out of the shared folder, else from the driver's machine."""
        if self._folder is not None:
            return self._folder.load()
        checkpoint, complaints = self._mailbox.ask("checkpoint", self._worker)
        return checkpoint, complaints

    def phase_made(self, key: PhaseKey) -> tuple[Checkpoint | None, list[str]]:
        """What is kept of a shared phase on the driver's machine."""
        checkpoint, complaints = self._mailbox.ask("phase_made", self._worker, key)
        return checkpoint, complaints

    def dataset(self) -> Path:
        """The dataset on this machine; it is brought here once, whoever needs it first."""
        plan = self._plan
        candidates = [plan.data_path, dataset_path(plan.task)]
        return local_file(plan.task.name, plan.trials[0].dataset.sha256, candidates, self._pieces)

    def _delivered(self, event: Saved) -> Named:
        """Write the state into the shared folder; while its disk is full, this waits as a driver does."""
        assert self._folder is not None, "there is one"
        folder = self._folder
        try:
            delivered = retry_while_unavailable(
                lambda: folder.deliver(event.checkpoint),
                lambda text: None,
                lambda: self._mailbox.ask("should_stop", self._worker),
            )
        except OSError as error:
            # No failure of the trials; on another machine it may go on.
            raise ChannelError(f"cannot write {error.filename}", str(error.strerror)) from error
        return Named(event.stack, delivered)

    def _pieces(self) -> Iterator[bytes]:
        offset = 0
        while piece := self._mailbox.ask("dataset_piece", self._worker, offset):
            yield piece
            offset += len(piece)
