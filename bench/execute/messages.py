"""What a driver and a worker exchange: the plan of a stack, events that tell of its work, and the channel."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench.catalog import Task
from bench.errors import WorkFailedError
from bench.records import (
    EvaluationRecord,
    ExecutionRecord,
    FailureRecord,
    FinishedRecord,
    StackProgress,
    TimingRecord,
    TrialKey,
    TrialRecord,
    hash_of,
)
from bench.training.checkpoint import Checkpoint, CheckpointFolder, Delivered, SharedFolder

_LONGEST = 60
"""Characters for the seeds in a folder's name; file systems allow 255 for all of it."""


@dataclass(frozen=True)
class StackPlan:
    """A stack to train: the trials (seeds of one cell) that share a process."""

    trials: tuple[TrialRecord, ...]
    task: Task
    data_path: Path
    """Of the dataset, on the driver's machine."""
    device: str = "cpu"
    threads: int = 1
    runner: str = "auto"
    concurrent_stacks: int = 1
    checkpoint_seconds: float = 60.0
    """Between checkpoints in the middle of a phase, at least."""
    checkpoint_share: float = math.inf
    """Of the time, that checkpoints may take; where they take long they are fewer."""
    shared: SharedFolder | None = None
    """Where its worker writes its states itself; None: they travel to the driver."""
    beside: bool = False
    """Evaluations and checkpoints are made of copies, while training goes on; else it waits for them."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds, in the order of the stack."""
        return tuple(trial.key.seed for trial in self.trials)

    @property
    def name(self) -> str:
        """For folders: `dtql-released-hopper-medium-v2-1a2b3c4d-seeds-0-1`."""
        key = self.trials[0].key
        seeds = "-".join(str(seed) for seed in self.seeds)
        if len(seeds) > _LONGEST:
            seeds = f"{self.seeds[0]}-and-{len(self.seeds) - 1}-more-{self.identity[:8]}"
        return f"{key.algorithm}-{key.variant}-{key.task}-{key.config_hash[:8]}-seeds-{seeds}"

    @property
    def title(self) -> str:
        """For people: `dtql hopper-medium-v2 seeds 0, 1`."""
        seeds = ", ".join(str(seed) for seed in self.seeds)
        return f"{self.trials[0].key.cell} seed{'s' if len(self.seeds) > 1 else ''} {seeds}"

    @property
    def identity(self) -> str:
        """What its checkpoints are of: configuration and seeds."""
        return hash_of([self.trials[0].key.config_hash, list(self.seeds)])

    def checkpoints_in(self, folder: Path) -> CheckpointFolder:
        """Its checkpoints, where those of all stacks lie in `folder`."""
        return CheckpointFolder(folder / self.name, self.identity)


@dataclass(frozen=True)
class PhaseKey:
    """What a phase that several methods share makes of one seed."""

    phase: str
    task: str
    seed: int
    identity: str
    """Hash of all that decides its bits."""

    @property
    def name(self) -> str:
        """For folders: `behaviour-hopper-medium-v2-seed-0-1a2b3c4d5e6f`."""
        return f"{self.phase}-{self.task}-seed-{self.seed}-{self.identity[:12]}"


@dataclass(frozen=True)
class Worker:
    """Who asks the driver for a stack, and sends what becomes of it."""

    name: str
    """Stays with the process that replaces a lost one."""
    process: str
    """Of this process alone."""
    hostname: str
    code_sha256: str
    """Of the source files that run there."""
    sees_shared: bool = True
    """Whether it finds the folder of checkpoints that all machines are to share; True where there is none."""


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
    progress: StackProgress


@dataclass(frozen=True)
class Saved:
    """The stack's state, for the driver to keep."""

    stack: str
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Named:
    """The stack's state, which its worker has written into the shared folder, by its name and hash."""

    stack: str
    delivered: Delivered


@dataclass(frozen=True)
class PhaseMade:
    """What a shared phase has made of one seed, for the driver to keep for trials of other methods."""

    stack: str
    key: PhaseKey
    made: Checkpoint


@dataclass(frozen=True)
class Weights:
    """A file to keep for a trial that is not complete yet, as the bytes of a safetensors file."""

    trial: TrialKey
    role: str
    content: bytes


@dataclass(frozen=True)
class TrialFinished:
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


Result = EvaluationRecord | FailureRecord | Weights | TrialFinished
"""What becomes of one trial."""
Event = Started | Progress | Saved | Named | PhaseMade | Result | Stopped | Completed
"""What a worker sends while it works; sending returns when the driver has dealt with it."""


@dataclass(frozen=True)
class Ended:
    """No process works on a stack any more, whatever came of it; the driver says so itself."""

    stack: str


@dataclass(frozen=True)
class Notice:
    """Something a person should know; the driver says so itself."""

    text: str


@dataclass(frozen=True)
class GridPlanned:
    """How many trials the grid has, and how many of these had finished before; the driver says so itself."""

    trials: int
    finished: int


Shown = Event | Ended | Notice | GridPlanned
"""What whoever watches a grid gets to see."""


class ChannelError(WorkFailedError):
    """The driver does not take this worker's results: another process works on its stack, or it has ended."""


class DriverChannel(Protocol):
    """A worker's way to its driver, wherever the two are.

    Raises
    ------
    ChannelError : by every method, once the driver has no use for this worker.
    """

    def send(self, event: Event) -> None:
        """Hand over an event; returning means that whatever it holds is stored."""

    def should_stop(self) -> bool:
        """Whether the driver wants the stack to save its state and end."""

    def checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """The stack's last intact checkpoint, and a sentence for each that had to be passed over."""

    def phase_made(self, key: PhaseKey) -> tuple[Checkpoint | None, list[str]]:
        """What is kept of a shared phase, and a sentence for each thing that had to be passed over."""

    def dataset(self) -> Path:
        """The dataset of the stack's task as a file on this machine."""


def failures_of(plan: StackPlan, error: Exception, *, step: int, advice: str = "") -> list[FailureRecord]:
    """The failure of every trial of a stack, from the exception that ended it after `step` iterations."""
    message = "\n".join(part for part in (str(error), advice) if part)
    return [
        FailureRecord(
            trial=trial.key,
            step=step,
            error=type(error).__name__,
            message=message,
            traceback="".join(traceback.format_exception(error)),
            failed_at=datetime.now(UTC),
        )
        for trial in plan.trials
    ]
