"""BDPO: a diffusion policy regularised towards a diffusion behaviour model along the whole reverse chain (Gao
et al. 2025).

The divergence of two diffusion policies is the sum of the divergences of their reverse steps, which are
Gaussians. Q lives in the environment; V_n lives in the chain and lets the actor improve by single steps.
Defaults follow the authors' flow-rl; where the text says otherwise, the presets' variant `paper` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from algorithms.base import Dimensions, Draw, Tensors
from algorithms.bdpo_base import BehaviourRegularised, SampledConfig
from algorithms.bdpo_losses import (
    SingleStep,
    action_value_targets,
    behaviour_loss,
    deterministic_path,
    ensemble_loss,
    next_value,
    path_divergence,
    reverse_chain,
    single_step,
    single_step_objective,
    uniform_steps,
)
from algorithms.bdpo_networks import DiffusionValues, NoiseNetwork
from algorithms.ddpm import vp_schedule
from algorithms.hyperparameters import Count, SineFeatures
from algorithms.networks import Initialiser

ILLUSTRATED_STEPS = (1, 3, 5, 10, 15, 20, 30, 40, 50)
"""Diffusion steps whose values the paper's figures of the 2D problems show (Figs. 4, 5 and 11)."""
ILLUSTRATED_PATHS = 1_000
ILLUSTRATED_SAMPLES = 10_000


@dataclass(frozen=True)
class BDPOConfig(SampledConfig):
    """Hyper-parameters of BDPO; values per task, with their sources, are in presets/bdpo.yaml."""

    diffusion_steps: Count = 5
    """steps of the reverse chain (T)"""
    clip_denoised: bool = True
    """clamp the clean action of every reverse step to the action bound; penalties are not concerned"""
    time_embedding_width: SineFeatures = 64
    """sine and cosine features of the diffusion step, and what the layers behind them return"""
    value_time_width: Count = 64
    """units of the hidden layer of V_n's time embedding"""


