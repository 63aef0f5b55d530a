"""What DTQL and its KL-regularised variant share: critics, diffusion model, phases and the choice of actions.

Chen, Wang & Zhou 2024. Defaults follow the authors' code; where the paper's text says otherwise, the presets'
variant `paper` does.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm, Dimensions, Draw, Phase, Tensors
from algorithms.diffusion import denoising_loss, log_logistic
from algorithms.hyperparameters import (
    Count,
    Fraction,
    Hyperparameters,
    InnerFraction,
    NonNegative,
    NonNegativeCount,
    Positive,
    SineFeatures,
)
from algorithms.losses import expectile_loss
from algorithms.networks import MLP, CriticEnsemble, Initialiser, NoiseConditionedNetwork, mish
from algorithms.optim import Adam, Schedule, constant, cosine_to_zero, move_towards
from algorithms.selection import draw_by_softmax


@dataclass(frozen=True)
class DiffusionTrustedConfig(Hyperparameters):
    """Hyper-parameters that both variants have; values per task, with their sources, are in presets/."""

    pretrain_iterations: NonNegativeCount = 50_000
    """iterations; critic and diffusion model together, before the actor starts"""
    train_iterations: Count = 1_000_000
    """iterations; epochs of 1000 in the paper"""
    batch_size: Count = 256
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
    hidden_width: Count = 256
    """units per hidden layer of Q, V and a Gaussian actor"""
    diffusion_width: Count = 256
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
    candidates: Count = 1024
    """actions sampled per state at evaluation"""
    selection_temperature: Positive = 1.0
    """of the softmax over the candidates' values"""


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
        targets = batch["rewards"] + discount * (1 - batch["terminals"]) * next_values
    action_value_loss = (action_values - targets.unsqueeze(1)).square().mean(dim=-1).sum(dim=1)
    return value_loss, action_value_loss


class DiffusionTrusted(Algorithm):
    """Critics and a diffusion model that clones the data; subclasses bring the one-step policy they guide.

    A subclass adds its networks to `networks` in `_build_policy`, names those that step with the policy's
    learning rate in `_policy_networks`, and implements `_update_policy` and `sample`.
    """

    _policy_networks: ClassVar[tuple[str, ...]]
    """Networks with an optimiser of their own that first step in the phase `train`."""

    def __init__(
        self,
        dimensions: Dimensions,
        config: DiffusionTrustedConfig,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dimensions, config, seeds, device)
        self.config: DiffusionTrustedConfig = config
        self._build_critics()
        self.networks["diffusion"] = self._diffusion_network("diffusion")
        self._build_policy()
        self.networks.to(self.device)
        self._build_optimisers()
        self.act_draws = (
            Draw("candidates", (config.candidates, dimensions.action), "normal"),
            Draw("choice", (), "uniform"),
        )
        self._denoised_bound = dimensions.action_bound if config.clip_denoised else None
        limits = (config.sigma_min, config.sigma_max) if config.truncate_noise else ()
        self._noise_levels = partial(_levels, config.noise_median, config.noise_scale, limits)

    @abstractmethod
    def _build_policy(self) -> None:
        """Add the policy's networks."""

    @property
    @abstractmethod
    def _policy_draws(self) -> tuple[Draw, ...]:
        """What `_update_policy` needs."""

    @abstractmethod
    def _update_policy(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Step the policy, after critics and diffusion model; returns metrics."""

    @abstractmethod
    def sample(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, N, C, A) of the policy from noise of that shape and observations (S, N, O)."""

    def _build_critics(self) -> None:
        config, dimensions = self.config, self.dimensions
        hidden = (config.hidden_width,) * 3
        self.networks["critics"] = CriticEnsemble(
            Initialiser(self.seeds, "critics"),
            dimensions.observation,
            dimensions.action,
            hidden,
            mish,
            layer_norm_epsilon=config.layer_norm_epsilon if config.critic_layer_norm else None,
        )
        self.networks["value"] = MLP(
            Initialiser(self.seeds, "value"), (dimensions.observation, *hidden, 1), mish
        )
        # Never synchronised after pretraining in the released code: it starts from the initial weights.
        self.networks["target_critics"] = copy.deepcopy(self.networks["critics"]).requires_grad_(False)

    def _diffusion_network(self, name: str) -> NoiseConditionedNetwork:
        """A network F(noisy action, observation, noise condition) with its own initial weights."""
        return NoiseConditionedNetwork(
            Initialiser(self.seeds, name),
            self.dimensions,
            self.config.diffusion_width,
            self.config.time_embedding_width,
            plain_first=not self.config.embedding_activation,
        )

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
        for name in self._policy_networks:
            self.optimisers[name] = Adam(networks[name].parameters(), rate, schedule=from_start)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`pretrain` (critic and diffusion model), unless it has no iterations, and `train` (and policy)."""
        config = self.config
        sampling = "shuffled" if config.shuffled_minibatches else "index"
        behaviour = (
            Draw("behaviour_level", (config.batch_size,), "uniform"),
            Draw("behaviour_noise", (config.batch_size, self.dimensions.action), "normal"),
        )
        train = Phase(
            "train",
            config.train_iterations,
            config.batch_size,
            behaviour + self._policy_draws,
            _always("train"),
            evaluated=True,
            sampling=sampling,
        )
        if not config.pretrain_iterations:
            return (train,)
        pretrain = Phase(
            "pretrain",
            config.pretrain_iterations,
            config.batch_size,
            behaviour,
            _always("pretrain"),
            sampling=sampling,
        )
        return (pretrain, train)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critic, diffusion model and, in program `train`, policy and target critics, on one minibatch."""
        metrics = self._update_critic(batch) | self._update_diffusion(batch, draws)
        if program == "train":
            metrics |= self._update_policy(batch, draws)
            move_towards(
                list(self.networks["target_critics"].parameters()),
                list(self.networks["critics"].parameters()),
                self.config.target_update_rate,
            )
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


def _levels(
    median: float, scale: float, limits: tuple[float, ...], uniform: Tensor, dtype: torch.dtype
) -> Tensor:
    return log_logistic(uniform, median, scale, *limits).to(dtype)


def _always(program: str) -> Callable[[int], str]:
    return lambda step: program
