"""EDP's diffusion policy (Kang et al. 2023): its noise-prediction network and the ways to sample from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from algorithms.base import Dimensions
from algorithms.ddpm import Schedule, clean_action, posterior_mean
from algorithms.dpm_solver import fast_orders, interpolated_log_alpha, solve, uniform_steps
from algorithms.networks import MLP, Initialiser, lecun_normal, mish, sinusoidal_embedding

Prediction = Callable[[int, Tensor], Tensor]
"""Noise (S, R, A) seen in noisy actions (S, R, A) at the i-th of a sampler's labels."""


class NoiseNetwork(nn.Module):
    """eps(observations (S, B, O), noisy actions (S, B, A), labels (S, B)) -> (S, B, A).

    Labels count diffusion steps from 0; samplers may ask between them. Source: released diffusion/nets.py.
    """

    def __init__(self, initialiser: Initialiser, dimensions: Dimensions, width: int, embedding: int) -> None:
        super().__init__()
        self.embed = MLP(
            initialiser, (embedding, 2 * embedding, embedding), mish, initialisation=lecun_normal
        )
        self.parts = (dimensions.observation, dimensions.action, embedding)
        sizes = (sum(self.parts), width, width, width, dimensions.action)
        self.mlp = MLP(initialiser, sizes, mish, initialisation=lecun_normal)

    def forward(self, observations: Tensor, noisy: Tensor, labels: Tensor) -> Tensor:
        """Predicted noise."""
        return self.mlp(torch.cat((observations, noisy, self._embedded(labels)), dim=-1))

    def along(self, observations: Tensor, labels: Tensor, repeats: int) -> Prediction:
        """The network at `labels` (T,) for `repeats` noisy actions per observation (S, B, O); R = B repeats.

        What the first layer makes of observations and labels is worked out once for all calls and actions.
        """
        first, *middle, last = self.mlp.layers
        by_state, by_action, by_time = first.weight.split(self.parts, dim=1)
        states = torch.baddbmm(first.bias, observations, by_state)
        states = states.unsqueeze(2).expand(-1, -1, repeats, -1).flatten(1, 2)
        embedded = self._embedded(labels.to(observations.dtype).expand(len(observations), -1))
        times = torch.bmm(embedded, by_time)

        def predict(call: int, noisy: Tensor) -> Tensor:
            hidden = mish(torch.baddbmm(states + times[:, call, None], noisy, by_action))
            for layer in middle:
                hidden = mish(layer(hidden))
            return last(hidden)

        return predict

    def _embedded(self, labels: Tensor) -> Tensor:
        width = self.parts[2]
        return self.embed(sinusoidal_embedding(labels, width, divisor=width // 2, cosine_first=True))


class Sampler(Protocol):
    """Actions of a policy from standard normal numbers, differentiable in the policy's weights."""

    draws: int
    """Normal numbers per action component of one sample."""

    def __call__(self, policy: NoiseNetwork, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, R, A) for observations (S, B, O) and noise (S, draws, R, A); R a multiple of B."""


class SolverSampler:
    """DPM-Solver of third order from time 1 to 1/K; predictions imply clean actions within the bound.

    The released code ends at time 0.001, which is 1/K at the paper's K = 1000; with fewer steps that lies
    outside the schedule. As there, the result is not clipped.
    """

    draws = 1

    def __init__(self, schedule: Schedule, calls: int, bound: float, device: torch.device) -> None:
        abar = schedule.abar.tolist()
        log_alpha = interpolated_log_alpha(abar[1:])
        self._steps = uniform_steps(log_alpha, fast_orders(calls), 1.0, 1 / schedule.steps)
        labels = [stage.time * schedule.steps - 1 for step in self._steps for stage in step]
        self._labels = torch.tensor(labels, dtype=torch.float64, device=device)
        at_labels = [abar[1 + label] for label in _whole_labels(fast_orders(calls), schedule.steps)]
        self._limits = [(1 / math.sqrt(1 - a), bound * math.sqrt(a / (1 - a))) for a in at_labels]

    def __call__(self, policy: NoiseNetwork, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions after `solver_calls` passes."""
        network = policy.along(observations, self._labels, noise.shape[2] // observations.shape[1])

        def predict(call: int, noisy: Tensor) -> Tensor:
            slope, reach = self._limits[call]
            centre = slope * noisy
            return network(call, noisy).clamp(centre - reach, centre + reach)

        return solve(self._steps, predict, noise[:, 0])


def _whole_labels(orders: Sequence[int], steps: int) -> list[int]:
    """Labels cut to whole numbers, one per call: where the released code looks its clipping limits up.

    It works in single precision, in which some labels that are whole numbers fall just short and are cut to
    the number below: with 1000 steps and 15 calls, 666 and 333 become 665 and 332. So the times are worked
    out in single precision here too, and in its order: equally spaced over the run, then within each step.
    """
    end = torch.tensor(1 / steps, dtype=torch.float32)
    ends = _equally_spaced(torch.ones_like(end), end, sum(orders))
    times, first = [], 0
    for order in orders:
        times.append(_equally_spaced(ends[first], ends[first + order], order)[:-1])
        first += order
    return ((torch.cat(times) - end) * steps).int().tolist()


def _equally_spaced(start: Tensor, end: Tensor, count: int) -> Tensor:
    """`jax.numpy.linspace`: `count` equal pieces, (count + 1,), in the dtype of its ends.

    Its compiler turns the division by the count into a product with 1 / count; the last digit depends on it.
    """
    shares = torch.arange(count, dtype=start.dtype) * (torch.ones_like(start) / count)
    return torch.cat((start * (1 - shares) + end * shares, end[None]))


class AncestralSampler:
    """DDPM: all K steps with the posterior's variance, clean actions clipped to the bound at each."""

    def __init__(self, schedule: Schedule, bound: float) -> None:
        self.draws = schedule.steps
        self.schedule = schedule
        self._bound = bound

    def __call__(self, policy: NoiseNetwork, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions after K passes."""
        schedule = self.schedule
        labels = torch.arange(schedule.steps - 1, -1, -1, device=noise.device)
        predict = policy.along(observations, labels, noise.shape[2] // observations.shape[1])
        deviation = schedule.posterior_variance.sqrt()
        actions = noise[:, 0]
        for call in range(schedule.steps):
            step = schedule.steps - call
            clean = clean_action(schedule, actions, step, predict(call, actions), self._bound)
            actions = posterior_mean(schedule, actions, step, clean)
            if step > 1:
                actions = actions + deviation[step] * noise[:, call + 1]
        return actions
