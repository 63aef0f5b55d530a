"""EDP: efficient diffusion policies under TD3, CRR and IQL (Kang et al. 2023).

Policy improvement denoises corrupted dataset actions in one step instead of sampling (action approximation);
targets and evaluation sample with DPM-Solver. Without either, EDP with TD3 is the authors' `DQL (JAX)`.
Defaults follow the flags that make the released code EDP; the presets' variant `paper` follows the text.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from algorithms.base import Algorithm, Dimensions, Draw, Phase, Tensors
from algorithms.ddpm import linear_schedule, vp_schedule
from algorithms.edp_config import EDPConfig, EDPCRRConfig, EDPIQLConfig, EDPTD3Config, TargetPolicyConfig
from algorithms.edp_losses import (
    backup_values,
    critic_regularised_weights,
    diffusion_loss_and_actions,
    likelihood_guidance,
    temporal_difference_loss,
    value_guidance,
)
from algorithms.edp_policy import AncestralSampler, NoiseNetwork, Sampler, SolverSampler
from algorithms.losses import expectile_loss
from algorithms.networks import MLP, CriticEnsemble, Initialiser, lecun_normal, mish
from algorithms.optim import Adam, clip_norm_per_seed, move_towards
from algorithms.selection import draw_by_softmax


class EDP(Algorithm):
    """What EDP has under every method: the diffusion policy, two critics with targets, evaluation."""

    def __init__(
        self,
        dimensions: Dimensions,
        config: EDPConfig,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dimensions, config, seeds, device)
        self.config: EDPConfig = config
        self._build_networks()
        self.networks.to(self.device)
        self.optimisers = {
            name: Adam(network.parameters(), config.learning_rate)
            for name, network in self.networks.items()
            if not name.startswith("target_")
        }
        schedule = vp_schedule if config.noise_schedule == "vp" else linear_schedule
        self.schedule = schedule(config.diffusion_steps, device=self.device)
        self.sampler = self._sampler()
        candidates = (self.sampler.draws, config.candidates, dimensions.action)
        self.act_draws = (Draw("candidates", candidates, "normal"), Draw("choice", (), "uniform"))

    def _build_networks(self) -> None:
        config, dimensions = self.config, self.dimensions
        self.networks["policy"] = NoiseNetwork(
            Initialiser(self.seeds, "policy"), dimensions, config.hidden_width, config.time_embedding_width
        )
        self.networks["critics"] = CriticEnsemble(
            Initialiser(self.seeds, "critics"),
            dimensions.observation,
            dimensions.action,
            (config.hidden_width,) * 3,
            mish,
            initialisation=lecun_normal,
        )
        self._add_target("critics")

    def _add_target(self, name: str) -> None:
        self.networks[f"target_{name}"] = copy.deepcopy(self.networks[name]).requires_grad_(False)

    def _sampler(self) -> Sampler:
        bound = self.dimensions.action_bound
        if self.config.sampler == "ddpm":
            return AncestralSampler(self.schedule, bound)
        return SolverSampler(self.schedule, self.config.solver_calls, bound, self.device)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase, `train`."""
        config = self.config
        draws, program = self._draws(), self._program
        return (Phase("train", config.train_iterations, config.batch_size, draws, program, evaluated=True),)

    def _draws(self) -> tuple[Draw, ...]:
        """Draws of an iteration: here those of the denoising loss."""
        batch = self.config.batch_size
        return (
            Draw("step", (batch,), "uniform"),
            Draw("noise", (batch, self.dimensions.action), "normal"),
        )

    def _program(self, step: int) -> str:
        return "train"

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Value (IQL), policy, critics, then targets: the policy's in program `train+target_policy` alone.

        The released code takes TD3's and CRR's policy and critic gradients at the same parameters. This order
        comes to the same: the policy meets critics that have not moved, and their loss ignores the policy.
        """
        limit = self.config.action_clip * self.dimensions.action_bound
        batch = {**batch, "actions": batch["actions"].clamp(-limit, limit)}
        metrics = self._improve(batch, draws)
        self._follow("critics")
        if program == "train+target_policy":
            self._follow("policy")
        return metrics

    @abstractmethod
    def _improve(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One step of every optimiser."""

    def _denoised(self, batch: Tensors, draws: Tensors) -> tuple[Tensor, Tensor]:
        """Denoising loss (S,) and approximated actions (S, B, A)."""
        return diffusion_loss_and_actions(
            self.networks["policy"],
            self.schedule,
            batch,
            uniform=draws["step"],
            noise=draws["noise"],
            bound=self.dimensions.action_bound,
        )

    def _improve_policy(self, diffusion_loss: Tensor, guidance: Tensor) -> dict[str, Tensor]:
        loss = self.config.diffusion_weight * diffusion_loss + self.config.guidance_weight * guidance
        self.minimise("policy", loss)
        return {
            "diffusion_loss": diffusion_loss.detach(),
            "guidance_loss": guidance.detach(),
            "policy_loss": loss.detach(),
        }

    def _improve_critics(self, batch: Tensors, next_values: Tensor) -> dict[str, Tensor]:
        loss = temporal_difference_loss(self.networks["critics"], batch, next_values, self.config.discount)
        self.minimise("critics", loss)
        return {"critic_loss": loss.detach()}

    def minimise(self, optimiser: str, losses: Tensor) -> None:
        """One step on per-seed losses (S,) after clipping; each critic's gradient is clipped by itself."""
        chosen = self.optimisers[optimiser]
        gradients = torch.autograd.grad(self.total(losses), chosen.parameters)
        if optimiser == "critics":
            of_each = [gradient.flatten(0, 1) for gradient in gradients]
        else:
            of_each = list(gradients)
        clip_norm_per_seed(of_each, self.config.gradient_norm)
        chosen.step([clipped.view_as(gradient) for clipped, gradient in zip(of_each, gradients, strict=True)])

    def _follow(self, name: str) -> None:
        move_towards(
            list(self.networks[f"target_{name}"].parameters()),
            list(self.networks[name].parameters()),
            self.config.target_update_rate,
        )

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """One of `candidates` sampled actions, drawn by the softmax of the critics' minimum (paper Alg. 2).

        Shapes: observations (S, N, O); candidates (S, N, draws, C, A); choice (S, N); returns (S, N, A).
        """
        noise = draws["candidates"].movedim(2, 1)
        sampled = self.sampler(self.networks["policy"], observations, noise.flatten(2, 3))
        candidates = sampled.unflatten(1, noise.shape[2:4])
        if self.config.candidates == 1:
            return candidates.squeeze(2)
        states = observations.unsqueeze(2).expand(-1, -1, self.config.candidates, -1)
        values = self.networks["critics"](states.flatten(1, 2), sampled).amin(dim=1)
        return draw_by_softmax(candidates, values.unflatten(1, noise.shape[2:4]), draws["choice"])


