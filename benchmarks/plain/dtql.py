"""DTQL of one seed, and its KL-regularised variant, written a second time from the papers' formulas.

Plain modules, torch.optim, no stacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.dtql import DTQLConfig, DTQLSharedConfig
from algorithms.dtql_kl import DTQLKLConfig
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

SIGMA_DATA = 0.5
SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
LOCATION, SCALE = math.log(0.5), 0.5


def plain_q(weights: Tensors, norm: bool = True) -> nn.Sequential:
    """3 x {Linear, LayerNorm, Mish}, Linear."""
    parts: list[nn.Module] = []
    for i in range(3):
        parts += [linear(weights, f"layers.{i}")]
        parts += [layer_norm(weights, f"norms.{i}")] if norm else []
        parts += [nn.Mish()]
    return nn.Sequential(*parts, linear(weights, "layers.3"))


def plain_v(weights: Tensors) -> nn.Sequential:
    """3 x {Linear, Mish}, Linear."""
    return plain_q(weights, norm=False)


def plain_actor(weights: Tensors) -> nn.Sequential:
    """3 x {Linear, ReLU}, Linear to mean and log standard deviation."""
    parts: list[nn.Module] = []
    for i in range(3):
        parts += [linear(weights, f"layers.{i}"), nn.ReLU()]
    return nn.Sequential(*parts, linear(weights, "layers.3"))


class PlainF(nn.Module):
    """The diffusion network: no activation after the first layer unless `activated`."""

    def __init__(self, embed: Tensors, body: Tensors, activated: bool = False) -> None:
        super().__init__()
        first = linear(embed, "layers.0")
        half = first.in_features // 2
        powers = torch.arange(half, dtype=torch.float64) / (half - 1)
        self.frequencies = torch.exp(-powers * math.log(10_000)).to(first.weight.dtype)
        self.embed = nn.Sequential(first, nn.Mish(), linear(embed, "layers.1"))
        parts = [linear(body, "layers.0"), *([nn.Mish()] if activated else [])]
        for i in (1, 2, 3):
            parts += [linear(body, f"layers.{i}"), nn.Mish()]
        self.body = nn.Sequential(*parts, linear(body, "layers.4"))

    def forward(self, x: Tensor, s: Tensor, condition: Tensor) -> Tensor:
        """(B, A), (B, O), (B,) -> (B, A), with sin(c f_k), then cos(c f_k), f_k = exp(-k ln(10000) / 7)."""
        angles = condition[:, None] * self.frequencies
        time = self.embed(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1))
        return self.body(torch.cat([x, s, time], dim=1))


@dataclass
class SharedNetworks:
    """Q1, Q2, V, F of the data and the target critics of one seed."""

    q1: nn.Module
    q2: nn.Module
    v: nn.Module
    f: nn.Module
    target_q1: nn.Module
    target_q2: nn.Module

    @staticmethod
    def copies(algorithm: Algorithm, seed: int) -> dict[str, nn.Module]:
        """These modules, by name, with a seed's weights."""
        state, norm = algorithm.networks.state_dict(), algorithm.config.critic_layer_norm
        critics = {
            f"{short}q{member + 1}": plain_q(slice_of(state, f"{name}.mlp.", seed, member), norm)
            for short, name in (("", "critics"), ("target_", "target_critics"))
            for member in (0, 1)
        }
        v = plain_v(slice_of(state, "value.", seed))
        return {**critics, "v": v, "f": _noise_network(algorithm, "diffusion", seed)}


@dataclass
class PlainNetworks(SharedNetworks):
    """With the actor, a tanh Gaussian."""

    actor: nn.Module

    @classmethod
    def copied(cls, algorithm: Algorithm, seed: int) -> PlainNetworks:
        """With a seed's weights."""
        actor = plain_actor(slice_of(algorithm.networks.state_dict(), "actor.mlp.", seed))
        return cls(**cls.copies(algorithm, seed), actor=actor)


@dataclass
class PlainKLNetworks(SharedNetworks):
    """With G, the actor, and K, the diffusion model of its actions."""

    g: nn.Module
    k: nn.Module

    @classmethod
    def copied(cls, algorithm: Algorithm, seed: int) -> PlainKLNetworks:
        """With a seed's weights."""
        g, k = (_noise_network(algorithm, name, seed) for name in ("actor", "fake_score"))
        return cls(**cls.copies(algorithm, seed), g=g, k=k)


def _noise_network(algorithm: Algorithm, name: str, seed: int) -> PlainF:
    state, activated = algorithm.networks.state_dict(), algorithm.config.embedding_activation
    return PlainF(slice_of(state, f"{name}.embed.", seed), slice_of(state, f"{name}.mlp.", seed), activated)


