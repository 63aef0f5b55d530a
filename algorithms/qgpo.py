"""QGPO: a diffusion model of the data's behaviour, guided by the energy of noisy actions (Lu, Chen, Chen, Su,
Li & Zhu 2023).

Three phases: the behaviour model; actions that it would choose in every state; critics on those actions, with
an energy f(s, a_t, t) that learns by contrast between them how good a noisy action is to go on from. Its
gradient guides the behaviour model as that samples. Follows the authors' code
(ChenDRAG/CEP-energy-guided-diffusion).
"""

from __future__ import annotations

import math
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from algorithms.base import (
    ROWS,
    BatchSize,
    Count,
    Draw,
    Fraction,
    NonNegative,
    Phase,
    Positive,
    Tensors,
    Width,
    hyperparameters,
)
from algorithms.diffusion import perturb_at, scales, time_between
from algorithms.diffusion_behaviour import (
    LATEST_TIME,
    DiffusionBehaviour,
    SupportConfig,
    TimeFeatures,
    repeated,
)
from algorithms.dpm_solver import Step, second_orders, solver_steps, vp_log_alpha
from algorithms.losses import ensemble_loss, soft_value, temporal_difference_targets
from algorithms.networks import BroadcastMLP, CriticEnsemble, Initialiser, Linear
from algorithms.optim import Adam

CRITIC_LAYERS, ENERGY_LAYERS = 3, 4
"""Hidden layers of each."""
CRITICS, ENERGY = "critics and energy", "energy"
"""Programs of the phase `energy`."""