class _TargetPolicyEDP(EDP):
    """EDP with critics that learn from samples of a slowly following target policy."""

    config: TargetPolicyConfig

    def _build_networks(self) -> None:
        super()._build_networks()
        self._add_target("policy")

    def _draws(self) -> tuple[Draw, ...]:
        config = self.config
        samples = (self.sampler.draws, config.batch_size * config.backup_samples, self.dimensions.action)
        return (*super()._draws(), Draw("next_noise", samples, "normal"))

    def _program(self, step: int) -> str:
        done = step + 1
        follows = done > self.config.policy_target_start and done % self.config.policy_target_interval == 0
        return "train+target_policy" if follows else "train"

    def _improve(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        metrics = self._improve_policy(*self._policy_terms(batch, draws))
        return metrics | self._improve_critics(batch, self._next_values(batch, draws))

    @abstractmethod
    def _policy_terms(self, batch: Tensors, draws: Tensors) -> tuple[Tensor, Tensor]:
        """Denoising loss and guidance of the policy, (S,) each."""

    @torch.no_grad()
    def _next_values(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Target critics at the target policy's next actions, (S, B)."""
        following = batch["next_observations"]
        actions = self.sampler(self.networks["target_policy"], following, draws["next_noise"])
        bound = self.dimensions.action_bound if self.config.backup_samples > 1 else None
        return backup_values(self.networks["target_critics"], following, actions, bound)


class EDPTD3(_TargetPolicyEDP):
    """EDP with TD3+BC's improvement: the value of the approximated action, normalised."""

    name: ClassVar[str] = "edp-td3"
    config: EDPTD3Config

    def _draws(self) -> tuple[Draw, ...]:
        draws = (*super()._draws(), Draw("critic_choice", (), "uniform"))
        if self.config.action_approximation:
            return draws
        sample = (self.sampler.draws, self.config.batch_size, self.dimensions.action)
        return (*draws, Draw("policy_noise", sample, "normal"))

    def _policy_terms(self, batch: Tensors, draws: Tensors) -> tuple[Tensor, Tensor]:
        diffusion_loss, actions = self._denoised(batch, draws)
        observations = batch["observations"]
        if not self.config.action_approximation:
            actions = self.sampler(self.networks["policy"], observations, draws["policy_noise"])
        guidance = value_guidance(
            self.networks["critics"], draws["critic_choice"], observations, actions, self.config.value_weight
        )
        return diffusion_loss, guidance


class EDPCRR(_TargetPolicyEDP):
    """EDP with critic-regularised regression onto the dataset's actions."""

    name: ClassVar[str] = "edp-crr"
    config: EDPCRRConfig

    def _draws(self) -> tuple[Draw, ...]:
        config = self.config
        samples = (config.advantage_samples, config.batch_size, self.dimensions.action)
        return (*super()._draws(), Draw("advantage_noise", samples, "normal"))

    def _policy_terms(self, batch: Tensors, draws: Tensors) -> tuple[Tensor, Tensor]:
        diffusion_loss, actions = self._denoised(batch, draws)
        weights = critic_regularised_weights(
            self.networks["critics"],
            batch,
            actions,
            draws["advantage_noise"],
            temperature=self.config.advantage_temperature,
            maximum=self.config.weight_limit,
        )
        return diffusion_loss, likelihood_guidance(weights, batch["actions"], actions)


class EDPIQL(EDP):
    """EDP with implicit Q-learning. Nothing samples a target policy, so there is none."""

    name: ClassVar[str] = "edp-iql"
    config: EDPIQLConfig

    def _build_networks(self) -> None:
        super()._build_networks()
        width = self.config.hidden_width
        sizes = (self.dimensions.observation, width, width, width, 1)
        self.networks["value"] = MLP(
            Initialiser(self.seeds, "value"), sizes, mish, initialisation=lecun_normal
        )

    def _improve(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Value first; policy and critics then use it as it has become."""
        with torch.no_grad():
            target = self.networks["target_critics"](batch["observations"], batch["actions"]).amin(dim=1)
        value_loss = expectile_loss(target - self._values(batch["observations"]), self.config.expectile)
        value_loss = value_loss.mean(dim=-1)
        self.minimise("value", value_loss)
        with torch.no_grad():
            advantage = target - self._values(batch["observations"])
            next_values = self._values(batch["next_observations"])
            weights = (self.config.inverse_temperature * advantage).exp().clamp(max=self.config.weight_limit)
        diffusion_loss, actions = self._denoised(batch, draws)
        metrics = self._improve_policy(
            diffusion_loss, likelihood_guidance(weights, batch["actions"], actions)
        )
        return metrics | self._improve_critics(batch, next_values) | {"value_loss": value_loss.detach()}

    def _values(self, observations: Tensor) -> Tensor:
        return self.networks["value"](observations).squeeze(-1)
