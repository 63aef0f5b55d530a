"""The behaviours that collected data come from: shipped policies, the led ant, the kitchen's scripted hand.

A shipped policy is a tanh-Gaussian network. Its file holds `fc1`, `fc2` (256 units, ReLU), `mean` and
`log_std` (clamped to [-5, 2]), float32. Metadata, all text: `environment`, `role`, and with each physics
(`d4rl_...`, `modern_...`) what `bench.data.make_policies` measured in stochastic episodes: `episodes`,
`mean_return`, `standard_error` of that mean, `mean_length` (steps) and `score` (D4RL-normalised). The ant of
`antmaze` walks where it is told; it is measured in every maze (`d4rl_umaze_...`) by the task's rules, led by
way points and with the noise of D4RL's generator, so that `mean_return` is the share of successes. Where
`bench.data.make_policies` fitted the file, `origin` says to what, and `teacher_...` what that one achieved in
the same episodes.

The led ant is D4RL's generator: a policy that walks in a given direction is led from cell to cell along a
shortest way to the goal; its actions carry noise.

The scripted hand does one element after the other, with noisy actions, for there is no trained policy of the
kitchen to be had. Each element has a path of the joints, made for this project: way points of the hand were
placed by eye from the model's handles (the kettle is taken by one side of its handle, as a person took it in
a demonstration), turned into joint angles by inverse kinematics, and shifted by what a servo yields under the
arm's weight. An episode is one element after the other, so it earns what the actions' noise does not spoil.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import safe_open
from scipy.special import ndtr

from bench.envs.antmaze import CELL_SIZE, START, Maze, centre
from bench.envs.kitchen import JOINTS, LARGEST_SPEED, STEP_SECONDS
from bench.envs.rules import States
from bench.errors import unknown_name

LOG_STD_RANGE = (-5.0, 2.0)
LAYERS = ("fc1", "fc2", "mean", "log_std")
HEADING_LENGTH = 10.0
"""Of the direction that the led ant's policy is given."""
ACTION_NOISE = 0.2
"""Deviation of the noise on every action of D4RL's generator."""
FINGERS_SHARE = 0.2
"""Of the deviation, for the fingers: their whole range is 0.04 m, and a grip is lost sooner than an aim."""


