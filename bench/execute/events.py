"""What a worker sends to the driver: results to store, weights to keep, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.records import ResultRecord, TrialKey


@dataclass(frozen=True)
class Started:
    """A stack has begun or continues; `notes` say from where, and what was passed over."""

    stack: str
    trials: tuple[TrialKey, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a stack is."""

    stack: str
    activity: str
    """Name of the phase, or `evaluation 2`."""
    done: int
    """Iterations of all phases."""
    total: int
    iterations_per_second: float
    seconds_left: float
    """Estimate for the rest of the stack, evaluations included."""


@dataclass(frozen=True)
class Weights:
    """Network weights of a trial as the bytes of a safetensors file; the driver writes the file."""

    trial: TrialKey
    role: str
    content: bytes


@dataclass(frozen=True)
class Stopped:
    """A stack was asked to stop; its state is saved."""

    stack: str


Event = Started | Progress | Weights | Stopped | ResultRecord
Emit = Callable[[Event], None]
