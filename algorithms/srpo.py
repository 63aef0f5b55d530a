"""SRPO: a deterministic policy regularised by the score of a diffusion model (Chen, Lu, Wang, Su & Zhu 2024).

Three phases: IQL's critics; a diffusion model of the data's behaviour; a policy that follows the critics'
gradient and the diffusion model's predicted noise at its own, perturbed actions. Nothing is sampled by
diffusion. Defaults follow the authors' code; where the paper's text says otherwise, the presets' variant
`paper` does.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
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
    Sampling,
    Tensors,
    Width,
    hyperparameters,
)
from algorithms.diffusion import NoiseNetwork, noise_prediction_loss, perturb_at, scales, time_between
from algorithms.losses import ensemble_loss, expectile_loss, temporal_difference_targets
from algorithms.networks import MLP, CriticEnsemble, Initialiser, ResidualNoiseNetwork, dropout_masks
from algorithms.optim import Adam, cosine_to_zero

ScoreWeighting = Literal["sigma_squared", "one", "alpha_over_sigma"]
Normalisation = Literal["none", "rms", "norm"]

CRITIC_HIDDEN_LAYERS = 2
LATEST_TIME = 1.0
"""The behaviour model is trained up to pure noise."""


def critic_losses(
    critics: nn.Module,
    target_critics: nn.Module,
    value: nn.Module,
    batch: Tensors,
    *,
    expectile: float,
    discount: float,
) -> tuple[Tensor, Tensor]:
    """IQL's losses: state value against the target critics' minimum (S,), critics against r + gamma V (S,).

    Both use V as it is before this iteration's step, unlike the original IQL (released train_critic.py).
    `batch` holds observations (S, B, O), actions (S, B, A), rewards, terminals (S, B), and
    next_observations (S, B, O).
    """
    observations, actions = batch["observations"], batch["actions"]
    with torch.no_grad():
        target_values = target_critics(observations, actions).amin(dim=1)
        next_values = value(batch["next_observations"]).squeeze(-1)
        targets = temporal_difference_targets(batch, next_values, discount)
    values = value(observations).squeeze(-1)
    value_loss = expectile_loss(target_values - values, expectile).mean(dim=-1)
    return value_loss, ensemble_loss(critics(observations, actions), targets)


def mean_value_gradient(critics: nn.Module, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the critics (S, B) at actions (S, B, A), and its gradient in them (S, B, A); both detached.

    The actions must require gradients, as a policy's do; nothing goes on to where they came from.
    """
    values = critics(observations, actions).mean(dim=1)
    (gradient,) = torch.autograd.grad(values.sum(), actions)
    return values.detach(), gradient


def normalised(gradient: Tensor, normalisation: Normalisation) -> Tensor:
    """Gradients (S, B, A) over their root mean square (rms) or 2-norm (norm) per action, or as they are.

    The paper divides by the norm, the released code by the root mean square, sqrt(A) times smaller.
    """
    if normalisation == "none":
        return gradient
    size = gradient.norm(dim=-1, keepdim=True)
    if normalisation == "rms":
        size = size / gradient.shape[-1] ** 0.5
    # No epsilon, as released; only where the gradient is exactly 0, as of a retired seed, 0 / 0 must not be.
    return gradient / size.clamp(min=torch.finfo(size.dtype).tiny)


@torch.no_grad()
def regularised_gradient(
    network: NoiseNetwork,
    observations: Tensor,
    actions: Tensor,
    value_gradient: Tensor,
    *,
    time: Tensor,
    noise: Tensor,
    beta: float | Tensor,
    score_weighting: ScoreWeighting,
    noise_baseline: bool,
) -> Tensor:
    """w(t) eps(a_t, t, s) - beta grad Q: what SRPO descends along in the actions, (S, B, A).

    One perturbation a_t = alpha_t a + sigma_t noise per action, and no Jacobian of the behaviour model.
    Source: SRPO Eq. 15 times -beta, as released. Shapes: actions, value_gradient, noise (S, B, A);
    observations (S, B, O); time (S, B); beta a number or (..., B, 1).
    """
    dtype = actions.dtype
    alpha, sigma = scales(time)
    predicted = network(perturb_at(actions, alpha, sigma, noise), observations, time.to(dtype))
    if noise_baseline:
        predicted = predicted - noise
    weight = _score_weight(alpha, sigma, score_weighting).to(dtype).unsqueeze(-1)
    return weight * predicted - beta * value_gradient


def _score_weight(alpha: Tensor, sigma: Tensor, weighting: ScoreWeighting) -> Tensor:
    if weighting == "one":
        return torch.ones_like(sigma)
    return sigma.square() if weighting == "sigma_squared" else alpha / sigma


