"""Batched simulators of the tasks' robots, and the 2D problems beside them."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco

from bench.catalog import GeneratedDataset, Physics, Task
from bench.envs.bandit import PlaneBandit
from bench.envs.batch import BatchedSimulator, Rules, Step
from bench.envs.locomotion import ROBOTS
from bench.envs.physics import PHYSICS
from bench.errors import BenchError, unknown_name

__all__ = [
    "PHYSICS",
    "RULES",
    "BatchedSimulator",
    "Physics",
    "PlaneBandit",
    "Rules",
    "Simulator",
    "Step",
    "load_model",
    "make_simulator",
    "rules_of",
    "simulator_for",
]

Simulator = BatchedSimulator | PlaneBandit
"""What an evaluation plays in."""

RULES: Mapping[str, Rules] = {**ROBOTS}
"""Of every environment with a simulator, by the environment's name in tasks.yaml."""


def rules_of(environment: str) -> Rules:
    """The rules of `environment` (`hopper`); a BenchError names the known ones."""
    if environment not in RULES:
        raise unknown_name("simulator", environment, RULES, "bench list tasks")
    return RULES[environment]


def load_model(environment: str, physics: Physics) -> mujoco.MjModel:
    """The compiled model of `environment` under `physics`."""
    if physics not in PHYSICS:
        raise BenchError(f"unknown physics {physics!r}", "", f"Type {' or '.join(PHYSICS)}.")
    return rules_of(environment).load_model(physics)


def simulator_for(task: Task, physics: str, count: int, threads: int = 1) -> Simulator:
    """`count` environments of a task; `physics` means nothing to a 2D problem."""
    if isinstance(task.dataset, GeneratedDataset):
        return PlaneBandit(task.dataset, count)
    return make_simulator(str(task.simulator), physics, count, threads)


def make_simulator(environment: str, physics: Physics, count: int, threads: int = 1) -> BatchedSimulator:
    """A simulator of `count` environments of `environment`."""
    if physics not in PHYSICS:
        raise BenchError(f"unknown physics {physics!r}", "", f"Type {' or '.join(PHYSICS)}.")
    return BatchedSimulator(rules_of(environment), physics, count, threads)