class Energy(nn.Module):
    """f(observations (S, B, O), noisy actions (S, B, M, A), time (S, B) or (S, 1)) -> (S, B, M).

    The larger, the better. The M actions of a state share its time.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        observation: int,
        action: int,
        *,
        width: int,
        time_features: int,
        fourier_scale: float,
    ) -> None:
        super().__init__()
        self.time = TimeFeatures(initialiser, time_features, fourier_scale)
        sizes = (action + time_features + observation, *(width,) * ENERGY_LAYERS, 1)
        self.mlp = BroadcastMLP(initialiser, sizes, functional.silu)
        # Neither loss nor guidance sees what shifts all energies alike; trained, it would follow rounding.
        cast(Linear, self.mlp.layers[-1]).bias.requires_grad_(False)

    def forward(self, observations: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """Time and state are multiplied once for all actions of a state."""
        features = self.time(time).unsqueeze(2)
        return self.mlp(noisy, features, observations.unsqueeze(2)).squeeze(-1)


@torch.no_grad()
def lower_values(critics: nn.Module, observations: Tensor, actions: Tensor) -> Tensor:
    """Minimum over the critics (S, B, M) of actions (S, B, M, A) in states (S, B, O)."""
    shape = actions.shape[1:3]
    values = critics(repeated(observations, shape[1]), actions.flatten(1, 2))
    return values.amin(dim=1).unflatten(1, shape)


def contrastive_loss(energies: Tensor, values: Tensor, inverse_temperature: float) -> Tensor:
    """-mean_s sum_j softmax_j(beta q) log softmax_j(f), (S,): energies and values (S, B, M).

    The cross-entropy between which of a state's actions are good, and which of their noisy versions the
    energy says are. Source: QGPO's contrastive energy prediction; released model.py, update_qt.
    """
    wanted = torch.softmax(inverse_temperature * values, dim=-1)
    return -(wanted * torch.log_softmax(energies, dim=-1)).sum(dim=-1).mean(dim=-1)


def guided_noise(
    energy: nn.Module, observations: Tensor, noisy: Tensor, time: Tensor, predicted: Tensor, weight: float
) -> Tensor:
    """eps - weight grad f, (S, B, A): with w sigma_t as weight, the noise of the score plus w times grad f.

    Shapes: noisy actions and predicted noise (S, B, A); observations (S, B, O); time (S, 1).
    """
    with torch.enable_grad():
        actions = noisy.detach().requires_grad_()
        energies = energy(observations, actions.unsqueeze(2), time)
        (gradient,) = torch.autograd.grad(energies.sum(), actions)
    return torch.add(predicted, gradient, alpha=-weight)


@hyperparameters
class QGPOConfig(SupportConfig):
    """Hyper-parameters of QGPO; values per task, with their sources, are in presets/qgpo.yaml."""

    energy_iterations: Count = 1_000_000
    """iterations of the phase `energy`"""
    critic_iterations: Count = 500_000
    """of these, so many from the first on that train the critics as well"""
    batch_size: BatchSize = 256
    """transitions that have a support, drawn without replacement; phase `energy`"""
    discount: Fraction = 0.99
    """per step"""
    backup_inverse_temperature: NonNegative = 1.0
    """per unit of value (beta_Q); of the softmax that weighs the next state's actions in critics' targets"""
    inverse_temperature: NonNegative = 3.0
    """per unit of value (beta); of the softmax that the energy learns"""
    learning_rate: Positive = 3e-4
    """per step, constant; of the critics and of the energy"""
    target_update_rate: Fraction = 0.005
    """per iteration that trains the critics; of the target critics, which the energy learns from"""
    hidden_width: Width = 256
    """units per hidden layer of critics and energy"""
    guidance_scale: NonNegative = 3.0
    """weight of the energy's gradient beside the behaviour's score when acting; 0 clones"""


class QGPO(DiffusionBehaviour):
    """Q-Guided Policy Optimization over a stack of seeds."""

    name: ClassVar[str] = "qgpo"
    config: QGPOConfig
    supports = ("observations", "next_observations")

    def build(self) -> None:
        """Behaviour model, critics with their targets, energy, and their optimisers."""
        super().build()
        config, size = self.config, self.dimensions
        critics = CriticEnsemble(
            Initialiser(self.seeds, "critics"),
            size.observation,
            size.action,
            (config.hidden_width,) * CRITIC_LAYERS,
            functional.relu,
        )
        energy = Energy(
            Initialiser(self.seeds, "energy"),
            size.observation,
            size.action,
            width=config.hidden_width,
            time_features=config.time_features,
            fourier_scale=config.fourier_scale,
        )
        self.add("critics", critics)
        self.add("energy", energy)
        self.add_target("critics")
        for name, network in (("critics", critics), ("energy", energy)):
            trained = (parameter for parameter in network.parameters() if parameter.requires_grad)
            self.optimisers[name] = Adam(trained, config.learning_rate)
        self.act_draws = (Draw("action", (size.action,), "normal"),)
        sigmas = (math.sqrt(-math.expm1(2 * vp_log_alpha(time))) for time in self.call_times)
        self._guidance = [config.guidance_scale * sigma for sigma in sigmas]

    def solver_steps(self) -> tuple[Step, ...]:
        """Second order, following predicted clean actions."""
        calls, end = self.config.solver_calls, self.config.behaviour_time_min
        return solver_steps(vp_log_alpha, second_orders(calls), LATEST_TIME, end, of_clean=True)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`behaviour`, `support` and `energy`; the last one trains the critics too while they train."""
        config = self.config
        critic_iterations, rows = config.critic_iterations, config.batch_size
        draws = (
            Draw("energy_time", (rows,), "uniform"),
            Draw("energy_noise", (rows, config.support_actions, self.dimensions.action), "normal"),
        )
        energy = Phase(
            "energy",
            config.energy_iterations,
            rows,
            draws,
            programs=lambda step: CRITICS if step < critic_iterations else ENERGY,
            evaluated=True,
            sampling="shuffled",
            first_rows=self.supported_rows,
        )
        return self.behaviour_phase, self.support_phase(until="energy"), energy

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """The behaviour model, a batch's supports, or the energy, after the critics where they train."""
        if program == "behaviour":
            return self.update_behaviour(batch, draws)
        if program == "support":
            return self.update_support(batch, draws)
        metrics = self._update_critics(batch, draws) if program == CRITICS else {}
        return metrics | self._update_energy(batch["observations"], draws)

    def _update_critics(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        config, networks = self.config, self.networks
        support = self.supported("next_observations", draws[ROWS])
        next_values = lower_values(networks["target_critics"], batch["next_observations"], support)
        next_value = soft_value(next_values, config.backup_inverse_temperature)
        targets = temporal_difference_targets(batch, next_value, config.discount)
        loss = ensemble_loss(networks["critics"](batch["observations"], batch["actions"]), targets)
        self.minimise("critics", loss)
        self.follow("critics", config.target_update_rate)
        return {"critic_loss": loss.detach()}

    def _update_energy(self, observations: Tensor, draws: Tensors) -> dict[str, Tensor]:
        config, networks = self.config, self.networks
        support = self.supported("observations", draws[ROWS])
        values = lower_values(networks["target_critics"], observations, support)
        time = time_between(draws["energy_time"], config.behaviour_time_min, LATEST_TIME)
        alpha, sigma = (scale.unsqueeze(-1) for scale in scales(time))
        noisy = perturb_at(support, alpha, sigma, draws["energy_noise"])
        energies = networks["energy"](observations, noisy, time.to(noisy.dtype))
        loss = contrastive_loss(energies, values, config.inverse_temperature)
        self.minimise("energy", loss)
        return {"energy_loss": loss.detach(), "support_value": values.mean(dim=(1, 2))}

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """One sample of the guided behaviour model: observations (S, N, O), noise (S, N, A) -> (S, N, A)."""

        def guide(call: int, states: Tensor, noisy: Tensor, time: Tensor, predicted: Tensor) -> Tensor:
            return guided_noise(self.networks["energy"], states, noisy, time, predicted, self._guidance[call])

        return self.sample(observations, draws["action"].unsqueeze(2), guide).squeeze(2)
