"""CRR of one seed, written a second time: plain networks, torch.optim, torch.distributions."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from algorithms.base import Algorithm
from algorithms.crr import CRRConfig
from benchmarks.plain.modules import PlainVersion, Tensors, follow, layer_norm, linear, q_values, slice_of


def normalised(weights: Tensors) -> nn.Sequential:
    """{Linear, LayerNorm, ReLU} twice, Linear."""
    parts: list[nn.Module] = []
    for i in range(2):
        parts += [linear(weights, f"layers.{i}"), layer_norm(weights, f"norms.{i}", 1e-6), nn.ReLU()]
    return nn.Sequential(*parts, linear(weights, "layers.2"))


class PlainPolicy(nn.Module):
    """States -> mean and deviation of the normal behind tanh."""

    def __init__(self, state: Tensors, seed: int, config: CRRConfig) -> None:
        super().__init__()
        self.mu, self.spread = (normalised(slice_of(state, "policy.mlp.", seed, head)) for head in (0, 1))
        self.m, self.c = (
            nn.Parameter(state[f"policy.{name}"][seed].reshape(()).clone())
            for name in ("multiplier", "offset")
        )
        self.limit, self.low, self.high = config.mean_limit, config.log_std_min, config.log_std_max

    def forward(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation, (..., A) each."""
        log_std = torch.clamp(self.m * self.spread(s) + self.c, self.low, self.high)
        return torch.clamp(self.mu(s), -self.limit, self.limit), torch.exp(log_std)


class PlainCRR(PlainVersion):
    """Training of one seed."""

    def __init__(self, algorithm: Algorithm, seed: int) -> None:
        state = algorithm.networks.state_dict()
        config: CRRConfig = algorithm.config
        self.config, self.bound = config, algorithm.dimensions.action_bound
        self.policy = PlainPolicy(state, seed, config)
        self.q1, self.q2 = (normalised(slice_of(state, "critics.mlp.", seed, member)) for member in (0, 1))
        self.slow_policy = copy.deepcopy(self.policy)
        self.slow_q1, self.slow_q2 = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        self.policy_optimiser = torch.optim.Adam(self.policy.parameters(), lr=config.policy_learning_rate)
        self.q_optimisers = [
            torch.optim.Adam(q.parameters(), lr=config.critic_learning_rate) for q in (self.q1, self.q2)
        ]

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainCRR:
        """The twin of a seed, before training."""
        return cls(algorithm, seed)

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, A) for observations (B, O)."""
        return self.bound * torch.tanh(self.policy(observations)[0])

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration: all losses first, then all gradients, then all steps."""
        config, s, following = self.config, batch["observations"], batch["next_observations"]
        a = torch.clamp(batch["actions"], -config.action_clip * self.bound, config.action_clip * self.bound)
        with torch.no_grad():
            mean, std = self.slow_policy(following)
            next_a = self.bound * torch.tanh(mean + std * draws["next_action"])
            next_q = torch.minimum(
                q_values(self.slow_q1, following, next_a), q_values(self.slow_q2, following, next_a)
            )
            y = batch["rewards"] + config.discount * (1 - batch["terminals"]) * next_q
            mean, std = self.policy(s)
            lower = torch.minimum(q_values(self.q1, s, a), q_values(self.q2, s, a))
            baseline = torch.zeros_like(lower)
            for noise in draws["samples"].unbind(dim=1):
                sampled = self.bound * torch.tanh(mean + std * noise)
                both = q_values(self.q1, s, sampled), q_values(self.q2, s, sampled)
                baseline += torch.minimum(*both) / config.advantage_samples
            ratio = torch.exp((lower - baseline) / config.advantage_temperature)
            weight = torch.clamp(ratio, max=config.weight_limit)
        pi = TransformedDistribution(Independent(Normal(*self.policy(s)), 1), [TanhTransform()])
        policy_loss = -(weight * pi.log_prob(a / self.bound)).mean()
        k = config.overestimation_weight
        critic_losses = []
        for q in (self.q1, self.q2):
            error = q_values(q, s, a) - y
            critic_losses.append(torch.where(error > 0, k * error**2, (1 - k) * error**2).mean())
        losses = (policy_loss, *critic_losses)
        optimisers = (self.policy_optimiser, *self.q_optimisers)
        for loss, optimiser in zip(losses, optimisers, strict=True):
            optimiser.zero_grad()
            loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        for slow, fast in (
            (self.slow_policy, self.policy),
            (self.slow_q1, self.q1),
            (self.slow_q2, self.q2),
        ):
            follow(slow, fast, config.target_update_rate)
        return {
            "critic_loss": (critic_losses[0] + critic_losses[1]).detach(),
            "policy_loss": policy_loss.detach(),
        }
