"""What a stack at work has of its driver, wherever the two are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bench.errors import WorkFailedError
from bench.execute.events import Event
from bench.training.checkpoint import Checkpoint


class DriverRefusedError(WorkFailedError):
    """The driver does not take this worker's results: another process works on its stack, or it has ended."""


class Link(Protocol):
    """A stack's line to its driver.

    Raises
    ------
    DriverRefusedError : by every method, once the driver has no use for this worker.
    """

    def send(self, event: Event) -> None:
        """Hand over an event; returning means that whatever it holds is stored."""

    def should_stop(self) -> bool:
        """Whether the driver wants the stack to save its state and end."""

    def checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """The stack's last intact checkpoint, and a sentence for each that had to be passed over."""

    def dataset(self) -> Path:
        """The dataset of the stack's task as a file on this machine."""
