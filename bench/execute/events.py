"""What a worker sends to the driver while it works; sending returns when the driver has dealt with it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.records import (
    EvaluationRecord,
    ExecutionRecord,
    FailureRecord,
    FinishedRecord,
    StackProgress,
    TimingRecord,
    TrialKey,
)
from bench.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Started:
    """A stack has begun or continues; `notes` say from where, and what was passed over."""

    stack: str
    """Its title, for people; so in all events."""
    execution: ExecutionRecord
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a stack is."""

    stack: str
    stand: StackProgress


@dataclass(frozen=True)
class Saved:
    """The stack's state, for the driver to keep."""

    stack: str
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Weights:
    """A file to keep for a trial that is not complete yet, as the bytes of a safetensors file."""

    trial: TrialKey
    role: str
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """A trial is complete: its final weights as the bytes of a safetensors file, its timings, its score."""

    finished: FinishedRecord
    weights: bytes
    timings: tuple[TimingRecord, ...]


@dataclass(frozen=True)
class Stopped:
    """A stack was asked to stop; its state is saved."""

    stack: str
    iterations: int
    """Done of all phases."""


@dataclass(frozen=True)
class Completed:
    """Every trial of a stack has finished or diverged; its checkpoints are of no more use."""

    stack: str


Event = (
    Started | Progress | Saved | EvaluationRecord | FailureRecord | Weights | Outcome | Stopped | Completed
)


@dataclass(frozen=True)
class Ended:
    """No process works on a stack any more, whatever came of it; the driver says so itself."""

    stack: str


@dataclass(frozen=True)
class Notice:
    """Something a person should know; the driver says so itself."""

    text: str


Shown = Event | Ended | Notice
"""What whoever watches a grid gets to see."""
