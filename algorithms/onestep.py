"""One-step RL: one step of policy improvement on the behaviour policy's value (Brandfonbrener et al. 2021).

A behaviour policy is cloned, its action value learnt by SARSA on the data, and a policy improved once by that
value: by exponentially weighted regression, or with a reverse KL divergence to the behaviour policy. Defaults
follow the released code (davidbrandfonbrener/onestep-rl).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

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
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.diffusion import squared_error
from algorithms.iql import exponential_weights
from algorithms.losses import gaussian_log_likelihood, temporal_difference_targets
from algorithms.networks import MLP, BroadcastMLP, Initialiser
from algorithms.optim import Adam

HIDDEN_LAYERS = 2
LOG_STD_RANGE = (-5.0, 0.0)
"""Between which the log standard deviation is squashed."""


# Losses, one value per seed.


def negative_log_likelihood(actions: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """-mean log N(a; mean, std), summed over an action's components: (S, B, A) three times -> (S,)."""
    return -gaussian_log_likelihood(actions, mean, log_std).mean(dim=-1)


def sarsa_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Mean of (Q - y)^2: (S, B) twice -> (S,)."""
    return squared_error(values, targets).mean(dim=-1)


def reverse_kl_loss(values: Tensor, own: Tensor, behaviour: Tensor, weight: float) -> Tensor:
    """mean(-Q(s, a~) + weight mean_j(log pi(a_j|s) - log beta(a_j|s))): (S, B), (S, B, N) twice -> (S,).

    All actions are samples of pi.
    """
    divergence = (own - behaviour).mean(dim=-1)
    return (weight * divergence - values).mean(dim=-1)


# Networks


class SquashedMeanPolicy(nn.Module):
    """Observations (S, B, O) -> mean bound tanh(x) and log standard deviation in (-5, 0), (S, B, A) each.

    Of a normal distribution that is not squashed itself.
    """

    def __init__(self, initialiser: Initialiser, dimensions: Dimensions, width: int) -> None:
        super().__init__()
        sizes = (dimensions.observation, *(width,) * HIDDEN_LAYERS, 2 * dimensions.action)
        self.mlp = MLP(initialiser, sizes, functional.relu)
        self.bound = dimensions.action_bound

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Of the normal distribution."""
        mean, log_std = torch.tanh(self.mlp(observations)).chunk(2, dim=-1)
        lowest, highest = LOG_STD_RANGE
        return self.bound * mean, lowest + 0.5 * (highest - lowest) * (log_std + 1)


