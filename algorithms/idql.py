"""IDQL: a diffusion model that only clones the data, and the best of many of its samples by IQL's critics
(Hansen-Estruch et al. 2023).

Critics and policy never meet while they train. Two versions of the authors' code differ in nearly every
constant; defaults follow the later one, the presets' variant `paper` the one that goes with the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Draw,
    Fraction,
    InnerFraction,
    NonNegative,
    Phase,
    Positive,
    SineFeatures,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.diffusion import Schedule, add_noise, random_steps, squared_error, vp_schedule
from algorithms.losses import (
    ensemble_loss,
    expectile_loss,
    take_best,
    temporal_difference_targets,
)
from algorithms.networks import (
    MLP,
    Activation,
    CriticEnsemble,
    Initialiser,
    LayerNorm,
    ResidualNoiseNetwork,
    dropout_masks,
    lecun_normal,
    mish,
    xavier_uniform,
)
from algorithms.optim import Adam, cosine_to_zero

LAYER_NORM_EPSILON = 1e-6
"""flax's, which the released code keeps."""
FEWEST_CANDIDATES = 16
"""Of those that the authors evaluated with."""
ACTIVATIONS: Mapping[str, Activation] = {"mish": mish, "swish": functional.silu}


def cloning_loss(
    policy: nn.Module,
    schedule: Schedule,
    batch: Tensors,
    *,
    uniform: Tensor,
    noise: Tensor,
    kept: Sequence[Tensor] | None,
) -> Tensor:
    """Squared error of the predicted noise, summed over the action, mean over the batch: (S,).

    Steps are uniform in 1..T from `uniform` (S, B) in [0, 1), and labelled from 0; noise (S, B, A); `kept` a
    dropout mask (S, B, W) per block.
    """
    step = random_steps(uniform, schedule.steps)
    noisy = add_noise(schedule, batch["actions"], step, noise)
    predicted = policy(noisy, batch["observations"], (step - 1).to(noisy.dtype), kept)
    return squared_error(predicted, noise).sum(dim=-1).mean(dim=-1)


def sample(
    policy: nn.Module, schedule: Schedule, observations: Tensor, noise: Tensor, bound: float
) -> Tensor:
    """Actions (S, R, A) for observations (S, R, O) by all steps, from noise (S, T, R, A).

    x <- (x - beta / sqrt(1 - abar) eps) / sqrt(alpha) + sqrt(beta) z, clipped to the bound after every step;
    no noise in the last. Source: released networks/diffusion.py, ddpm_sampler.
    """
    actions = noise[:, 0]
    for step in range(schedule.steps, 0, -1):
        beta, level = schedule.betas[step], schedule.at(step)
        label = torch.full((len(actions), 1), step - 1, dtype=actions.dtype, device=actions.device)
        predicted = policy(actions, observations, label)
        actions = (actions - beta / level.noise * predicted) * (1 - beta).rsqrt()
        if step > 1:
            actions = torch.addcmul(actions, level.deviation, noise[:, schedule.steps - step + 1])
        actions = actions.clamp(-bound, bound)
    return actions


class Value(nn.Module):
    """Observations (S, B, O) -> values (S, B), on request with a LayerNorm before the first layer."""

    def __init__(self, initialiser: Initialiser, observation: int, width: int, normalised: bool) -> None:
        super().__init__()
        self.norm = (
            LayerNorm(len(initialiser.seeds), observation, epsilon=LAYER_NORM_EPSILON)
            if normalised
            else nn.Identity()
        )
        sizes = (observation, width, width, 1)
        self.mlp = MLP(initialiser, sizes, functional.relu, initialisation=xavier_uniform)

    def forward(self, observations: Tensor) -> Tensor:
        """One value per row."""
        return self.mlp(self.norm(observations)).squeeze(-1)


