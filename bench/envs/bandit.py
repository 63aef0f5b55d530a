"""The 2D problems as environments: one step, one constant observation, an action is a point of the plane."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from bench.catalog import NO_PHYSICS, GeneratedDataset
from bench.data.problems2d import generate, problem_named
from bench.envs.rules import Step
from bench.errors import BenchError


class PlaneBandit:
    """N bandits of one 2D problem, stepped together; the interface is that of the batched simulators.

    An action earns what the problem's formula says of its point, on the data's support and off it. Episodes
    end as the data's do: by a terminal, or cut off after one step. A finished one earns nothing until reset.
    """

    horizon = 1
    observation_dim = 1
    action_dim = 2
    physics = NO_PHYSICS

    def __init__(self, recipe: GeneratedDataset, count: int) -> None:
        if count < 1:
            raise BenchError(f"{count} environments", "", "Ask for 1 or more.")
        problem = problem_named(recipe.problem)
        self.count = count
        self._reward = problem.reward_function(generate(recipe).actions.astype(np.float64))
        self._terminal = problem.terminal
        self._finished = np.ones(count, dtype=bool)

    @property
    def observations(self) -> np.ndarray:
        """(N, 1) zeros."""
        return np.zeros((self.count, self.observation_dim))

    def reset(
        self,
        seeds: Sequence[int],
        slots: Sequence[int] | None = None,
        goal_seeds: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Start new episodes in `slots` (default: all); nothing is random here, so `seeds` only count."""
        slots = range(self.count) if slots is None else slots
        if len(slots) != len(seeds):
            raise ValueError(f"{len(seeds)} seeds for {len(slots)} environments")
        self._finished[slots] = False
        return self.observations

    def step(self, actions: np.ndarray) -> Step:
        """Take `actions` (N, 2) in every unfinished environment; all are finished afterwards."""
        if actions.shape != (self.count, self.action_dim):
            raise ValueError(f"actions of shape {actions.shape}, expected {(self.count, self.action_dim)}")
        active = ~self._finished
        rewards = np.where(active, self._reward(np.asarray(actions, dtype=np.float64)), 0.0)
        self._finished[:] = True
        never = np.zeros(self.count, dtype=bool)
        terminated, truncated = (active, never) if self._terminal else (never, active)
        return Step(self.observations, rewards, terminated, truncated)

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
