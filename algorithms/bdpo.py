"""BDPO: a diffusion policy regularised towards a diffusion behaviour model along the whole reverse chain (Gao
et al. 2025).

The divergence of two diffusion policies is the sum of the divergences of their reverse steps, which are
Gaussians. Q lives in the environment; V_n lives in the chain and lets the actor improve by single steps.
Defaults follow the authors' flow-rl; where the text says otherwise, the presets' variant `paper` does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from algorithms.base import (
    Algorithm,
    BatchSize,
    Count,
    Draw,
    Fraction,
    NonNegative,
    NonNegativeCount,
    Phase,
    Positive,
    SineFeatures,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.diffusion import (
    NoiseNetwork,
    Schedule,
    add_noise,
    clean_action,
    posterior_mean,
    random_steps,
    squared_error,
    vp_schedule,
)
from algorithms.losses import (
    ensemble_loss,
    lower_confidence_bound,
    next_value,
    take_best,
    temporal_difference_targets,
)
from algorithms.networks import ActionValues, BroadcastNoiseNetwork, DiffusionValues, Initialiser
from algorithms.optim import Adam, constant, cosine_to_zero

PRETRAIN, CRITIC = "pretrain", "critic"

# Reverse chains, penalties and losses as functions of explicit inputs. Equations are those of arXiv
# 2502.04778; where it is silent, flow-rl's `flowrl/agent/offline/bdpo/bdpo.py` and `flowrl/flow/ddpm.py`
# speak. Diffusion steps n run from 1 to T; a^0 is the action. N is the number of samples.

ActionValue = Callable[[Tensor, Tensor], Tensor]
"""Q(observations (S, *rows, O), actions (S, *rows, A)) -> (S, E, *rows)."""
DiffusionValue = Callable[[Tensor, Tensor, Tensor], Tensor]
"""V_n(observations (S, *rows, O), a^n (S, *rows, A), n (S, *rows)) -> (S, E, *rows)."""
PenaltyPlacement = Literal["inside", "outside"]


@dataclass(frozen=True)
class Chain:
    """Full reverse chains, N per state."""

    actions: Tensor
    """a^0, (S, B, N, A)."""
    noisy: Tensor
    """a^T ... a^1, (S, B, T, N, A)."""
    predicted: Tensor
    """Noise that the policy predicted in each, same shape."""
    steps: Tensor
    """T ... 1, (S, 1, T, 1)."""


def step_divergence(schedule: Schedule, step: Tensor, policy: Tensor, behaviour: Tensor) -> Tensor:
    """KL of one reverse step between two policies, from their predicted noises (..., A) -> (...).

    |mu - mu'|^2 / (2 sigma_n^2) with unclipped means and sigma_n^2 = beta_n. The paper names the posterior
    variance, with which the divergence would be infinite at n = 1.
    """
    return schedule.at(step).divergence.squeeze(-1) * squared_error(policy, behaviour).sum(dim=-1)


def reverse_mean(
    schedule: Schedule, noisy: Tensor, step: Tensor | int, predicted: Tensor, bound: float | None
) -> Tensor:
    """Mean of a^{n-1}, (..., A); the clean action at n = 1."""
    clean = clean_action(schedule, noisy, step, predicted, bound)
    return posterior_mean(schedule, noisy, step, clean)


def reverse_chain(
    schedule: Schedule, predict: Callable[[int, Tensor], Tensor], noise: Tensor, bound: float | None
) -> Chain:
    """Sample actions, with variance beta_n and none in the last step.

    `predict(n, a^n)` is the noise (S, B, N, A) that the policy sees in a^n (S, B, N, A). `noise` (S, T, B, N,
    A): a^T, then what the steps into a^{T-1} ... a^1 add.
    """
    total = schedule.steps
    steps = torch.arange(total, 0, -1, device=noise.device).expand(len(noise), -1)
    current, noisy, predicted = noise[:, 0], [], []
    for step in range(total, 0, -1):
        noisy.append(current)
        predicted.append(predict(step, current))
        current = reverse_mean(schedule, current, step, predicted[-1], bound)
        if step > 1:
            current = torch.addcmul(current, schedule.at(step).deviation, noise[:, total - step + 1])
    return Chain(current, torch.stack(noisy, dim=2), torch.stack(predicted, dim=2), steps[:, None, :, None])


def path_divergence(
    schedule: Schedule, chain: Chain, behaviour: NoiseNetwork, observations: Tensor
) -> Tensor:
    """Divergence along the whole chain, mean over the N chains: sum of `step_divergence`, (S, B)."""
    other = behaviour(chain.noisy, observations[:, :, None, None], chain.steps)
    return step_divergence(schedule, chain.steps, chain.predicted, other).sum(dim=2).mean(dim=-1)


def behaviour_loss(
    schedule: Schedule, network: NoiseNetwork, batch: Tensors, step: Tensor, noise: Tensor
) -> Tensor:
    """Mean squared error of the predicted noise, (S,); step (S, B), noise (S, B, A)."""
    noisy = add_noise(schedule, batch["actions"], step, noise)
    return squared_error(network(noisy, batch["observations"], step), noise).mean(dim=(-2, -1))


def action_value_targets(
    batch: Tensors, values: Tensor, penalty: Tensor, discount: float, placement: PenaltyPlacement
) -> Tensor:
    """Targets of Q, (S, B), from `next_value` and the penalty eta * divergence at the next state (S, B).

    `inside` is Eq. 12 and the present code; `outside` is what the code did while its values were tuned: there
    the penalty is neither discounted nor dropped at terminals.
    """
    if placement == "inside":
        return temporal_difference_targets(batch, values - penalty, discount)
    return temporal_difference_targets(batch, values, discount) - penalty


@dataclass(frozen=True)
class SingleStep:
    """a^n made from data, and N samples of a^{n-1} by one reverse step of a policy."""

    step: Tensor
    """n, (S, B)."""
    noisy: Tensor
    """a^n, (S, B, A)."""
    predicted: Tensor
    """Noise that the policy predicts in it, (S, B, A)."""
    samples: Tensor
    """a^{n-1}, (S, B, N, A)."""


def single_step(
    schedule: Schedule,
    network: NoiseNetwork,
    batch: Tensors,
    step: Tensor,
    noise: Tensor,
    reverse_noise: Tensor,
    bound: float | None,
) -> SingleStep:
    """One reverse step from noisy data: step (S, B), noise (S, B, A), reverse_noise (S, B, N, A)."""
    noisy = add_noise(schedule, batch["actions"], step, noise)
    predicted = network(noisy, batch["observations"], step)
    mean = reverse_mean(schedule, noisy, step, predicted, bound)
    deviation = schedule.at(step).deviation.unsqueeze(2)
    return SingleStep(step, noisy, predicted, torch.addcmul(mean.unsqueeze(2), deviation, reverse_noise))


def single_step_objective(
    schedule: Schedule,
    taken: SingleStep,
    observations: Tensor,
    *,
    behaviour: NoiseNetwork,
    action_values: ActionValue,
    diffusion_values: DiffusionValue,
    divergence_weight: float,
    pessimism: float,
) -> Tensor:
    """Value one step further down the chain less eta * divergence of the step, (S, B).

    Without a graph it is the target of V_n (Eq. 14), with one the actor's objective (Eq. 15; the code bounds
    both from below). At n = 1 the value is Q's, and V_0 does not exist.
    """
    below = (taken.step - 1).clamp(min=1).unsqueeze(2)
    further = diffusion_values(observations.unsqueeze(2), taken.samples, below).mean(dim=-1)
    # Where n = 1, the step adds no noise and all samples are one action; elsewhere Q is not looked at.
    final = action_values(observations, taken.samples[:, :, 0])
    values = torch.where(
        taken.step == 1,
        lower_confidence_bound(final, pessimism),
        lower_confidence_bound(further, pessimism),
    )
    other = behaviour(taken.noisy, observations, taken.step)
    return values - divergence_weight * step_divergence(schedule, taken.step, taken.predicted, other)


@hyperparameters
class RegularisedConfig:
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
    batch_size: BatchSize = 256
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
    ensemble: Annotated[Count, Tiny(3)] = 10
    """members of every kind of critic (K)"""
    critic_width: Width = 256
    """units per hidden layer"""
    critic_layers: Count = 3
    """hidden layers"""
    critic_layer_norm: bool = False
    """LayerNorm in Q; V_n always has it"""
    layer_norm_epsilon: Positive = 1e-6
    """added to the variance in every LayerNorm of the critics"""
    actor_width: Width = 256
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


@hyperparameters
class SampledConfig(RegularisedConfig):
    """Hyper-parameters of those whose policies are random."""

    samples: Annotated[Count, Tiny(2)] = 10
    """actions per state in targets and in the actor's objective (N)"""
    max_q_backup: bool = False
    """Q's target takes the best of the samples, per member, instead of their mean"""
    candidates: Annotated[Count, Tiny(4)] = 10
    """actions sampled per state at evaluation; the one of highest mean target Q is taken"""


