"""How the episodes of each recipe are rolled out, and what D4RL's generators wrote down of them.

`medium`, `medium-replay`, `medium-expert` and `cloned` are stochastic episodes of the task itself. `antmaze`
follows D4RL's generator: the robot is led from way point to way point, reaching a goal ends nothing, and all
rewards are made afterwards against one goal. `demonstrations` are the kitchen's: a reward counts the elements
that are complete, and the last row of each is terminal whether or not it succeeded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from bench.catalog import CollectedDataset, PolicyShare, Task
from bench.data.kitchen_behaviour import KitchenBehaviour
from bench.data.policies import Behaviour, Noisy, load_policy
from bench.data.rollouts import Rows
from bench.data.way_points import WayPoints, relabelled
from bench.envs import rules_of
from bench.envs.antmaze import AntMaze
from bench.envs.kitchen import Kitchen
from bench.envs.rules import Rules

STANDARD_COLUMNS = (
    "observations",
    "actions",
    "rewards",
    "terminals",
    "timeouts",
    "infos/qpos",
    "infos/qvel",
    "infos/action_log_probs",
)

GOAL_STREAM = 1_000
"""Of the seed of a collection; no policy's number comes so high."""


@dataclass(frozen=True)
class Recipe:
    """What collects one task's data."""

    rules: Rules
    """Of the environment as the generator ran it."""
    behaviour: Callable[[PolicyShare], Behaviour]
    written: Callable[[Rows], Rows]
    """An episode as the file holds it."""
    notes: dict[str, str]
    """What the file says of the recipe besides, by name."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that the file has."""
        return (*STANDARD_COLUMNS, *self.rules.recorded)


def recipe_of(task: Task, seed: int) -> Recipe:
    """The recipe of a collected task; `seed` is that of the collection."""
    rules = rules_of(task.environment)
    dataset = cast(CollectedDataset, task.dataset)
    if dataset.recipe == "antmaze":
        return _antmaze(cast(AntMaze, rules), dataset, seed)
    if dataset.recipe == "demonstrations":
        return Recipe(rules, lambda policy: _hand(cast(Kitchen, rules), policy), _demonstration, {})
    return Recipe(rules, lambda policy: _sampled(task.environment, policy), lambda episode: episode, {})


def _sampled(environment: str, policy: PolicyShare) -> Behaviour:
    behaviour = load_policy(environment, policy.role)
    return Noisy(behaviour, policy.noise) if policy.noise else behaviour


def _hand(rules: Kitchen, policy: PolicyShare) -> Behaviour:
    """`ordered`: the task's four elements, as D4RL lists them; `scripted`: four of all five, in any order."""
    if policy.role == "ordered":
        return KitchenBehaviour(policy.noise, rules.elements, shuffled=False)
    return KitchenBehaviour(policy.noise)


def _antmaze(rules: AntMaze, dataset: CollectedDataset, seed: int) -> Recipe:
    # Drawn as the task draws it; the data of a play set is not collected for this goal.
    goal = rules.draw_goal(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(GOAL_STREAM,))))
    policy = load_policy("antmaze", "goal")
    return Recipe(
        rules=rules.collecting(dataset.multistart, dataset.multigoal),
        behaviour=lambda share: WayPoints(policy, rules.maze, share.noise),
        written=lambda episode: _relabelled(episode, goal, dataset.single_reward),
        notes={"goal": f"{goal[0]:.9f}, {goal[1]:.9f}", "rewards": "relabelled against this goal"},
    )


def _relabelled(episode: Rows, goal: np.ndarray, single: bool) -> Rows:
    reached = relabelled(episode["infos/qpos"][:, :2], goal, single=single)
    return episode.changed(rewards=reached.astype(np.float32), terminals=reached)


def _demonstration(episode: Rows) -> Rows:
    ended = np.zeros(len(episode), dtype=bool)
    ended[-1] = True
    return episode.changed(
        rewards=np.cumsum(episode["rewards"], dtype=np.float32),
        terminals=ended,
        timeouts=np.zeros(len(episode), dtype=bool),
    )
