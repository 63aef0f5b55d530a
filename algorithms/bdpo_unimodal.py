"""BDPO's ablation of the actor: a Gaussian or a deterministic policy instead of the diffusion (App. B.3).

Critics, lower bounds and schedules are BDPO's; there is no chain, so there is no V_n. No code was published;
what the paper leaves open (bounds of mean and deviation) is chosen here and said where it stands.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from algorithms.base import Dimensions, Draw, Tensors, hyperparameters
from algorithms.bdpo import (
    BehaviourRegularised,
    RegularisedConfig,
    SampledConfig,
    action_value_targets,
)
from algorithms.losses import (
    ensemble_loss,
    gaussian_log_likelihood,
    lower_confidence_bound,
    next_value,
)
from algorithms.networks import BROADCAST_INITIALISATION, MLP, Initialiser, mish

Policy = tuple[Tensor, Tensor]
"""Mean and logarithm of the standard deviation, (S, B, A) each; a deterministic policy has deviation 0."""


def gaussian_divergence(policy: Policy, behaviour: Policy) -> Tensor:
    """KL(policy | behaviour) of diagonal Gaussians, summed over the action: (S, B, A) -> (S, B). Eq. 22."""
    (mean, log_std), (other_mean, other_log_std) = policy, behaviour
    precision = (-2 * other_log_std).exp()
    spread = ((2 * log_std).exp() + (mean - other_mean).square()) * precision
    return (other_log_std - log_std + 0.5 * spread - 0.5).sum(dim=-1)


def negative_log_likelihood(policy: Policy, actions: Tensor) -> Tensor:
    """Of actions (S, B, A) under diagonal Gaussians, mean over the batch, (S,)."""
    return -gaussian_log_likelihood(actions, *policy).mean(dim=-1)


@hyperparameters
class DiracConfig(RegularisedConfig):
    """Hyper-parameters of `bdpo-dirac`; values per task are in presets/bdpo-dirac.yaml."""


@hyperparameters
class GaussianConfig(SampledConfig):
    """Hyper-parameters of `bdpo-gaussian`; values per task are in presets/bdpo-gaussian.yaml."""

    log_std_min: float = -5.0
    """nats; lower clamp of the log standard deviation"""
    log_std_max: float = 2.0
    """nats; upper clamp of the log standard deviation"""


class BoundedPolicy(nn.Module):
    """Observations (S, B, O) -> `outputs` tensors (S, B, A), the first within the action bound by tanh."""

    def __init__(
        self, initialiser: Initialiser, dimensions: Dimensions, hidden: Sequence[int], outputs: int
    ) -> None:
        super().__init__()
        sizes = (dimensions.observation, *hidden, outputs * dimensions.action)
        self.mlp = MLP(initialiser, sizes, mish, initialisation=BROADCAST_INITIALISATION)
        self.outputs = outputs
        self.bound = dimensions.action_bound

    def forward(self, observations: Tensor) -> tuple[Tensor, ...]:
        """Mean first; see the class."""
        first, *rest = self.mlp(observations).chunk(self.outputs, dim=-1)
        return self.bound * torch.tanh(first), *rest


class _Unimodal(BehaviourRegularised):
    """Training with a policy that one pass of a network gives."""

    one_step: ClassVar[bool] = True

    def critic_losses(self, batch: Tensors, draws: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of Q alone: there is no chain, so there is no V_n."""
        with torch.no_grad():
            targets, metrics = self._action_value_targets(batch, draws)
        values = self.networks["critics"](batch["observations"], batch["actions"])
        return {"critics": ensemble_loss(values, targets)}, metrics

    def _action_value_targets(self, batch: Tensors, draws: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 19 with the divergence at the next state, (S, B); and its mean."""
        config = self.config
        if not self._bootstraps:
            return batch["rewards"], {}
        following = batch["next_observations"]
        actions, divergence = self._proposal("target_actor", following, draws, "next_actions")
        action_values = self.networks["target_critics"](following.unsqueeze(2), actions)
        targets = action_value_targets(
            batch,
            next_value(action_values, config.pessimism, self._takes_best),
            config.divergence_weight * divergence,
            config.discount,
            config.penalty_placement,
        )
        return targets, {"divergence": divergence.mean(dim=-1)}

    def actor_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Eq. 20 without its stray gamma; bounded from below by the target critics, as BDPO's own."""
        observations = batch["observations"]
        actions, divergence = self._proposal("actor", observations, draws, "actor_actions")
        per_member = self.networks["target_critics"](observations.unsqueeze(2), actions).mean(dim=-1)
        values = lower_confidence_bound(per_member, self.config.pessimism)
        return -(values - self.config.divergence_weight * divergence).mean(dim=-1)

    @property
    def _takes_best(self) -> bool:
        return False

    def _behaviour_draws(self) -> Iterator[Draw]:
        yield from ()

    @abstractmethod
    def _proposal(
        self, actor: str, observations: Tensor, draws: Tensors, noise: str
    ) -> tuple[Tensor, Tensor]:
        """Actions (S, B, N, A) of the actor and its divergence (S, B) from the target behaviour model.

        `noise` names the draw (S, B, N, A) that a random actor takes.
        """


class BDPODirac(_Unimodal):
    """Deterministic actor and behaviour model."""

    name: ClassVar[str] = "bdpo-dirac"
    config: DiracConfig

    def _policy(self, initialiser: Initialiser) -> nn.Module:
        hidden = (self.config.actor_width,) * self.config.actor_layers
        return BoundedPolicy(initialiser, self.dimensions, hidden, outputs=1)

    def _critic_draws(self) -> Iterator[Draw]:
        yield from ()

    def _actor_draws(self) -> Iterator[Draw]:
        yield from ()

    def behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Mean squared error of the behaviour model's action, (S,)."""
        (actions,) = self.networks["behaviour"](batch["observations"])
        return (actions - batch["actions"]).square().mean(dim=(-2, -1))

    def _proposal(
        self, actor: str, observations: Tensor, draws: Tensors, noise: str
    ) -> tuple[Tensor, Tensor]:
        """The divergence is half the squared distance (Eq. 21)."""
        (actions,) = self.networks[actor](observations)
        (others,) = self.networks["target_behaviour"](observations)
        return actions.unsqueeze(2), 0.5 * (actions - others).square().sum(dim=-1)

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The target actor's actions: (S, N, O) -> (S, N, A)."""
        return self.networks["target_actor"](observations)[0]


class BDPOGaussian(_Unimodal):
    """Diagonal Gaussian actor and behaviour model."""

    name: ClassVar[str] = "bdpo-gaussian"
    config: GaussianConfig

    def build(self) -> None:
        """Networks and optimisers, and the draws of acting."""
        super().build()
        candidates = (self.config.candidates, self.dimensions.action)
        self.act_draws = (Draw("candidates", candidates, "normal"),)

    @property
    def _takes_best(self) -> bool:
        return self.config.max_q_backup

    def _policy(self, initialiser: Initialiser) -> nn.Module:
        hidden = (self.config.actor_width,) * self.config.actor_layers
        return BoundedPolicy(initialiser, self.dimensions, hidden, outputs=2)

    def _critic_draws(self) -> Iterator[Draw]:
        if self._bootstraps:
            yield self._actions_draw("next_actions")

    def _actor_draws(self) -> Iterator[Draw]:
        yield self._actions_draw("actor_actions")

    def _actions_draw(self, name: str) -> Draw:
        config = self.config
        return Draw(name, (config.batch_size, config.samples, self.dimensions.action), "normal")

    def distribution(self, name: str, observations: Tensor) -> Policy:
        """Mean and clamped log deviation of the named policy, (S, B, A) each."""
        mean, log_std = self.networks[name](observations)
        return mean, log_std.clamp(self.config.log_std_min, self.config.log_std_max)

    def sample(self, policy: Policy, noise: Tensor) -> Tensor:
        """Actions (S, B, N, A) from noise of that shape, kept within the action bound."""
        mean, log_std = policy
        bound = self.dimensions.action_bound
        return (mean.unsqueeze(2) + log_std.exp().unsqueeze(2) * noise).clamp(-bound, bound)

    def behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Negative log-likelihood of the data under the behaviour model, (S,)."""
        policy = self.distribution("behaviour", batch["observations"])
        return negative_log_likelihood(policy, batch["actions"])

    def _proposal(
        self, actor: str, observations: Tensor, draws: Tensors, noise: str
    ) -> tuple[Tensor, Tensor]:
        policy = self.distribution(actor, observations)
        behaviour = self.distribution("target_behaviour", observations)
        return self.sample(policy, draws[noise]), gaussian_divergence(policy, behaviour)

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The best of `candidates` samples of the target actor by the target Q's mean; a single one as it is.

        Shapes: observations (S, N, O); candidates (S, N, C, A); returns (S, N, A).
        """
        policy = self.distribution("target_actor", observations)
        return self._best(observations, self.sample(policy, draws["candidates"]))
