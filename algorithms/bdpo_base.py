"""What BDPO and its ablations share: pretraining of a behaviour model, then an actor regularised towards it.

The subclasses say what a policy is, how far it is from the behaviour model and what the critics learn.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm, Dimensions, Draw, Phase, Tensors
from algorithms.bdpo_losses import PenaltyPlacement
from algorithms.bdpo_networks import ActionValues
from algorithms.hyperparameters import (
    Count,
    Fraction,
    Hyperparameters,
    NonNegative,
    NonNegativeCount,
    Positive,
)
from algorithms.networks import Initialiser
from algorithms.optim import Adam, Schedule, clip_norm_per_seed, constant, cosine_to_zero, move_towards
from algorithms.selection import take_best

PRETRAIN, CRITIC = "pretrain", "critic"


@dataclass(frozen=True)
class RegularisedConfig(Hyperparameters):
    """Hyper-parameters that BDPO and its ablations share; values per task are in presets/bdpo*.yaml."""

    pretrain_iterations: Count = 2_000_000
    """iterations; of the behaviour model alone"""
    warm_up_iterations: NonNegativeCount = 50_000
    """iterations; of the critics alone, at the start of training"""
    train_iterations: Count = 2_000_000
    """iterations; warm-up included, and the length of the cosine of actor and critics"""
    actor_interval: Count = 5
    """iterations; of the critics per update of actor and behaviour model"""
    behaviour_in_training: bool = True
    """whether the behaviour model goes on learning with the actor"""
    batch_size: Count = 256
    """transitions"""
    discount: Fraction = 0.99
    """per environment step"""
    divergence_weight: NonNegative = 1.0
    """eta, of the divergence from the behaviour model; scales with the task's transformed rewards"""
    pessimism: NonNegative = 1.0
    """rho, standard deviations of the ensemble below its mean"""
    penalty_placement: PenaltyPlacement = "outside"
    """of the next state's penalty in Q's target: inside or outside gamma (1 - terminal)"""
    all_terminal: bool = False
    """every row is terminal: with the penalty inside, next states then count for nothing; not sampled"""
    ensemble: Count = 10
    """members of every kind of critic (K)"""
    critic_width: Count = 256
    """units per hidden layer"""
    critic_layers: Count = 3
    """hidden layers"""
    critic_layer_norm: bool = False
    """LayerNorm in Q; V_n always has it"""
    layer_norm_epsilon: Positive = 1e-6
    """added to the variance in every LayerNorm of the critics"""
    actor_width: Count = 256
    """units per hidden layer; actor and behaviour model"""
    actor_layers: Count = 4
    """hidden layers; actor and behaviour model"""
    actor_learning_rate: Positive = 1e-5
    """per actor update; the cosine counts these, so that it ends near its start"""
    behaviour_learning_rate: Positive = 3e-4
    """per behaviour update; constant"""
    critic_learning_rate: Positive = 3e-4
    """per iteration of training; half a cosine to zero"""
    gradient_norm: Positive = 1.0
    """largest norm of a network's gradient, an ensemble being one network"""
    target_update_rate: Fraction = 0.005
    """per update of the network that is followed"""
    action_margin: NonNegative = 1e-5
    """action units; dataset actions are kept this far within the action bound"""


@dataclass(frozen=True)
class SampledConfig(RegularisedConfig):
    """Hyper-parameters of those whose policies are random."""

    samples: Count = 10
    """actions per state in targets and in the actor's objective (N)"""
    max_q_backup: bool = False
    """Q's target takes the best of the samples, per member, instead of their mean"""
    candidates: Count = 10
    """actions sampled per state at evaluation; the one of highest mean target Q is taken"""


