"""Batched simulators of the tasks' robots, and the 2D problems beside them."""

from __future__ import annotations

from bench.catalog import GeneratedDataset, Physics, Task
from bench.envs.bandit import PlaneBandit
from bench.envs.batch import BatchedSimulator, Step
from bench.envs.locomotion import robot_named
from bench.envs.physics import PHYSICS, load_model

__all__ = [
    "PHYSICS",
    "BatchedSimulator",
    "Physics",
    "PlaneBandit",
    "Simulator",
    "Step",
    "load_model",
    "make_simulator",
    "simulator_for",
]

Simulator = BatchedSimulator | PlaneBandit
"""What an evaluation plays in."""


def simulator_for(task: Task, physics: str, count: int, threads: int = 1) -> Simulator:
    """`count` environments of a task; `physics` means nothing to a 2D problem."""
    if isinstance(task.dataset, GeneratedDataset):
        return PlaneBandit(task.dataset, count)
    return make_simulator(task.environment, physics, count, threads)


def make_simulator(environment: str, physics: Physics, count: int, threads: int = 1) -> BatchedSimulator:
    """A simulator of `count` environments of `hopper`, `walker2d` or `halfcheetah`."""
    model = load_model(environment, physics)
    return BatchedSimulator(robot_named(environment), model, physics, count, threads)