class BDPO(BehaviourRegularised):
    """Behaviour-Regularised Diffusion Policy Optimisation over a stack of seeds."""

    name: ClassVar[str] = "bdpo"
    config: BDPOConfig

    def __init__(
        self,
        dimensions: Dimensions,
        config: BDPOConfig,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dimensions, config, seeds, device)
        steps, action = config.diffusion_steps, dimensions.action
        self.schedule = vp_schedule(steps, device=self.device)
        self.reweighting_temperature = config.divergence_weight
        self.act_draws = (Draw("chain", (steps, config.candidates, action), "normal"),)
        self.illustration_draws = (
            Draw("behaviour_chain", (steps, 1, ILLUSTRATED_SAMPLES, action), "normal"),
            Draw("path_start", (1, ILLUSTRATED_PATHS, action), "normal"),
            Draw("value_start", (ILLUSTRATED_SAMPLES, action), "normal"),
        )
        self._bound = dimensions.action_bound if config.clip_denoised else None

    def _policy(self, initialiser: Initialiser) -> nn.Module:
        config = self.config
        hidden = (config.actor_width,) * config.actor_layers
        return NoiseNetwork(initialiser, self.dimensions, hidden, config.time_embedding_width)

    def _learned(self) -> dict[str, nn.Module]:
        config = self.config
        values = DiffusionValues(
            Initialiser(self.seeds, "diffusion_values"),
            self.dimensions,
            (config.critic_width,) * config.critic_layers,
            members=config.ensemble,
            embedding=config.time_embedding_width,
            embedding_hidden=config.value_time_width,
            layer_norm_epsilon=config.layer_norm_epsilon,
        )
        return {**super()._learned(), "diffusion_values": values}

    def _behaviour_draws(self) -> Iterator[Draw]:
        size = self.config.batch_size
        yield Draw("behaviour_step", (size,), "uniform")
        yield Draw("behaviour_noise", (size, self.dimensions.action), "normal")

    def _critic_draws(self) -> Iterator[Draw]:
        config = self.config
        samples = (config.batch_size, config.samples, self.dimensions.action)
        if self._bootstraps:
            yield Draw("next_chain", (config.diffusion_steps, *samples), "normal")
        yield from self._single_step_draws("value")

    def _actor_draws(self) -> Iterator[Draw]:
        yield from self._single_step_draws("actor")

    def _single_step_draws(self, stage: str) -> Iterator[Draw]:
        config, action = self.config, self.dimensions.action
        yield Draw(f"{stage}_step", (config.batch_size,), "uniform")
        yield Draw(f"{stage}_noise", (config.batch_size, action), "normal")
        yield Draw(f"{stage}_reverse", (config.batch_size, config.samples, action), "normal")

    def _behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        step = uniform_steps(draws["behaviour_step"], self.config.diffusion_steps)
        return behaviour_loss(
            self.schedule, self.networks["behaviour"], batch, step, draws["behaviour_noise"]
        )

    def _critic_losses(self, batch: Tensors, draws: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        observations = batch["observations"]
        with torch.no_grad():
            targets, metrics = self._action_value_targets(batch, draws)
            taken = self._single_step("target_actor", "value", batch, draws)
            further = self._objective(taken, observations)
        values = self.networks["diffusion_values"](observations, taken.noisy, taken.step)
        losses = {
            "critics": ensemble_loss(self.networks["critics"](observations, batch["actions"]), targets),
            "diffusion_values": ensemble_loss(values, further),
        }
        return losses, metrics

    def _action_value_targets(self, batch: Tensors, draws: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        """Targets of Q, (S, B), and the mean divergence of the chains they come from."""
        config, networks = self.config, self.networks
        if not self._bootstraps:
            return batch["rewards"], {}
        following = batch["next_observations"]
        chain = reverse_chain(
            self.schedule, networks["target_actor"], following, draws["next_chain"], self._bound
        )
        action_values = networks["target_critics"](following.unsqueeze(2), chain.actions)
        divergence = path_divergence(self.schedule, chain, networks["target_behaviour"], following)
        targets = action_value_targets(
            batch,
            next_value(action_values, config.pessimism, config.max_q_backup),
            config.divergence_weight * divergence,
            config.discount,
            config.penalty_placement,
        )
        return targets, {"path_divergence": divergence.mean(dim=-1)}

    def _actor_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        taken = self._single_step("actor", "actor", batch, draws)
        return -self._objective(taken, batch["observations"]).mean(dim=-1)

    def _single_step(self, policy: str, stage: str, batch: Tensors, draws: Tensors) -> SingleStep:
        return single_step(
            self.schedule,
            self.networks[policy],
            batch,
            uniform_steps(draws[f"{stage}_step"], self.config.diffusion_steps),
            draws[f"{stage}_noise"],
            draws[f"{stage}_reverse"],
            self._bound,
        )

    def _objective(self, taken: SingleStep, observations: Tensor) -> Tensor:
        return single_step_objective(
            self.schedule,
            taken,
            observations,
            behaviour=self.networks["target_behaviour"],
            action_values=self.networks["target_critics"],
            diffusion_values=self.networks["target_diffusion_values"],
            divergence_weight=self.config.divergence_weight,
            pessimism=self.config.pessimism,
        )

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The best of `candidates` chains of the target actor by the target Q's mean; a single one as it is.

        Shapes: observations (S, N, O); chain (S, N, T, C, A); returns (S, N, A).
        """
        noise = draws["chain"].transpose(1, 2)
        actor = self.networks["target_actor"]
        actions = reverse_chain(self.schedule, actor, observations, noise, self._bound).actions
        return self._best(observations, actions)

    @torch.no_grad()
    def illustrate(self, grid: Tensor, draws: Tensors) -> dict[str, Tensor]:
        """Landscapes, samples and the value test of the 2D problems, (S, ...) each.

        behaviour (S, M, A) : samples of the behaviour model.
        path (S, T + 1, M', A) : DDIM's paths of the target actor; entry n is a^n. As drawn in the paper.
        action_value (S, G), diffusion_value_<n> (S, G) : means of the target ensembles.
        value_test (S, 2) : mean of V_T(a^T) over a^T ~ N(0, I), and eta log mean exp(Q / eta) over
        `behaviour`; equal for the optimal policy.
        """
        networks, steps = self.networks, self.config.diffusion_steps
        origin, points = self._origin(grid), grid.expand(len(self.seeds), -1, -1)

        def diffusion_value(noisy: Tensor, n: int) -> Tensor:
            step = torch.full((len(self.seeds), 1), n, device=grid.device)
            return networks["target_diffusion_values"](origin, noisy, step).mean(dim=1)

        behaviour = reverse_chain(
            self.schedule, networks["target_behaviour"], origin, draws["behaviour_chain"], self._bound
        ).actions.squeeze(1)
        path = deterministic_path(
            self.schedule, networks["target_actor"], origin, draws["path_start"], self._bound
        )
        shown = [n for n in ILLUSTRATED_STEPS if n <= steps]
        return {
            "behaviour": behaviour,
            "path": path.squeeze(2).transpose(0, 1),
            "action_value": self._grid_value(grid),
            **{f"diffusion_value_{n}": diffusion_value(points, n) for n in shown},
            "value_test": torch.stack(
                (
                    diffusion_value(draws["value_start"], steps).mean(dim=-1),
                    soft_maximum(self._mean_target_value(origin, behaviour), self.config.divergence_weight),
                ),
                dim=-1,
            ),
        }


def soft_maximum(values: Tensor, temperature: float) -> Tensor:
    """temperature * log mean exp(values / temperature) over the last axis; the maximum at temperature 0."""
    if not temperature:
        return values.amax(dim=-1)
    return temperature * (torch.logsumexp(values / temperature, dim=-1) - math.log(values.shape[-1]))
