"""IQL and AWAC of one seed, written a second time: plain networks and torch.optim."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from algorithms.awac import AWACConfig
from algorithms.base import Algorithm
from algorithms.iql import IQLConfig
from benchmarks.plain.modules import (
    PlainVersion,
    Tensors,
    follow,
    layered,
    q_values,
    slice_of,
    step,
)


def log_normal(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of rows (B, A) under independent normals, (B,)."""
    std = torch.exp(log_std)
    return (-((x - mean) ** 2) / (2 * std**2) - torch.log(std) - math.log(math.sqrt(2 * math.pi))).sum(dim=1)


class _Shared(PlainVersion):
    """What both have: an actor's network before its output, two critics with targets, statistics."""

    def __init__(self, algorithm: Algorithm, seed: int) -> None:
        state = algorithm.networks.state_dict()
        statistics = slice_of(state, "states.", seed)
        self.mean, self.scale = statistics["mean"][0], 1 / statistics["factor"][0]
        self.bound = algorithm.dimensions.action_bound
        self.actor = layered(slice_of(state, "actor.mlp.", seed), nn.ReLU)
        self.q1, self.q2 = (
            layered(slice_of(state, "critics.mlp.", seed, member), nn.ReLU) for member in (0, 1)
        )
        self.slow_q1, self.slow_q2 = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        started = state.get("actor.log_std")
        self.log_std = None if started is None else nn.Parameter(started[seed, 0].clone())
        rate = algorithm.config.learning_rate
        own = [self.log_std] if self.log_std is not None else []
        self.actor_optimiser = torch.optim.Adam([*own, *self.actor.parameters()], lr=rate)
        self.critic_optimiser = torch.optim.Adam([*self.q1.parameters(), *self.q2.parameters()], lr=rate)

    def lower(self, s: Tensor, a: Tensor, *, slow: bool) -> Tensor:
        """The smaller of two critics, (B,)."""
        q1, q2 = (self.slow_q1, self.slow_q2) if slow else (self.q1, self.q2)
        return torch.minimum(q_values(q1, s, a), q_values(q2, s, a)).detach()

    def critic_loss(self, s: Tensor, a: Tensor, y: Tensor) -> Tensor:
        """Sum of both squared errors."""
        mse = nn.functional.mse_loss
        return mse(q_values(self.q1, s, a), y) + mse(q_values(self.q2, s, a), y)

    def follow(self, rate: float) -> None:
        """Move the targets."""
        follow(self.slow_q1, self.q1, rate)
        follow(self.slow_q2, self.q2, rate)

    def standardised(self, batch: Tensors) -> tuple[Tensor, Tensor]:
        """States and next states."""
        s, following = batch["observations"], batch["next_observations"]
        return (s - self.mean) / self.scale, (following - self.mean) / self.scale