def surrogate_loss(gradient: Tensor, actions: Tensor) -> Tensor:
    """Mean over the batch of <gradient, a>, (S,): its gradient in the policy is gradient x da/dtheta."""
    return (gradient.detach() * actions).sum(dim=-1).mean(dim=-1)


@hyperparameters
class VPBehaviourConfig:
    """Hyper-parameters of the behaviour model and its training."""

    behaviour_iterations: Count = 2_000_000
    """iterations of the phase `behaviour`"""
    behaviour_batch_size: BatchSize = 2048
    """transitions, drawn without replacement; phase `behaviour`"""
    behaviour_learning_rate: Positive = 3e-4
    """per step, constant; AdamW on the behaviour model"""
    behaviour_weight_decay: NonNegative = 0.01
    """per step and learning rate, decoupled (AdamW); on the behaviour model"""
    behaviour_width: Width = 256
    """units between residual blocks; four times as many within"""
    behaviour_blocks: Count = 3
    """residual blocks of the behaviour model"""
    layer_norm_epsilon: Positive = 1e-5
    """added to the variance in the LayerNorm of each residual block"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """probability; at the entry of each residual block, only while the behaviour model is trained"""
    time_features: Annotated[int, Field(multiple_of=2, ge=2)] = 64
    """sines and cosines of time together"""
    fourier_scale: Positive = 30.0
    """cycles per unit of time; standard deviation of the frozen frequencies"""
    behaviour_time_min: InnerFraction = 1e-3
    """diffusion time from 0 (clean) to 1 (noise); earliest that the behaviour model is trained on"""


@hyperparameters
class SRPOConfig(VPBehaviourConfig):
    """Hyper-parameters of SRPO; values per task, with their sources, are in presets/srpo.yaml."""

    critic_iterations: Count = 1_500_000
    """iterations of the phase `critic`"""
    policy_iterations: Count = 1_000_000
    """iterations of the phase `policy`; also the length of its learning rate's cosine"""
    batch_size: BatchSize = 256
    """transitions, drawn without replacement; phases `critic` and `policy`"""
    discount: Fraction = 0.99
    """per step"""
    expectile: InnerFraction = 0.7
    """of the state value (tau)"""
    critic_learning_rate: Positive = 3e-4
    """per step, constant; Q and V"""
    target_update_rate: Fraction = 0.005
    """per critic iteration; the target critics guide the policy"""
    policy_learning_rate: Positive = 3e-4
    """per step; falls to zero by half a cosine"""
    hidden_width: Width = 256
    """units per hidden layer of critics, value and policy"""
    policy_hidden_layers: Count = 2
    """hidden layers of the policy"""
    beta: Positive = 0.05
    """weight of the critics' gradient against the behaviour model's noise; small is conservative"""
    gradient_normalisation: Normalisation = "none"
    """of the critics' gradient per action: none, by its root mean square (rms) or by its 2-norm (norm)"""
    score_weighting: ScoreWeighting = "sigma_squared"
    """w(t) of the predicted noise: sigma_t^2, 1, or alpha_t / sigma_t"""
    noise_baseline: bool = False
    """subtract the noise that was added from the predicted noise; same mean, other variance"""
    policy_time_min: InnerFraction = 0.02
    """diffusion time from 0 (clean) to 1 (noise); earliest that the policy's actions are perturbed to"""
    policy_time_max: InnerFraction = 0.98
    """diffusion time from 0 (clean) to 1 (noise); latest that the policy's actions are perturbed to"""


