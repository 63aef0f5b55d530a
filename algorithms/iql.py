"""IQL: implicit Q-learning (Kostrikov et al. 2022).

Defaults follow the released code; the presets' variant `corl` follows CORL's iql.py.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    InnerFraction,
    NonNegative,
    Phase,
    Positive,
    Tensors,
    Width,
    hyperparameters,
)
from algorithms.diffusion import squared_error
from algorithms.losses import (
    ensemble_loss,
    expectile_loss,
    gaussian_log_likelihood,
    summed_ensemble_loss,
    temporal_difference_targets,
)
from algorithms.networks import (
    MLP,
    CriticEnsemble,
    Initialisation,
    Initialiser,
    dropout_masks,
    orthogonal,
    torch_default,
)
from algorithms.optim import Adam, cosine_to_zero
from algorithms.standardisation import Standardisation

HIDDEN_LAYERS = 2
INITIALISATIONS: dict[str, Initialisation] = {"orthogonal": orthogonal(2**0.5), "torch": torch_default}


@torch.no_grad()
def exponential_weights(advantages: Tensor, inverse_temperature: float, maximum: float) -> Tensor:
    """min(exp(beta A), maximum), elementwise, held fixed."""
    return (inverse_temperature * advantages).exp().clamp(max=maximum)


def weighted_regression(weights: Tensor, actions: Tensor, mean: Tensor, log_std: Tensor | None) -> Tensor:
    """-mean of weights (S, B) log N(actions; mean, std), (S,); actions and mean (S, B, A), log_std (S, 1, A).

    Without `log_std` the actor is deterministic: the mean of weights times summed squared errors.
    """
    if log_std is None:
        return (weights * squared_error(mean, actions).sum(dim=-1)).mean(dim=-1)
    return -(weights * gaussian_log_likelihood(actions, mean, log_std)).mean(dim=-1)


class GaussianTanhMeanActor(nn.Module):
    """Observations (S, B, O) -> mean bound tanh(MLP(s)), (S, B, A); one deviation for all states.

    The Gaussian itself is not squashed. `log_std` (S, 1, A) starts at 0; None of a deterministic actor.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        width: int,
        *,
        initialisation: Initialisation,
        deterministic: bool,
    ) -> None:
        super().__init__()
        sizes = (dimensions.observation, *(width,) * HIDDEN_LAYERS, dimensions.action)
        self.mlp = MLP(initialiser, sizes, functional.relu, initialisation=initialisation)
        self.bound = dimensions.action_bound
        start = None if deterministic else torch.zeros(len(initialiser.seeds), 1, dimensions.action)
        self.log_std = None if start is None else nn.Parameter(start)

    def forward(self, observations: Tensor, kept: Sequence[Tensor] | None = None) -> Tensor:
        """`kept`: a dropout mask (S, B, W) behind each hidden layer; None: no dropout."""
        if kept is None:
            return self.bound * torch.tanh(self.mlp(observations))
        hidden, (*layers, last) = observations, self.mlp.layers
        for layer, mask in zip(layers, kept, strict=True):
            hidden = functional.relu(layer(hidden)) * mask
        return self.bound * torch.tanh(last(hidden))


@hyperparameters
class IQLConfig:
    """Hyper-parameters of IQL; values, with their sources, are in presets/iql.yaml."""

    train_iterations: Count = 1_000_000
    """iterations"""
    batch_size: BatchSize = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    learning_rate: Positive = 3e-4
    """per step; every network, the actor's falls to 0 by a cosine"""
    target_update_rate: Fraction = 0.005
    """per iteration"""
    expectile: InnerFraction = 0.7
    """of the state value (tau)"""
    inverse_temperature: NonNegative = 3.0
    """per reward unit; multiplies the advantage (beta)"""
    weight_limit: Positive = 100.0
    """upper limit of the regression weight"""
    actor_dropout: Fraction = 0.0
    """share of the actor's hidden units that are left out in training"""
    deterministic_actor: bool = False
    """regress by squared errors instead of a Gaussian's likelihood"""
    log_std_min: float = -5.0
    """of the actor's log standard deviation"""
    log_std_max: float = 2.0
    """of the actor's log standard deviation"""
    action_margin: NonNegative = 1e-5
    """dataset actions are clipped to the action bound less this"""
    value_after_its_step: bool = True
    """advantages and targets take the state value after its step of the iteration, not before"""
    critic_losses: Literal["sum", "mean"] = "sum"
    """of the two critics"""
    initialisation: Literal["orthogonal", "torch"] = "orthogonal"
    """orthogonal: gain sqrt 2 and zero bias, of every layer; torch: as torch.nn.Linear starts"""
    hidden_width: Width = 256
    """units per hidden layer"""
    standardised_observations: bool = False
    """divide observations by their deviation in the dataset, after their mean is subtracted"""
    deviation_margin: NonNegative = 1e-3
    """observation units; added to the standard deviations that observations are divided by"""


