"""DTQL with a KL regularisation instead of the trust region (Chen, Wang & Zhou 2024, Appendix D).

The actor is an implicit generator G built like the diffusion model F; a second diffusion model K learns the
actor's own actions. The difference of what F and K make of a noised action is the gradient of the KL
divergence between actor and data (distribution matching distillation). Source: released agents/dql_kl.py.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from algorithms.base import (
    Draw,
    Positive,
    Tensors,
    hyperparameters,
)
from algorithms.diffusion import denoise, precondition, squared_error
from algorithms.dtql import DTQL, DTQLSharedConfig


def kl_loss(actions: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """A loss whose gradient in `actions` is that of the KL divergence between actor and data, (S,).

    Per component the gradient is (fake - real) / mean|actions - real| / (B A), with the mean over the action
    and no gradient through `real` and `fake`, the denoised actions of data and actor; all (S, B, A).
    """
    with torch.no_grad():
        weight = (actions - real).abs().mean(dim=-1, keepdim=True)
        target = actions - (fake - real) / weight
    return 0.5 * squared_error(actions, target).mean(dim=(-2, -1))


@hyperparameters
class DTQLKLConfig(DTQLSharedConfig):
    """Hyper-parameters of the KL-regularised variant, L_actor = alpha L_KL + eta L_Q."""

    generation_noise: Positive = 2.5
    """scale of the noise that the actor turns into an action, and the noise condition it is given"""


class DTQLKL(DTQL):
    """The KL-regularised variant over a stack of seeds.

    After pretraining, actor and fake score start from the diffusion model's weights; without pretraining (the
    2D problems) each starts from its own.
    """

    name: ClassVar[str] = "dtql-kl"
    config: DTQLKLConfig  # type: ignore[assignment]  # what the Gaussian actor needs is missing, as it is
    policy_networks: ClassVar[tuple[str, ...]] = ("actor", "fake_score")

    def _build_policy(self) -> None:
        for name in self.policy_networks:
            self.add(name, self._diffusion_network(name))

    def begin_phase(self, name: str) -> None:
        """Copies the pretrained diffusion model into actor and fake score; their optimisers are fresh."""
        for network in self.policy_networks:
            self.copy_weights("diffusion", network)

    @property
    def _policy_draws(self) -> tuple[Draw, ...]:
        return (
            *super()._policy_draws,
            Draw("fake_level", (self.config.batch_size,), "uniform"),
            Draw("fake_noise", (self.config.batch_size, self.dimensions.action), "normal"),
        )

    def _update_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        config, observations = self.config, batch["observations"]
        actions = self.sample(observations, draws["action_noise"].unsqueeze(2)).squeeze(2)
        kl = kl_loss(actions, *self._denoised(actions.detach(), observations, draws))
        action_value = self.networks["critics"](observations, actions).amin(dim=1).mean(dim=-1)
        loss = config.trust_region_weight * kl - config.action_value_weight * action_value
        self.minimise("actor", loss)
        fake_loss = self._denoising_loss(
            "fake_score", batch, actions.detach(), draws["fake_level"], draws["fake_noise"]
        )
        self.minimise("fake_score", fake_loss)
        return {
            "kl_loss": kl.detach(),
            "actor_value": action_value.detach(),
            "actor_loss": loss.detach(),
            "fake_score_loss": fake_loss.detach(),
        }

    @torch.no_grad()
    def _denoised(self, actions: Tensor, observations: Tensor, draws: Tensors) -> tuple[Tensor, Tensor]:
        """What the models of data and actor make of the same noised actions, (S, B, A) each."""
        sigma = self._noise_levels(draws["actor_level"], actions.dtype)
        scale = precondition(sigma, self.config.sigma_data)
        noisy = torch.addcmul(actions, sigma.unsqueeze(-1), draws["actor_noise"])
        real, fake = (
            denoise(
                self.networks[name],
                noisy,
                scale,
                observations,
                bound=self._denoised_bound,
            )
            for name in ("diffusion", "fake_score")
        )
        return real, fake

    def sample(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, N, C, A) of the actor from noise of that shape and observations (S, N, O)."""
        scale = self.config.generation_noise
        states = observations.unsqueeze(2).expand(*noise.shape[:-1], -1)
        condition = noise.new_full((1, 1), scale)
        actions = self.networks["actor"](scale * noise.flatten(1, 2), states.flatten(1, 2), condition)
        return actions.unflatten(1, noise.shape[1:3])
