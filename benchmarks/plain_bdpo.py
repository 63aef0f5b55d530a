"""BDPO's iteration as one would first write it in PyTorch: one network each, `backward`, torch.optim.

The yardstick of `benchmarks.iteration`; nothing else uses it.
"""

from __future__ import annotations

import copy
import itertools
import math

import torch
from torch import Tensor, nn

from algorithms.bdpo import BDPOConfig
from benchmarks.plain_edp import clip_by_global_norm

FLAX_EPSILON = 1e-6


def _layers(sizes: list[int], norm: bool, final: int | None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        normalised = [nn.LayerNorm(outputs, eps=FLAX_EPSILON)] if norm else []
        layers += [nn.Linear(inputs, outputs), *normalised, nn.Mish()]
    return nn.Sequential(*layers, *([nn.Linear(sizes[-1], final)] if final else []))


class _Timed(nn.Module):
    """A network of action, state and diffusion step."""

    def __init__(self, inputs: int, hidden: list[int], norm: bool, final: int, time: int, inner: int) -> None:
        super().__init__()
        self.time = time
        self.embed = _layers([time, inner, time], norm=False, final=None)
        self.body = _layers([inputs + time, *hidden], norm, final)

    def forward(self, action: Tensor, state: Tensor, step: Tensor) -> Tensor:
        half = self.time // 2
        frequency = torch.exp(-math.log(10_000) * torch.arange(half) / (half - 1))
        angle = step[..., None] * frequency
        time = self.embed(torch.cat((angle.cos(), angle.sin()), dim=-1))
        return self.body(torch.cat((action, time, state), dim=-1))


class PlainBDPO:
    """One seed of BDPO."""

    def __init__(self, observation: int, action: int, config: BDPOConfig) -> None:
        self.config, self.action = config, action
        both, time = observation + action, config.time_embedding_width
        actor = [config.actor_width] * config.actor_layers
        critic = [config.critic_width] * config.critic_layers
        self.behaviour = _Timed(both, actor, False, action, time, time)
        self.actor = copy.deepcopy(self.behaviour)
        members = range(config.ensemble)
        self.q = nn.ModuleList(_layers([both, *critic], config.critic_layer_norm, 1) for _ in members)
        inner = config.value_time_width
        self.v = nn.ModuleList(_Timed(both, critic, True, 1, time, inner) for _ in members)
        online = (self.behaviour, self.actor, self.q, self.v)
        self.targets = {network: copy.deepcopy(network) for network in online}
        rates = (
            config.behaviour_learning_rate,
            config.actor_learning_rate,
            config.critic_learning_rate,
            config.critic_learning_rate,
        )
        self.optimisers = {
            network: torch.optim.Adam(network.parameters(), rate)
            for network, rate in zip(online, rates, strict=True)
        }
        n = torch.arange(1, config.diffusion_steps + 1)
        total = config.diffusion_steps
        alphas = torch.exp(-0.1 / total - 0.5 * 9.9 * (2 * n - 1) / total**2)
        self.beta = torch.cat((torch.zeros(1), 1 - alphas))
        self.abar = torch.cumprod(1 - self.beta, 0)

    def iterate(self, data: tuple[Tensor, ...], step: int = 0) -> None:
        """One iteration on a minibatch drawn from `data`: observations, actions, rewards, next, terminals."""
        rows = torch.randint(len(data[0]), (self.config.batch_size,))
        state, action, reward, following, terminal = (column[rows] for column in data)
        with torch.no_grad():
            q_target = self._q_target(reward, following, terminal)
            noisy, n, objective = self._objective(self.targets[self.actor], state, action)
        inputs = torch.cat((state, action), -1)
        self._step(self.q, sum(((q(inputs)[:, 0] - q_target) ** 2).mean() for q in self.q) / len(self.q))
        losses = [((v(noisy, state, n)[:, 0] - objective) ** 2).mean() for v in self.v]
        self._step(self.v, sum(losses) / len(self.v))
        self._follow(self.q)
        self._follow(self.v)
        if step < self.config.warm_up_iterations or step % self.config.actor_interval:
            return
        self._step(self.actor, -self._objective(self.actor, state, action)[2].mean())
        self._follow(self.actor)
        n = torch.randint(1, self.config.diffusion_steps + 1, (len(action),))
        noise = torch.randn_like(action)
        noisy = self._noised(action, n, noise)
        self._step(self.behaviour, ((noise - self.behaviour(noisy, state, n)) ** 2).mean())
        self._follow(self.behaviour)

    def _q_target(self, reward: Tensor, following: Tensor, terminal: Tensor) -> Tensor:
        config = self.config
        actor, behaviour = self.targets[self.actor], self.targets[self.behaviour]
        state = following[:, None].expand(-1, config.samples, -1)
        noisy = torch.randn(*state.shape[:2], self.action)
        penalty = torch.zeros(state.shape[:2])
        for step in range(config.diffusion_steps, 0, -1):
            n = torch.full(state.shape[:2], step)
            predicted = actor(noisy, state, n)
            penalty += self._divergence(predicted, behaviour(noisy, state, n), n)
            noisy = self._reverse(noisy, predicted, n, torch.randn_like(noisy))
        values = [q(torch.cat((state, noisy), -1))[..., 0] for q in self.targets[self.q]]
        per_member = torch.stack([v.amax(-1) if config.max_q_backup else v.mean(-1) for v in values])
        mean_penalty = config.divergence_weight * penalty.mean(-1)
        kept = config.discount * (1 - terminal)
        if config.penalty_placement == "inside":
            return reward + kept * (self._bound(per_member) - mean_penalty)
        return reward + kept * self._bound(per_member) - mean_penalty

    def _objective(self, actor: nn.Module, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        n = torch.randint(1, config.diffusion_steps + 1, (len(action),))
        noisy = self._noised(action, n, torch.randn_like(action))
        predicted = actor(noisy, state, n)
        wide = (len(action), config.samples)
        states, steps = state[:, None].expand(*wide, -1), n[:, None].expand(wide)
        fresh = torch.randn(*wide, self.action)
        samples = self._reverse(
            noisy[:, None].expand_as(fresh), predicted[:, None].expand_as(fresh), steps, fresh
        )
        further = [
            v(samples, states, (steps - 1).clamp(min=1))[..., 0].mean(-1) for v in self.targets[self.v]
        ]
        final = [q(torch.cat((states, samples), -1))[..., 0].mean(-1) for q in self.targets[self.q]]
        values = torch.where(n == 1, self._bound(torch.stack(final)), self._bound(torch.stack(further)))
        divergence = self._divergence(predicted, self.targets[self.behaviour](noisy, state, n), n)
        return noisy, n, values - config.divergence_weight * divergence

    def _bound(self, values: Tensor) -> Tensor:
        return values.mean(0) - self.config.pessimism * values.std(0, correction=0)

    def _divergence(self, one: Tensor, other: Tensor, n: Tensor) -> Tensor:
        weight = 0.5 * self.beta[n] / ((1 - self.beta[n]) * (1 - self.abar[n]))
        return weight * ((one - other) ** 2).sum(-1)

    def _noised(self, action: Tensor, n: Tensor, noise: Tensor) -> Tensor:
        kept = self.abar[n][..., None]
        return kept.sqrt() * action + (1 - kept).sqrt() * noise

    def _reverse(self, noisy: Tensor, predicted: Tensor, n: Tensor, noise: Tensor) -> Tensor:
        beta, kept, before = (table[..., None] for table in (self.beta[n], self.abar[n], self.abar[n - 1]))
        clean = (noisy - (1 - kept).sqrt() * predicted) / kept.sqrt()
        if self.config.clip_denoised:
            clean = clean.clamp(-1, 1)
        mean = (before.sqrt() * beta * clean + (1 - beta).sqrt() * (1 - before) * noisy) / (1 - kept)
        return mean + (n > 1)[..., None] * beta.sqrt() * noise

    def _step(self, network: nn.Module, loss: Tensor) -> None:
        self.optimisers[network].zero_grad()
        loss.backward()
        clip_by_global_norm(list(network.parameters()), self.config.gradient_norm)
        self.optimisers[network].step()

    def _follow(self, network: nn.Module) -> None:
        rate = self.config.target_update_rate
        with torch.no_grad():
            for target, online in zip(self.targets[network].parameters(), network.parameters(), strict=True):
                target.copy_((1 - rate) * target + rate * online)
