"""A method for a task's dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from algorithms.base import Algorithm, Dimensions
from algorithms.registry import build
from bench.catalog import Task


def method_for(
    task: Task, name: str, hyperparameters: Mapping[str, object], seeds: Sequence[int], device: str = "cpu"
) -> Algorithm:
    """The named method, untrained, over a stack of seeds."""
    dimensions = Dimensions(task.observation_dim, task.action_dim, task.action_bound)
    return build(name, dimensions, hyperparameters, seeds, device)