@hyperparameters
class BDPOConfig(SampledConfig):
    """Hyper-parameters of BDPO; values per task, with their sources, are in presets/bdpo.yaml."""

    diffusion_steps: Count = 5
    """steps of the reverse chain (T)"""
    clip_denoised: bool = True
    """clamp the clean action of every reverse step to the action bound; penalties are not concerned"""
    time_embedding_width: SineFeatures = 64
    """sine and cosine features of the diffusion step, and what the layers behind them return"""
    value_time_width: Count = 64
    """units of the hidden layer of V_n's time embedding"""


class BehaviourRegularised(Algorithm):
    """Critics, an actor and a behaviour model of the actor's kind over a stack of seeds."""

    config: RegularisedConfig

    def build(self) -> None:
        """Every network with its target and its optimiser, which clips an ensemble as one network."""
        config = self.config
        to_zero = cosine_to_zero(config.train_iterations)
        of_policies = {
            "behaviour": (config.behaviour_learning_rate, constant),
            "actor": (config.actor_learning_rate, to_zero),
        }
        for name, network in self._learned().items():
            self.add(name, network)
            self.add_target(name)
            rate, schedule = of_policies.get(name, (config.critic_learning_rate, to_zero))
            self.optimisers[name] = Adam(
                network.parameters(), rate, schedule=schedule, largest_norm=config.gradient_norm
            )

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
        size, programs = config.batch_size, self._training_program
        pretrain = Phase(PRETRAIN, config.pretrain_iterations, size, behaviour, sampling="shuffled")
        return pretrain, Phase(
            "train", config.train_iterations, size, training, programs, evaluated=True, sampling="shuffled"
        )

    def _training_program(self, step: int) -> str:
        config = self.config
        if step < config.warm_up_iterations or step % config.actor_interval:
            return CRITIC
        return "critic+actor+behaviour" if config.behaviour_in_training else "critic+actor"

    def begin_phase(self, name: str) -> None:
        """Training starts from the behaviour model's average as actor and as its target."""
        for follower in ("actor", "target_actor"):
            self.copy_weights("target_behaviour", follower)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Critics, then actor, then behaviour model, each followed by its target, on one minibatch."""
        batch = self._within_bounds(batch)
        if program == PRETRAIN:
            return self._learn("behaviour", self.behaviour_loss(batch, draws))
        losses, metrics = self.critic_losses(batch, draws)
        for name, loss in losses.items():
            self.minimise(name, loss)
        for name in losses:
            self.follow(name, self.config.target_update_rate)
        metrics = metrics | {f"{name}_loss": loss.detach() for name, loss in losses.items()}
        parts = program.split("+")
        if "actor" in parts:
            metrics |= self._learn("actor", self.actor_loss(batch, draws))
        if "behaviour" in parts:
            metrics |= self._learn("behaviour", self.behaviour_loss(batch, draws))
        return metrics

    def _learn(self, name: str, loss: Tensor) -> dict[str, Tensor]:
        """A step of the named network, which its target then follows."""
        self.minimise(name, loss)
        self.follow(name, self.config.target_update_rate)
        return {f"{name}_loss": loss.detach()}

    def _within_bounds(self, batch: Tensors) -> dict[str, Tensor]:
        limit = self.dimensions.action_bound - self.config.action_margin
        return {**batch, "actions": batch["actions"].clamp(-limit, limit)}

    def mean_target_value(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Mean over the ensemble of the target Q: (S, *rows, O), (S, *rows, A) -> (S, *rows)."""
        return self.networks["target_critics"](observations, actions).mean(dim=1)

    def _best(self, observations: Tensor, candidates: Tensor) -> Tensor:
        """The candidate of highest mean target Q: (S, N, O), (S, N, C, A) -> (S, N, A)."""
        if candidates.shape[2] == 1:
            return candidates.squeeze(2)
        return take_best(candidates, self.mean_target_value(observations.unsqueeze(2), candidates))

    @abstractmethod
    def _policy(self, initialiser: Initialiser) -> nn.Module:
        """An actor, or a behaviour model, which is the same."""

    @abstractmethod
    def _behaviour_draws(self) -> Iterable[Draw]:
        """What the behaviour model's loss needs."""

    @abstractmethod
    def _critic_draws(self) -> Iterable[Draw]:
        """What the critics' losses need."""

    @abstractmethod
    def _actor_draws(self) -> Iterable[Draw]:
        """What the actor's loss needs."""

    @abstractmethod
    def behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Of the behaviour model on the data, (S,)."""

    @abstractmethod
    def critic_losses(self, batch: Tensors, draws: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses by network and further metrics, (S,) each; all targets are of before the update."""

    @abstractmethod
    def actor_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Negative objective of the actor, (S,)."""


class BDPO(BehaviourRegularised):
    """Behaviour-Regularised Diffusion Policy Optimisation over a stack of seeds."""

    name: ClassVar[str] = "bdpo"
    config: BDPOConfig

    def build(self) -> None:
        """Networks and optimisers, the noise schedule and the clamp of clean actions."""
        super().build()
        config, dimensions = self.config, self.dimensions
        self.schedule = vp_schedule(config.diffusion_steps, device=self.device)
        self.denoised_bound = dimensions.action_bound if config.clip_denoised else None
        """Of the clean action of every reverse step; None: no clamp."""
        chain = (config.diffusion_steps, config.candidates, dimensions.action)
        self.act_draws = (Draw("chain", chain, "normal"),)

    def _policy(self, initialiser: Initialiser) -> nn.Module:
        config = self.config
        hidden = (config.actor_width,) * config.actor_layers
        return BroadcastNoiseNetwork(initialiser, self.dimensions, hidden, config.time_embedding_width)

    def _learned(self) -> dict[str, nn.Module]:
        config = self.config
        values = DiffusionValues(
            Initialiser(self.seeds, "diffusion_values"),
            self.dimensions,
            (config.critic_width,) * config.critic_layers,
            members=config.ensemble,
            embedding=config.time_embedding_width,
            embedding_hidden=config.value_time_width,
            layer_norm_epsilon=config.layer_norm_epsilon,
        )
        return {**super()._learned(), "diffusion_values": values}

    def _behaviour_draws(self) -> Iterator[Draw]:
        size = self.config.batch_size
        yield Draw("behaviour_step", (size,), "uniform")
        yield Draw("behaviour_noise", (size, self.dimensions.action), "normal")

    def _critic_draws(self) -> Iterator[Draw]:
        config = self.config
        samples = (config.batch_size, config.samples, self.dimensions.action)
        if self._bootstraps:
            yield Draw("next_chain", (config.diffusion_steps, *samples), "normal")
        yield from self._single_step_draws("value")

    def _actor_draws(self) -> Iterator[Draw]:
        yield from self._single_step_draws("actor")

    def _single_step_draws(self, stage: str) -> Iterator[Draw]:
        config, action = self.config, self.dimensions.action
        yield Draw(f"{stage}_step", (config.batch_size,), "uniform")
        yield Draw(f"{stage}_noise", (config.batch_size, action), "normal")
        yield Draw(f"{stage}_reverse", (config.batch_size, config.samples, action), "normal")

    def behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Mean squared error of the noise that the behaviour model predicts, (S,)."""
        step = random_steps(draws["behaviour_step"], self.config.diffusion_steps)
        return behaviour_loss(
            self.schedule, self.networks["behaviour"], batch, step, draws["behaviour_noise"]
        )

    def critic_losses(self, batch: Tensors, draws: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of Q (Eq. 12) and V_n (Eq. 14), whose targets are of before the update."""
        observations = batch["observations"]
        with torch.no_grad():
            targets, metrics = self._action_value_targets(batch, draws)
            taken = self._single_step("target_actor", "value", batch, draws)
            further = self._objective(taken, observations)
        values = self.networks["diffusion_values"](observations, taken.noisy, taken.step)
        losses = {
            "critics": ensemble_loss(self.networks["critics"](observations, batch["actions"]), targets),
            "diffusion_values": ensemble_loss(values, further),
        }
        return losses, metrics

    def _action_value_targets(self, batch: Tensors, draws: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        """Targets of Q, (S, B), and the mean divergence of the chains they come from."""
        config, networks = self.config, self.networks
        if not self._bootstraps:
            return batch["rewards"], {}
        following = batch["next_observations"]
        chain = self.chain("target_actor", following, draws["next_chain"])
        action_values = networks["target_critics"](following.unsqueeze(2), chain.actions)
        divergence = path_divergence(self.schedule, chain, networks["target_behaviour"], following)
        targets = action_value_targets(
            batch,
            next_value(action_values, config.pessimism, config.max_q_backup),
            config.divergence_weight * divergence,
            config.discount,
            config.penalty_placement,
        )
        return targets, {"path_divergence": divergence.mean(dim=-1)}

    def actor_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Negative mean of the single-step objective (Eq. 15), (S,)."""
        taken = self._single_step("actor", "actor", batch, draws)
        return -self._objective(taken, batch["observations"]).mean(dim=-1)

    def _single_step(self, policy: str, stage: str, batch: Tensors, draws: Tensors) -> SingleStep:
        return single_step(
            self.schedule,
            self.networks[policy],
            batch,
            random_steps(draws[f"{stage}_step"], self.config.diffusion_steps),
            draws[f"{stage}_noise"],
            draws[f"{stage}_reverse"],
            self.denoised_bound,
        )

    def _objective(self, taken: SingleStep, observations: Tensor) -> Tensor:
        return single_step_objective(
            self.schedule,
            taken,
            observations,
            behaviour=self.networks["target_behaviour"],
            action_values=self.networks["target_critics"],
            diffusion_values=self.networks["target_diffusion_values"],
            divergence_weight=self.config.divergence_weight,
            pessimism=self.config.pessimism,
        )

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """The best of `candidates` chains of the target actor by the target Q's mean; a single one as it is.

        Shapes: observations (S, N, O); chain (S, N, T, C, A); returns (S, N, A).
        """
        chain = self.chain("target_actor", observations, draws["chain"].transpose(1, 2))
        return self._best(observations, chain.actions)

    def chain(self, policy: str, observations: Tensor, noise: Tensor) -> Chain:
        """Reverse chains of the named policy for observations (S, B, O), from noise (S, T, B, N, A)."""
        network = cast(BroadcastNoiseNetwork, self.networks[policy])
        predict = network.along(observations, self.schedule.steps)
        return reverse_chain(self.schedule, predict, noise, self.denoised_bound)