@hyperparameters
class IDQLConfig:
    """Hyper-parameters of IDQL; values per task, with their sources, are in presets/idql.yaml."""

    train_iterations: Count = 3_000_000
    """iterations"""
    policy_steps: Count = 1
    """of the policy per iteration, each on its share of the batch"""
    cosine_steps: Count = 3_000_000
    """policy steps in which half a cosine takes its learning rate to zero"""
    batch_size: BatchSize = 512
    """transitions; all policy steps of an iteration together"""
    critic_batch_size: Annotated[Count, Tiny(8)] = 512
    """transitions; the first of the batch, from which the critics learn"""
    discount: Fraction = 0.99
    """per step"""
    expectile: InnerFraction = 0.7
    """of the state value (tau)"""
    learning_rate: Positive = 3e-4
    """per policy step"""
    critic_learning_rate: Positive = 3e-4
    """per iteration; Q and V, constant"""
    weight_decay: NonNegative = 1e-4
    """per policy step, times the learning rate; of every weight of the policy"""
    target_update_rate: Fraction = 0.005
    """per iteration; of the target critics"""
    policy_target_rate: Fraction = 0.001
    """per policy step; of the policy's average, which acts"""
    diffusion_steps: Count = 5
    """steps (T) of the chain"""
    candidates: Annotated[Count, Tiny(4)] = 64
    """actions sampled per state at evaluation (N); the one of highest value is taken"""
    most_candidates: Annotated[int, Field(ge=0), Tiny(2)] = 256
    """actions sampled per state when the last evaluation is repeated, then half as many, down to 16; 0: it is
    not repeated"""
    policy_width: Width = 256
    """units between residual blocks; 4 times as many within them"""
    policy_blocks: Count = 3
    """residual blocks"""
    policy_activation: Literal["mish", "swish"] = "swish"
    """of the policy's network"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """probability that a unit is dropped in front of a residual block, in training"""
    time_features: SineFeatures = 128
    """features of the diffusion step, with frequencies that are learnt"""
    fourier_scale: Positive = 0.2
    """standard deviation of these frequencies at the start, per step"""
    critic_width: Width = 256
    """units per hidden layer; Q and V"""
    value_layer_norm: bool = True
    """LayerNorm of V's input"""
    action_margin: NonNegative = 1e-5
    """action units; dataset actions are kept this far within the action bound"""

    @model_validator(mode="after")
    def _feasible(self) -> Self:
        if self.batch_size % self.policy_steps:
            raise ValueError(
                f"batch_size is {self.batch_size}; it must be a multiple of policy_steps "
                f"({self.policy_steps})"
            )
        if self.critic_batch_size > self.batch_size:
            raise ValueError(
                f"critic_batch_size is {self.critic_batch_size}; it must be at most batch_size "
                f"({self.batch_size})"
            )
        return self


