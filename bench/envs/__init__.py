"""Batched simulators of the tasks' robots."""

from __future__ import annotations

from bench.catalog import Physics
from bench.envs.batch import BatchedSimulator, Step
from bench.envs.locomotion import robot_named
from bench.envs.physics import PHYSICS, load_model

__all__ = ["PHYSICS", "BatchedSimulator", "Physics", "Step", "load_model", "make_simulator"]


def make_simulator(environment: str, physics: Physics, count: int, threads: int = 1) -> BatchedSimulator:
    """A simulator of `count` environments of `hopper`, `walker2d` or `halfcheetah`."""
    model = load_model(environment, physics)
    return BatchedSimulator(robot_named(environment), model, physics, count, threads)
