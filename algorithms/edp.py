"""EDP: efficient diffusion policies under TD3, CRR and IQL (Kang et al. 2023).

Policy improvement denoises corrupted dataset actions in one step instead of sampling (action approximation);
targets and evaluation sample with DPM-Solver. Without either, EDP with TD3 is the authors' `DQL (JAX)`.
Defaults follow the flags that make the released code EDP; the presets' variant `paper` follows the text.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Self, cast

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.func import functional_call

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Dimensions,
    Draw,
    Fraction,
    InnerFraction,
    NonNegative,
    NonNegativeCount,
    Phase,
    Positive,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.diffusion import (
    NoiseNetwork,
    Schedule,
    add_noise,
    clean_action,
    linear_schedule,
    squared_error,
    vp_schedule,
)
from algorithms.dpm_solver import AncestralSampler, Sampler, SolverSampler
from algorithms.losses import (
    backup_values,
    draw_by_softmax,
    expectile_loss,
    gaussian_log_likelihood,
    normalised_value_loss,
    temporal_difference_loss,
)
from algorithms.networks import (
    MLP,
    CriticEnsemble,
    Initialiser,
    lecun_normal,
    mish,
)
from algorithms.optim import Adam
from algorithms.stepwise import StepwiseNoiseNetwork

LARGEST_LINEAR_BETA = 20
"""Last beta of the linear schedule, times the number of steps."""


# Losses, functions of explicit inputs, one value per seed (released diffusion/dql.py).


def diffusion_loss_and_actions(
    policy: NoiseNetwork, schedule: Schedule, batch: Tensors, *, uniform: Tensor, noise: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """Denoising loss (S,) and the actions (S, B, A) that the same prediction implies, clipped to the bound.

    One pass serves both (action approximation, paper Eqs. 5 and 9). Steps are uniform in 1..K from `uniform`
    (S, B) in [0, 1); noise (S, B, A).
    """
    labels = (uniform * schedule.steps).long()
    step = labels + 1
    noisy = add_noise(schedule, batch["actions"], step, noise)
    predicted = policy(noisy, batch["observations"], labels.to(noisy.dtype))
    loss = squared_error(predicted, noise).mean(dim=(1, 2))
    return loss, clean_action(schedule, noisy, step, predicted, bound)


def value_guidance(
    critics: CriticEnsemble, uniform: Tensor, observations: Tensor, actions: Tensor, weight: float
) -> Tensor:
    """TD3's -weight mean Q_j / mean |Q_j|, (S,): one critic j, drawn evenly by `uniform` (S,).

    The divisor is held fixed. Differentiable in `actions` (S, B, A), not in the critics, of which only the
    chosen one is evaluated.
    """
    member = (uniform * critics.members).long()
    seeds = torch.arange(len(member), device=member.device)
    chosen = {name: weights.detach()[seeds, member] for name, weights in critics.mlp.named_parameters()}
    inputs = torch.cat((observations, actions), dim=-1)
    return normalised_value_loss(functional_call(critics.mlp, chosen, (inputs,)).squeeze(-1), weight)


@torch.no_grad()
def critic_regularised_weights(
    critics: nn.Module,
    batch: Tensors,
    centres: Tensor,
    noise: Tensor,
    *,
    temperature: float,
    maximum: float,
) -> Tensor:
    """CRR's min(maximum, exp(A / temperature)), (S, B), held fixed.

    A is the critics' minimum at the dataset's action less its mean over unclipped samples of N(centres, I):
    centres (S, B, A), noise (S, N, B, A). One product evaluates all N + 1 actions (paper Eq. 21).
    """
    actions = torch.cat((batch["actions"].unsqueeze(1), centres.unsqueeze(1) + noise), dim=1)
    states = batch["observations"].unsqueeze(1).expand(-1, actions.shape[1], -1, -1)
    values = critics(states.flatten(1, 2), actions.flatten(1, 2)).amin(dim=1)
    of_data, of_samples = values.unflatten(1, actions.shape[1:3]).split((1, noise.shape[1]), dim=1)
    advantage = of_data.squeeze(1) - of_samples.mean(dim=1)
    return (advantage / temperature).exp().clamp(max=maximum)


def likelihood_guidance(weights: Tensor, actions: Tensor, centres: Tensor) -> Tensor:
    """-mean of weights (S, B) log N(actions; centres, I), actions and centres (S, B, A); returns (S,)."""
    return -(weights * gaussian_log_likelihood(actions, centres)).mean(dim=-1)


def noise_network(
    initialiser: Initialiser, dimensions: Dimensions, width: int, embedding: int
) -> StepwiseNoiseNetwork:
    """The policy's network; labels count diffusion steps from 0. Source: released diffusion/nets.py."""
    return StepwiseNoiseNetwork(
        initialiser,
        dimensions,
        width,
        (embedding, 2 * embedding, embedding),
        initialisation=lecun_normal,
        cosine_first=True,
        divisor=embedding // 2,
    )


