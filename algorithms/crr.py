"""CRR: critic-regularised regression (Wang et al. 2020) with a feed-forward policy, as in offbench (sail-sg).

That code is of EDP's authors and may have made the CRR column of EDP's tables. Its critics weigh errors above
and below their targets differently by default, as the presets' variant `expectile` does.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

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
    Phase,
    Positive,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.cql import squashed_log_likelihood, squashed_sample
from algorithms.iql import exponential_weights
from algorithms.losses import expectile_loss, temporal_difference_targets
from algorithms.networks import MLP, BroadcastMLP, Initialiser, Linear, lecun_normal
from algorithms.optim import Adam

HIDDEN_LAYERS = 2
OUTPUT_SCALE = 0.01
"""Variance of the last layers' initial weights, times their inputs."""
FLAX_EPSILON = 1e-6
"""Added to the variance in flax's LayerNorm, which the released code keeps."""


# Losses, one value per seed.


def asymmetric_critic_loss(values: Tensor, targets: Tensor, overestimation_weight: float) -> Tensor:
    """Sum over critics of the mean of k (Q - y)^2: values (S, E, B), targets (S, B) -> (S,).

    k is `overestimation_weight` where Q is above y, else 1 less that; 0.5 gives half the squared error.
    """
    return expectile_loss(values - targets.unsqueeze(1), overestimation_weight).mean(dim=-1).sum(dim=1)


@torch.no_grad()
def advantages(of_data: Tensor, of_samples: Tensor) -> Tensor:
    """min_i Q_i(s, a) less the mean over samples of min_i Q_i(s, a_j): (S, E, B), (S, E, B, N) -> (S, B)."""
    return of_data.amin(dim=1) - of_samples.amin(dim=1).mean(dim=-1)


# Networks


def small_output(
    initialiser: Initialiser, axes: tuple[int, ...], inputs: int, outputs: int
) -> tuple[Tensor, Tensor]:
    """As jax's variance_scaling(0.01, fan_in, uniform): U(+-sqrt(0.03 / inputs)), zero bias."""
    weight = initialiser.uniform((*axes, inputs, outputs), math.sqrt(3 * OUTPUT_SCALE / inputs))
    return weight, torch.zeros(len(initialiser.seeds), *axes, 1, outputs)


class TwinCritics(nn.Module):
    """Two action values: observations (S, B, O), actions (S, B, N, A) -> (S, 2, B, N)."""

    def __init__(self, initialiser: Initialiser, dimensions: Dimensions, width: int) -> None:
        super().__init__()
        sizes = (dimensions.observation + dimensions.action, *(width,) * HIDDEN_LAYERS, 1)
        self.mlp = BroadcastMLP(
            initialiser,
            sizes,
            functional.relu,
            members=2,
            layer_norm_epsilon=FLAX_EPSILON,
            initialisation=lecun_normal,
        )
        self.mlp.layers[-1] = Linear(initialiser, width, 1, members=2, initialisation=small_output)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values of N actions of each state."""
        return self.mlp(observations[:, None, :, None], actions.unsqueeze(1)).squeeze(-1)


class TwoHeadedPolicy(nn.Module):
    """Observations (S, B, O) -> mean and log standard deviation before tanh, (S, B, A) each.

    A network for each of the two. The mean is clipped; the log standard deviation is m x + c of the network's
    x, m and c (S, 1, 1) learnt.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        width: int,
        *,
        mean_limit: float,
        log_std: tuple[float, float],
    ) -> None:
        super().__init__()
        self.mlp = MLP(
            initialiser,
            (dimensions.observation, *(width,) * HIDDEN_LAYERS, dimensions.action),
            functional.relu,
            members=2,
            layer_norm_epsilon=FLAX_EPSILON,
            initialisation=lecun_normal,
        )
        self.mlp.layers[-1] = Linear(
            initialiser, width, dimensions.action, members=2, initialisation=small_output
        )
        self.mean_limit, self.log_std = mean_limit, log_std
        one = torch.ones(len(initialiser.seeds), 1, 1)
        self.multiplier, self.offset = nn.Parameter(one), nn.Parameter(-one)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Of the Gaussian behind tanh."""
        mean, spread = self.mlp(observations.unsqueeze(1).expand(-1, 2, -1, -1)).unbind(dim=1)
        log_std = self.multiplier * spread + self.offset
        return mean.clamp(-self.mean_limit, self.mean_limit), log_std.clamp(*self.log_std)


@hyperparameters
class CRRConfig:
    """Hyper-parameters of CRR; values, with their sources, are in presets/crr.yaml."""

    train_iterations: Count = 1_200_000
    """iterations"""
    batch_size: BatchSize = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    policy_learning_rate: Positive = 1e-4
    """per step"""
    critic_learning_rate: Positive = 3e-4
    """per step"""
    target_update_rate: Fraction = 0.005
    """per iteration; of the target critics and the target policy"""
    overestimation_weight: InnerFraction = 0.5
    """of squared errors where a critic is above its target; 1 less this where it is below"""
    advantage_samples: Annotated[Count, Tiny(4)] = 50
    """actions of the policy whose mean value is the baseline"""
    advantage_temperature: Positive = 1.0
    """reward units; beta, divides the advantage"""
    weight_limit: Positive = 20.0
    """upper limit of the regression weight"""
    action_clip: Fraction = 0.999
    """share of the action bound to which dataset actions are clipped"""
    mean_limit: Positive = 9.0
    """of the policy's mean before tanh"""
    log_std_min: float = -5.0
    """of the policy's log standard deviation"""
    log_std_max: float = 2.0
    """of the policy's log standard deviation"""
    hidden_width: Width = 256
    """units per hidden layer"""


