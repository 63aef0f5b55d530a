"""DTQL: a one-step policy inside the trust region of a diffusion model (Chen, Wang & Zhou 2024).

Two policies: a diffusion model that only clones the data and is never sampled, and a tanh-Gaussian actor that
maximises the critics and pays the diffusion model's denoising loss of its own actions. Critics are IQL's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from algorithms.base import Draw, Tensors
from algorithms.diffusion import Network, denoising_loss
from algorithms.diffusion_trusted import DiffusionTrusted, DiffusionTrustedConfig
from algorithms.hyperparameters import NonNegative
from algorithms.networks import GaussianActor, Initialiser

ATANH_MARGIN = 1e-3
"""Added to the action bound so that atanh of an action on the bound is finite (released agents/dtql.py)."""


@dataclass(frozen=True)
class DTQLConfig(DiffusionTrustedConfig):
    """Hyper-parameters of DTQL, L_actor = alpha L_TR + eta L_Q + g L_likelihood."""

    likelihood_weight: NonNegative = 0.0
    """g, the paper's entropy term: negative log-likelihood of dataset actions"""
    log_std_min: float = -5.0
    """nats; lower clamp of the actor's log standard deviation"""
    log_std_max: float = 2.0
    """nats; upper clamp of the actor's log standard deviation"""


def squash(mean: Tensor, log_std: Tensor, noise: Tensor, bound: float) -> Tensor:
    """Actions clamp(bound tanh(mean + exp(log_std) noise)); any broadcasting shapes (..., A)."""
    return (bound * torch.tanh(mean + log_std.exp() * noise)).clamp(-bound, bound)


def log_likelihood(mean: Tensor, log_std: Tensor, actions: Tensor, bound: float) -> Tensor:
    """Log-density of pre-tanh actions without the tanh Jacobian, summed over the action: (S, B, A) -> (S, B).

    Source: released agents/dtql.py. NaN for actions beyond bound + 0.001.
    """
    before_tanh = torch.atanh(actions / (bound + ATANH_MARGIN))
    standardised = (before_tanh - mean) * (-log_std).exp()
    return (-0.5 * standardised.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(dim=-1)


def actor_losses(
    actor: nn.Module,
    critics: nn.Module,
    network: Network,
    batch: Tensors,
    *,
    action_noise: Tensor,
    sigma: Tensor,
    noise: Tensor,
    action_bound: float,
    sigma_data: float,
    denoised_bound: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Trust-region loss, negative action value and negative log-likelihood of the data, (S,) each.

    One action per state, a = squash(actor(s), action_noise), serves the first two. The trust-region loss
    keeps the Jacobian of the diffusion network. Shapes: action_noise, noise (S, B, A); sigma (S, B).
    """
    observations = batch["observations"]
    mean, log_std = actor(observations)
    actions = squash(mean, log_std, action_noise, action_bound)
    trust_region = denoising_loss(
        network, actions, observations, sigma, noise, sigma_data=sigma_data, bound=denoised_bound
    )
    action_value = critics(observations, actions).amin(dim=1).mean(dim=-1)
    likelihood = log_likelihood(mean, log_std, batch["actions"], action_bound).mean(dim=-1)
    return trust_region, -action_value, -likelihood


class DTQL(DiffusionTrusted):
    """Diffusion Trusted Q-Learning over a stack of seeds."""

    name: ClassVar[str] = "dtql"
    config: DTQLConfig
    _policy_networks: ClassVar[tuple[str, ...]] = ("actor",)

    def _build_policy(self) -> None:
        config = self.config
        self.networks["actor"] = GaussianActor(
            Initialiser(self.seeds, "actor"),
            self.dimensions,
            config.hidden_width,
            (config.log_std_min, config.log_std_max),
        )

    @property
    def _policy_draws(self) -> tuple[Draw, ...]:
        action = (self.config.batch_size, self.dimensions.action)
        return (
            Draw("action_noise", action, "normal"),
            Draw("actor_level", (self.config.batch_size,), "uniform"),
            Draw("actor_noise", action, "normal"),
        )

    def _update_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        config = self.config
        trust_region, negative_value, negative_likelihood = actor_losses(
            self.networks["actor"],
            self.networks["critics"],
            self.networks["diffusion"],
            batch,
            action_noise=draws["action_noise"],
            sigma=self._noise_levels(draws["actor_level"], batch["actions"].dtype),
            noise=draws["actor_noise"],
            action_bound=self.dimensions.action_bound,
            sigma_data=config.sigma_data,
            denoised_bound=self._denoised_bound,
        )
        loss = config.trust_region_weight * trust_region + config.action_value_weight * negative_value
        if config.likelihood_weight:  # 0 * NaN would spoil the loss where an action exceeds the bound
            loss = loss + config.likelihood_weight * negative_likelihood
        self.minimise("actor", loss)
        return {
            "trust_region_loss": trust_region.detach(),
            "actor_value": -negative_value.detach(),
            "actor_loss": loss.detach(),
        }

    def sample(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, N, C, A) of the actor from noise of that shape and observations (S, N, O)."""
        mean, log_std = self.networks["actor"](observations)
        return squash(mean.unsqueeze(2), log_std.unsqueeze(2), noise, self.dimensions.action_bound)