def noise_level(u: Tensor, truncated: bool = True) -> Tensor:
    """sigma = exp(ln 0.5 + 0.5 logit(u)), u in [F(0.002), F(80)] when truncated."""
    if truncated:
        low, high = (1 / (1 + math.exp(-(math.log(s) - LOCATION) / SCALE)) for s in (SIGMA_MIN, SIGMA_MAX))
        u = low + (high - low) * u
    return torch.exp(LOCATION + SCALE * (torch.log(u) - torch.log1p(-u)))


def denoised(net: nn.Module, x: Tensor, s: Tensor, sigma: Tensor, clamp: float | None) -> Tensor:
    """D(x, sigma, s) of a network, clamped to +-clamp (None: not)."""
    sg = sigma[:, None]
    root = torch.sqrt(sg**2 + SIGMA_DATA**2)
    d = SIGMA_DATA**2 / root**2 * x + sg * SIGMA_DATA / root * net(x / root, s, torch.log(sigma) / 4)
    return d if clamp is None else torch.clamp(d, -clamp, clamp)


def den_loss(f: nn.Module, a: Tensor, s: Tensor, sigma: Tensor, eps: Tensor, clamp: float | None) -> Tensor:
    """mean(((D(a + sigma eps) - a) / c_out)^2)."""
    sg = sigma[:, None]
    c_out = sg * SIGMA_DATA / torch.sqrt(sg**2 + SIGMA_DATA**2)
    return torch.mean(((denoised(f, a + sg * eps, s, sigma, clamp) - a) / c_out) ** 2)


def value_loss(nets: SharedNetworks, batch: Tensors, tau: float) -> Tensor:
    """Mean of w(u) u^2 with u = min(Q1, Q2)(s, a) - V(s), Q held fixed."""
    s, a = batch["observations"], batch["actions"]
    with torch.no_grad():
        q = torch.minimum(q_values(nets.q1, s, a), q_values(nets.q2, s, a))
    u = q - nets.v(s)[:, 0]
    return torch.mean(torch.abs(tau - (u <= 0).to(u.dtype)) * u**2)


def q_loss(nets: SharedNetworks, batch: Tensors, gamma: float) -> Tensor:
    """MSE of Q1 and of Q2 to r + gamma (1 - done) V(s'), V held fixed."""
    s, a = batch["observations"], batch["actions"]
    with torch.no_grad():
        y = batch["rewards"] + gamma * (1 - batch["terminals"]) * nets.v(batch["next_observations"])[:, 0]
    mse = nn.MSELoss()
    return mse(q_values(nets.q1, s, a), y) + mse(q_values(nets.q2, s, a), y)


def actor_terms(
    nets: PlainNetworks,
    batch: Tensors,
    action_eps: Tensor,
    sigma: Tensor,
    eps: Tensor,
    bound: float,
    clamp: float | None,
) -> tuple[Tensor, Tensor]:
    """L_TR and L_Q of the actor."""
    s = batch["observations"]
    mu, std = _actor_distribution(nets, s)
    a = torch.clamp(bound * torch.tanh(mu + std * action_eps), -bound, bound)
    q = torch.minimum(q_values(nets.q1, s, a), q_values(nets.q2, s, a))
    return den_loss(nets.f, a, s, sigma, eps, clamp), -q.mean()


def likelihood_loss(nets: PlainNetworks, batch: Tensors, bound: float) -> Tensor:
    """L_ent of the actor: of the data's actions before tanh."""
    pre_tanh = torch.atanh(batch["actions"] / (bound + 1e-3))
    normal = torch.distributions.Normal(*_actor_distribution(nets, batch["observations"]))
    return -normal.log_prob(pre_tanh).sum(dim=1).mean()


def _actor_distribution(nets: PlainNetworks, s: Tensor) -> tuple[Tensor, Tensor]:
    mu, log_std = nets.actor(s).chunk(2, dim=1)
    return mu, torch.exp(torch.clamp(log_std, -5, 2))


def generate(g: nn.Module, z: Tensor, s: Tensor) -> Tensor:
    """a = G(2.5 z, s, 2.5): no scaling of the condition, no tanh, no clamp."""
    return g(2.5 * z, s, torch.full_like(z[:, 0], 2.5))


def kl_gradient(
    nets: PlainKLNetworks, a: Tensor, s: Tensor, sigma: Tensor, eps: Tensor, clamp: float | None
) -> Tensor:
    """(D_K - D_F) / mean_d |a - D_F|, nothing of it differentiable."""
    with torch.no_grad():
        x = a + sigma[:, None] * eps
        real, fake = denoised(nets.f, x, s, sigma, clamp), denoised(nets.k, x, s, sigma, clamp)
        return (fake - real) / (a - real).abs().mean(dim=1, keepdim=True)


