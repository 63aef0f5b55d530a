"""The KL-regularised DTQL's iteration as one would first write it; a yardstick as plain_dtql is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algorithms.dtql_kl import DTQLKLConfig
from benchmarks.plain_dtql import PlainDiffusion, PlainDTQL


class PlainDTQLKL(PlainDTQL):
    """One seed of the KL-regularised DTQL."""

    config: DTQLKLConfig

    def __init__(self, observation: int, action: int, config: DTQLKLConfig) -> None:
        super().__init__(observation, action, config)
        self.fake = PlainDiffusion(observation, action, config)
        self.fake_optimiser = torch.optim.Adam(self.fake.parameters(), config.learning_rate)

    def _make_actor(self, observation: int) -> nn.Module:
        return PlainDiffusion(observation, self.action, self.config)

    def _step_actor(self, state: Tensor) -> None:
        scale = self.config.generation_noise
        noise = torch.randn(len(state), self.action)
        action = self.actor(scale * noise, state, torch.full((len(state),), scale))
        with torch.no_grad():
            sigma = self._noise_levels(len(state))
            noisy = action + sigma * torch.randn_like(action)
            real = self._denoised(self.diffusion, noisy, state, sigma)
            fake = self._denoised(self.fake, noisy, state, sigma)
            target = action - (fake - real) / (action - real).abs().mean(1, keepdim=True)
        inputs = torch.cat((state, action), 1)
        value = torch.min(*(critic(inputs) for critic in self.critics)).mean()
        loss = self.config.trust_region_weight * 0.5 * ((action - target) ** 2).mean() - value
        self.actor_optimiser.zero_grad()
        loss.backward()
        self.actor_optimiser.step()
        loss = self._denoising_loss(self.fake, action.detach(), state)
        self.fake_optimiser.zero_grad()
        loss.backward()
        self.fake_optimiser.step()
