"""TD3+BC: TD3 whose actor also regresses the data's actions (Fujimoto and Gu 2021).

Defaults follow the released code. The presets' variant `corl` follows CORL's td3_bc.py, `edp` the
feed-forward policy of EDP's App. C.5.
"""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Dimensions,
    Draw,
    Fraction,
    NonNegative,
    Phase,
    Positive,
    Tensors,
    Width,
    hyperparameters,
)
from algorithms.bc import bc_loss
from algorithms.losses import normalised_value_loss, summed_ensemble_loss, temporal_difference_targets
from algorithms.networks import MLP, Activation, CriticEnsemble, Initialiser, mish
from algorithms.optim import Adam
from algorithms.standardisation import Standardisation


def smoothed_actions(
    actions: Tensor, noise: Tensor, *, deviation: float, limit: float, bound: float
) -> Tensor:
    """Target policy smoothing: actions (S, B, A) plus clipped noise, clipped to the bound.

    `noise` is standard normal; deviation and limit are shares of the bound.
    """
    disturbance = (noise * (deviation * bound)).clamp(-limit * bound, limit * bound)
    return (actions + disturbance).clamp(-bound, bound)


@torch.no_grad()
def twin_targets(critics: nn.Module, batch: Tensors, next_actions: Tensor, discount: float) -> Tensor:
    """r + discount (1 - terminal) min_i Q_i(s', a'), (S, B), from next actions (S, B, A)."""
    next_values = critics(batch["next_observations"], next_actions).amin(dim=1)
    return temporal_difference_targets(batch, next_values, discount)


class DeterministicActor(nn.Module):
    """bound tanh(MLP(s)): observations (S, B, O) -> actions (S, B, A)."""

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        hidden: tuple[int, ...],
        activation: Activation,
    ) -> None:
        super().__init__()
        self.mlp = MLP(initialiser, (dimensions.observation, *hidden, dimensions.action), activation)
        self.bound = dimensions.action_bound

    def forward(self, observations: Tensor) -> Tensor:
        """Actions as evaluated; nothing is random."""
        return self.bound * torch.tanh(self.mlp(observations))


@hyperparameters
class TD3BCConfig:
    """Hyper-parameters of TD3+BC; values, with their sources, are in presets/td3bc.yaml."""

    train_iterations: Count = 1_000_000
    """iterations"""
    batch_size: BatchSize = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    learning_rate: Positive = 3e-4
    """per step; actor and critics"""
    target_update_rate: Fraction = 0.005
    """per update of the targets, which move with the actor"""
    actor_interval: Count = 2
    """iterations between steps of the actor and the targets (policy_freq)"""
    value_weight: NonNegative = 2.5
    """alpha, weight of the normalised value"""
    smoothing_deviation: NonNegative = 0.2
    """share of the action bound; deviation of the noise on next actions (policy_noise)"""
    smoothing_limit: NonNegative = 0.5
    """share of the action bound; to which that noise is clipped (noise_clip)"""
    action_clip: Fraction = 1.0
    """share of the action bound to which dataset actions are clipped"""
    standardised_observations: bool = True
    """divide observations by their deviation in the dataset, after their mean is subtracted"""
    deviation_margin: NonNegative = 1e-3
    """observation units; added to the standard deviations that observations are divided by"""
    hidden_layers: Count = 2
    """of every network"""
    hidden_width: Width = 256
    """units per hidden layer"""
    activation: Literal["relu", "mish"] = "relu"
    """of every network"""


class TD3BC(Algorithm):
    """TD3+BC over a stack of seeds."""

    name: ClassVar[str] = "td3bc"
    config: TD3BCConfig
    one_step: ClassVar[bool] = True

    def build(self) -> None:
        """Actor and two critics with targets, and what standardises observations."""
        config, dimensions = self.config, self.dimensions
        hidden = (config.hidden_width,) * config.hidden_layers
        activation = mish if config.activation == "mish" else functional.relu
        self.add("states", Standardisation(len(self.seeds), dimensions.observation))
        self.add(
            "actor", DeterministicActor(Initialiser(self.seeds, "actor"), dimensions, hidden, activation)
        )
        critics = CriticEnsemble(
            Initialiser(self.seeds, "critics"), dimensions.observation, dimensions.action, hidden, activation
        )
        self.add("critics", critics)
        self.add_target("actor")
        self.add_target("critics")
        self.optimisers = {
            name: Adam(self.networks[name].parameters(), config.learning_rate)
            for name in ("actor", "critics")
        }

    def prepare(self, observations: Tensor) -> None:
        """Take the dataset's mean and deviation, where observations are standardised."""
        if self.config.standardised_observations:
            cast(Standardisation, self.networks["states"]).take(observations, self.config.deviation_margin)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`train` alone."""
        config = self.config
        noise = Draw("smoothing", (config.batch_size, self.dimensions.action), "normal")
        return (
            Phase(
                "train", config.train_iterations, config.batch_size, (noise,), self._program, evaluated=True
            ),
        )

    def _program(self, step: int) -> str:
        return "train" if (step + 1) % self.config.actor_interval else "train+actor"

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics; in program `train+actor` then the actor, by the critics as they are now, and targets."""
        config, bound = self.config, self.dimensions.action_bound
        states, limit = self.networks["states"], config.action_clip * bound
        batch = {
            **batch,
            "observations": states(batch["observations"]),
            "next_observations": states(batch["next_observations"]),
        }
        if config.action_clip < 1:
            batch["actions"] = batch["actions"].clamp(-limit, limit)
        with torch.no_grad():
            next_actions = smoothed_actions(
                self.networks["target_actor"](batch["next_observations"]),
                draws["smoothing"],
                deviation=config.smoothing_deviation,
                limit=config.smoothing_limit,
                bound=bound,
            )
        targets = twin_targets(self.networks["target_critics"], batch, next_actions, config.discount)
        critics = cast(CriticEnsemble, self.networks["critics"])
        critic_loss = summed_ensemble_loss(critics(batch["observations"], batch["actions"]), targets)
        self.minimise("critics", critic_loss)
        metrics = {"critic_loss": critic_loss.detach()}
        if program == "train+actor":
            chosen = self.networks["actor"](batch["observations"])
            regression = bc_loss(chosen, batch["actions"])
            values = critics.first(batch["observations"], chosen)
            loss = normalised_value_loss(values, config.value_weight) + regression
            self.minimise("actor", loss)
            self.follow("critics", config.target_update_rate)
            self.follow("actor", config.target_update_rate)
            metrics |= {"bc_loss": regression.detach(), "actor_loss": loss.detach()}
        return metrics

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The actor's action, (S, N, O) -> (S, N, A)."""
        return self.networks["actor"](self.networks["states"](observations))
