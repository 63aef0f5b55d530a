"""Diffusion-QL: a diffusion policy clones the data and climbs the critics through its whole chain (Wang,
Hunt & Zhou 2023).

Every iteration samples two chains: the average of past policies acts at the next states for the critics'
targets, the policy itself at the states for its own loss, which is differentiated through all steps. Defaults
follow the authors' code.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, cast

import torch
from torch import Tensor, nn

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Draw,
    Fraction,
    NonNegative,
    NonNegativeCount,
    Phase,
    Positive,
    SineFeatures,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.diffusion import (
    NoiseNetwork,
    Schedule,
    add_noise,
    random_steps,
    squared_error,
    vp_schedule,
)
from algorithms.dpm_solver import AncestralSampler
from algorithms.losses import backup_values, draw_by_softmax, temporal_difference_loss
from algorithms.networks import CriticEnsemble, Initialiser, mish, torch_default
from algorithms.optim import TORCH_NORM_MARGIN, Adam, cosine_in_steps
from algorithms.stepwise import StepwiseNoiseNetwork


def cloning_loss(
    policy: NoiseNetwork, schedule: Schedule, batch: Tensors, *, uniform: Tensor, noise: Tensor
) -> Tensor:
    """Mean squared error of the noise that is predicted in the data's actions, (S,).

    Steps are uniform in 1..K from `uniform` (S, B) in [0, 1), and labelled from 0; noise (S, B, A).
    """
    step = random_steps(uniform, schedule.steps)
    noisy = add_noise(schedule, batch["actions"], step, noise)
    predicted = policy(noisy, batch["observations"], (step - 1).to(noisy.dtype))
    return squared_error(predicted, noise).mean(dim=(-2, -1))


def value_loss(critics: nn.Module, uniform: Tensor, observations: Tensor, actions: Tensor) -> Tensor:
    """-mean Q_i / mean |Q_j|, (S,): of two critics i is drawn evenly by `uniform` (S,), and j is the other.

    The divisor is held fixed. Differentiable in `actions` (S, B, A). Source: released agents/ql_diffusion.py.
    """
    values = critics(observations, actions)
    chosen = (uniform * 2).long()
    seeds = torch.arange(len(chosen), device=chosen.device)
    scale = values.detach()[seeds, 1 - chosen].abs().mean(dim=-1)
    # A seed that was retired has no weights and no values; it must not produce 0 / 0.
    return -values[seeds, chosen].mean(dim=-1) / scale.clamp(min=torch.finfo(values.dtype).tiny)


@hyperparameters
class DQLConfig:
    """Hyper-parameters of Diffusion-QL; values per task, with their sources, are in presets/dql.yaml."""

    train_iterations: Count = 2_000_000
    """iterations; epochs of 1000 in the released code"""
    batch_size: BatchSize = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    learning_rate: Positive = 3e-4
    """per step; of the policy"""
    critic_learning_rate: Positive = 3e-4
    """per step; fixed in the released code whatever the policy's"""
    cosine_steps: Count = 2000
    """steps in which half a cosine takes both learning rates to zero"""
    cosine_interval: Count = 50_000
    """iterations between those steps; so many that the rates hardly fall"""
    gradient_norm: Positive = 9.0
    """largest norm of the gradient of the policy, and of both critics together"""
    value_weight: NonNegative = 1.0
    """eta, weight of the normalised value in the policy's loss"""
    target_update_rate: Fraction = 0.005
    """per iteration; of the target critics"""
    policy_target_rate: Fraction = 0.005
    """per update of the target policy"""
    policy_target_start: NonNegativeCount = 1000
    """iterations before the target policy begins to follow"""
    policy_target_interval: Count = 5
    """iterations between updates of the target policy"""
    backup_samples: Count = 1
    """next actions sampled for a target; more than one: max-Q backup over them"""
    diffusion_steps: Count = 5
    """steps (T) of the chain"""
    candidates: Annotated[Count, Tiny(4)] = 50
    """actions sampled per state at evaluation, one drawn by the softmax of its value"""
    hidden_width: Width = 256
    """units per hidden layer"""
    time_embedding_width: SineFeatures = 16
    """features of the diffusion step"""


