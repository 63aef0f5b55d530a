"""DAC of one seed, written a second time from its equations: plain modules, torch.optim, no stacks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.dac import DACConfig
from benchmarks.plain.dql import abar_of_vp
from benchmarks.plain.edp import mish_network
from benchmarks.plain.modules import (
    PlainVersion,
    Tensors,
    clip_by_global_norm,
    follow,
    linear,
    q_values,
    slice_of,
)


class PlainNoise(nn.Module):
    """eps(s, a, n): the embedding of n is cos, then sin, at exp(-k ln(10000) / 7), k = 0 .. 7."""

    def __init__(self, embed: Tensors, body: Tensors) -> None:
        super().__init__()
        first = linear(embed, "layers.0")
        half = first.in_features // 2
        powers = torch.arange(half, dtype=torch.float64) / (half - 1)
        self.frequencies = torch.exp(-powers * math.log(10_000)).to(first.weight.dtype)
        self.embed = nn.Sequential(first, nn.Mish(), linear(embed, "layers.1"))
        self.body = mish_network(body)

    def forward(self, s: Tensor, a: Tensor, n: Tensor) -> Tensor:
        """(B, O), (B, A), (B,) -> (B, A)."""
        angles = n[:, None] * self.frequencies
        time = self.embed(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1))
        return self.body(torch.cat([s, a, time], dim=1))


@dataclass
class PlainNetworks:
    """The networks of one seed."""

    policy: nn.Module
    target_policy: nn.Module
    critics: nn.ModuleList
    target_critics: nn.ModuleList

    @classmethod
    def copied(cls, algorithm: Algorithm, seed: int) -> PlainNetworks:
        """With a seed's weights."""
        state = algorithm.networks.state_dict()

        def noise(name: str) -> PlainNoise:
            return PlainNoise(slice_of(state, f"{name}.embed.", seed), slice_of(state, f"{name}.mlp.", seed))

        def ensemble(name: str) -> nn.ModuleList:
            members = range(state[f"{name}.mlp.layers.0.weight"].shape[1])
            return nn.ModuleList(mish_network(slice_of(state, f"{name}.mlp.", seed, k)) for k in members)

        return cls(
            policy=noise("policy"),
            target_policy=noise("target_policy"),
            critics=ensemble("critics"),
            target_critics=ensemble("target_critics"),
        )


