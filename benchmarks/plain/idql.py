"""IDQL of one seed, written a second time from its equations: plain modules, torch.optim, no stacks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.idql import IDQLConfig
from benchmarks.plain.dql import abar_of_vp
from benchmarks.plain.modules import (
    PlainVersion,
    Tensors,
    follow,
    layer_norm,
    linear,
    q_values,
    slice_of,
    step,
)
from benchmarks.plain.srpo import relu_mlp


class PlainScore(nn.Module):
    """eps(s, x, t): features cos and sin of 2 pi t W with a learnt W, an MLP, residual blocks."""

    def __init__(self, weights: Tensors, activation: nn.Module) -> None:
        super().__init__()
        self.w = nn.Parameter(weights["fourier.frequencies"][0].clone())
        self.act = activation
        self.time1, self.time2 = linear(weights, "embed.layers.0"), linear(weights, "embed.layers.1")
        self.first, self.last = linear(weights, "first"), linear(weights, "last")
        count = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
        blocks = [f"blocks.{i}" for i in range(count)]
        self.norms = nn.ModuleList(layer_norm(weights, f"{block}.norm", 1e-6) for block in blocks)
        self.ups = nn.ModuleList(linear(weights, f"{block}.mlp.layers.0") for block in blocks)
        self.downs = nn.ModuleList(linear(weights, f"{block}.mlp.layers.1") for block in blocks)

    def forward(
        self, s: Tensor, x: Tensor, t: Tensor, dropped: Tensor | None = None, rate: float = 0.0
    ) -> Tensor:
        """(B, O), (B, A), (B,) -> (B, A); `dropped` units (blocks, B, W) are left out, the rest scaled up."""
        angle = 2 * math.pi * t[:, None] * self.w[None, :]
        # Ours has the sines first, and so have the weights that are copied.
        features = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)
        time = self.time2(self.act(self.time1(features)))
        h = self.first(torch.cat([x, s, time], dim=1))
        for i, (norm, up, down) in enumerate(zip(self.norms, self.ups, self.downs, strict=True)):
            inside = h if dropped is None else torch.where(dropped[i], 0.0, h / (1 - rate))
            h = h + down(self.act(up(norm(inside))))
        return self.last(self.act(h))


@dataclass
class PlainNetworks:
    """The networks of one seed."""

    policy: nn.Module
    target_policy: nn.Module
    q1: nn.Module
    q2: nn.Module
    target_q1: nn.Module
    target_q2: nn.Module
    v: nn.Module

    @classmethod
    def copied(cls, algorithm: Algorithm, seed: int) -> PlainNetworks:
        """With a seed's weights."""
        state = algorithm.networks.state_dict()
        activation = {"mish": nn.Mish(), "swish": nn.SiLU()}[algorithm.config.policy_activation]

        def score(name: str) -> PlainScore:
            return PlainScore(slice_of(state, f"{name}.", seed), activation)

        def q(name: str, member: int) -> nn.Sequential:
            return relu_mlp(slice_of(state, f"{name}.mlp.", seed, member))

        v = relu_mlp(slice_of(state, "value.mlp.", seed))
        if algorithm.config.value_layer_norm:
            v = nn.Sequential(layer_norm(slice_of(state, "value.", seed), "norm", 1e-6), *v)
        return cls(
            policy=score("policy"),
            target_policy=score("target_policy"),
            q1=q("critics", 0),
            q2=q("critics", 1),
            target_q1=q("target_critics", 0),
            target_q2=q("target_critics", 1),
            v=v,
        )


