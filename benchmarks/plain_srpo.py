"""SRPO's iterations as one would first write them in PyTorch: one network each, `backward`, torch.optim.

The yardsticks of `benchmarks.iteration`; nothing else uses them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from algorithms.srpo import SRPOConfig

BETA_0, BETA_1 = 0.1, 20.0


def _perturbed(actions: Tensor, time: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Perturbed actions and sigma_t, (B, A) and (B, 1)."""
    alpha = torch.exp(-(time**2) * (BETA_1 - BETA_0) / 4 - time * BETA_0 / 2)[:, None]
    sigma = (1 - alpha**2).sqrt()
    return alpha * actions + sigma * noise, sigma


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Dropout(dropout),
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Mish(),
            nn.Linear(4 * width, width),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.branch(inputs)


class _Behaviour(nn.Module):
    def __init__(self, observation: int, action: int, config: SRPOConfig) -> None:
        super().__init__()
        width, time = config.behaviour_width, config.time_features
        frequencies = torch.randn(time // 2) * config.fourier_scale
        self.frequencies = nn.Parameter(frequencies, requires_grad=False)
        self.embed = nn.Sequential(nn.Linear(time, 2 * time), nn.Mish(), nn.Linear(2 * time, 2 * time))
        self.first = nn.Linear(observation + action + 2 * time, width)
        blocks = (_Block(width, config.dropout) for _ in range(config.behaviour_blocks))
        self.rest = nn.Sequential(*blocks, nn.Mish(), nn.Linear(width, action))

    def forward(self, noisy: Tensor, state: Tensor, time: Tensor) -> Tensor:
        angle = 2 * math.pi * time[:, None] * self.frequencies
        embedded = self.embed(torch.cat((angle.sin(), angle.cos()), dim=1))
        return self.rest(self.first(torch.cat((noisy, state, embedded), dim=1)))


class PlainSRPOBehaviour:
    """The behaviour model of one seed in training."""

    def __init__(self, observation: int, action: int, config: SRPOConfig) -> None:
        self.config = config
        self.network = _Behaviour(observation, action, config)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            config.behaviour_learning_rate,
            weight_decay=config.behaviour_weight_decay,
        )

    def iterate(self, data: tuple[Tensor, ...], step: int) -> None:
        """One iteration on a minibatch drawn from `data`: observations, actions, rewards, next, terminals."""
        rows = torch.randint(len(data[0]), (self.config.behaviour_batch_size,))
        state, action = data[0][rows], data[1][rows]
        low = self.config.behaviour_time_min
        time = low + (1 - low) * torch.rand(len(action))
        noise = torch.randn_like(action)
        noisy, _ = _perturbed(action, time, noise)
        loss = (self.network(noisy, state, time) - noise).square().sum(dim=1).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


class PlainSRPO:
    """The policy of one seed in training, critics and behaviour model frozen."""

    def __init__(self, observation: int, action: int, config: SRPOConfig) -> None:
        self.config = config
        width = config.hidden_width
        self.targets = [
            _relu_mlp(observation + action, (width, width), 1).requires_grad_(False) for _ in range(2)
        ]
        self.behaviour = _Behaviour(observation, action, config).requires_grad_(False).eval()
        self.policy = _relu_mlp(observation, (width,) * config.policy_hidden_layers, action)
        self.optimiser = torch.optim.Adam(self.policy.parameters(), config.policy_learning_rate)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, config.policy_iterations)

    def iterate(self, data: tuple[Tensor, ...], step: int) -> None:
        """One iteration on a minibatch drawn from `data`: observations, actions, rewards, next, terminals."""
        config = self.config
        state = data[0][torch.randint(len(data[0]), (config.batch_size,))]
        action = torch.tanh(self.policy(state))
        span = config.policy_time_max - config.policy_time_min
        time = config.policy_time_min + span * torch.rand(len(action))
        fixed = action.detach().requires_grad_()
        with torch.no_grad():
            noisy, sigma = _perturbed(fixed, time, torch.randn_like(fixed))
            predicted = self.behaviour(noisy, state, time)
        inputs = torch.cat((state, fixed), dim=1)
        value = (self.targets[0](inputs) + self.targets[1](inputs)) / 2
        (gradient,) = torch.autograd.grad(value.sum(), fixed)
        direction = sigma**2 * predicted - config.beta * gradient
        loss = (direction * action).sum(dim=1).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.scheduler.step()


def _relu_mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
