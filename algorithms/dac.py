"""DAC: a diffusion policy whose every step is drawn towards higher values (Fang et al. 2024).

The policy learns to predict the noise in noisy actions of the data, and pays for predictions that lead away
from the gradient of an ensemble's value, taken at the noisy action itself; so no chain is differentiated
through. A multiplier that keeps the cloning loss near a limit weighs the two. Defaults follow the authors'
code.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Self, cast

import torch
from pydantic import model_validator
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
from algorithms.losses import ensemble_loss, next_value, take_best, temporal_difference_targets
from algorithms.networks import ActionValues, Initialiser, xavier_uniform
from algorithms.optim import Adam, cosine_to_zero
from algorithms.stepwise import StepwiseNoiseNetwork

SMALLEST_VALUE = 1e-6
"""Added to the mean size of values, by which the gradient is divided (released agents/dac.py, EPS)."""


def value_gradient(critics: nn.Module, observations: Tensor, noisy: Tensor, actions: Tensor) -> Tensor:
    """Gradient of the ensemble's mean at `noisy` over its mean size at `actions`; all (S, B, A).

    The divisor is one number per seed: the mean of |Q| over members and batch. Nothing of it is
    differentiable further.
    """
    with torch.no_grad():
        size = critics(observations, actions).abs().mean(dim=(1, 2))
    # Of a function: torch's compiler does not follow a tensor that begins to require a gradient.
    gradient = torch.func.grad(lambda at: critics(observations, at).mean(dim=1).sum())(noisy.detach())
    return gradient.detach() / (size + SMALLEST_VALUE)[:, None, None]


def policy_losses(
    policy: NoiseNetwork,
    critics: nn.Module,
    schedule: Schedule,
    batch: Tensors,
    *,
    uniform: Tensor,
    noise: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cloning loss and guidance, (S,) each: mean (e - eps)^2 and mean sqrt(1 - abar_n) g e.

    e is what the policy predicts in a^n, g is `value_gradient` there. Steps n are uniform in 1..T from
    `uniform` (S, B) in [0, 1), and are their own labels; noise eps (S, B, A).
    """
    observations, actions = batch["observations"], batch["actions"]
    step = random_steps(uniform, schedule.steps)
    noisy = add_noise(schedule, actions, step, noise)
    predicted = policy(noisy, observations, step.to(noisy.dtype))
    drawn = schedule.at(step).noise * value_gradient(critics, observations, noisy, actions)
    cloning = squared_error(predicted, noise).mean(dim=(-2, -1))
    return cloning, (drawn * predicted).mean(dim=(-2, -1))


class Multiplier(nn.Module):
    """A number per seed, (S,), that no optimiser moves."""

    def __init__(self, seeds: int, start: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((seeds,), start), requires_grad=False)


