"""Episodes of all seeds of a stack at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from algorithms.base import Algorithm, derived_seed
from bench.records import GoalRule
from bench.training.draws import DrawStream

if TYPE_CHECKING:
    from bench.envs import Simulator

STREAM = "evaluation"


@dataclass(frozen=True)
class Rollouts:
    """Episodes of one evaluation: returns and lengths (S, N); `finite` (S,) tells of the actions."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    finite: NDArray[np.bool_]
    seconds: float


def roll_out(
    algorithm: Algorithm,
    simulator: Simulator,
    *,
    evaluation: int,
    episodes: int,
    goals: GoalRule | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Rollouts:
    """Play `episodes` episodes per seed, all at once, until the last has ended.

    Initial states and action draws are a function of (training seed, evaluation, episode), on a stream that
    training never touches; `goals` says which of them share a goal, where the task draws one. `simulator` has
    S * N environments, those of the first seed first. `on_step` is called with its number before every
    environment step, and may raise to break off.
    """
    started = time.perf_counter()
    seeds = algorithm.seeds
    keys = [f"{seed}/{evaluation}/{episode}" for seed in seeds for episode in range(episodes)]
    draws = DrawStream(keys, STREAM, algorithm.act_draws, device=algorithm.device)
    observations = simulator.reset(
        [derived_seed(key, "initial state") for key in keys],
        goal_seeds=_goal_seeds(goals, seeds, evaluation, episodes) if goals else None,
    )
    returns, lengths = np.zeros(len(keys)), np.zeros(len(keys), dtype=np.int64)
    running = np.ones(len(keys), dtype=bool)
    finite = np.ones(len(seeds), dtype=bool)
    step = 0
    while running.any():
        on_step(step)
        stacked = torch.from_numpy(observations.astype(np.float32)).to(algorithm.device)
        noise = {name: draw.unflatten(0, (len(seeds), episodes)) for name, draw in draws.at(step).items()}
        actions = algorithm.act(stacked.unflatten(0, (len(seeds), episodes)), noise).cpu().numpy()
        finite &= np.isfinite(actions).all(axis=(1, 2))
        # A seed with a non-finite action has failed; its robots stand still until the others are done.
        played = np.nan_to_num(actions, nan=0.0, posinf=0.0, neginf=0.0).reshape(len(keys), -1)
        outcome = simulator.step(played.astype(np.float64))
        returns += np.where(running, outcome.rewards, 0.0)
        lengths += running
        running &= ~(outcome.terminated | outcome.truncated)
        observations = outcome.observations
        step += 1
    shape = (len(seeds), episodes)
    return Rollouts(returns.reshape(shape), lengths.reshape(shape), finite, time.perf_counter() - started)


def _goal_seeds(rule: GoalRule, seeds: Sequence[int], evaluation: int, episodes: int) -> list[int]:
    """Seeds of the goals (S * N,): equal ones where episodes share a goal."""
    keys = {
        "per_episode": "{seed}/{evaluation}/{episode}",
        "per_evaluation": "{seed}/{evaluation}",
        "per_run": "{seed}",
        "per_environment": "{seed}/any/{episode}",
    }
    return [
        derived_seed(keys[rule].format(seed=seed, evaluation=evaluation, episode=episode), "goal")
        for seed in seeds
        for episode in range(episodes)
    ]