class ActionValue(nn.Module):
    """One action value: observations (S, B, O), actions (S, B, N, A) -> (S, B, N)."""

    def __init__(self, initialiser: Initialiser, dimensions: Dimensions, width: int) -> None:
        super().__init__()
        sizes = (dimensions.observation + dimensions.action, *(width,) * HIDDEN_LAYERS, 1)
        self.mlp = BroadcastMLP(initialiser, sizes, functional.relu)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values of N actions of each state."""
        return self.mlp(observations.unsqueeze(2), actions).squeeze(-1)


@hyperparameters
class OneStepConfig:
    """Hyper-parameters of One-step RL; values, with their sources, are in presets/onestep.yaml."""

    behaviour_iterations: Count = 500_000
    """iterations of the behaviour policy"""
    critic_iterations: Count = 2_000_000
    """iterations of its action value"""
    policy_iterations: Count = 100_000
    """iterations of the improved policy"""
    batch_size: BatchSize = 512
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    learning_rate: Positive = 1e-4
    """per step; every network"""
    target_update_rate: Fraction = 0.005
    """per update of the target of the action value"""
    target_interval: Count = 2
    """iterations between such updates"""
    improvement: Literal["exponential", "reverse_kl"] = "exponential"
    """exponential: weighted regression on the data; reverse_kl: values of its own actions"""
    inverse_temperature: NonNegative = 0.1
    """per reward unit; tau, multiplies the advantage (exponential)"""
    weight_limit: Positive = 100.0
    """upper limit of the regression weight (exponential)"""
    divergence_weight: NonNegative = 1.0
    """reward units; alpha, multiplies the divergence to the behaviour policy (reverse_kl)"""
    samples: Annotated[Count, Tiny(3)] = 10
    """actions of the behaviour policy whose mean value is the baseline; of the policy for the divergence"""
    action_margin: NonNegative = 1e-4
    """dataset actions whose likelihood is raised are clipped to the action bound less this (exponential)"""
    hidden_width: Width = 1024
    """units per hidden layer"""


class OneStep(Algorithm):
    """One-step RL over a stack of seeds."""

    name: ClassVar[str] = "onestep"
    config: OneStepConfig
    one_step: ClassVar[bool] = True
    next_actions: ClassVar[bool] = True

    def build(self) -> None:
        """Behaviour policy, its action value with a target, and the improved policy."""
        config, dimensions = self.config, self.dimensions
        for name in ("behaviour", "policy"):
            policy = SquashedMeanPolicy(Initialiser(self.seeds, name), dimensions, config.hidden_width)
            self.add(name, policy)
        critic = ActionValue(Initialiser(self.seeds, "critic"), dimensions, config.hidden_width)
        self.add("critic", critic)
        self.add_target("critic")
        self.optimisers = {
            name: Adam(self.networks[name].parameters(), config.learning_rate)
            for name in ("behaviour", "critic", "policy")
        }

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`behaviour`, `critic`, `policy`."""
        config, rows = self.config, self.config.batch_size
        samples = (Draw("samples", (rows, config.samples, self.dimensions.action), "normal"),)
        action = (Draw("action", (rows, self.dimensions.action), "normal"),)
        of_policy = samples if config.improvement == "exponential" else samples + action
        return (
            Phase("behaviour", config.behaviour_iterations, rows),
            Phase("critic", config.critic_iterations, rows, programs=self._critic_program),
            Phase("policy", config.policy_iterations, rows, of_policy, evaluated=True),
        )

    def _critic_program(self, step: int) -> str:
        return "critic" if (step + 1) % self.config.target_interval else "critic+target"

    def begin_phase(self, name: str) -> None:
        """The improved policy starts as the behaviour policy is."""
        if name == "policy":
            self.copy_weights("behaviour", "policy")

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One step of the phase's network."""
        if program == "behaviour":
            loss = negative_log_likelihood(
                batch["actions"], *self.networks["behaviour"](batch["observations"])
            )
            self.minimise("behaviour", loss)
            return {"behaviour_loss": loss.detach()}
        if program == "policy":
            loss = self._policy_loss(batch, draws)
            self.minimise("policy", loss)
            return {"policy_loss": loss.detach()}
        values = self._value("critic", batch["observations"], batch["actions"])
        loss = sarsa_loss(values, self._targets(batch))
        self.minimise("critic", loss)
        if program == "critic+target":
            self.follow("critic", self.config.target_update_rate)
        return {"critic_loss": loss.detach()}

    def _value(self, network: str, observations: Tensor, actions: Tensor) -> Tensor:
        """Values (S, B) of an action (S, B, A) of each state."""
        return self.networks[network](observations, actions.unsqueeze(2)).squeeze(-1)

    @torch.no_grad()
    def _targets(self, batch: Tensors) -> Tensor:
        """r + discount (1 - terminal) Q'(s', a') with the data's next action, (S, B)."""
        values = self._value("target_critic", batch["next_observations"], batch["next_actions"])
        return temporal_difference_targets(batch, values, self.config.discount)

    def _policy_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        config, states, actions = self.config, batch["observations"], batch["actions"]
        mean, log_std = self.networks["policy"](states)
        if config.improvement == "exponential":
            weights = exponential_weights(
                self._advantages(batch, draws["samples"]), config.inverse_temperature, config.weight_limit
            )
            limit = self.dimensions.action_bound - config.action_margin
            likelihood = gaussian_log_likelihood(actions.clamp(-limit, limit), mean, log_std)
            return -(weights * likelihood).mean(dim=-1)
        value = self._value("critic", states, mean + log_std.exp() * draws["action"])
        with torch.no_grad():
            of_behaviour = [part.unsqueeze(2) for part in self.networks["behaviour"](states)]
        own = mean.unsqueeze(2), log_std.unsqueeze(2)
        sampled = own[0] + own[1].exp() * draws["samples"]
        return reverse_kl_loss(
            value,
            gaussian_log_likelihood(sampled, *own),
            gaussian_log_likelihood(sampled, *of_behaviour),
            config.divergence_weight,
        )

    @torch.no_grad()
    def _advantages(self, batch: Tensors, noise: Tensor) -> Tensor:
        """Q(s, a) less the mean value of samples of the behaviour policy, (S, B); noise (S, B, N, A)."""
        states = batch["observations"]
        mean, log_std = self.networks["behaviour"](states)
        sampled = mean.unsqueeze(2) + log_std.exp().unsqueeze(2) * noise
        values = self.networks["critic"](states, torch.cat((batch["actions"].unsqueeze(2), sampled), dim=2))
        return values[..., 0] - values[..., 1:].mean(dim=-1)

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The policy's mean, (S, N, O) -> (S, N, A)."""
        return self.networks["policy"](observations)[0]
