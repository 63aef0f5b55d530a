"""Batched simulators of the tasks' robots, and the 2D problems beside them.

A domain is a module of this package, whose robots stand in `ROBOTS`, and its entries in tasks.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

from bench.catalog import NO_PHYSICS, GeneratedDataset, Task
from bench.envs.antmaze import ANTMAZES
from bench.envs.kitchen import KITCHENS
from bench.envs.locomotion import WALKERS
from bench.envs.pen import PEN
from bench.envs.rules import Robot
from bench.errors import BenchError, unknown_name
from bench.records import Physics

if TYPE_CHECKING:
    import mujoco

    from bench.envs.bandit import PlaneBandit
    from bench.envs.batch import BatchedSimulator

    Simulator = BatchedSimulator | PlaneBandit
    """What an evaluation plays in."""

PHYSICS: tuple[Physics, ...] = get_args(Physics)

ROBOTS: Mapping[str, Robot] = {**WALKERS, **ANTMAZES, "pen": PEN, **KITCHENS}
"""Every robot, by the environment's name in tasks.yaml."""


def robot_of(environment: str) -> Robot:
    """The robot of `environment` (`hopper`); a BenchError names the known ones."""
    if environment not in ROBOTS:
        raise unknown_name("simulator", environment, ROBOTS, "bench list tasks")
    return ROBOTS[environment]


def load_model(environment: str, physics: str) -> mujoco.MjModel:
    """The compiled model of `environment` under `physics`."""
    return robot_of(environment).load_model(_known(environment, physics))


def simulator_for(task: Task, physics: str, count: int, threads: int = 1) -> Simulator:
    """`count` environments of a task; `physics` means nothing to a 2D problem."""
    from bench.envs.bandit import PlaneBandit

    if isinstance(task.dataset, GeneratedDataset):
        return PlaneBandit(task.dataset, count)
    return make_simulator(task.environment, physics, count, threads)


def make_simulator(environment: str, physics: str, count: int, threads: int = 1) -> BatchedSimulator:
    """A simulator of `count` environments of `environment`."""
    from bench.envs.batch import BatchedSimulator

    return BatchedSimulator(robot_of(environment), _known(environment, physics), count, threads)


def physics_under(task: Task, asked: str | None) -> Physics | Literal["none"]:
    """The physics that applies to a task when `asked` is asked for; None leaves the task's own.

    Raises BenchError where there is nothing to simulate and something was asked for, and for a physics that
    the robot cannot have.
    """
    if asked is None:
        return task.physics
    if task.physics == NO_PHYSICS:
        raise BenchError(
            f"physics {asked} for {task.name}", "Its reward is a formula of the action.", "Leave it away."
        )
    return _known(task.environment, asked)


def _known(environment: str, physics: str) -> Physics:
    """Refuse a physics that there is not, or not for this robot."""
    if physics not in PHYSICS:
        raise BenchError(f"unknown physics {physics!r}", "", f"Type {' or '.join(PHYSICS)}.")
    if physics not in robot_of(environment).physics:
        raise BenchError(
            f"physics {physics} for {environment}",
            "It differs from d4rl in the inertia of capsules, by which this robot's step is not judged.",
            "Leave it away, or type d4rl.",
        )
    return physics
