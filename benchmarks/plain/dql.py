"""Diffusion-QL of one seed, written a second time from its equations: plain modules, no stacks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.dql import DQLConfig
from benchmarks.plain.edp import ddpm_sample, mish_network
from benchmarks.plain.modules import PlainVersion, Tensors, follow, linear, q_values, slice_of


def abar_of_vp(steps: int) -> Tensor:
    """Products of alpha_t = exp(-0.1 / T - 9.9 (2 t - 1) / (2 T^2)), t = 1 .. T, in double precision."""
    alphas = [math.exp(-0.1 / steps - 9.9 * (2 * t - 1) / (2 * steps**2)) for t in range(1, steps + 1)]
    return torch.tensor([math.prod(alphas[:t]) for t in range(1, steps + 1)], dtype=torch.float64)


class PlainNoise(nn.Module):
    """eps(s, x, t): the embedding of t is sin, then cos, at exp(-k ln(10000) / 7), k = 0 .. 7."""

    def __init__(self, embed: Tensors, body: Tensors) -> None:
        super().__init__()
        first = linear(embed, "layers.0")
        half = first.in_features // 2
        powers = torch.arange(half, dtype=torch.float64) / (half - 1)
        self.frequencies = torch.exp(-powers * math.log(10_000)).to(first.weight.dtype)
        self.embed = nn.Sequential(first, nn.Mish(), linear(embed, "layers.1"))
        self.body = mish_network(body)

    def forward(self, s: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """(B, O), (B, A), (B,) -> (B, A)."""
        angles = t[:, None] * self.frequencies
        time = self.embed(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1))
        return self.body(torch.cat([s, x, time], dim=1))


@dataclass
class PlainNetworks:
    """The networks of one seed."""

    policy: nn.Module
    target_policy: nn.Module
    q1: nn.Module
    q2: nn.Module
    target_q1: nn.Module
    target_q2: nn.Module

    @classmethod
    def copied(cls, algorithm: Algorithm, seed: int) -> PlainNetworks:
        """With a seed's weights."""
        state = algorithm.networks.state_dict()

        def noise(name: str) -> PlainNoise:
            return PlainNoise(slice_of(state, f"{name}.embed.", seed), slice_of(state, f"{name}.mlp.", seed))

        def q(name: str, member: int) -> nn.Sequential:
            return mish_network(slice_of(state, f"{name}.mlp.", seed, member))

        return cls(
            policy=noise("policy"),
            target_policy=noise("target_policy"),
            q1=q("critics", 0),
            q2=q("critics", 1),
            target_q1=q("target_critics", 0),
            target_q2=q("target_critics", 1),
        )


class PlainDQL(PlainVersion):
    """Training of one seed."""

    def __init__(self, nets: PlainNetworks, config: DQLConfig, bound: float = 1.0) -> None:
        self.nets, self.config, self.bound = nets, config, bound
        self.critic_parameters = [*nets.q1.parameters(), *nets.q2.parameters()]
        dtype = self.critic_parameters[0].dtype
        self.abar = abar_of_vp(config.diffusion_steps).to(dtype)
        self.policy_optimiser = torch.optim.Adam(nets.policy.parameters(), lr=config.learning_rate)
        self.critic_optimiser = torch.optim.Adam(self.critic_parameters, lr=config.critic_learning_rate)
        self.schedulers = [
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.cosine_steps)
            for optimiser in (self.policy_optimiser, self.critic_optimiser)
        ]
        self.done = 0

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainDQL:
        """The twin of a seed."""
        bound = algorithm.dimensions.action_bound
        return cls(PlainNetworks.copied(algorithm, seed), algorithm.config, bound)

    def sampled(self, policy: nn.Module, s: Tensor, noise: Tensor) -> Tensor:
        """Actions (B, A) by the whole chain, from noise (T, B, A)."""
        return torch.clamp(ddpm_sample(policy, self.abar, s, noise, self.bound), -self.bound, self.bound)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics, policy, target policy where it is its turn, target critics."""
        nets, config = self.nets, self.config
        critic_1, critic_2 = self.td_losses(batch, draws["next_chain"])
        self.step(self.critic_optimiser, critic_1 + critic_2, self.critic_parameters)

        cloning = self.cloning(batch, draws["step"], draws["noise"])
        a = self.sampled(nets.policy, batch["observations"], draws["chain"])
        negative = self.negative_value(batch["observations"], a, draws["critic_choice"])
        loss = cloning + config.value_weight * negative
        self.step(self.policy_optimiser, loss, list(nets.policy.parameters()))

        if program == "train+target_policy":
            follow(nets.target_policy, nets.policy, config.policy_target_rate)
        follow(nets.target_q1, nets.q1, config.target_update_rate)
        follow(nets.target_q2, nets.q2, config.target_update_rate)
        self.done += 1
        if self.done % config.cosine_interval == 0:
            for scheduler in self.schedulers:
                scheduler.step()
        return {
            "critic_loss": critic_1 + critic_2,
            "bc_loss": cloning,
            "value_loss": negative,
            "policy_loss": loss,
        }

    def td_losses(self, batch: Tensors, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Of both critics; of several next actions each critic takes its best, then the lower counts."""
        nets, copies = self.nets, self.config.backup_samples
        with torch.no_grad():
            following = batch["next_observations"].repeat_interleave(copies, dim=0)
            a = self.sampled(nets.target_policy, following, noise)
            best = [
                q_values(net, following, a).reshape(-1, copies).max(dim=1).values
                for net in (nets.target_q1, nets.target_q2)
            ]
            y = batch["rewards"] + self.config.discount * (1 - batch["terminals"]) * torch.minimum(*best)
        s, a, mse = batch["observations"], batch["actions"], nn.MSELoss()
        return mse(q_values(nets.q1, s, a), y), mse(q_values(nets.q2, s, a), y)

    def cloning(self, batch: Tensors, uniform: Tensor, noise: Tensor) -> Tensor:
        """L_d: mean (eps - eps_hat)^2 with t uniform in 0 .. T - 1."""
        t = torch.floor(uniform * len(self.abar)).long()
        ab = self.abar[t][:, None]
        x = torch.sqrt(ab) * batch["actions"] + torch.sqrt(1 - ab) * noise
        predicted = self.nets.policy(batch["observations"], x, t.to(x.dtype))
        return ((predicted - noise) ** 2).mean()

    def negative_value(self, s: Tensor, a: Tensor, uniform: Tensor) -> Tensor:
        """L_q: one critic's mean over the other's mean size."""
        q1, q2 = q_values(self.nets.q1, s, a), q_values(self.nets.q2, s, a)
        if uniform < 0.5:
            return -q1.mean() / q2.abs().mean().detach()
        return -q2.mean() / q1.abs().mean().detach()

    def step(self, optimiser: torch.optim.Optimizer, loss: Tensor, parameters: list[nn.Parameter]) -> None:
        """Clip the joint norm of these parameters' gradients, then Adam."""
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, self.config.gradient_norm)
        optimiser.step()
