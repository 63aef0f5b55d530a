"""DTQL: a one-step policy inside the trust region of a diffusion model (Chen, Wang & Zhou 2024).

Two policies: a diffusion model that only clones the data and is never sampled, and a tanh-Gaussian actor that
maximises the critics and pays the diffusion model's denoising loss of its own actions. Critics are IQL's.
Defaults follow the authors' code; where the paper's text says otherwise, the presets' variant `paper` does.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Draw,
    Fraction,
    InnerFraction,
    NonNegative,
    NonNegativeCount,
    Phase,
    Positive,
    Sampling,
    SineFeatures,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.diffusion import NoiseNetwork, denoising_loss, log_logistic
from algorithms.losses import (
    draw_by_softmax,
    expectile_loss,
    gaussian_log_likelihood,
    summed_ensemble_loss,
    temporal_difference_targets,
)
from algorithms.networks import (
    MLP,
    CriticEnsemble,
    GaussianActor,
    Initialiser,
    NoiseConditionedNetwork,
    mish,
)
from algorithms.optim import Adam, Schedule, constant, cosine_to_zero

ATANH_MARGIN = 1e-3
"""Added to the action bound so that atanh of an action on the bound is finite (released agents/dtql.py)."""


def critic_losses(
    critics: nn.Module, value: nn.Module, batch: Tensors, *, expectile: float, discount: float
) -> tuple[Tensor, Tensor]:
    """IQL's losses with online networks throughout: value (S,) and action value (S,).

    `batch` holds observations (S, B, O), actions (S, B, A), rewards, terminals (S, B), and
    next_observations (S, B, O).
    """
    values = value(batch["observations"]).squeeze(-1)
    action_values = critics(batch["observations"], batch["actions"])
    value_loss = expectile_loss(action_values.detach().amin(dim=1) - values, expectile).mean(dim=-1)
    with torch.no_grad():
        next_values = value(batch["next_observations"]).squeeze(-1)
        targets = temporal_difference_targets(batch, next_values, discount)
    return value_loss, summed_ensemble_loss(action_values, targets)


def squash(mean: Tensor, log_std: Tensor, noise: Tensor, bound: float) -> Tensor:
    """Actions clamp(bound tanh(mean + exp(log_std) noise)); any broadcasting shapes (..., A)."""
    return (bound * torch.tanh(mean + log_std.exp() * noise)).clamp(-bound, bound)


def log_likelihood(mean: Tensor, log_std: Tensor, actions: Tensor, bound: float) -> Tensor:
    """Log-density of pre-tanh actions without the tanh Jacobian, summed over the action: (S, B, A) -> (S, B).

    Source: released agents/dtql.py. NaN for actions beyond bound + 0.001.
    """
    before_tanh = torch.atanh(actions / (bound + ATANH_MARGIN))
    return gaussian_log_likelihood(before_tanh, mean, log_std)


def actor_losses(
    actor: nn.Module,
    critics: nn.Module,
    network: NoiseNetwork,
    batch: Tensors,
    *,
    action_noise: Tensor,
    sigma: Tensor,
    noise: Tensor,
    action_bound: float,
    sigma_data: float,
    denoised_bound: float | None,
    likelihood: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Trust-region loss, negative action value and negative log-likelihood of the data, (S,) each.

    The last is None where `likelihood` is false.

    One action per state, a = squash(actor(s), action_noise), serves the first two. The trust-region loss
    keeps the Jacobian of the diffusion network. Shapes: action_noise, noise (S, B, A); sigma (S, B).
    """
    observations = batch["observations"]
    mean, log_std = actor(observations)
    actions = squash(mean, log_std, action_noise, action_bound)
    trust_region = denoising_loss(
        network, actions, observations, sigma, noise, sigma_data=sigma_data, bound=denoised_bound
    )
    action_value = critics(observations, actions).amin(dim=1).mean(dim=-1)
    if not likelihood:
        return trust_region, -action_value, None
    of_data = log_likelihood(mean, log_std, batch["actions"], action_bound).mean(dim=-1)
    return trust_region, -action_value, -of_data