class PlainTrainer(PlainVersion):
    """What both variants share: critic and F, then the policy, with torch's own optimisers and schedule."""

    config: DTQLSharedConfig
    nets: Any
    policies: tuple[str, ...]
    """Networks that are trained after F, each with an optimiser of its own."""

    def __init__(self, nets: SharedNetworks, config: DTQLSharedConfig, bound: float) -> None:
        self.nets, self.config, self.bound = nets, config, bound
        self.clamp = bound if config.clip_denoised else None
        critics = chain(nets.q1.parameters(), nets.q2.parameters(), nets.v.parameters())
        self.optimisers = {"critic": torch.optim.Adam(critics, lr=config.critic_learning_rate)}
        for name in ("f", *self.policies):
            parameters = getattr(nets, name).parameters()
            self.optimisers[name] = torch.optim.Adam(parameters, lr=config.learning_rate)
        self.schedulers = [
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.train_iterations)
            for optimiser in self.optimisers.values()
            if config.learning_rate_decay
        ]

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration; the policy, schedules and averages move in training alone."""
        nets, config = self.nets, self.config
        losses = {
            "value_loss": value_loss(nets, batch, config.expectile),
            "critic_loss": q_loss(nets, batch, config.discount),
        }
        step(self.optimisers["critic"], losses["value_loss"] + losses["critic_loss"])
        losses["diffusion_loss"] = self.denoise(
            "f", batch["actions"], batch["observations"], draws, "behaviour"
        )
        if program == "train":
            losses |= self.train_policy(batch, draws)
            for scheduler in self.schedulers:
                scheduler.step()
            follow(nets.target_q1, nets.q1, config.target_update_rate)
            follow(nets.target_q2, nets.q2, config.target_update_rate)
        return losses

    def train_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Step the policy; returns its losses."""
        raise NotImplementedError

    def denoise(self, name: str, a: Tensor, s: Tensor, draws: Tensors, drawn: str) -> Tensor:
        """Step a diffusion network on actions `a`; returns its loss."""
        sigma = self.sigma(draws, drawn)
        loss = den_loss(getattr(self.nets, name), a, s, sigma, draws[f"{drawn}_noise"], self.clamp)
        step(self.optimisers[name], loss)
        return loss

    def sigma(self, draws: Tensors, drawn: str) -> Tensor:
        """Noise levels (B,)."""
        return noise_level(draws[f"{drawn}_level"], self.config.truncate_noise)


class PlainDTQL(PlainTrainer):
    """Training of one seed."""

    config: DTQLConfig
    nets: PlainNetworks
    policies = ("actor",)

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainDTQL:
        """The twin of a seed."""
        bound = algorithm.dimensions.action_bound
        return cls(PlainNetworks.copied(algorithm, seed), algorithm.config, bound)

    def train_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Trust region, value, and likelihood where the task has it."""
        nets, config, sigma = self.nets, self.config, self.sigma(draws, "actor")
        trust, negative_q = actor_terms(
            nets, batch, draws["action_noise"], sigma, draws["actor_noise"], self.bound, self.clamp
        )
        loss = config.trust_region_weight * trust + negative_q
        if config.likelihood_weight:
            loss = loss + config.likelihood_weight * likelihood_loss(nets, batch, self.bound)
        step(self.optimisers["actor"], loss)
        return {"trust_region_loss": trust, "actor_value": -negative_q, "actor_loss": loss}


class PlainDTQLKL(PlainTrainer):
    """Training of one seed of the KL-regularised variant: critic, F, G, K in this order."""

    config: DTQLKLConfig
    nets: PlainKLNetworks
    policies = ("g", "k")

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainDTQLKL:
        """The twin of a seed."""
        bound = algorithm.dimensions.action_bound
        return cls(PlainKLNetworks.copied(algorithm, seed), algorithm.config, bound)

    def hand_over(self) -> None:
        """After pretraining, G and K become F."""
        for net in (self.nets.g, self.nets.k):
            net.load_state_dict(self.nets.f.state_dict())

    def train_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """The generator by the distribution's gradient, then the model of what it generates."""
        nets, config, s = self.nets, self.config, batch["observations"]
        a = generate(nets.g, draws["action_noise"], s)
        sigma = self.sigma(draws, "actor")
        gradient = kl_gradient(nets, a, s, sigma, draws["actor_noise"], self.clamp)
        value = torch.minimum(q_values(nets.q1, s, a), q_values(nets.q2, s, a)).mean()
        # By its gradient, grad / (B A), instead of by the squared form.
        by_gradient = config.trust_region_weight * (gradient * a).mean() - config.action_value_weight * value
        step(self.optimisers["g"], by_gradient)
        kl = 0.5 * (gradient**2).mean()
        return {
            "kl_loss": kl,
            "actor_value": value,
            "actor_loss": config.trust_region_weight * kl - config.action_value_weight * value,
            "fake_score_loss": self.denoise("k", a.detach(), s, draws, "fake"),
        }
