"""Drivers on other machines, and time that passes when a test says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Clock:
    """A monotonic clock that stands still until it is put forward."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def send_drivers_away(folder: Path) -> None:
    """As if the drivers on the store in `folder` were on other machines: nothing tells whether they live."""
    for path in folder.glob("drivers/*.lock"):
        path.unlink()