@hyperparameters
class DTQLSharedConfig:
    """Hyper-parameters that the KL-regularised variant has as well; values are in presets/dtql*.yaml."""

    pretrain_iterations: NonNegativeCount = 50_000
    """iterations; critic and diffusion model together, before the actor starts"""
    train_iterations: Count = 1_000_000
    """iterations; epochs of 1000 in the paper"""
    batch_size: BatchSize = 256
    """transitions"""
    shuffled_minibatches: bool = False
    """draw minibatches without replacement; as large as the dataset, each is the whole of it"""
    discount: Fraction = 0.99
    """per step"""
    expectile: InnerFraction = 0.7
    """of the state value (tau)"""
    trust_region_weight: NonNegative = 1.0
    """alpha, weight of the behaviour regularisation; scales with the task's raw rewards"""
    action_value_weight: NonNegative = 1.0
    """eta, weight of L_Q; 1 on D4RL, other values on the 2D problems and for ablation"""
    learning_rate: Positive = 3e-4
    """per step; of all but the critics"""
    critic_learning_rate: Positive = 3e-4
    """per step; Q and V, fixed in the released code whatever the task's learning rate"""
    learning_rate_decay: bool = False
    """half a cosine to zero over the training iterations, on all optimisers"""
    target_update_rate: Fraction = 0.005
    """per training iteration; the target critics only rank candidates at evaluation"""
    hidden_width: Width = 256
    """units per hidden layer of Q, V and a Gaussian actor"""
    diffusion_width: Width = 256
    """units per hidden layer of the diffusion model, and of whatever is built like it"""
    time_embedding_width: SineFeatures = 16
    """features of the noise level"""
    sigma_data: Positive = 0.5
    """action units; EDM's data scale"""
    sigma_min: Positive = 0.002
    """action units; lowest noise level"""
    sigma_max: Positive = 80.0
    """action units; highest noise level"""
    noise_median: Positive = 0.5
    """action units; median of the log-logistic noise levels"""
    noise_scale: Positive = 0.5
    """scale of the log-logistic noise levels"""
    truncate_noise: bool = True
    """restrict noise levels to [sigma_min, sigma_max]; the paper's text does not"""
    clip_denoised: bool = True
    """clamp denoised actions to the action bound"""
    critic_layer_norm: bool = True
    """LayerNorm in Q (not in V); in the released code, not in the paper's text"""
    layer_norm_epsilon: Positive = 1e-5
    """added to the variance in that LayerNorm"""
    embedding_activation: bool = False
    """activation after the diffusion network's first layer; missing in the released code"""
    candidates: Annotated[Count, Tiny(4)] = 1024
    """actions sampled per state at evaluation"""
    selection_temperature: Positive = 1.0
    """of the softmax over the candidates' values"""


@hyperparameters
class DTQLConfig(DTQLSharedConfig):
    """Hyper-parameters of DTQL, L_actor = alpha L_TR + eta L_Q + g L_likelihood.

    Values per task, with their sources, are in presets/dtql.yaml.
    """

    likelihood_weight: NonNegative = 0.0
    """g, the paper's entropy term: negative log-likelihood of dataset actions"""
    log_std_min: float = -5.0
    """nats; lower clamp of the actor's log standard deviation"""
    log_std_max: float = 2.0
    """nats; upper clamp of the actor's log standard deviation"""