class CRR(Algorithm):
    """CRR over a stack of seeds."""

    name: ClassVar[str] = "crr"
    config: CRRConfig
    one_step: ClassVar[bool] = True

    def build(self) -> None:
        """Policy and two critics, with a target of each."""
        config, dimensions = self.config, self.dimensions
        policy = TwoHeadedPolicy(
            Initialiser(self.seeds, "policy"),
            dimensions,
            config.hidden_width,
            mean_limit=config.mean_limit,
            log_std=(config.log_std_min, config.log_std_max),
        )
        self.add("policy", policy)
        self.add("critics", TwinCritics(Initialiser(self.seeds, "critics"), dimensions, config.hidden_width))
        self.add_target("policy")
        self.add_target("critics")
        self.optimisers = {
            "policy": Adam(policy.parameters(), config.policy_learning_rate),
            "critics": Adam(self.networks["critics"].parameters(), config.critic_learning_rate),
        }

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`train` alone."""
        config = self.config
        rows, action = config.batch_size, self.dimensions.action
        draws = (
            Draw("next_action", (rows, action), "normal"),
            Draw("samples", (rows, config.advantage_samples, action), "normal"),
        )
        return (Phase("train", config.train_iterations, rows, draws, evaluated=True),)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Policy and critics, both at the weights from before the iteration, then all targets."""
        config, bound = self.config, self.dimensions.action_bound
        limit = config.action_clip * bound
        states, actions = batch["observations"], batch["actions"].clamp(-limit, limit)
        of_data = self.networks["critics"](states, actions.unsqueeze(2)).squeeze(-1)
        critic_loss = asymmetric_critic_loss(
            of_data, self._targets(batch, draws["next_action"]), config.overestimation_weight
        )
        mean, log_std = self.networks["policy"](states)
        with torch.no_grad():
            samples, _ = squashed_sample(mean.unsqueeze(2), log_std.unsqueeze(2), draws["samples"])
            of_samples = self.networks["critics"](states, bound * samples)
        weights = exponential_weights(
            advantages(of_data, of_samples), 1 / config.advantage_temperature, config.weight_limit
        )
        policy_loss = -(weights * squashed_log_likelihood(actions / bound, mean, log_std)).mean(dim=-1)
        self.minimise("policy", policy_loss)
        self.minimise("critics", critic_loss)
        self.follow("critics", config.target_update_rate)
        self.follow("policy", config.target_update_rate)
        losses = {"critic_loss": critic_loss, "policy_loss": policy_loss}
        return {name: values.detach() for name, values in losses.items()}

    @torch.no_grad()
    def _targets(self, batch: Tensors, noise: Tensor) -> Tensor:
        """r + discount (1 - terminal) min_i Q_i(s', a'), (S, B), a' of the target policy; noise (S, B, A)."""
        states = batch["next_observations"]
        mean, log_std = self.networks["target_policy"](states)
        chosen, _ = squashed_sample(mean, log_std, noise)
        actions = self.dimensions.action_bound * chosen.unsqueeze(2)
        values = self.networks["target_critics"](states, actions).squeeze(-1).amin(dim=1)
        return temporal_difference_targets(batch, values, self.config.discount)

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """bound tanh(mean), (S, N, O) -> (S, N, A)."""
        mean, _ = self.networks["policy"](observations)
        return self.dimensions.action_bound * torch.tanh(mean)