@hyperparameters
class EDPConfig:
    """Hyper-parameters that EDP has under every method; values per task are in presets/edp-*.yaml."""

    train_iterations: Count = 2_000_000
    """iterations; epochs of 1000 in the paper"""
    batch_size: BatchSize = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    learning_rate: Positive = 3e-4
    """per step; every network"""
    gradient_norm: Positive = 5.0
    """largest norm of a network's gradient, of each network by itself"""
    diffusion_weight: NonNegative = 1.0
    """weight of the denoising loss in the policy's loss (diff_coef)"""
    guidance_weight: NonNegative = 1.0
    """weight of the value or likelihood term in the policy's loss (guide_coef; lambda in the paper)"""
    target_update_rate: Fraction = 0.005
    """per update of a target network"""
    action_clip: Fraction = 0.999
    """share of the action bound to which dataset actions are clipped"""
    diffusion_steps: Count = 1000
    """steps (K) of the diffusion"""
    noise_schedule: Literal["linear", "vp"] = "linear"
    """linear: betas from 0.1/K to 20/K, for more than 20 steps; vp: Diffusion-QL's, for few steps"""
    sampler: Literal["dpm", "ddpm"] = "dpm"
    """dpm: DPM-Solver; ddpm: all K ancestral steps"""
    solver_calls: Count = 15
    """passes of the network in one run of DPM-Solver"""
    candidates: Annotated[Count, Tiny(4)] = 50
    """actions sampled per state at evaluation, one drawn by the softmax of its value; 1: a plain sample"""
    hidden_width: Width = 256
    """units per hidden layer"""
    time_embedding_width: Count = 16
    """features of the diffusion step"""

    @model_validator(mode="after")
    def _feasible(self) -> Self:
        if self.noise_schedule == "linear" and self.diffusion_steps <= LARGEST_LINEAR_BETA:
            raise ValueError(
                f"diffusion_steps is {self.diffusion_steps}; it must be above {LARGEST_LINEAR_BETA} with "
                "noise_schedule linear, whose last beta is 1 or more otherwise"
            )
        if self.sampler == "dpm" and self.diffusion_steps < 2:
            raise ValueError("diffusion_steps is 1; it must be at least 2 with sampler dpm")
        return self


@hyperparameters
class TargetPolicyConfig(EDPConfig):
    """Hyper-parameters of the methods whose critics learn from samples of a target policy."""

    policy_target_start: NonNegativeCount = 1000
    """iterations before the target policy begins to follow"""
    policy_target_interval: Count = 5
    """iterations between updates of the target policy"""
    backup_samples: Count = 1
    """next actions sampled for a target; more than one: max-Q backup over them"""


@hyperparameters
class EDPTD3Config(TargetPolicyConfig):
    """Hyper-parameters of EDP with TD3; values, with their sources, are in presets/edp-td3.yaml."""

    value_weight: NonNegative = 2.0
    """alpha, weight of the normalised value; guidance_weight multiplies it"""
    action_approximation: bool = True
    """improve the one-step denoised dataset action instead of a sample of the policy"""