class IDQL(Algorithm):
    """Implicit Diffusion Q-Learning over a stack of seeds."""

    name: ClassVar[str] = "idql"
    config: IDQLConfig

    def build(self) -> None:
        """Policy with its average, critics with their targets, V, optimisers and the noise schedule."""
        config, size = self.config, self.dimensions
        policy = ResidualNoiseNetwork(
            Initialiser(self.seeds, "policy"),
            size,
            width=config.policy_width,
            blocks=config.policy_blocks,
            layer_norm_epsilon=LAYER_NORM_EPSILON,
            time_features=config.time_features,
            fourier_scale=config.fourier_scale,
            trained_features=True,
            activation=ACTIVATIONS[config.policy_activation],
            initialisation=xavier_uniform,
            inside=lecun_normal,
        )
        critics = CriticEnsemble(
            Initialiser(self.seeds, "critics"),
            size.observation,
            size.action,
            (config.critic_width,) * 2,
            functional.relu,
            initialisation=xavier_uniform,
        )
        value = Value(
            Initialiser(self.seeds, "value"), size.observation, config.critic_width, config.value_layer_norm
        )
        for name, network in (("policy", policy), ("critics", critics), ("value", value)):
            self.add(name, network)
        self.add_target("policy")
        self.add_target("critics")
        self.optimisers = {
            "policy": Adam(
                policy.parameters(),
                config.learning_rate,
                weight_decay=config.weight_decay,
                schedule=cosine_to_zero(config.cosine_steps),
            ),
            "value": Adam(value.parameters(), config.critic_learning_rate),
            "critics": Adam(critics.parameters(), config.critic_learning_rate),
        }
        self.schedule = vp_schedule(config.diffusion_steps, device=self.device)
        chains = (config.diffusion_steps, config.candidates, size.action)
        self.act_draws = (Draw("candidates", chains, "normal"),)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase, `train`."""
        config = self.config
        rows = config.batch_size
        draws: tuple[Draw, ...] = (
            Draw("step", (rows,), "uniform"),
            Draw("noise", (rows, self.dimensions.action), "normal"),
        )
        if config.dropout:
            draws += (Draw("dropout", (config.policy_blocks, rows, config.policy_width), "uniform"),)
        return (Phase("train", config.train_iterations, rows, draws, evaluated=True),)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """The policy's steps, then V, then Q with the new V, then the target critics."""
        limit = self.dimensions.action_bound - self.config.action_margin
        batch = {**batch, "actions": batch["actions"].clamp(-limit, limit)}
        metrics = self._update_policy(batch, draws)
        first = {name: rows[:, : self.config.critic_batch_size] for name, rows in batch.items()}
        metrics |= self._update_critics(first)
        self.follow("critics", self.config.target_update_rate)
        return metrics

    def _update_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One step on each share of the rows; the mean of their losses."""
        config, losses = self.config, []
        rows = config.batch_size // config.policy_steps
        for start in range(0, config.batch_size, rows):
            share = slice(start, start + rows)
            kept = None
            if config.dropout:
                uniform = draws["dropout"][:, :, share]
                kept = dropout_masks(uniform, config.dropout, batch["actions"].dtype)
            loss = cloning_loss(
                self.networks["policy"],
                self.schedule,
                {name: tensor[:, share] for name, tensor in batch.items()},
                uniform=draws["step"][:, share],
                noise=draws["noise"][:, share],
                kept=kept,
            )
            self.minimise("policy", loss)
            self.follow("policy", config.policy_target_rate)
            losses.append(loss.detach())
        return {"bc_loss": torch.stack(losses).mean(dim=0)}

    def _update_critics(self, batch: Tensors) -> dict[str, Tensor]:
        config, networks = self.config, self.networks
        observations, actions = batch["observations"], batch["actions"]
        with torch.no_grad():
            lower = networks["target_critics"](observations, actions).amin(dim=1)
        value_loss = expectile_loss(lower - networks["value"](observations), config.expectile).mean(dim=-1)
        self.minimise("value", value_loss)
        with torch.no_grad():
            next_values = networks["value"](batch["next_observations"])
            targets = temporal_difference_targets(batch, next_values, config.discount)
        critic_loss = ensemble_loss(networks["critics"](observations, actions), targets)
        self.minimise("critics", critic_loss)
        return {"value_loss": value_loss.detach(), "critic_loss": critic_loss.detach()}

    @property
    def scored_candidates(self) -> tuple[int, ...]:
        """From `most_candidates` by halves; the authors reported the best of them per task."""
        numbers = [self.config.most_candidates] if self.config.most_candidates else []
        while numbers and numbers[-1] // 2 >= FEWEST_CANDIDATES:
            numbers.append(numbers[-1] // 2)
        return tuple(numbers)

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The best of `candidates` samples of the policy's average by the target critics' minimum.

        Shapes: observations (S, N, O); candidates (S, N, T, C, A); returns (S, N, A).
        """
        noise = draws["candidates"].movedim(2, 1)
        states = observations.unsqueeze(2).expand(-1, -1, self.config.candidates, -1).flatten(1, 2)
        bound = self.dimensions.action_bound
        sampled = sample(self.networks["target_policy"], self.schedule, states, noise.flatten(2, 3), bound)
        values = self.networks["target_critics"](states, sampled).amin(dim=1)
        shape = noise.shape[2:4]
        return take_best(sampled.unflatten(1, shape), values.unflatten(1, shape))
