"""CQL: conservative Q-learning on soft actor-critic (Kumar et al. 2020).

Defaults follow CORL's cql.py, which is `released` in the presets because its scores on D4RL's -v2 data are
published; the variant `official` follows the authors' own code.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, cast

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
    NonNegativeCount,
    Phase,
    Positive,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.losses import gaussian_log_likelihood, summed_ensemble_loss, temporal_difference_targets
from algorithms.networks import (
    MLP,
    BroadcastMLP,
    Initialisation,
    Initialiser,
    Linear,
    orthogonal,
    torch_default,
)
from algorithms.optim import Adam
from algorithms.standardisation import Standardisation

ACTOR_LAYERS = 3
LARGEST_MULTIPLIER = 1e6
SMALLEST_LOGARITHM = 1e-6
"""Below this, 1 + a and 1 - a are taken as this when an action's tanh is undone."""


# Losses and what they are made of, one value per seed.


def squashing_volume(before: Tensor) -> Tensor:
    """log |det d tanh(u) / du|, summed over the last axis: u (..., A) -> (...)."""
    return (2 * (math.log(2) - before - functional.softplus(-2 * before))).sum(dim=-1)


def squashed_sample(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Samples tanh(mean + std noise), (..., A), and their log-densities (...); differentiable."""
    before = mean + log_std.exp() * noise
    return torch.tanh(before), gaussian_log_likelihood(before, mean, log_std) - squashing_volume(before)


def squashed_log_likelihood(actions: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of actions (..., A) in (-1, 1) under a Gaussian behind tanh, (...)."""
    upper, lower = ((1 + sign * actions).clamp(min=SMALLEST_LOGARITHM).log() for sign in (1, -1))
    before = 0.5 * (upper - lower)
    return gaussian_log_likelihood(before, mean, log_std) - squashing_volume(before)


def conservative_gap(
    values: Tensor, log_densities: Tensor, of_data: Tensor, smallest: float | None
) -> Tensor:
    """logsumexp_j(Q_j - log density_j) - Q(s, a), each row's no smaller than `smallest`, mean over rows.

    Shapes: values (S, E, B, N), log_densities (S, B, N), of_data (S, E, B); returns (S, E).
    """
    gap = torch.logsumexp(values - log_densities.unsqueeze(1), dim=-1) - of_data
    return (gap if smallest is None else gap.clamp(min=smallest)).mean(dim=-1)


# Networks


def corl_output(
    initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int
) -> tuple[Tensor, Tensor]:
    """Xavier-uniform weights of gain 0.01, zero bias."""
    weight = initialiser.uniform((*axes, inputs, outputs), 0.01 * math.sqrt(6 / (inputs + outputs)))
    return weight, torch.zeros(len(initialiser.seeds), *axes, 1, outputs)


def rlkit_hidden(
    initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int
) -> tuple[Tensor, Tensor]:
    """U(+-1/sqrt(outputs)), bias 0.1.

    rlkit means the inputs (fanin_init), but takes the first axis of torch's weights, which are the outputs.
    """
    weight = initialiser.uniform((*axes, inputs, outputs), 1 / math.sqrt(outputs))
    return weight, torch.full((len(initialiser.seeds), *axes, 1, outputs), 0.1)


def small_uniform(bound: float) -> Initialisation:
    """U(+-bound) for weights and bias."""

    def initialise(
        initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int
    ) -> tuple[Tensor, Tensor]:
        weight = initialiser.uniform((*axes, inputs, outputs), bound)
        return weight, initialiser.uniform((*axes, 1, outputs), bound)

    return initialise


CRITICS: dict[str, tuple[Initialisation, Initialisation]] = {
    "corl": (orthogonal(math.sqrt(2)), orthogonal(0.01)),
    "rlkit": (rlkit_hidden, small_uniform(3e-3)),
}
ACTOR: dict[str, tuple[Initialisation, Initialisation]] = {
    "corl": (torch_default, corl_output),
    "rlkit": (rlkit_hidden, small_uniform(1e-3)),
}
"""Initialisation of hidden layers and of the output."""


class Critics(nn.Module):
    """Two action values: observations (S, B, O), actions (S, B, N, A) -> (S, 2, B, N).

    One batched network where both are as deep, else one after the other.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        width: int,
        layers: tuple[int, int],
        initialisation: tuple[Initialisation, Initialisation],
    ) -> None:
        super().__init__()
        hidden, output = initialisation
        together = layers[0] == layers[1]
        self.parts = nn.ModuleList()
        for depth, members in [(layers[0], 2)] if together else [(depth, 1) for depth in layers]:
            sizes = (dimensions.observation + dimensions.action, *(width,) * depth, 1)
            part = BroadcastMLP(initialiser, sizes, functional.relu, members=members, initialisation=hidden)
            part.layers[-1] = Linear(initialiser, width, 1, members=members, initialisation=output)
            self.parts.append(part)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values of N actions of each state."""
        states, chosen = observations[:, None, :, None], actions.unsqueeze(1)
        return torch.cat([part(states, chosen) for part in self.parts], dim=1).squeeze(-1)


class SquashedActor(nn.Module):
    """Observations (S, B, O) -> mean and log standard deviation before tanh, (S, B, A) each.

    With `learnt_scale` the log standard deviation is m x + c of the network's x, m and c (S, 1, 1) learnt.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        width: int,
        *,
        initialisation: tuple[Initialisation, Initialisation],
        learnt_scale: bool,
        log_std: tuple[float, float],
    ) -> None:
        super().__init__()
        hidden, output = initialisation
        sizes = (dimensions.observation, *(width,) * ACTOR_LAYERS, 2 * dimensions.action)
        self.mlp = MLP(initialiser, sizes, functional.relu, initialisation=hidden)
        self.mlp.layers[-1] = Linear(initialiser, width, 2 * dimensions.action, initialisation=output)
        self.log_std = log_std
        one = torch.ones(len(initialiser.seeds), 1, 1)
        self.multiplier = nn.Parameter(one) if learnt_scale else None
        self.offset = nn.Parameter(-one) if learnt_scale else None

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Of the Gaussian behind tanh."""
        mean, log_std = self.mlp(observations).chunk(2, dim=-1)
        if self.multiplier is not None and self.offset is not None:
            log_std = self.multiplier * log_std + self.offset
        return mean, log_std.clamp(*self.log_std)


class Logarithm(nn.Module):
    """A positive number of each seed, by its logarithm (S,)."""

    def __init__(self, seeds: int, start: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((seeds,), start))


@hyperparameters
class CQLConfig:
    """Hyper-parameters of CQL; values, with their sources, are in presets/cql.yaml."""

    train_iterations: Count = 1_000_000
    """iterations"""
    warm_up_iterations: NonNegativeCount = 0
    """iterations at the start in which the actor clones the data's actions and no critic guides it"""
    batch_size: BatchSize = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    actor_learning_rate: Positive = 3e-5
    """per step; actor and entropy coefficient"""
    critic_learning_rate: Positive = 3e-4
    """per step; critics and Lagrange multiplier"""
    target_update_rate: Fraction = 0.005
    """per iteration"""
    conservative_weight: NonNegative = 10.0
    """weight of the conservative gap in the critics' loss (cql_alpha; min_q_weight)"""
    sampled_actions: Annotated[Count, Tiny(3)] = 10
    """actions of each of three kinds in the gap; and next actions where the backup takes the best"""
    lagrange: bool = False
    """multiply the gap by a multiplier that is learnt so that the gap approaches its threshold"""
    gap_threshold: float = -1.0
    """reward units; only with the multiplier"""
    threshold_weighted: bool = True
    """weight the threshold as the gap: w (gap - threshold), not w gap - threshold"""
    multiplier_start: float = 1.0
    """logarithm of the multiplier at the start"""
    gap_clipped: bool = False
    """clip each state's gap from below"""
    smallest_gap: float = -200.0
    """reward units; only where it is clipped"""
    best_backup: bool = False
    """targets take the best of `sampled_actions` next actions by the critics' minimum, not one sample"""
    entropy_first: bool = False
    """the actor's loss takes the entropy coefficient after its step of the iteration, not before"""
    learnt_log_std_scale: bool = True
    """the actor's log standard deviation is m x + c of the network's output x, m and c learnt"""
    log_std_min: float = -20.0
    """of the actor's log standard deviation"""
    log_std_max: float = 2.0
    """of the actor's log standard deviation"""
    initialisation: Literal["corl", "rlkit"] = "corl"
    """of actor and critics"""
    first_critic_layers: Count = 3
    """hidden layers of the first critic"""
    second_critic_layers: Count = 3
    """hidden layers of the second critic"""
    hidden_width: Width = 256
    """units per hidden layer"""
    standardised_observations: bool = True
    """divide observations by their deviation in the dataset, after their mean is subtracted"""
    deviation_margin: NonNegative = 1e-3
    """observation units; added to the standard deviations that observations are divided by"""


class CQL(Algorithm):
    """CQL over a stack of seeds."""

    name: ClassVar[str] = "cql"
    config: CQLConfig
    one_step: ClassVar[bool] = True

    def build(self) -> None:
        """Actor, two critics with targets, entropy coefficient, multiplier where there is one."""
        config, dimensions = self.config, self.dimensions
        actor = SquashedActor(
            Initialiser(self.seeds, "actor"),
            dimensions,
            config.hidden_width,
            initialisation=ACTOR[config.initialisation],
            learnt_scale=config.learnt_log_std_scale,
            log_std=(config.log_std_min, config.log_std_max),
        )
        critics = Critics(
            Initialiser(self.seeds, "critics"),
            dimensions,
            config.hidden_width,
            (config.first_critic_layers, config.second_critic_layers),
            CRITICS[config.initialisation],
        )
        self.add("states", Standardisation(len(self.seeds), dimensions.observation))
        self.add("actor", actor)
        self.add("critics", critics)
        self.add("entropy", Logarithm(len(self.seeds), 0.0))
        self.add_target("critics")
        rates = dict.fromkeys(("actor", "entropy"), config.actor_learning_rate)
        rates["critics"] = config.critic_learning_rate
        if config.lagrange:
            self.add("multiplier", Logarithm(len(self.seeds), config.multiplier_start))
            rates["multiplier"] = config.critic_learning_rate
        self.optimisers = {name: Adam(self.networks[name].parameters(), rate) for name, rate in rates.items()}

    def prepare(self, observations: Tensor) -> None:
        """Take the dataset's mean and deviation, where observations are standardised."""
        if self.config.standardised_observations:
            cast(Standardisation, self.networks["states"]).take(observations, self.config.deviation_margin)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`train` alone."""
        config = self.config
        rows, action = config.batch_size, self.dimensions.action
        several = (rows, config.sampled_actions, action)
        draws = (
            Draw("action", (rows, action), "normal"),
            Draw("backup", several if config.best_backup else (rows, 1, action), "normal"),
            Draw("random", several, "uniform"),
            Draw("next", several, "normal"),
            Draw("current", several, "normal"),
        )
        return (Phase("train", config.train_iterations, rows, draws, self._program, evaluated=True),)

    def _program(self, step: int) -> str:
        return "warm_up" if step < self.config.warm_up_iterations else "train"

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Entropy coefficient, actor, critics (and multiplier), then targets.

        Every gradient is taken at the weights from before the iteration, but for the entropy coefficient
        where `entropy_first` says so.
        """
        config, states = self.config, self.networks["states"]
        bound = self.dimensions.action_bound
        batch = {
            **batch,
            "observations": states(batch["observations"]),
            "next_observations": states(batch["next_observations"]),
        }
        mean, log_std = self.networks["actor"](batch["observations"])
        chosen, log_density = squashed_sample(mean, log_std, draws["action"])
        with torch.no_grad():
            next_mean, next_log_std = (
                part.unsqueeze(2) for part in self.networks["actor"](batch["next_observations"])
            )
            targets = self._targets(batch, squashed_sample(next_mean, next_log_std, draws["backup"])[0])
            of_next = squashed_sample(next_mean, next_log_std, draws["next"])
            of_current = squashed_sample(mean.unsqueeze(2), log_std.unsqueeze(2), draws["current"])
        log_coefficient = cast(Logarithm, self.networks["entropy"]).value
        coefficient = log_coefficient.detach().exp()
        surplus = (log_density.detach() - self.dimensions.action).mean(dim=-1)
        self.minimise("entropy", -log_coefficient * surplus)
        if config.entropy_first:
            coefficient = log_coefficient.detach().exp()
        if program == "warm_up":
            worth = squashed_log_likelihood(batch["actions"] / bound, mean, log_std)
        else:
            worth = self.networks["critics"](batch["observations"], bound * chosen.unsqueeze(2))
            worth = worth.squeeze(-1).amin(dim=1)
        actor_loss = (coefficient.unsqueeze(-1) * log_density - worth).mean(dim=-1)
        self.minimise("actor", actor_loss)
        critic_loss, gap = self._critic_loss(batch, targets, draws["random"], of_next, of_current)
        multiplied = self._multiplied(gap)
        self.minimise("critics", critic_loss + multiplied)
        if config.lagrange:
            self._learn_multiplier(gap.detach())
        self.follow("critics", config.target_update_rate)
        losses = {
            "actor_loss": actor_loss,
            "critic_loss": critic_loss,
            "conservative_gap": gap.mean(dim=-1),
            "entropy_coefficient": coefficient,
        }
        return {name: values.detach() for name, values in losses.items()}

    def _targets(self, batch: Tensors, next_actions: Tensor) -> Tensor:
        """r + discount (1 - terminal) max_j min_i Q_i(s', a'_j), (S, B); samples (S, B, N, A) in (-1, 1)."""
        actions = self.dimensions.action_bound * next_actions
        values = self.networks["target_critics"](batch["next_observations"], actions)
        return temporal_difference_targets(batch, values.amin(dim=1).amax(dim=-1), self.config.discount)

    def _critic_loss(
        self,
        batch: Tensors,
        targets: Tensor,
        random: Tensor,
        of_next: tuple[Tensor, Tensor],
        of_current: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Temporal-difference loss (S,) and conservative gaps (S, 2); one pass values all actions.

        `random` are uniforms in [0, 1); `of_next`, `of_current` actions in (-1, 1) with their log-densities.
        Next actions are valued at the current state, too, as in all public code.
        """
        config, bound = self.config, self.dimensions.action_bound
        uniform = (2 * random - 1).to(targets.dtype)
        of_uniform = uniform.new_full(uniform.shape[:-1], -self.dimensions.action * math.log(2))
        samples = torch.cat((uniform, of_next[0], of_current[0]), dim=2) * bound
        log_densities = torch.cat((of_uniform, of_next[1], of_current[1]), dim=2)
        actions = torch.cat((batch["actions"].unsqueeze(2), samples), dim=2)
        values = self.networks["critics"](batch["observations"], actions)
        of_data, of_samples = values[..., 0], values[..., 1:]
        smallest = config.smallest_gap if config.gap_clipped else None
        gap = conservative_gap(of_samples, log_densities, of_data, smallest)
        return summed_ensemble_loss(of_data, targets), gap

    def _multiplied(self, gap: Tensor) -> Tensor:
        """What the gaps (S, 2) add to the critics' loss, (S,)."""
        config = self.config
        if not config.lagrange:
            return config.conservative_weight * gap.sum(dim=-1)
        return self._multiplier().detach() * self._violation(gap).sum(dim=-1)

    def _learn_multiplier(self, gap: Tensor) -> None:
        self.minimise("multiplier", -0.5 * self._multiplier() * self._violation(gap).sum(dim=-1))

    def _multiplier(self) -> Tensor:
        return cast(Logarithm, self.networks["multiplier"]).value.exp().clamp(max=LARGEST_MULTIPLIER)

    def _violation(self, gap: Tensor) -> Tensor:
        """By how much weighted gaps (S, 2) exceed the threshold."""
        config = self.config
        threshold = config.gap_threshold * (config.conservative_weight if config.threshold_weighted else 1)
        return config.conservative_weight * gap - threshold

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """bound tanh(mean), (S, N, O) -> (S, N, A)."""
        mean, _ = self.networks["actor"](self.networks["states"](observations))
        return self.dimensions.action_bound * torch.tanh(mean)