class PlainIDQL(PlainVersion):
    """Training of one seed."""

    def __init__(self, nets: PlainNetworks, config: IDQLConfig, bound: float = 1.0) -> None:
        self.nets, self.config, self.bound = nets, config, bound
        dtype = next(nets.policy.parameters()).dtype
        self.abar = abar_of_vp(config.diffusion_steps).to(dtype)
        self.policy_optimiser = torch.optim.AdamW(
            nets.policy.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.policy_optimiser, T_max=config.cosine_steps
        )
        rate = config.critic_learning_rate
        self.value_optimiser = torch.optim.Adam(nets.v.parameters(), lr=rate)
        self.critic_optimiser = torch.optim.Adam([*nets.q1.parameters(), *nets.q2.parameters()], lr=rate)

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainIDQL:
        """The twin of a seed."""
        bound = algorithm.dimensions.action_bound
        return cls(PlainNetworks.copied(algorithm, seed), algorithm.config, bound)

    def sampled(self, policy: nn.Module, s: Tensor, noise: Tensor) -> Tensor:
        """Actions (B, A) by the whole chain, from noise (T, B, A)."""
        x = noise[0]
        for i, t in enumerate(reversed(range(self.config.diffusion_steps))):
            ab = self.abar[t]
            alpha = ab / (self.abar[t - 1] if t else 1.0)
            eps = policy(s, x, torch.full_like(x[:, 0], t))
            x = (x - (1 - alpha) / torch.sqrt(1 - ab) * eps) / torch.sqrt(alpha)
            if t:
                x = x + torch.sqrt(1 - alpha) * noise[i + 1]
            x = torch.clamp(x, -self.bound, self.bound)
        return x

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Policy on each share of the batch, V, Q, target critics."""
        nets, config = self.nets, self.config
        limit = self.bound - config.action_margin
        batch = {**batch, "actions": torch.clamp(batch["actions"], -limit, limit)}
        losses = []
        for rows in torch.arange(config.batch_size).chunk(config.policy_steps):
            losses.append(self.cloning(batch, draws, rows))
            step(self.policy_optimiser, losses[-1])
            self.scheduler.step()
            follow(nets.target_policy, nets.policy, config.policy_target_rate)
        few = {name: tensor[: config.critic_batch_size] for name, tensor in batch.items()}
        value = self.value_loss(few)
        step(self.value_optimiser, value)
        critic = self.critic_loss(few)
        step(self.critic_optimiser, critic)
        follow(nets.target_q1, nets.q1, config.target_update_rate)
        follow(nets.target_q2, nets.q2, config.target_update_rate)
        return {"bc_loss": torch.stack(losses).mean(), "value_loss": value, "critic_loss": critic}

    def cloning(self, batch: Tensors, draws: Tensors, rows: Tensor) -> Tensor:
        """Sum over the action, mean over the rows, of (eps_hat - eps)^2."""
        config = self.config
        t = torch.floor(draws["step"][rows] * config.diffusion_steps).long()
        ab, noise = self.abar[t][:, None], draws["noise"][rows]
        x = torch.sqrt(ab) * batch["actions"][rows] + torch.sqrt(1 - ab) * noise
        dropped = draws["dropout"][:, rows] < config.dropout if config.dropout else None
        e = self.nets.policy(batch["observations"][rows], x, t.to(x.dtype), dropped, config.dropout)
        return ((e - noise) ** 2).sum(dim=1).mean()

    def value_loss(self, batch: Tensors) -> Tensor:
        """Expectile regression onto the lower target critic."""
        nets, s, a = self.nets, batch["observations"], batch["actions"]
        with torch.no_grad():
            q = torch.minimum(q_values(nets.target_q1, s, a), q_values(nets.target_q2, s, a))
        u = q - nets.v(s)[:, 0]
        return (torch.abs(self.config.expectile - (u < 0).to(u.dtype)) * u**2).mean()

    def critic_loss(self, batch: Tensors) -> Tensor:
        """Mean over both critics of the squared error to r + gamma (1 - d) V(s')."""
        nets, s, a = self.nets, batch["observations"], batch["actions"]
        with torch.no_grad():
            following = nets.v(batch["next_observations"])[:, 0]
            y = batch["rewards"] + self.config.discount * (1 - batch["terminals"]) * following
        return (((q_values(nets.q1, s, a) - y) ** 2).mean() + ((q_values(nets.q2, s, a) - y) ** 2).mean()) / 2