class PlainDAC(PlainVersion):
    """Training of one seed; steps are n = 1 .. T, and lists over them begin with n = 0, the clean action."""

    def __init__(self, nets: PlainNetworks, config: DACConfig, bound: float = 1.0) -> None:
        self.nets, self.config, self.bound = nets, config, bound
        dtype = next(nets.policy.parameters()).dtype
        one = torch.ones(1, dtype=torch.float64)
        self.abar = torch.cat([one, abar_of_vp(config.diffusion_steps)]).to(dtype)
        self.eta = config.cloning_weight
        self.optimisers = {
            "policy": torch.optim.Adam(nets.policy.parameters(), lr=config.learning_rate),
            "critics": torch.optim.Adam(nets.critics.parameters(), lr=config.critic_learning_rate),
        }
        self.schedulers = [
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.train_iterations)
            for optimiser in self.optimisers.values()
        ]

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainDAC:
        """The twin of a seed."""
        bound = algorithm.dimensions.action_bound
        return cls(PlainNetworks.copied(algorithm, seed), algorithm.config, bound)

    def sampled(self, policy: nn.Module, s: Tensor, noise: Tensor) -> Tensor:
        """Actions (B, A) by the whole chain with variance beta, from noise (T, B, A)."""
        x = noise[0]
        for i, n in enumerate(range(self.config.diffusion_steps, 0, -1)):
            ab, before = self.abar[n], self.abar[n - 1]
            alpha = ab / before
            eps = policy(s, x, torch.full_like(x[:, 0], n))
            x0 = torch.clamp((x - torch.sqrt(1 - ab) * eps) / torch.sqrt(ab), -self.bound, self.bound)
            x = (torch.sqrt(before) * (1 - alpha) * x0 + torch.sqrt(alpha) * (1 - before) * x) / (1 - ab)
            if n > 1:
                x = x + torch.sqrt(1 - alpha) * noise[i + 1]
        return x

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics, their targets, policy, eta, target policy where it is its turn."""
        nets, config = self.nets, self.config
        limit = self.bound - config.action_margin
        batch = {**batch, "actions": torch.clamp(batch["actions"], -limit, limit)}
        critic = self.critic_loss(batch, draws["next_chain"])
        self.apply("critics", critic, nets.critics)
        follow(nets.target_critics, nets.critics, config.target_update_rate)

        cloning, guidance = self.policy_terms(batch, draws["step"], draws["noise"])
        loss = self.eta * cloning + guidance
        self.apply("policy", loss, nets.policy)
        if config.cloning_weight_rate:
            excess = min(1.0, max(-1.0, cloning.item() - config.cloning_limit))
            moved = self.eta + config.cloning_weight_rate * excess
            self.eta = min(config.cloning_weight_max, max(config.cloning_weight_min, moved))
        if program == "train+target_policy":
            follow(nets.target_policy, nets.policy, config.target_update_rate)
        for scheduler in self.schedulers:
            scheduler.step()
        return {
            "critic_loss": critic,
            "bc_loss": cloning,
            "guidance_loss": guidance,
            "policy_loss": loss,
            "cloning_weight": torch.tensor(self.eta, dtype=loss.dtype),
        }

    def critic_loss(self, batch: Tensors, noise: Tensor) -> Tensor:
        """Mean over the members of each one's squared error to one target, a lower confidence bound."""
        config, nets, copies = self.config, self.nets, self.config.samples
        with torch.no_grad():
            following = batch["next_observations"].repeat_interleave(copies, dim=0)
            a = self.sampled(nets.target_policy, following, noise)
            of_members = []
            for net in nets.target_critics:
                values = q_values(net, following, a).reshape(-1, copies)
                of_members.append(values.max(dim=1).values if config.max_q_backup else values.mean(dim=1))
            q = torch.stack(of_members)
            mean = q.mean(dim=0)
            deviation = torch.sqrt(((q - mean) ** 2).mean(dim=0))
            bound = mean - config.pessimism * deviation
            y = batch["rewards"] + config.discount * (1 - batch["terminals"]) * bound
        s, a = batch["observations"], batch["actions"]
        errors = [((q_values(net, s, a) - y) ** 2).mean() for net in nets.critics]
        return torch.stack(errors).mean()

    def policy_terms(self, batch: Tensors, uniform: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (e - eps)^2 and mean sqrt(1 - abar_n) g e."""
        s, a = batch["observations"], batch["actions"]
        n = 1 + torch.floor(uniform * self.config.diffusion_steps).long()
        ab = self.abar[n][:, None]
        noisy = torch.sqrt(ab) * a + torch.sqrt(1 - ab) * noise
        e = self.nets.policy(s, noisy, n.to(a.dtype))
        g = torch.sqrt(1 - ab) * self.gradient(s, noisy, a)
        return ((e - noise) ** 2).mean(), (g * e).mean()

    def gradient(self, s: Tensor, noisy: Tensor, a: Tensor) -> Tensor:
        """Of the members' mean at the noisy action, over the mean size of values at the data's."""
        targets = self.nets.target_critics
        at = noisy.detach().clone().requires_grad_()
        total = torch.stack([q_values(net, s, at) for net in targets]).mean(dim=0).sum()
        with torch.no_grad():
            size = torch.stack([q_values(net, s, a) for net in targets]).abs().mean()
        return torch.autograd.grad(total, at)[0] / (size + 1e-6)

    def apply(self, name: str, loss: Tensor, network: nn.Module) -> None:
        """Clip the network's global norm, then Adam."""
        parameters = list(network.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        clip_by_global_norm(parameters, self.config.gradient_norm)
        self.optimisers[name].step()