class IQL(Algorithm):
    """IQL over a stack of seeds."""

    name: ClassVar[str] = "iql"
    config: IQLConfig
    one_step: ClassVar[bool] = True

    def build(self) -> None:
        """Actor, state value, two critics with targets, and what standardises observations."""
        config, dimensions = self.config, self.dimensions
        initialisation = INITIALISATIONS[config.initialisation]
        hidden = (config.hidden_width,) * HIDDEN_LAYERS
        actor = GaussianTanhMeanActor(
            Initialiser(self.seeds, "actor"),
            dimensions,
            config.hidden_width,
            initialisation=initialisation,
            deterministic=config.deterministic_actor,
        )
        value = MLP(
            Initialiser(self.seeds, "value"),
            (dimensions.observation, *hidden, 1),
            functional.relu,
            initialisation=initialisation,
        )
        critics = CriticEnsemble(
            Initialiser(self.seeds, "critics"),
            dimensions.observation,
            dimensions.action,
            hidden,
            functional.relu,
            initialisation=initialisation,
        )
        self.add("states", Standardisation(len(self.seeds), dimensions.observation))
        self.add("actor", actor)
        self.add("value", value)
        self.add("critics", critics)
        self.add_target("critics")
        self.optimisers = {
            name: Adam(self.networks[name].parameters(), config.learning_rate)
            for name in ("value", "critics")
        }
        self.optimisers["actor"] = Adam(
            self.networks["actor"].parameters(),
            config.learning_rate,
            schedule=cosine_to_zero(config.train_iterations),
        )

    def prepare(self, observations: Tensor) -> None:
        """Take the dataset's mean and deviation, where observations are standardised."""
        if self.config.standardised_observations:
            cast(Standardisation, self.networks["states"]).take(observations, self.config.deviation_margin)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`train` alone."""
        config = self.config
        masks = Draw("dropout", (HIDDEN_LAYERS, config.batch_size, config.hidden_width), "uniform")
        draws = (masks,) if config.actor_dropout else ()
        return (Phase("train", config.train_iterations, config.batch_size, draws, evaluated=True),)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """State value, actor, critics, then the critics' targets, which all three have taken from before."""
        config = self.config
        states, limit = self.networks["states"], self.dimensions.action_bound - config.action_margin
        batch = {
            **batch,
            "observations": states(batch["observations"]),
            "next_observations": states(batch["next_observations"]),
            "actions": batch["actions"].clamp(-limit, limit),
        }
        with torch.no_grad():
            target = self.networks["target_critics"](batch["observations"], batch["actions"]).amin(dim=1)
        before = None if config.value_after_its_step else self._values(batch)
        difference = target - self.networks["value"](batch["observations"]).squeeze(-1)
        value_loss = expectile_loss(difference, config.expectile).mean(dim=-1)
        self.minimise("value", value_loss)
        values, next_values = before or self._values(batch)
        actor_loss = self._actor_loss(batch, draws, target - values)
        self.minimise("actor", actor_loss)
        targets = temporal_difference_targets(batch, next_values, config.discount)
        of_critics = self.networks["critics"](batch["observations"], batch["actions"])
        loss = summed_ensemble_loss if config.critic_losses == "sum" else ensemble_loss
        critic_loss = loss(of_critics, targets)
        self.minimise("critics", critic_loss)
        self.follow("critics", config.target_update_rate)
        losses = {"value_loss": value_loss, "actor_loss": actor_loss, "critic_loss": critic_loss}
        return {name: values.detach() for name, values in losses.items()}

    @torch.no_grad()
    def _values(self, batch: Tensors) -> tuple[Tensor, Tensor]:
        """V(s) and V(s'), (S, B) each, in one pass."""
        both = torch.cat((batch["observations"], batch["next_observations"]), dim=1)
        here, there = self.networks["value"](both).squeeze(-1).chunk(2, dim=1)
        return here, there

    def _actor_loss(self, batch: Tensors, draws: Tensors, advantages: Tensor) -> Tensor:
        config, actor = self.config, cast(GaussianTanhMeanActor, self.networks["actor"])
        weights = exponential_weights(advantages, config.inverse_temperature, config.weight_limit)
        kept = None
        if config.actor_dropout:
            kept = dropout_masks(draws["dropout"], config.actor_dropout, advantages.dtype)
        mean = actor(batch["observations"], kept)
        log_std = None
        if actor.log_std is not None:
            log_std = actor.log_std.clamp(config.log_std_min, config.log_std_max)
        return weighted_regression(weights, batch["actions"], mean, log_std)

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The actor's mean, (S, N, O) -> (S, N, A)."""
        return self.networks["actor"](self.networks["states"](observations))