class BehaviourRegularised(Algorithm):
    """Critics, an actor and a behaviour model of the actor's kind over a stack of seeds."""

    config: RegularisedConfig

    def __init__(
        self,
        dimensions: Dimensions,
        config: RegularisedConfig,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dimensions, config, seeds, device)
        self.config = config
        for name, network in self._learned().items():
            self.networks[name] = network
            self.networks[_target(name)] = copy.deepcopy(network).requires_grad_(False)
        self.networks.to(self.device)
        critics = cosine_to_zero(config.train_iterations)
        self.optimisers = {
            "behaviour": self._adam("behaviour", config.behaviour_learning_rate, constant),
            "actor": self._adam("actor", config.actor_learning_rate, cosine_to_zero(config.train_iterations)),
            **{name: self._adam(name, config.critic_learning_rate, critics) for name in self._critics},
        }

    @property
    def _critics(self) -> list[str]:
        policies = ("behaviour", "actor")
        return [n for n in self.networks if n not in policies and not n.startswith(_target(""))]

    def _learned(self) -> dict[str, nn.Module]:
        """The networks that have an optimiser and a target, by name."""
        config = self.config
        critics = ActionValues(
            Initialiser(self.seeds, "critics"),
            self.dimensions,
            (config.critic_width,) * config.critic_layers,
            members=config.ensemble,
            layer_norm_epsilon=config.layer_norm_epsilon if config.critic_layer_norm else None,
        )
        policies = {name: self._policy(Initialiser(self.seeds, name)) for name in ("behaviour", "actor")}
        return {**policies, "critics": critics}

    def _adam(self, name: str, learning_rate: float, schedule: Schedule) -> Adam:
        return Adam(self.networks[name].parameters(), learning_rate, schedule=schedule)

    @property
    def _bootstraps(self) -> bool:
        """Whether anything of the next state enters Q's target."""
        worthless = self.config.all_terminal or self.config.discount == 0
        return not (worthless and self.config.penalty_placement == "inside")

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`pretrain` (behaviour model) and `train` (critics; from time to time actor and behaviour model)."""
        config = self.config
        behaviour = tuple(self._behaviour_draws())
        training = (*self._critic_draws(), *self._actor_draws())
        if config.behaviour_in_training:
            training += behaviour
        size = config.batch_size
        return (
            Phase(
                PRETRAIN,
                config.pretrain_iterations,
                size,
                behaviour,
                lambda step: PRETRAIN,
                sampling="shuffled",
            ),
            Phase(
                "train",
                config.train_iterations,
                size,
                training,
                self._training_program,
                evaluated=True,
                sampling="shuffled",
            ),
        )

    def _training_program(self, step: int) -> str:
        config = self.config
        if step < config.warm_up_iterations or step % config.actor_interval:
            return CRITIC
        return "critic+actor+behaviour" if config.behaviour_in_training else "critic+actor"

    def begin_phase(self, name: str) -> None:
        """Training starts from the behaviour model's average as actor and as its target."""
        if name != "train":
            return
        source = list(self.networks["target_behaviour"].parameters())
        with torch.no_grad():
            for follower in ("actor", "target_actor"):
                torch._foreach_copy_(list(self.networks[follower].parameters()), source)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics, then actor, then behaviour model, each followed by its target, on one minibatch."""
        batch = self._within_bounds(batch)
        if program == PRETRAIN:
            return self._update_behaviour(batch, draws)
        losses, metrics = self._critic_losses(batch, draws)
        for name, loss in losses.items():
            self._step(name, loss)
        for name in losses:
            self._follow(name)
        metrics = metrics | {f"{name}_loss": loss.detach() for name, loss in losses.items()}
        parts = program.split("+")
        if "actor" in parts:
            loss = self._actor_loss(batch, draws)
            self._step("actor", loss)
            self._follow("actor")
            metrics["actor_loss"] = loss.detach()
        if "behaviour" in parts:
            metrics |= self._update_behaviour(batch, draws)
        return metrics

    def _update_behaviour(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        loss = self._behaviour_loss(batch, draws)
        self._step("behaviour", loss)
        self._follow("behaviour")
        return {"behaviour_loss": loss.detach()}

    def _step(self, name: str, losses: Tensor) -> None:
        """One step of a network's optimiser, the gradient's norm bounded per seed."""
        optimiser = self.optimisers[name]
        gradients = torch.autograd.grad(self.total(losses), optimiser.parameters)
        clip_norm_per_seed(gradients, self.config.gradient_norm)
        optimiser.step(gradients)

    def _follow(self, name: str) -> None:
        move_towards(
            list(self.networks[_target(name)].parameters()),
            list(self.networks[name].parameters()),
            self.config.target_update_rate,
        )

    def _within_bounds(self, batch: Tensors) -> dict[str, Tensor]:
        limit = self.dimensions.action_bound - self.config.action_margin
        return {**batch, "actions": batch["actions"].clamp(-limit, limit)}

    def _mean_target_value(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Mean over the ensemble of the target Q: (S, *rows, O), (S, *rows, A) -> (S, *rows)."""
        return self.networks["target_critics"](observations, actions).mean(dim=1)

    def _best(self, observations: Tensor, candidates: Tensor) -> Tensor:
        """The candidate of highest mean target Q: (S, N, O), (S, N, C, A) -> (S, N, A)."""
        if candidates.shape[2] == 1:
            return candidates.squeeze(2)
        return take_best(candidates, self._mean_target_value(observations.unsqueeze(2), candidates))

    def _origin(self, grid: Tensor) -> Tensor:
        """The one observation of the 2D problems, (S, 1, O)."""
        return grid.new_zeros(len(self.seeds), 1, self.dimensions.observation)

    def _grid_value(self, grid: Tensor) -> Tensor:
        """Mean target Q at actions (G, A) for that observation, (S, G)."""
        return self._mean_target_value(self._origin(grid), grid.expand(len(self.seeds), -1, -1))

    @abstractmethod
    def _policy(self, initialiser: Initialiser) -> nn.Module:
        """An actor, or a behaviour model, which is the same."""

    @abstractmethod
    def _behaviour_draws(self) -> Iterable[Draw]: ...

    @abstractmethod
    def _critic_draws(self) -> Iterable[Draw]: ...

    @abstractmethod
    def _actor_draws(self) -> Iterable[Draw]: ...

    @abstractmethod
    def _behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Of the behaviour model on the data, (S,)."""

    @abstractmethod
    def _critic_losses(self, batch: Tensors, draws: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses by network and further metrics, (S,) each; all targets are of before the update."""

    @abstractmethod
    def _actor_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Negative objective of the actor, (S,)."""


def _target(name: str) -> str:
    return f"target_{name}"
