"""SRPO of one seed, written a second time from the paper's formulas: plain modules, torch.optim."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.srpo import SRPOConfig
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


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """log alpha = -t^2 (20 - 0.1) / 4 - 0.1 t / 2; sigma = sqrt(1 - alpha^2)."""
    alpha = torch.exp(-(t**2) * (20 - 0.1) / 4 - 0.1 * t / 2)
    return alpha, torch.sqrt(1 - alpha**2)


def relu_mlp(weights: Tensors) -> nn.Sequential:
    """Linear, {ReLU, Linear} ..."""
    depth = 1 + max(int(name.split(".")[1]) for name in weights)
    parts: list[nn.Module] = []
    for i in range(depth):
        parts += [linear(weights, f"layers.{i}"), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class PlainBlock(nn.Module):
    """x + Linear(Mish(Linear(LayerNorm(Dropout(x)))))."""

    def __init__(self, weights: Tensors, index: int) -> None:
        super().__init__()
        self.norm = layer_norm(weights, f"blocks.{index}.norm")
        self.up = linear(weights, f"blocks.{index}.mlp.layers.0")
        self.down = linear(weights, f"blocks.{index}.mlp.layers.1")

    def forward(self, x: Tensor, dropped: Tensor | None, rate: float) -> Tensor:
        """(B, W) -> (B, W); without the units that are `dropped`, the rest over 1 - `rate`."""
        inside = x if dropped is None else torch.where(dropped, 0.0, x / (1 - rate))
        return x + self.down(nn.functional.mish(self.up(self.norm(inside))))


class PlainEps(nn.Module):
    """eps_psi(a_t, s, t) with phi = [sin 2 pi t W, cos 2 pi t W]."""

    def __init__(self, weights: Tensors) -> None:
        super().__init__()
        self.w = weights["fourier.frequencies"][0]
        self.time1, self.time2 = linear(weights, "embed.layers.0"), linear(weights, "embed.layers.1")
        self.first, self.last = linear(weights, "first"), linear(weights, "last")
        count = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
        self.blocks = nn.ModuleList(PlainBlock(weights, i) for i in range(count))

    def forward(
        self, a: Tensor, s: Tensor, t: Tensor, dropped: Tensor | None = None, rate: float = 0.0
    ) -> Tensor:
        """(B, A), (B, O), (B,) -> (B, A); `dropped` units (blocks, B, W)."""
        angle = 2 * math.pi * t[:, None] * self.w[None, :]
        phi = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)
        time = self.time2(nn.functional.mish(self.time1(phi)))
        x = self.first(torch.cat([a, s, time], dim=1))
        for i, block in enumerate(self.blocks):
            x = block(x, None if dropped is None else dropped[i], rate)
        return self.last(nn.functional.mish(x))


@dataclass
class PlainNetworks:
    """Critics, their targets, V, the behaviour model and the policy of one seed."""

    q1: nn.Module
    q2: nn.Module
    target_q1: nn.Module
    target_q2: nn.Module
    v: nn.Module
    eps: nn.Module
    pi: nn.Module

    @classmethod
    def copied(cls, algorithm: Algorithm, seed: int) -> PlainNetworks:
        """With a seed's weights."""
        state = algorithm.networks.state_dict()
        return cls(
            relu_mlp(slice_of(state, "critics.mlp.", seed, 0)),
            relu_mlp(slice_of(state, "critics.mlp.", seed, 1)),
            relu_mlp(slice_of(state, "target_critics.mlp.", seed, 0)),
            relu_mlp(slice_of(state, "target_critics.mlp.", seed, 1)),
            relu_mlp(slice_of(state, "value.", seed)),
            PlainEps(slice_of(state, "behaviour.", seed)),
            relu_mlp(slice_of(state, "policy.", seed)),
        )


def critic_losses(nets: PlainNetworks, batch: Tensors, tau: float, gamma: float) -> tuple[Tensor, Tensor]:
    """L_V = mean |tau - 1[u < 0]| u^2; L_Q = (MSE(Q1, y) + MSE(Q2, y)) / 2."""
    s, a = batch["observations"], batch["actions"]
    with torch.no_grad():
        target = torch.minimum(q_values(nets.target_q1, s, a), q_values(nets.target_q2, s, a))
        y = batch["rewards"] + gamma * (1 - batch["terminals"]) * nets.v(batch["next_observations"])[:, 0]
    u = target - nets.v(s)[:, 0]
    value_loss = torch.mean(torch.abs(tau - (u < 0).to(u.dtype)) * u**2)
    mse = nn.MSELoss()
    return value_loss, (mse(q_values(nets.q1, s, a), y) + mse(q_values(nets.q2, s, a), y)) / 2


