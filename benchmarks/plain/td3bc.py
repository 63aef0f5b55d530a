"""TD3+BC of one seed, written a second time: plain networks and torch.optim."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.td3bc import TD3BCConfig
from benchmarks.plain.modules import (
    PlainVersion,
    Tensors,
    follow,
    layered,
    q_values,
    slice_of,
    step,
)


class PlainTD3BC(PlainVersion):
    """Training of one seed.

    Parameters
    ----------
    actor : before its tanh and scale; q1, q2 take state and action side by side.
    mean, scale : observations become (s - mean) / scale.
    """

    def __init__(
        self,
        actor: nn.Module,
        q1: nn.Module,
        q2: nn.Module,
        mean: Tensor,
        scale: Tensor,
        config: TD3BCConfig,
        bound: float,
    ) -> None:
        self.actor, self.q1, self.q2, self.mean, self.scale = actor, q1, q2, mean, scale
        self.config, self.bound = config, bound
        self.slow_actor, self.slow_q1, self.slow_q2 = (copy.deepcopy(net) for net in (actor, q1, q2))
        rate = config.learning_rate
        self.actor_optimiser = torch.optim.Adam(actor.parameters(), lr=rate)
        self.critic_optimiser = torch.optim.Adam([*q1.parameters(), *q2.parameters()], lr=rate)

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainTD3BC:
        """The twin of a seed, before training: targets are copies."""
        state, config = algorithm.networks.state_dict(), algorithm.config
        activation = {"relu": nn.ReLU, "mish": nn.Mish}[config.activation]
        statistics = slice_of(state, "states.", seed)
        return cls(
            layered(slice_of(state, "actor.mlp.", seed), activation),
            layered(slice_of(state, "critics.mlp.", seed, 0), activation),
            layered(slice_of(state, "critics.mlp.", seed, 1), activation),
            statistics["mean"][0],
            1 / statistics["factor"][0],
            config,
            algorithm.dimensions.action_bound,
        )

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, A) for observations (B, O)."""
        return self.bound * torch.tanh(self.actor((observations - self.mean) / self.scale))

    def targets(self, batch: Tensors, noise: Tensor) -> Tensor:
        """r + gamma (1 - d) min Q'(s', clip(pi'(s') + clip(noise)))."""
        config, m = self.config, self.bound
        s = (batch["next_observations"] - self.mean) / self.scale
        disturbance = torch.clamp(
            config.smoothing_deviation * m * noise, -config.smoothing_limit * m, config.smoothing_limit * m
        )
        a = torch.clamp(m * torch.tanh(self.slow_actor(s)) + disturbance, -m, m)
        q = torch.minimum(q_values(self.slow_q1, s, a), q_values(self.slow_q2, s, a))
        return (batch["rewards"] + config.discount * (1 - batch["terminals"]) * q).detach()

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration on a minibatch."""
        config, limit = self.config, self.config.action_clip * self.bound
        s = (batch["observations"] - self.mean) / self.scale
        actions = torch.clamp(batch["actions"], -limit, limit)
        y = self.targets(batch, draws["smoothing"])
        mse = nn.functional.mse_loss
        critic_loss = mse(q_values(self.q1, s, actions), y) + mse(q_values(self.q2, s, actions), y)
        step(self.critic_optimiser, critic_loss)
        losses = {"critic_loss": critic_loss.detach()}
        if program == "train+actor":
            pi = self.bound * torch.tanh(self.actor(s))
            q = q_values(self.q1, s, pi)
            regression = mse(pi, actions)
            loss = -config.value_weight * q.mean() / q.abs().mean().detach() + regression
            step(self.actor_optimiser, loss)
            for slow, fast in (
                (self.slow_actor, self.actor),
                (self.slow_q1, self.q1),
                (self.slow_q2, self.q2),
            ):
                follow(slow, fast, config.target_update_rate)
            losses |= {"bc_loss": regression.detach(), "actor_loss": loss.detach()}
        return losses
