"""AWAC: advantage-weighted actor-critic (Nair et al. 2020), as in CORL (awac.py)."""

from __future__ import annotations

from typing import ClassVar, cast

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
from algorithms.iql import exponential_weights, weighted_regression
from algorithms.losses import summed_ensemble_loss
from algorithms.networks import MLP, CriticEnsemble, Initialiser
from algorithms.optim import Adam
from algorithms.standardisation import Standardisation
from algorithms.td3bc import twin_targets

HIDDEN_LAYERS = 3


class GaussianActor(nn.Module):
    """Observations (S, B, O) -> mean (S, B, A), without any bound; one deviation for all states.

    `log_std` (S, 1, A) starts at 0.
    """

    def __init__(self, initialiser: Initialiser, dimensions: Dimensions, width: int) -> None:
        super().__init__()
        sizes = (dimensions.observation, *(width,) * HIDDEN_LAYERS, dimensions.action)
        self.mlp = MLP(initialiser, sizes, functional.relu)
        self.log_std = nn.Parameter(torch.zeros(len(initialiser.seeds), 1, dimensions.action))

    def forward(self, observations: Tensor) -> Tensor:
        """The mean."""
        return self.mlp(observations)


@hyperparameters
class AWACConfig:
    """Hyper-parameters of AWAC; values, with their sources, are in presets/awac.yaml."""

    train_iterations: Count = 1_000_000
    """iterations"""
    batch_size: BatchSize = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    learning_rate: Positive = 3e-4
    """per step; actor and critics"""
    target_update_rate: Fraction = 0.005
    """per iteration"""
    advantage_temperature: Positive = 1 / 3
    """reward units; lambda, divides the advantage"""
    weight_limit: Positive = 100.0
    """upper limit of the regression weight"""
    log_std_min: float = -20.0
    """of the actor's log standard deviation"""
    log_std_max: float = 2.0
    """of the actor's log standard deviation"""
    hidden_width: Width = 256
    """units per hidden layer"""
    deviation_margin: NonNegative = 1e-3
    """observation units; added to the standard deviations that observations are divided by"""


class AWAC(Algorithm):
    """AWAC over a stack of seeds."""

    name: ClassVar[str] = "awac"
    config: AWACConfig
    one_step: ClassVar[bool] = True

    def build(self) -> None:
        """Actor, two critics with targets, and what standardises observations."""
        config, dimensions = self.config, self.dimensions
        critics = CriticEnsemble(
            Initialiser(self.seeds, "critics"),
            dimensions.observation,
            dimensions.action,
            (config.hidden_width,) * HIDDEN_LAYERS,
            functional.relu,
        )
        actor = GaussianActor(Initialiser(self.seeds, "actor"), dimensions, config.hidden_width)
        self.add("states", Standardisation(len(self.seeds), dimensions.observation))
        self.add("actor", actor)
        self.add("critics", critics)
        self.add_target("critics")
        self.optimisers = {
            name: Adam(self.networks[name].parameters(), config.learning_rate)
            for name in ("actor", "critics")
        }

    def prepare(self, observations: Tensor) -> None:
        """Standardise by mean and standard deviation (divisor N) of the whole dataset (N, O)."""
        cast(Standardisation, self.networks["states"]).take(observations, self.config.deviation_margin)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`train` alone."""
        config = self.config
        actions = (config.batch_size, self.dimensions.action)
        draws = (Draw("noise", actions, "normal"), Draw("next_noise", actions, "normal"))
        return (Phase("train", config.train_iterations, config.batch_size, draws, evaluated=True),)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics, then the actor by the critics as they have become, then targets."""
        config, states = self.config, self.networks["states"]
        batch = {
            **batch,
            "observations": states(batch["observations"]),
            "next_observations": states(batch["next_observations"]),
        }
        next_actions = self._sampled(batch["next_observations"], draws["next_noise"])
        targets = twin_targets(self.networks["target_critics"], batch, next_actions, config.discount)
        of_critics = self.networks["critics"](batch["observations"], batch["actions"])
        critic_loss = summed_ensemble_loss(of_critics, targets)
        self.minimise("critics", critic_loss)
        actor = cast(GaussianActor, self.networks["actor"])
        weights = exponential_weights(
            self._advantages(batch, draws["noise"]), 1 / config.advantage_temperature, config.weight_limit
        )
        mean = actor(batch["observations"])
        actor_loss = weighted_regression(weights, batch["actions"], mean, self._log_std())
        self.minimise("actor", actor_loss)
        self.follow("critics", config.target_update_rate)
        return {"critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach()}

    def _log_std(self) -> Tensor:
        actor = cast(GaussianActor, self.networks["actor"])
        return actor.log_std.clamp(self.config.log_std_min, self.config.log_std_max)

    @torch.no_grad()
    def _sampled(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, B, A) of the actor, clipped to the bound."""
        bound = self.dimensions.action_bound
        return (self.networks["actor"](observations) + self._log_std().exp() * noise).clamp(-bound, bound)

    @torch.no_grad()
    def _advantages(self, batch: Tensors, noise: Tensor) -> Tensor:
        """Smaller critic at the data's action less smaller critic at one sampled action, (S, B)."""
        states = batch["observations"]
        actions = torch.cat((batch["actions"], self._sampled(states, noise)), dim=1)
        values = self.networks["critics"](torch.cat((states, states), dim=1), actions).amin(dim=1)
        of_data, of_actor = values.chunk(2, dim=1)
        return of_data - of_actor

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The actor's mean within the bound, (S, N, O) -> (S, N, A)."""
        bound = self.dimensions.action_bound
        return self.networks["actor"](self.networks["states"](observations)).clamp(-bound, bound)