class DQL(Algorithm):
    """Diffusion-QL over a stack of seeds."""

    name: ClassVar[str] = "dql"
    config: DQLConfig

    def build(self) -> None:
        """Policy and critics with their targets and optimisers, the noise schedule and what samples by it."""
        config, size = self.config, self.dimensions
        policy = StepwiseNoiseNetwork(
            Initialiser(self.seeds, "policy"),
            size,
            config.hidden_width,
            (config.time_embedding_width, 2 * config.time_embedding_width, config.time_embedding_width),
            initialisation=torch_default,
        )
        hidden = (config.hidden_width,) * 3
        critics = CriticEnsemble(
            Initialiser(self.seeds, "critics"), size.observation, size.action, hidden, mish
        )
        rates = {"policy": config.learning_rate, "critics": config.critic_learning_rate}
        for name, network in (("policy", policy), ("critics", critics)):
            self.add(name, network)
            self.add_target(name)
            self.optimisers[name] = Adam(
                network.parameters(),
                rates[name],
                schedule=cosine_in_steps(config.cosine_steps, every=config.cosine_interval),
                largest_norm=config.gradient_norm,
                norm_margin=TORCH_NORM_MARGIN,
            )
        self.schedule = vp_schedule(config.diffusion_steps, device=self.device)
        self.sampler = AncestralSampler(self.schedule, size.action_bound)
        chains = (config.diffusion_steps, config.candidates, size.action)
        self.act_draws = (Draw("candidates", chains, "normal"), Draw("choice", (), "uniform"))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase, `train`."""
        config, action = self.config, self.dimensions.action
        rows, steps = config.batch_size, config.diffusion_steps
        draws = (
            Draw("next_chain", (steps, rows * config.backup_samples, action), "normal"),
            Draw("step", (rows,), "uniform"),
            Draw("noise", (rows, action), "normal"),
            Draw("chain", (steps, rows, action), "normal"),
            Draw("critic_choice", (), "uniform"),
        )
        return (Phase("train", config.train_iterations, rows, draws, self._program, evaluated=True),)

    def _program(self, step: int) -> str:
        config = self.config
        follows = step >= config.policy_target_start and step % config.policy_target_interval == 0
        return "train+target_policy" if follows else "train"

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics, the policy against them, then targets: the policy's in one program alone."""
        metrics = self._update_critics(batch, draws) | self._update_policy(batch, draws)
        if program == "train+target_policy":
            self.follow("policy", self.config.policy_target_rate)
        self.follow("critics", self.config.target_update_rate)
        return metrics

    def _update_critics(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        following = batch["next_observations"]
        with torch.no_grad():
            actions = self._sample("target_policy", following, draws["next_chain"])
        next_values = backup_values(self.networks["target_critics"], following, actions, None)
        loss = temporal_difference_loss(self.networks["critics"], batch, next_values, self.config.discount)
        self.minimise("critics", loss)
        return {"critic_loss": loss.detach()}

    def _update_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        observations = batch["observations"]
        cloning = cloning_loss(
            self.networks["policy"], self.schedule, batch, uniform=draws["step"], noise=draws["noise"]
        )
        actions = self._sample("policy", observations, draws["chain"])
        negative_value = value_loss(self.networks["critics"], draws["critic_choice"], observations, actions)
        loss = cloning + self.config.value_weight * negative_value
        self.minimise("policy", loss)
        return {
            "bc_loss": cloning.detach(),
            "value_loss": negative_value.detach(),
            "policy_loss": loss.detach(),
        }

    def _sample(self, policy: str, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, R, A) of the named policy for observations (S, B, O); noise (S, T, R, A)."""
        bound = self.dimensions.action_bound
        network = cast(StepwiseNoiseNetwork, self.networks[policy])
        return self.sampler(network, observations, noise).clamp(-bound, bound)

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """One of `candidates` actions of the policy, drawn by the softmax of the target critics' minimum.

        Shapes: observations (S, N, O); candidates (S, N, T, C, A); choice (S, N); returns (S, N, A).
        """
        noise = draws["candidates"].movedim(2, 1)
        sampled = self._sample("policy", observations, noise.flatten(2, 3))
        candidates = sampled.unflatten(1, noise.shape[2:4])
        states = observations.unsqueeze(2).expand(-1, -1, self.config.candidates, -1)
        values = self.networks["target_critics"](states.flatten(1, 2), sampled).amin(dim=1)
        return draw_by_softmax(candidates, values.unflatten(1, noise.shape[2:4]), draws["choice"])
