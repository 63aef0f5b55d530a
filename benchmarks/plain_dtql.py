"""DTQL's iteration as one would first write it in PyTorch: one network each, `backward`, torch.optim.

The yardstick of `benchmarks.iteration`; nothing else uses it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from algorithms.dtql import DTQLSharedConfig

LEVELS = 1e-6
"""Keeps the logit of the noise level's quantile finite."""


def _hidden(inputs: int, width: int, norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size in (inputs, width, width):
        layers += [nn.Linear(size, width), *([nn.LayerNorm(width)] if norm else []), nn.Mish()]
    return layers


class PlainDiffusion(nn.Module):
    """The network of noisy action, state and noise condition."""

    def __init__(self, observation: int, action: int, config: DTQLSharedConfig) -> None:
        super().__init__()
        width, time = config.diffusion_width, config.time_embedding_width
        self.time = time
        self.embed = nn.Sequential(nn.Linear(time, 2 * time), nn.Mish(), nn.Linear(2 * time, time))
        first = nn.Linear(observation + action + time, width)
        self.body = nn.Sequential(first, *_hidden(width, width, norm=False), nn.Linear(width, action))

    def forward(self, noisy: Tensor, state: Tensor, condition: Tensor) -> Tensor:
        """(B, A), (B, O), (B,) -> (B, A)."""
        half = self.time // 2
        frequency = torch.exp(-math.log(10_000) * torch.arange(half) / (half - 1))
        angle = condition[:, None] * frequency
        time = self.embed(torch.cat((angle.sin(), angle.cos()), dim=1))
        return self.body(torch.cat((noisy, state, time), dim=1))


class PlainDTQL:
    """One seed of DTQL."""

    def __init__(self, observation: int, action: int, config: DTQLSharedConfig) -> None:
        self.config, self.action = config, action
        width = config.hidden_width
        critics = [
            nn.Sequential(*_hidden(observation + action, width, norm=True), nn.Linear(width, 1)) for _ in "12"
        ]
        targets = [
            nn.Sequential(*_hidden(observation + action, width, norm=True), nn.Linear(width, 1)) for _ in "12"
        ]
        self.critics, self.targets = nn.ModuleList(critics), nn.ModuleList(targets)
        self.value = nn.Sequential(*_hidden(observation, width, norm=False), nn.Linear(width, 1))
        self.diffusion = PlainDiffusion(observation, action, config)
        self.actor = self._make_actor(observation)
        critic_parameters = [*self.critics.parameters(), *self.value.parameters()]
        self.critic_optimiser = torch.optim.Adam(critic_parameters, config.critic_learning_rate)
        self.diffusion_optimiser = torch.optim.Adam(self.diffusion.parameters(), config.learning_rate)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), config.learning_rate)

    def _make_actor(self, observation: int) -> nn.Module:
        layers: list[nn.Module] = []
        width = self.config.hidden_width
        for size in (observation, width, width):
            layers += [nn.Linear(size, width), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(width, 2 * self.action))

    def iterate(self, data: tuple[Tensor, ...], step: int) -> None:
        """One iteration on a minibatch drawn from `data`: observations, actions, rewards, next, terminals."""
        rows = torch.randint(len(data[0]), (self.config.batch_size,))
        state, action, reward, following, terminal = (column[rows] for column in data)
        self._step_critic(state, action, reward, following, terminal)
        loss = self._denoising_loss(self.diffusion, action, state)
        self.diffusion_optimiser.zero_grad()
        loss.backward()
        self.diffusion_optimiser.step()
        self._step_actor(state)
        rate = self.config.target_update_rate
        for target, online in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
            target.data.copy_((1 - rate) * target.data + rate * online.data)

    def _step_critic(
        self, state: Tensor, action: Tensor, reward: Tensor, following: Tensor, terminal: Tensor
    ) -> None:
        first, second = (critic(torch.cat((state, action), 1)).squeeze(1) for critic in self.critics)
        difference = torch.min(first, second).detach() - self.value(state).squeeze(1)
        expectile = torch.where(difference > 0, self.config.expectile, 1 - self.config.expectile)
        value_loss = (expectile * difference**2).mean()
        with torch.no_grad():
            target = reward + self.config.discount * (1 - terminal) * self.value(following).squeeze(1)
        loss = value_loss + functional.mse_loss(first, target) + functional.mse_loss(second, target)
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()

    def _step_actor(self, state: Tensor) -> None:
        mean, log_std = self.actor(state).chunk(2, dim=1)
        noise = torch.randn_like(mean)
        action = torch.tanh(mean + log_std.clamp(-5, 2).exp() * noise).clamp(-1, 1)
        inputs = torch.cat((state, action), 1)
        value = torch.min(*(critic(inputs) for critic in self.critics)).mean()
        loss = self.config.trust_region_weight * self._denoising_loss(self.diffusion, action, state) - value
        self.actor_optimiser.zero_grad()
        loss.backward()
        self.actor_optimiser.step()

    def _denoising_loss(self, network: nn.Module, action: Tensor, state: Tensor) -> Tensor:
        sigma = self._noise_levels(len(action))
        noisy = action + sigma * torch.randn_like(action)
        out = sigma * self.config.sigma_data / (sigma**2 + self.config.sigma_data**2).sqrt()
        return (((self._denoised(network, noisy, state, sigma) - action) / out) ** 2).mean()

    def _noise_levels(self, count: int) -> Tensor:
        uniform = torch.rand(count).clamp(LEVELS, 1 - LEVELS)
        return self.config.noise_median * torch.exp(self.config.noise_scale * torch.logit(uniform))[:, None]

    def _denoised(self, network: nn.Module, noisy: Tensor, state: Tensor, sigma: Tensor) -> Tensor:
        data = self.config.sigma_data
        total = (sigma**2 + data**2).sqrt()
        raw = network(noisy / total, state, sigma[:, 0].log() / 4)
        return (data**2 / total**2 * noisy + sigma * data / total * raw).clamp(-1, 1)