class DTQL(Algorithm):
    """Diffusion Trusted Q-Learning over a stack of seeds.

    A variant with another one-step policy replaces `policy_networks`, `_build_policy`, `_policy_draws`,
    `_update_policy` and `sample`.
    """

    name: ClassVar[str] = "dtql"
    config: DTQLConfig
    one_step: ClassVar[bool] = True
    policy_networks: ClassVar[tuple[str, ...]] = ("actor",)
    """Networks with an optimiser of their own that first step in the phase `train`."""

    def build(self) -> None:
        """Critics, diffusion model and policy, and their optimisers."""
        config, dimensions = self.config, self.dimensions
        self._build_critics()
        self.add("diffusion", self._diffusion_network("diffusion"))
        self._build_policy()
        self._build_optimisers()
        self.act_draws = (
            Draw("candidates", (config.candidates, dimensions.action), "normal"),
            Draw("choice", (), "uniform"),
        )
        self._denoised_bound = dimensions.action_bound if config.clip_denoised else None

    def _build_critics(self) -> None:
        config, dimensions = self.config, self.dimensions
        hidden = (config.hidden_width,) * 3
        critics = CriticEnsemble(
            Initialiser(self.seeds, "critics"),
            dimensions.observation,
            dimensions.action,
            hidden,
            mish,
            layer_norm_epsilon=config.layer_norm_epsilon if config.critic_layer_norm else None,
        )
        self.add("critics", critics)
        self.add("value", MLP(Initialiser(self.seeds, "value"), (dimensions.observation, *hidden, 1), mish))
        # Never synchronised after pretraining in the released code: it starts from the initial weights.
        self.add_target("critics")

    def _diffusion_network(self, name: str) -> NoiseConditionedNetwork:
        """A network F(noisy action, observation, noise condition) with its own initial weights."""
        return NoiseConditionedNetwork(
            Initialiser(self.seeds, name),
            self.dimensions,
            self.config.diffusion_width,
            self.config.time_embedding_width,
            plain_first=not self.config.embedding_activation,
        )

    def _build_policy(self) -> None:
        config, initialiser = self.config, Initialiser(self.seeds, "actor")
        limits = (config.log_std_min, config.log_std_max)
        self.add("actor", GaussianActor(initialiser, self.dimensions, config.hidden_width, limits))

    def _build_optimisers(self) -> None:
        config, networks = self.config, self.networks
        # The cosine runs over the training phase alone; the policy takes its first step there.
        pretrained: Schedule = constant
        from_start: Schedule = constant
        if config.learning_rate_decay:
            pretrained = cosine_to_zero(config.train_iterations, after=config.pretrain_iterations)
            from_start = cosine_to_zero(config.train_iterations)
        critic_parameters = [*networks["critics"].parameters(), *networks["value"].parameters()]
        rate = config.learning_rate
        self.optimisers = {
            "critic": Adam(critic_parameters, config.critic_learning_rate, schedule=pretrained),
            "diffusion": Adam(networks["diffusion"].parameters(), rate, schedule=pretrained),
        }
        for name in self.policy_networks:
            self.optimisers[name] = Adam(networks[name].parameters(), rate, schedule=from_start)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`pretrain` (critic and diffusion model), unless it has no iterations, and `train` (and policy)."""
        config = self.config
        sampling: Sampling = "shuffled" if config.shuffled_minibatches else "index"
        size, draws = config.batch_size, self._behaviour_draws
        pretrain = Phase("pretrain", config.pretrain_iterations, size, draws, sampling=sampling)
        draws += self._policy_draws
        train = Phase("train", config.train_iterations, size, draws, evaluated=True, sampling=sampling)
        return (pretrain, train) if config.pretrain_iterations else (train,)

    @property
    def _behaviour_draws(self) -> tuple[Draw, ...]:
        """What the diffusion model's update needs."""
        batch = self.config.batch_size
        return (
            Draw("behaviour_level", (batch,), "uniform"),
            Draw("behaviour_noise", (batch, self.dimensions.action), "normal"),
        )

    @property
    def _policy_draws(self) -> tuple[Draw, ...]:
        """What the policy's update needs."""
        action = (self.config.batch_size, self.dimensions.action)
        return (
            Draw("action_noise", action, "normal"),
            Draw("actor_level", (self.config.batch_size,), "uniform"),
            Draw("actor_noise", action, "normal"),
        )

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critic, diffusion model and, in program `train`, policy and target critics, on one minibatch."""
        metrics = self._update_critic(batch) | self._update_diffusion(batch, draws)
        if program == "train":
            metrics |= self._update_policy(batch, draws)
            self.follow("critics", self.config.target_update_rate)
        return metrics

    def _update_critic(self, batch: Tensors) -> dict[str, Tensor]:
        value_loss, action_value_loss = critic_losses(
            self.networks["critics"],
            self.networks["value"],
            batch,
            expectile=self.config.expectile,
            discount=self.config.discount,
        )
        self.minimise("critic", value_loss + action_value_loss)
        return {"value_loss": value_loss.detach(), "critic_loss": action_value_loss.detach()}

    def _update_diffusion(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        loss = self._denoising_loss(
            "diffusion", batch, batch["actions"], draws["behaviour_level"], draws["behaviour_noise"]
        )
        self.minimise("diffusion", loss)
        return {"diffusion_loss": loss.detach()}

    def _denoising_loss(
        self, network: str, batch: Tensors, actions: Tensor, level: Tensor, noise: Tensor
    ) -> Tensor:
        """L_den of `actions` under the named network, noise levels from uniforms (S, B); returns (S,)."""
        return denoising_loss(
            self.networks[network],
            actions,
            batch["observations"],
            self._noise_levels(level, actions.dtype),
            noise,
            sigma_data=self.config.sigma_data,
            bound=self._denoised_bound,
        )

    def _noise_levels(self, uniform: Tensor, dtype: torch.dtype) -> Tensor:
        config = self.config
        limits = (config.sigma_min, config.sigma_max) if config.truncate_noise else ()
        return log_logistic(uniform, config.noise_median, config.noise_scale, *limits).to(dtype)

    def _update_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Step the policy, after critics and diffusion model; returns metrics."""
        config = self.config
        trust_region, negative_value, negative_likelihood = actor_losses(
            self.networks["actor"],
            self.networks["critics"],
            self.networks["diffusion"],
            batch,
            action_noise=draws["action_noise"],
            sigma=self._noise_levels(draws["actor_level"], batch["actions"].dtype),
            noise=draws["actor_noise"],
            action_bound=self.dimensions.action_bound,
            sigma_data=config.sigma_data,
            denoised_bound=self._denoised_bound,
            # 0 * NaN would spoil the loss where an action exceeds the bound.
            likelihood=config.likelihood_weight > 0,
        )
        loss = config.trust_region_weight * trust_region + config.action_value_weight * negative_value
        if negative_likelihood is not None:
            loss = loss + config.likelihood_weight * negative_likelihood
        self.minimise("actor", loss)
        return {
            "trust_region_loss": trust_region.detach(),
            "actor_value": -negative_value.detach(),
            "actor_loss": loss.detach(),
        }

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """One of `candidates` actions per state, drawn from the softmax of the target critics' minimum.

        Shapes: observations (S, N, O); candidates (S, N, C, A); choice (S, N); returns (S, N, A).
        """
        candidates = self.sample(observations, draws["candidates"])
        count = candidates.shape[2]
        if count == 1:
            return candidates.squeeze(2)
        states = observations.unsqueeze(2).expand(-1, -1, count, -1)
        values = self.networks["target_critics"](states.flatten(1, 2), candidates.flatten(1, 2)).amin(dim=1)
        return draw_by_softmax(
            candidates,
            values.unflatten(1, candidates.shape[1:3]),
            draws["choice"],
            self.config.selection_temperature,
        )

    def sample(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, N, C, A) of the policy from noise of that shape and observations (S, N, O)."""
        mean, log_std = self.networks["actor"](observations)
        return squash(mean.unsqueeze(2), log_std.unsqueeze(2), noise, self.dimensions.action_bound)
