"""What one worker is given: the trials of a stack, and where and how they are worked off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.catalog import Task
from bench.records import TrialRecord, hash_of

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
    """Between checkpoints in the middle of a phase."""

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
        key = self.trials[0].key
        variant = "" if key.variant == "released" else f" ({key.variant})"
        seeds = ", ".join(str(seed) for seed in self.seeds)
        return f"{key.algorithm}{variant} {key.task} seed{'s' if len(self.seeds) > 1 else ''} {seeds}"

    @property
    def identity(self) -> str:
        """What its checkpoints are of: configuration and seeds."""
        return hash_of([self.trials[0].key.config_hash, list(self.seeds)])
