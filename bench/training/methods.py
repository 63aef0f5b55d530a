"""A method for a task's dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from algorithms.base import Algorithm, Dimensions
from algorithms.registry import build
from bench.catalog import Task
from bench.records import PhaseRecord


def method_for(
    task: Task, name: str, hyperparameters: Mapping[str, object], seeds: Sequence[int], device: str = "cpu"
) -> Algorithm:
    """The named method, untrained, over a stack of seeds."""
    dimensions = Dimensions(task.observation_dim, task.action_dim, task.action_bound)
    return build(name, dimensions, hyperparameters, seeds, device)


def phases_for(task: Task, name: str, hyperparameters: Mapping[str, object]) -> tuple[PhaseRecord, ...]:
    """The phases of the named method, in order."""
    # A width changes none of them, and making wide networks for every cell of a grid would take minutes.
    narrow = {key: 16 if key.endswith("_width") else value for key, value in hyperparameters.items()}
    phases = method_for(task, name, narrow, (0,)).phases
    return tuple(PhaseRecord(phase.name, phase.iterations, phase.evaluated) for phase in phases)