@hyperparameters
class DACConfig:
    """Hyper-parameters of DAC; values per task, with their sources, are in presets/dac.yaml."""

    train_iterations: Count = 2_000_000
    """iterations; also the length of both cosines"""
    batch_size: BatchSize = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    learning_rate: Positive = 3e-4
    """per step; of the policy, half a cosine to zero"""
    critic_learning_rate: Positive = 3e-4
    """per step; half a cosine to zero"""
    gradient_norm: Positive = 1.0
    """largest norm of the gradient of the policy, and of all critics together"""
    cloning_weight: Positive = 1.0
    """eta, weight of the cloning loss, at the start"""
    cloning_weight_rate: NonNegative = 1e-3
    """per iteration and unit of loss; by which eta follows the cloning loss, 0 where it is fixed"""
    cloning_weight_min: Positive = 0.001
    """lower limit of eta"""
    cloning_weight_max: Positive = 100.0
    """upper limit of eta"""
    cloning_limit: NonNegative = 1.0
    """b, cloning loss above which eta grows and below which it falls"""
    pessimism: NonNegative = 1.0
    """rho, standard deviations of the ensemble below its mean"""
    max_q_backup: bool = False
    """Q's target takes the best of the samples, per member, instead of their mean"""
    ensemble: Annotated[Count, Tiny(3)] = 10
    """critics"""
    samples: Annotated[Count, Tiny(2)] = 10
    """next actions per state in targets"""
    target_update_rate: Fraction = 0.005
    """per update of a target network"""
    policy_target_start: NonNegativeCount = 1000
    """iterations before the target policy begins to follow"""
    policy_target_interval: Count = 5
    """iterations between updates of the target policy"""
    diffusion_steps: Count = 5
    """steps (T) of the chain"""
    candidates: Annotated[Count, Tiny(4)] = 10
    """actions sampled per state at evaluation; the one of highest mean target Q is taken"""
    hidden_width: Width = 256
    """units per hidden layer"""
    time_embedding_width: SineFeatures = 16
    """features of the diffusion step"""
    time_width: Count = 32
    """units of both layers behind these features"""
    action_margin: NonNegative = 1e-5
    """action units; dataset actions are kept this far within the action bound"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.cloning_weight_min <= self.cloning_weight <= self.cloning_weight_max:
            raise ValueError(
                f"cloning_weight is {self.cloning_weight:g}; it must be between cloning_weight_min "
                f"({self.cloning_weight_min:g}) and cloning_weight_max ({self.cloning_weight_max:g})"
            )
        return self


class DAC(Algorithm):
    """Diffusion Actor-Critic over a stack of seeds."""

    name: ClassVar[str] = "dac"
    config: DACConfig

    def build(self) -> None:
        """Policy and critics with targets and optimisers, eta, the noise schedule and what samples by it."""
        config, size = self.config, self.dimensions
        policy = StepwiseNoiseNetwork(
            Initialiser(self.seeds, "policy"),
            size,
            config.hidden_width,
            (config.time_embedding_width, config.time_width, config.time_width),
            initialisation=xavier_uniform,
            cosine_first=True,
        )
        critics = ActionValues(
            Initialiser(self.seeds, "critics"),
            size,
            (config.hidden_width,) * 3,
            members=config.ensemble,
            layer_norm_epsilon=None,
            initialisation=xavier_uniform,
        )
        rates = {"policy": config.learning_rate, "critics": config.critic_learning_rate}
        for name, network in (("policy", policy), ("critics", critics)):
            self.add(name, network)
            self.add_target(name)
            self.optimisers[name] = Adam(
                network.parameters(),
                rates[name],
                schedule=cosine_to_zero(config.train_iterations),
                largest_norm=config.gradient_norm,
            )
        self.add("multiplier", Multiplier(len(self.seeds), config.cloning_weight))
        self.schedule = vp_schedule(config.diffusion_steps, device=self.device)
        self.sampler = AncestralSampler(self.schedule, size.action_bound, variance="beta", first_label=1)
        chains = (config.diffusion_steps, config.candidates, size.action)
        self.act_draws = (Draw("candidates", chains, "normal"),)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase, `train`."""
        config, action = self.config, self.dimensions.action
        rows = config.batch_size
        draws = (
            Draw("next_chain", (config.diffusion_steps, rows * config.samples, action), "normal"),
            Draw("step", (rows,), "uniform"),
            Draw("noise", (rows, action), "normal"),
        )
        return (
            Phase(
                "train",
                config.train_iterations,
                rows,
                draws,
                self._program,
                evaluated=True,
                sampling="shuffled",
            ),
        )

    def _program(self, step: int) -> str:
        config = self.config
        follows = step > config.policy_target_start and step % config.policy_target_interval == 0
        return "train+target_policy" if follows else "train"

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics and their targets, then the policy by these targets; its own in one program alone."""
        limit = self.dimensions.action_bound - self.config.action_margin
        batch = {**batch, "actions": batch["actions"].clamp(-limit, limit)}
        metrics = self._update_critics(batch, draws["next_chain"])
        self.follow("critics", self.config.target_update_rate)
        metrics |= self._update_policy(batch, draws)
        if program == "train+target_policy":
            self.follow("policy", self.config.target_update_rate)
        return metrics

    def _update_critics(self, batch: Tensors, noise: Tensor) -> dict[str, Tensor]:
        config, following = self.config, batch["next_observations"]
        with torch.no_grad():
            actions = self._sample("target_policy", following, noise)
            values = self.networks["target_critics"](following.unsqueeze(2), actions)
            targets = temporal_difference_targets(
                batch, next_value(values, config.pessimism, config.max_q_backup), config.discount
            )
        loss = ensemble_loss(self.networks["critics"](batch["observations"], batch["actions"]), targets)
        self.minimise("critics", loss)
        return {"critic_loss": loss.detach()}

    def _update_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        weight = cast(Multiplier, self.networks["multiplier"]).value
        cloning, guidance = policy_losses(
            self.networks["policy"],
            self.networks["target_critics"],
            self.schedule,
            batch,
            uniform=draws["step"],
            noise=draws["noise"],
        )
        loss = weight * cloning + guidance
        self.minimise("policy", loss)
        self._move_weight(weight, cloning.detach())
        return {
            "bc_loss": cloning.detach(),
            "guidance_loss": guidance.detach(),
            "policy_loss": loss.detach(),
            "cloning_weight": weight.clone(),
        }

    @torch.no_grad()
    def _move_weight(self, weight: Tensor, cloning: Tensor) -> None:
        """Dual ascent: eta (S,) grows while the cloning loss is above its limit."""
        config = self.config
        if config.cloning_weight_rate == 0:
            return
        excess = (cloning - config.cloning_limit).clamp(-1, 1)
        moved = torch.add(weight, excess, alpha=config.cloning_weight_rate)
        moved = moved.clamp(config.cloning_weight_min, config.cloning_weight_max)
        weight.copy_(torch.where(self.alive, moved, weight))

    def _sample(self, policy: str, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, B, C, A) of the named policy for observations (S, B, O); noise (S, T, B C, A)."""
        network = cast(StepwiseNoiseNetwork, self.networks[policy])
        return self.sampler(network, observations, noise).unflatten(1, (observations.shape[1], -1))

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The best of `candidates` actions of the policy by the target critics' mean.

        Shapes: observations (S, N, O); candidates (S, N, T, C, A); returns (S, N, A).
        """
        noise = draws["candidates"].movedim(2, 1).flatten(2, 3)
        candidates = self._sample("policy", observations, noise)
        values = self.networks["target_critics"](observations.unsqueeze(2), candidates).mean(dim=1)
        return take_best(candidates, values)
