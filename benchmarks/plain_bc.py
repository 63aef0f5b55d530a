"""Behaviour cloning's iteration as one would first write it in PyTorch; a yardstick as plain_dtql is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from algorithms.bc import BCConfig


class PlainBC:
    """One seed of behaviour cloning."""

    def __init__(self, observation: int, action: int, config: BCConfig) -> None:
        self.config = config
        width = config.hidden_width
        self.actor = nn.Sequential(
            nn.Linear(observation, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, action),
            nn.Tanh(),
        )
        self.optimiser = torch.optim.Adam(self.actor.parameters(), config.learning_rate)

    def iterate(self, data: tuple[Tensor, ...], step: int) -> None:
        """One iteration on a minibatch drawn from `data`: standardised observations, actions, ..."""
        rows = torch.randint(len(data[0]), (self.config.batch_size,))
        loss = functional.mse_loss(self.actor(data[0][rows]), data[1][rows])
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