@hyperparameters
class EDPCRRConfig(TargetPolicyConfig):
    """Hyper-parameters of EDP with critic-regularised regression; values are in presets/edp-crr.yaml."""

    advantage_samples: Count = 10
    """actions of N(approximated action, I) whose mean value is the baseline"""
    advantage_temperature: Positive = 1.0
    """reward units; beta, divides the advantage"""
    weight_limit: Positive = 20.0
    """upper limit of the regression weight"""


@hyperparameters
class EDPIQLConfig(EDPConfig):
    """Hyper-parameters of EDP with IQL; values, with their sources, are in presets/edp-iql.yaml."""

    expectile: InnerFraction = 0.7
    """of the state value (tau)"""
    inverse_temperature: NonNegative = 3.0
    """per reward unit; multiplies the advantage"""
    weight_limit: Positive = 100.0
    """upper limit of the regression weight"""


class EDP(Algorithm):
    """What EDP has under every method: the diffusion policy, two critics with targets, evaluation."""

    config: EDPConfig

    def build(self) -> None:
        """Networks, an optimiser for each that is no target, the noise schedule and what samples by it."""
        config = self.config
        self._build_networks()
        self.optimisers = {
            name: Adam(
                network.parameters(),
                config.learning_rate,
                largest_norm=config.gradient_norm,
                clip_members=name == "critics",
            )
            for name, network in self.networks.items()
            if not name.startswith("target_")
        }
        schedule = vp_schedule if config.noise_schedule == "vp" else linear_schedule
        self.schedule = schedule(config.diffusion_steps, device=self.device)
        self.sampler = self._sampler()
        candidates = (self.sampler.draws, config.candidates, self.dimensions.action)
        self.act_draws = (Draw("candidates", candidates, "normal"), Draw("choice", (), "uniform"))

    def _build_networks(self) -> None:
        """Policy, critics and their targets; a subclass adds its own."""
        config, dimensions = self.config, self.dimensions
        policy = noise_network(
            Initialiser(self.seeds, "policy"), dimensions, config.hidden_width, config.time_embedding_width
        )
        critics = CriticEnsemble(
            Initialiser(self.seeds, "critics"),
            dimensions.observation,
            dimensions.action,
            (config.hidden_width,) * 3,
            mish,
            initialisation=lecun_normal,
        )
        self.add("policy", policy)
        self.add("critics", critics)
        self.add_target("critics")

    def _sampler(self) -> Sampler:
        bound = self.dimensions.action_bound
        if self.config.sampler == "ddpm":
            return AncestralSampler(self.schedule, bound)
        return SolverSampler(self.schedule, self.config.solver_calls, bound, self.device)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase, `train`."""
        config = self.config
        draws, programs = self._draws(), self._program
        return (Phase("train", config.train_iterations, config.batch_size, draws, programs, evaluated=True),)

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
        self.follow("critics", self.config.target_update_rate)
        if program == "train+target_policy":
            self.follow("policy", self.config.target_update_rate)
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

    def _sample(self, policy: str, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, R, A) of the named policy; shapes as of `Sampler`."""
        return self.sampler(cast(StepwiseNoiseNetwork, self.networks[policy]), observations, noise)

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """One of `candidates` sampled actions, drawn by the softmax of the critics' minimum (paper Alg. 2).

        Shapes: observations (S, N, O); candidates (S, N, draws, C, A); choice (S, N); returns (S, N, A).
        """
        noise = draws["candidates"].movedim(2, 1)
        sampled = self._sample("policy", observations, noise.flatten(2, 3))
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
        self.add_target("policy")

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
        actions = self._sample("target_policy", following, draws["next_noise"])
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
            actions = self._sample("policy", observations, draws["policy_noise"])
        critics, weight = cast(CriticEnsemble, self.networks["critics"]), self.config.value_weight
        return diffusion_loss, value_guidance(critics, draws["critic_choice"], observations, actions, weight)


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
        self.add("value", MLP(Initialiser(self.seeds, "value"), sizes, mish, initialisation=lecun_normal))

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
