"""Behaviour policies that collected datasets come from: tanh-Gaussian networks, shipped with the package.

Each file holds `fc1`, `fc2` (256 units, ReLU), `mean` and `log_std` (clamped to [-5, 2]), float32. Metadata,
all text: `environment`, `role`, and with each physics (`d4rl_...`, `modern_...`) what
`bench.data.measure_policies` found in stochastic episodes: `episodes`, `mean_return`, `standard_error` of
that mean, `mean_length` (steps) and `score` (D4RL-normalised). The ant of `antmaze` walks where it is told;
it is measured in every maze (`d4rl_umaze_...`) by the task's rules, led by way points and with the noise of
D4RL's generator, so that `mean_return` is the share of successes. Where `bench.data.fit_policies` made the
file, `origin` says what it was fitted to, and `teacher_...` what that one achieved in the same episodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import safe_open

from bench.envs.rules import States
from bench.errors import unknown_name

LOG_STD_RANGE = (-5.0, 2.0)
LAYERS = ("fc1", "fc2", "mean", "log_std")


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
    return sorted(tuple(path.stem.split("-", 1)) for path in policy_folder().glob("*.safetensors"))


def policy_folder() -> Path:
    """Where the files of all policies lie."""
    return Path(__file__).parent / "behaviour_policies"