class Behaviour(Protocol):
    """Something that acts at random, so that data can be collected of it."""

    @property
    def noise_dim(self) -> int:
        """Standard normal numbers that an action takes."""

    def act(self, states: States, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Actions (N, A) and the logarithm of each one's density (N,), float32, for `noise` (N, noise_dim).

        A function of its arguments alone, for each environment alone: episodes begin and end as they like.
        """


@dataclass(frozen=True)
class BehaviourPolicy:
    """A stochastic policy a = tanh(mean(s) + exp(log_std(s)) * normal), in float32.

    NumPy, because at these sizes it is as fast as torch and its result does not depend on the thread count.
    """

    environment: str
    role: str
    metadata: Mapping[str, str]
    layers: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Name -> weight (in, out), bias (out,)."""

    @property
    def action_dim(self) -> int:
        """Numbers in an action."""
        return len(self.layers["mean"][1])

    @property
    def noise_dim(self) -> int:
        """One number for each of an action's."""
        return self.action_dim

    def act(self, states: States, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A sample at the observations of `states`."""
        return self.sample_with_log_probability(states.observations.astype(np.float32), noise)

    def mean_and_log_std(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, O) -> mean and logarithm of the standard deviation before the tanh, each (N, A) float32."""
        hidden = np.maximum(self._linear("fc1", observations.astype(np.float32, copy=False)), 0)
        hidden = np.maximum(self._linear("fc2", hidden), 0)
        return self._linear("mean", hidden), np.clip(self._linear("log_std", hidden), *LOG_STD_RANGE)

    def sample(self, observations: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Actions (N, A) float32 for observations (N, O) and standard normal `noise` (N, A)."""
        return self.sample_with_log_probability(observations, noise)[0]

    def sample_with_log_probability(
        self, observations: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `sample`, with the logarithm of each action's density (N,) float32."""
        noise = noise.astype(np.float32, copy=False)
        mean, log_std = self.mean_and_log_std(observations)
        before_tanh = mean + np.exp(log_std) * noise
        normal = -0.5 * noise**2 - log_std - np.float32(0.5 * math.log(2 * math.pi))
        # log(1 - tanh(u)^2), written so that it neither overflows nor loses digits where tanh saturates.
        shrink = 2 * (np.float32(math.log(2)) - before_tanh - np.logaddexp(np.float32(0), -2 * before_tanh))
        return np.tanh(before_tanh), (normal - shrink).sum(axis=1)

    def _linear(self, layer: str, inputs: np.ndarray) -> np.ndarray:
        weight, bias = self.layers[layer]
        return inputs @ weight + bias


@dataclass(frozen=True)
class Noisy:
    """A policy with normal noise of a given deviation added to every number of its actions, then clipped."""

    policy: BehaviourPolicy
    deviation: float

    @property
    def noise_dim(self) -> int:
        """The policy's own numbers, then as many for the noise."""
        return 2 * self.policy.action_dim

    def act(self, states: States, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The density is that of the policy's own sample, before the noise."""
        own, added = np.split(noise, 2, axis=1)
        actions, log_probabilities = self.policy.act(states, own)
        return np.clip(actions + np.float32(self.deviation) * added, -1, 1), log_probabilities


def policy_path(environment: str, role: str) -> Path:
    """File of a policy; raises BenchError with the names that exist."""
    files = {path.stem: path for path in policy_folder().glob("*.safetensors")}
    name = f"{environment}-{role}"
    if name not in files:
        raise unknown_name("behaviour policy", name, files, "bench list tasks")
    return files[name]


def load_policy(environment: str, role: str) -> BehaviourPolicy:
    """The policy of `environment` (`hopper`) in `role` (`medium`); a BenchError names those that exist."""
    with safe_open(policy_path(environment, role), "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        return BehaviourPolicy(environment, role, file.metadata(), layers_of(tensors))


def layers_of(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A policy's layers from the tensors of its file: `fc1.weight` (out, in), `fc1.bias` and so on."""
    # Transposed once, so that a layer is one product of row-major matrices.
    return {
        name: (np.ascontiguousarray(tensors[f"{name}.weight"].T), tensors[f"{name}.bias"]) for name in LAYERS
    }


def all_policies() -> list[tuple[str, str]]:
    """(environment, role) of every policy, sorted."""
    parts = (path.stem.partition("-") for path in policy_folder().glob("*.safetensors"))
    return sorted((environment, role) for environment, _, role in parts)


def policy_folder() -> Path:
    """Where the files of all policies lie."""
    return Path(__file__).parent / "behaviour_policies"


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


WayPoint = tuple[float, float, float, float, float, float, float, float, int, int]
"""Servo targets of the seven joints (rad), of both fingers (m), steps to get there, steps to stay there."""

HOME = (0.148, -1.75, 1.818, -2.485, 0.259, 0.711, 1.595, 0.04)
"""Servo targets near the state that an episode begins in; every path begins and ends here."""
PATHS: Mapping[str, tuple[WayPoint, ...]] = {
    "microwave": (
        (-0.749, -1.698, 1.981, -1.746, -0.394, 0.964, 2.309, 0.04, 12, 1),
        (-1.355, -1.686, 2.002, -1.206, -0.779, 0.924, 2.454, 0.04, 10, 3),
        (-1.356, -1.686, 2.003, -1.204, -0.784, 0.92, 2.457, 0, 5, 3),
        (-1.126, -1.607, 2.088, -1.364, -0.755, 0.817, 2.446, 0, 5, 0),
        (-0.979, -1.575, 2.148, -1.3, -0.729, 0.693, 2.391, 0, 4, 0),
        (-0.914, -1.579, 2.169, -1.218, -0.728, 0.642, 2.36, 0, 2, 1),
        (-0.765, -1.466, 2.23, -1.307, -0.661, 0.462, 2.301, 0.04, 5, 0),
        (*HOME, 13, 0),
    ),
    "kettle": (
        (-0.071, -1.714, 2.235, -2.437, 0.242, 0.916, 2.064, 0.04, 6, 1),
        (-0.626, -1.711, 2.144, -2.29, -0.445, 1.183, 2.58, 0.04, 10, 3),
        (-0.626, -1.711, 2.142, -2.292, -0.477, 1.189, 2.611, 0, 5, 2),
        (-0.599, -1.651, 2.019, -2.415, -0.529, 1.281, 2.545, 0, 4, 0),
        (-0.91, -1.709, 1.91, -2.227, -0.91, 1.367, 2.836, 0, 8, 0),
        (-1.43, -1.699, 1.833, -1.792, -1.094, 1.317, 2.867, 0, 11, 0),
        (-1.509, -1.697, 1.909, -1.682, -1.113, 1.219, 2.867, 0, 3, 0),
        (-1.538, -1.696, 1.951, -1.638, -1.123, 1.168, 2.867, 0.04, 5, 1),
        (-0.801, -1.645, 2.068, -2.261, -0.866, 1.217, 2.867, 0.04, 8, 0),
        (-0.421, -1.21, 2.212, -2.434, -0.692, 0.791, 2.695, 0.04, 5, 0),
        (*HOME, 12, 0),
    ),
    "light switch": (
        (-0.646, -1.453, 1.367, -2.759, 0.346, 1.825, 1.595, 0, 14, 0),
        (-1.335, -1.309, 1.412, -2.277, 0.17, 2.085, 1.595, 0, 10, 3),
        (-1.334, -1.426, 1.411, -1.922, 0.163, 1.813, 1.595, 0, 13, 1),
        (-0.502, -1.617, 1.454, -2.621, 0.161, 1.555, 1.595, 0, 10, 0),
        (*HOME, 9, 0),
    ),
    "slide cabinet": (
        (-0.601, -1.66, 1.209, -2.763, 0.431, 1.723, 1.595, 0, 11, 0),
        (-1.424, -1.478, 1.035, -2.275, 0.462, 2.035, 1.595, 0, 9, 0),
        (-1.713, -1.417, 1.044, -1.967, 0.442, 1.982, 1.595, 0, 4, 1),
        (-2.15, -1.538, 0.882, -2.09, 0.061, 2.074, 1.595, 0, 6, 1),
        (-0.737, -1.131, 0.677, -2.87, -0.046, 2.09, 1.595, 0, 15, 0),
        (*HOME, 15, 0),
    ),
    "bottom burner": (
        (-0.825, -1.383, 1.353, -2.593, 0.324, 1.85, 1.595, 0, 15, 1),
        (-1.325, -1.335, 1.465, -2.203, 0.251, 1.954, 1.595, 0, 7, 3),
        (-1.444, -1.227, 1.385, -2.44, 0.042, 2.087, 1.595, 0, 6, 2),
        (-0.761, -1.447, 1.321, -2.823, 0.088, 2.003, 1.595, 0, 8, 0),
        (*HOME, 14, 0),
    ),
}


@dataclass(frozen=True)
class KitchenBehaviour:
    """Gaussian actions around those that follow the paths, clipped to [-1, 1].

    The order of an episode's elements is read off the noise of its first observation, which is drawn anew for
    each; so there is no state but the simulator's. After the last element the arm rests at home.
    """

    deviation: float
    """Standard deviation of an action of the arm; the fingers' is a fifth."""
    elements: tuple[str, ...] = tuple(PATHS)
    """Keys of `PATHS`; by default all five, of which four fit the horizon."""
    shuffled: bool = True
    """Whether each episode has an order of its own, or that of `elements`."""

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise ValueError(f"a deviation of {self.deviation}")

    @property
    def noise_dim(self) -> int:
        """Standard normal numbers that an action takes."""
        return JOINTS

    def act(self, states: States, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Actions (N, 9) float32 and the logarithm of their densities (N,) float32, for `noise` (N, 9).

        The density is that of an action before it is clipped.
        """
        aims = (self.targets(states) - states.observations[:, :JOINTS]) / (LARGEST_SPEED * STEP_SECONDS)
        actions = np.clip(aims, -1.0, 1.0) + self._deviations * noise
        densities = -0.5 * np.square(noise) - np.log(self._deviations) - 0.5 * math.log(2 * math.pi)
        log_probabilities = densities.sum(axis=1, dtype=np.float64)
        return np.clip(actions, -1.0, 1.0).astype(np.float32), log_probabilities.astype(np.float32)

    def targets(self, states: States) -> np.ndarray:
        """(N, 9) servo targets of the step that comes."""
        paths, lengths = self._paths
        order = self.order(states)
        ends = np.cumsum(lengths[order], axis=1)
        part = (states.elapsed[:, None] >= ends).sum(axis=1)
        # After the last element comes the path beyond them, which rests at home.
        rest = len(self.elements)
        rows = np.arange(len(order))
        element = np.append(order, np.full((len(order), 1), rest), axis=1)[rows, part]
        begun = np.append(np.zeros((len(order), 1), dtype=np.int64), ends, axis=1)[rows, part]
        return paths[element, np.minimum(states.elapsed - begun, paths.shape[1] - 1)]

    def order(self, states: States) -> np.ndarray:
        """(N, elements) numbers of the elements in the order of each episode."""
        first = states.memory["noise"][:, 0, : len(self.elements)]
        if self.shuffled:
            return np.argsort(first, axis=1)
        return np.tile(np.arange(len(self.elements)), (len(first), 1))

    @cached_property
    def _deviations(self) -> np.ndarray:
        return self.deviation * np.array([1.0] * 7 + [FINGERS_SHARE] * 2)

    @cached_property
    def _paths(self) -> tuple[np.ndarray, np.ndarray]:
        """Targets (E + 1, longest, 9) of each element's steps and at last of rest, steps (E,) of each."""
        paths = [_steps(PATHS[element]) for element in self.elements]
        lengths = np.array([len(path) for path in paths])
        table = np.tile(np.append(HOME, HOME[-1]), (len(paths) + 1, lengths.max(), 1))
        for row, path in zip(table, paths, strict=False):
            row[: len(path)] = path
        return table, lengths


def _steps(path: tuple[WayPoint, ...]) -> np.ndarray:
    """Targets (T, 9) step by step: straight in the joints from one way point to the next, from home."""
    steps = []
    for (*before, _, _), (*after, moving, staying) in pairwise(((*HOME, 0, 0), *path)):
        shares = np.append(np.arange(1, moving + 1) / moving, np.ones(staying))
        steps.append(np.array(before) + shares[:, None] * (np.array(after) - np.array(before)))
    joints = np.concatenate(steps)
    return np.append(joints, joints[:, -1:], axis=1)
