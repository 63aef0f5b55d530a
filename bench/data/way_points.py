"""How D4RL's generator moved the ant through its mazes, and how it labelled what came of it.

A policy that walks in a given direction is led from cell to cell along a shortest way to the goal; its
actions carry noise. All rewards were made afterwards, against one goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy.special import ndtr

from bench.envs.antmaze import CELL_SIZE, START, Maze, at_goal, centre
from bench.envs.rules import States

HEADING_LENGTH = 10.0
"""Of the direction that the policy is given."""
ACTION_NOISE = 0.2
"""Deviation of the noise on every action of D4RL's generator."""


class DirectedPolicy(Protocol):
    """A stochastic policy that is told where to go beside what it observes."""

    @property
    def action_dim(self) -> int:
        """Numbers in an action."""

    def sample_with_log_probability(
        self, observations: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Actions (N, A) and the logarithm of each one's density (N,), float32, for normal noise (N, A)."""


@dataclass(frozen=True)
class WayPoints:
    """The behaviour of D4RL's generator; nothing is remembered from one step to the next."""

    policy: DirectedPolicy
    """Takes the observation without x and y, then the direction: 29 numbers."""
    maze: Maze
    action_noise: float = ACTION_NOISE

    @property
    def noise_dim(self) -> int:
        """Standard normal numbers of a step: two for the way point, then the policy's, then the noise's."""
        return 2 + 2 * self.policy.action_dim

    def act(self, states: States, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Actions (N, A) and the logarithm of a density (N,), float32, for `noise` (N, noise_dim).

        The density is that of the policy's own sample, before noise is added and the sum clipped to [-1, 1].
        """
        own, added = np.split(noise[:, 2:].astype(np.float32, copy=False), 2, axis=1)
        inputs = self.policy_inputs(states, noise)
        actions, log_probabilities = self.policy.sample_with_log_probability(inputs, own)
        return np.clip(actions + np.float32(self.action_noise) * added, -1, 1), log_probabilities

    def policy_inputs(self, states: States, noise: np.ndarray) -> np.ndarray:
        """(N, 29) float32 that the policy gets: the robot but for its place, and the direction."""
        positions, goals = states.observations[:, :2], states.memory["goal"]
        # A normal number's own distribution function makes a uniform one of it.
        headings = self._targets(positions, goals, ndtr(noise[:, :2].astype(np.float64))) - positions
        headings *= HEADING_LENGTH / np.linalg.norm(headings, axis=1, keepdims=True)
        return np.hstack((states.observations[:, 2:], headings)).astype(np.float32)

    def _targets(self, positions: np.ndarray, goals: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """x and y (N, 2) to head for: somewhere in the next cell, or the goal once in its cell."""
        # Were an ant thrown over the outer wall, it would still be told a way.
        outermost = np.array(self.maze.walls.shape) - 1
        cells, goal_cells = np.minimum(cell_of(positions), outermost), cell_of(goals)
        following = [
            next_cells(self.maze, tuple(goal))[tuple(cell)]
            for cell, goal in zip(cells.tolist(), goal_cells.tolist(), strict=True)
        ]
        arrived = (cells == goal_cells).all(axis=1, keepdims=True)
        return np.where(arrived, goals, centre(np.array(following)) + uniform)


def cell_of(positions: np.ndarray) -> np.ndarray:
    """Row and column (N, 2) of the cells that D4RL's generator takes positions (N, 2) to lie in.

    They reach from 4k to 4k + 4 m although walls are centred on 4k: half a cell off, which does no harm
    because way points and goals lie within 1.5 m above a centre. A robot may thus seem to be in a wall.
    """
    return (np.maximum(positions, 1e-4)[:, ::-1] / CELL_SIZE).astype(np.int64) + START


@lru_cache
def next_cells(maze: Maze, goal: tuple[int, int]) -> np.ndarray:
    """(R, C, 2) row and column of the cell that follows each on a shortest way to `goal`.

    From walls beside a free cell too, in which a robot may seem to be; from other walls, and from the goal
    itself, it is the goal. Of equally short ways it is the one found first.
    """
    following = np.full((*maze.walls.shape, 2), goal)
    found = {goal}
    frontier = [goal]
    while frontier:
        reached = []
        for row, column in frontier:
            for cell in ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)):
                if cell in found:
                    continue
                found.add(cell)
                following[cell] = row, column
                if not maze.walls[cell]:
                    reached.append(cell)
        frontier = reached
    return following


def relabelled(positions: np.ndarray, goal: np.ndarray, *, single: bool = False) -> np.ndarray:
    """Rows (T,) bool of one episode whose reward and terminal D4RL's relabelling set; `positions` (T, 2).

    Those after which the robot is within the radius of `goal`; never the last, whose successor is not known.
    A robot that lingers is rewarded at every row, with `single` only at the first of each stay.
    """
    reached = np.append(at_goal(positions[1:], goal), False)
    if single:
        reached[1:] &= ~reached[:-1]
    return reached
