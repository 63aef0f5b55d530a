"""BC: a deterministic network regresses the data's actions, as in CORL (any_percent_bc.py)."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Dimensions,
    NonNegative,
    Phase,
    Positive,
    Tensors,
    Width,
    hyperparameters,
)
from algorithms.diffusion import squared_error
from algorithms.networks import MLP, Initialiser
from algorithms.optim import Adam
from algorithms.standardisation import Standardisation


def bc_loss(predicted: Tensor, actions: Tensor) -> Tensor:
    """Mean squared error over batch and action: (S, B, A) twice -> (S,)."""
    return squared_error(predicted, actions).mean(dim=(-2, -1))


@hyperparameters
class BCConfig:
    """Hyper-parameters of BC; values with their sources are in presets/bc.yaml."""

    train_iterations: Count = 1_000_000
    """iterations"""
    batch_size: BatchSize = 256
    """transitions"""
    learning_rate: Positive = 3e-4
    """per step"""
    hidden_width: Width = 256
    """units per hidden layer"""
    deviation_margin: NonNegative = 1e-3
    """observation units; added to the standard deviations that observations are divided by"""


class StandardisedActor(Standardisation):
    """bound tanh(MLP((s - mean) factor)): observations (S, B, O) -> actions (S, B, A)."""

    def __init__(self, initialiser: Initialiser, dimensions: Dimensions, width: int) -> None:
        super().__init__(len(initialiser.seeds), dimensions.observation)
        self.mlp = MLP(
            initialiser, (dimensions.observation, width, width, dimensions.action), functional.relu
        )
        self.bound = dimensions.action_bound

    def forward(self, observations: Tensor) -> Tensor:
        """Actions as evaluated; nothing is random."""
        return self.bound * torch.tanh(self.mlp(super().forward(observations)))


class BC(Algorithm):
    """Behaviour cloning over a stack of seeds."""

    name: ClassVar[str] = "bc"
    config: BCConfig
    one_step: ClassVar[bool] = True

    def build(self) -> None:
        """The actor."""
        initialiser = Initialiser(self.seeds, "actor")
        self.add("actor", StandardisedActor(initialiser, self.dimensions, self.config.hidden_width))
        parameters = self.networks["actor"].parameters()
        self.optimisers = {"actor": Adam(parameters, self.config.learning_rate)}

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`train` alone."""
        return (Phase("train", self.config.train_iterations, self.config.batch_size, evaluated=True),)

    def prepare(self, observations: Tensor) -> None:
        """Standardise by mean and standard deviation (divisor N) of the whole dataset (N, O)."""
        cast(StandardisedActor, self.networks["actor"]).take(observations, self.config.deviation_margin)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One step of the actor towards the data's actions."""
        loss = bc_loss(self.networks["actor"](batch["observations"]), batch["actions"])
        self.minimise("actor", loss)
        return {"actor_loss": loss.detach()}

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The actor's action, (S, N, O) -> (S, N, A)."""
        return self.networks["actor"](observations)


class BC10(BC):
    """Behaviour cloning of the best tenth of the data's trajectories, which its presets choose."""

    name: ClassVar[str] = "bc-10"