class PlainIQL(_Shared):
    """Training of one seed."""

    def __init__(self, algorithm: Algorithm, seed: int) -> None:
        super().__init__(algorithm, seed)
        self.config: IQLConfig = algorithm.config
        self.v = layered(slice_of(algorithm.networks.state_dict(), "value.", seed), nn.ReLU)
        self.value_optimiser = torch.optim.Adam(self.v.parameters(), lr=self.config.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.actor_optimiser, self.config.train_iterations
        )

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainIQL:
        """The twin of a seed, before training."""
        return cls(algorithm, seed)

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, A) for observations (B, O)."""
        return self.bound * torch.tanh(self.actor((observations - self.mean) / self.scale))

    def policy_mean(self, s: Tensor, uniform: Tensor | None) -> Tensor:
        """The actor's mean, with units left out where `uniform` (2, B, W) is below the rate."""
        if uniform is None:
            return self.bound * torch.tanh(self.actor(s))
        rate, hidden = self.config.actor_dropout, s
        first, second, last = (layer for layer in self.actor if isinstance(layer, nn.Linear))
        for layer, drawn in ((first, uniform[0]), (second, uniform[1])):
            hidden = torch.relu(layer(hidden))
            hidden = torch.where(drawn < rate, torch.zeros_like(hidden), hidden / (1 - rate))
        return self.bound * torch.tanh(last(hidden))

    def actor_loss(self, batch: Tensors, draws: Tensors, advantage: Tensor) -> Tensor:
        """Exponentially weighted regression."""
        config, (s, _) = self.config, self.standardised(batch)
        weight = torch.clamp(torch.exp(config.inverse_temperature * advantage), max=config.weight_limit)
        limit = self.bound - config.action_margin
        actions = torch.clamp(batch["actions"], -limit, limit)
        mean = self.policy_mean(s, draws["dropout"] if config.actor_dropout else None)
        if self.log_std is None:
            return (weight * ((mean - actions) ** 2).sum(dim=1)).mean()
        log_std = torch.clamp(self.log_std, config.log_std_min, config.log_std_max)
        return -(weight * log_normal(actions, mean, log_std)).mean()

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration on a minibatch."""
        config, (s, following) = self.config, self.standardised(batch)
        limit = self.bound - config.action_margin
        a = torch.clamp(batch["actions"], -limit, limit)
        q = self.lower(s, a, slow=True)
        old_v, old_next = self.v(s)[:, 0].detach(), self.v(following)[:, 0].detach()
        u = q - self.v(s)[:, 0]
        tau = config.expectile
        value_loss = torch.where(u > 0, tau * u**2, (1 - tau) * u**2).mean()
        step(self.value_optimiser, value_loss)
        if config.value_after_its_step:
            v, next_v = self.v(s)[:, 0].detach(), self.v(following)[:, 0].detach()
        else:
            v, next_v = old_v, old_next
        actor_loss = self.actor_loss(batch, draws, q - v)
        step(self.actor_optimiser, actor_loss)
        self.schedule.step()
        y = batch["rewards"] + config.discount * (1 - batch["terminals"]) * next_v
        critic_loss = self.critic_loss(s, a, y) / (2 if config.critic_losses == "mean" else 1)
        step(self.critic_optimiser, critic_loss)
        self.follow(config.target_update_rate)
        losses = {"value_loss": value_loss, "actor_loss": actor_loss, "critic_loss": critic_loss}
        return {name: loss.detach() for name, loss in losses.items()}


class PlainAWAC(_Shared):
    """Training of one seed."""

    def __init__(self, algorithm: Algorithm, seed: int) -> None:
        super().__init__(algorithm, seed)
        self.config: AWACConfig = algorithm.config

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainAWAC:
        """The twin of a seed, before training."""
        return cls(algorithm, seed)

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, A) for observations (B, O)."""
        return torch.clamp(self.actor((observations - self.mean) / self.scale), -self.bound, self.bound)

    def clipped_log_std(self) -> Tensor:
        """Of the actor, (A,)."""
        assert self.log_std is not None
        return torch.clamp(self.log_std, self.config.log_std_min, self.config.log_std_max)

    def sample(self, s: Tensor, noise: Tensor) -> Tensor:
        """Clipped actions of the actor."""
        drawn = self.actor(s) + torch.exp(self.clipped_log_std()) * noise
        return torch.clamp(drawn, -self.bound, self.bound).detach()

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration on a minibatch."""
        config, (s, following) = self.config, self.standardised(batch)
        next_q = self.lower(following, self.sample(following, draws["next_noise"]), slow=True)
        y = batch["rewards"] + config.discount * (1 - batch["terminals"]) * next_q
        critic_loss = self.critic_loss(s, batch["actions"], y)
        step(self.critic_optimiser, critic_loss)
        value = self.lower(s, self.sample(s, draws["noise"]), slow=False)
        advantage = self.lower(s, batch["actions"], slow=False) - value
        weight = torch.clamp(torch.exp(advantage / config.advantage_temperature), max=config.weight_limit)
        log_likelihood = log_normal(batch["actions"], self.actor(s), self.clipped_log_std())
        actor_loss = (-log_likelihood * weight).mean()
        step(self.actor_optimiser, actor_loss)
        self.follow(config.target_update_rate)
        return {"critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach()}