class VPBehaviour(Algorithm):
    """What SRPO and its illustration in the plane share: a VP-SDE diffusion model of the data's behaviour.

    A subclass adds its own networks and phases.
    """

    config: VPBehaviourConfig

    def build(self) -> None:
        """The behaviour model and its optimiser; a subclass goes on."""
        config = self.config
        network = ResidualNoiseNetwork(
            Initialiser(self.seeds, "behaviour"),
            self.dimensions,
            width=config.behaviour_width,
            blocks=config.behaviour_blocks,
            layer_norm_epsilon=config.layer_norm_epsilon,
            time_features=config.time_features,
            fourier_scale=config.fourier_scale,
        )
        self.add("behaviour", network)
        self.optimisers["behaviour"] = Adam(
            network.parameters(), config.behaviour_learning_rate, weight_decay=config.behaviour_weight_decay
        )

    @property
    def behaviour_phase(self) -> Phase:
        """The phase `behaviour`, of one program of that name."""
        config = self.config
        batch = config.behaviour_batch_size
        draws: tuple[Draw, ...] = (
            Draw("behaviour_time", (batch,), "uniform"),
            Draw("behaviour_noise", (batch, self.dimensions.action), "normal"),
        )
        if config.dropout:
            masks = (config.behaviour_blocks, batch, config.behaviour_width)
            draws += (Draw("dropout", masks, "uniform"),)
        return Phase("behaviour", config.behaviour_iterations, batch, draws, sampling="shuffled")

    def update_behaviour(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One AdamW step of the behaviour model, with dropout."""
        network, actions = self.networks["behaviour"], batch["actions"]
        kept = None
        if self.config.dropout:
            kept = dropout_masks(draws["dropout"], self.config.dropout, actions.dtype)
        loss = noise_prediction_loss(
            lambda noisy, observations, time: network(noisy, observations, time, kept),
            actions,
            batch["observations"],
            time_between(draws["behaviour_time"], self.config.behaviour_time_min, LATEST_TIME),
            draws["behaviour_noise"],
        )
        self.minimise("behaviour", loss)
        return {"behaviour_loss": loss.detach()}


class SRPO(VPBehaviour):
    """Score Regularized Policy Optimization over a stack of seeds."""

    name: ClassVar[str] = "srpo"
    config: SRPOConfig
    one_step: ClassVar[bool] = True

    def build(self) -> None:
        """Behaviour model, critics and policy, and their optimisers."""
        super().build()
        config, dimensions, networks = self.config, self.dimensions, self.networks
        observation, action, width = dimensions.observation, dimensions.action, config.hidden_width
        hidden = (width,) * CRITIC_HIDDEN_LAYERS
        sizes = (observation, *(width,) * config.policy_hidden_layers, action)
        relu, initialiser = functional.relu, Initialiser(self.seeds, "critics")
        self.add("critics", CriticEnsemble(initialiser, observation, action, hidden, relu))
        self.add("value", MLP(Initialiser(self.seeds, "value"), (observation, *hidden, 1), relu))
        self.add("policy", MLP(Initialiser(self.seeds, "policy"), sizes, relu))
        self.add_target("critics")
        # Elementwise as Adam is, one over Q and V equals the released two of the same rate.
        critic_parameters = [*networks["critics"].parameters(), *networks["value"].parameters()]
        self.optimisers["critic"] = Adam(critic_parameters, config.critic_learning_rate)
        self.optimisers["policy"] = Adam(
            networks["policy"].parameters(),
            config.policy_learning_rate,
            schedule=cosine_to_zero(config.policy_iterations),
        )

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`critic`, `behaviour` and `policy`; the last alone meets the results of the others."""
        config = self.config
        policy_draws = (
            Draw("policy_time", (config.batch_size,), "uniform"),
            Draw("policy_noise", (config.batch_size, self.dimensions.action), "normal"),
        )
        size: int = config.batch_size
        sampling: Sampling = "shuffled"
        return (
            Phase("critic", config.critic_iterations, size, sampling=sampling),
            self.behaviour_phase,
            Phase("policy", config.policy_iterations, size, policy_draws, evaluated=True, sampling=sampling),
        )

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics and their targets, the behaviour model, or the policy: what `program` names."""
        if program == "critic":
            return self._update_critic(batch)
        if program == "behaviour":
            return self.update_behaviour(batch, draws)
        return self._update_policy(batch["observations"], draws)

    def _update_critic(self, batch: Tensors) -> dict[str, Tensor]:
        networks, config = self.networks, self.config
        value_loss, action_value_loss = critic_losses(
            networks["critics"],
            networks["target_critics"],
            networks["value"],
            batch,
            expectile=config.expectile,
            discount=config.discount,
        )
        self.minimise("critic", value_loss + action_value_loss)
        self.follow("critics", config.target_update_rate)
        return {"value_loss": value_loss.detach(), "critic_loss": action_value_loss.detach()}

    def _update_policy(self, observations: Tensor, draws: Tensors) -> dict[str, Tensor]:
        networks, config = self.networks, self.config
        actions = self._policy_actions(observations)
        values, value_gradient = mean_value_gradient(networks["target_critics"], observations, actions)
        gradient = regularised_gradient(
            networks["behaviour"],
            observations,
            actions.detach(),
            normalised(value_gradient, config.gradient_normalisation),
            time=time_between(draws["policy_time"], config.policy_time_min, config.policy_time_max),
            noise=draws["policy_noise"],
            beta=config.beta,
            score_weighting=config.score_weighting,
            noise_baseline=config.noise_baseline,
        )
        loss = surrogate_loss(gradient, actions)
        self.minimise("policy", loss)
        return {"policy_loss": loss.detach(), "policy_value": values.mean(dim=-1)}

    def _policy_actions(self, observations: Tensor) -> Tensor:
        return self.dimensions.action_bound * torch.tanh(self.networks["policy"](observations))

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The policy's action, deterministic: observations (S, N, O) -> (S, N, A)."""
        return self._policy_actions(observations)