def behaviour_loss(eps: nn.Module, batch: Tensors, draws: Tensors, rate: float) -> Tensor:
    """mean_batch sum_dims (eps_psi(a_t, s, t) - eps)^2, t = 0.001 + 0.999 U."""
    t = 0.001 + 0.999 * draws["behaviour_time"]
    alpha, sigma = alpha_sigma(t)
    noise = draws["behaviour_noise"]
    noisy = alpha[:, None] * batch["actions"] + sigma[:, None] * noise
    dropped = draws["dropout"] < rate if rate else None
    return ((eps(noisy, batch["observations"], t, dropped, rate) - noise) ** 2).sum(dim=1).mean()


def policy_direction(
    nets: PlainNetworks, s: Tensor, a: Tensor, draws: Tensors, config: SRPOConfig
) -> tuple[Tensor, Tensor]:
    """w e - beta g at fixed actions a (B, A), and Q (B,)."""
    t = config.policy_time_min + (config.policy_time_max - config.policy_time_min) * draws["policy_time"]
    alpha, sigma = alpha_sigma(t)
    z = draws["policy_noise"]
    with torch.no_grad():
        e = nets.eps(alpha[:, None] * a + sigma[:, None] * z, s, t)
    e = e - z if config.noise_baseline else e
    w = {"sigma_squared": sigma**2, "one": torch.ones_like(t), "alpha_over_sigma": alpha / sigma}
    free = a.detach().clone().requires_grad_()
    q = (q_values(nets.target_q1, s, free) + q_values(nets.target_q2, s, free)) / 2
    (g,) = torch.autograd.grad(q.sum(), free)
    if config.gradient_normalisation == "rms":
        g = g / torch.sqrt(torch.mean(g**2, dim=1, keepdim=True))
    if config.gradient_normalisation == "norm":
        g = g / torch.sqrt(torch.sum(g**2, dim=1, keepdim=True))
    return w[config.score_weighting][:, None] * e - config.beta * g, q.detach()


class PlainSRPO(PlainVersion):
    """Training of one seed with torch's own optimisers and schedule; Q and V each with an Adam of its own."""

    def __init__(self, nets: PlainNetworks, config: SRPOConfig, bound: float = 1.0) -> None:
        self.nets, self.config, self.bound = nets, config, bound
        rate = config.critic_learning_rate
        self.q_optimiser = torch.optim.Adam([*nets.q1.parameters(), *nets.q2.parameters()], lr=rate)
        self.v_optimiser = torch.optim.Adam(nets.v.parameters(), lr=rate)
        self.eps_optimiser = torch.optim.AdamW(
            nets.eps.parameters(),
            lr=config.behaviour_learning_rate,
            weight_decay=config.behaviour_weight_decay,
        )
        self.pi_optimiser = torch.optim.Adam(nets.pi.parameters(), lr=config.policy_learning_rate)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.pi_optimiser, T_max=config.policy_iterations
        )

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainSRPO:
        """The twin of a seed."""
        bound = algorithm.dimensions.action_bound
        return cls(PlainNetworks.copied(algorithm, seed), algorithm.config, bound)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration; returns the metrics."""
        return {"critic": self._critic, "behaviour": self._behaviour, "policy": self._policy}[program](
            batch, draws
        )

    def _critic(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        nets, config = self.nets, self.config
        value_loss, q_loss = critic_losses(nets, batch, config.expectile, config.discount)
        step(self.v_optimiser, value_loss)
        step(self.q_optimiser, q_loss)
        follow(nets.target_q1, nets.q1, config.target_update_rate)
        follow(nets.target_q2, nets.q2, config.target_update_rate)
        return {"value_loss": value_loss, "critic_loss": q_loss}

    def _behaviour(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        loss = behaviour_loss(self.nets.eps, batch, draws, self.config.dropout)
        step(self.eps_optimiser, loss)
        return {"behaviour_loss": loss}

    def _policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        s = batch["observations"]
        a = self.bound * torch.tanh(self.nets.pi(s))
        direction, q = policy_direction(self.nets, s, a.detach(), draws, self.config)
        loss = torch.mean(torch.sum(direction * a, dim=1))
        step(self.pi_optimiser, loss)
        self.scheduler.step()
        return {"policy_loss": loss, "policy_value": q.mean()}
