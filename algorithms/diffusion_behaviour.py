"""What QGPO and SfBC share: a diffusion model of the data's behaviour, and actions sampled from it once.

The model is trained first, and by itself, so that both methods have the very same one (`Phase.shared`). Then
every state of the data gets a support: actions that the model would choose there, from which values and
energies are learnt. Source: the released code of both (ChenDRAG/CEP-energy-guided-diffusion, ChenDRAG/SfBC),
whose behaviour models are one.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from algorithms.base import (
    ROWS,
    Algorithm,
    BatchSize,
    Count,
    Dimensions,
    Draw,
    InnerFraction,
    Phase,
    Positive,
    Shared,
    SineFeatures,
    Tensors,
    Tiny,
    hyperparameters,
)
from algorithms.diffusion import noise_prediction_loss, time_between
from algorithms.dpm_solver import Step, solve
from algorithms.networks import FourierFeatures, Initialiser, Linear
from algorithms.optim import Adam

LATEST_TIME = 1.0
"""The model is trained up to pure noise, and samples from there."""
Guide = Callable[[int, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(call, states (S, B, O), noisy actions (S, B, A), time (S, 1), predicted noise (S, B, A)) -> noise."""
STATE_FEATURES = 32
"""What the model makes of a state before it meets the time."""


class TimeFeatures(nn.Module):
    """Times (S, *rows) -> (S, *rows, F): fixed Gaussian Fourier features, then a layer."""

    def __init__(self, initialiser: Initialiser, features: int, scale: float) -> None:
        super().__init__()
        self.fourier = FourierFeatures(initialiser, features, scale)
        self.layer = Linear(initialiser, features, features)

    def forward(self, time: Tensor) -> Tensor:
        """One row of features per time."""
        return self.layer(self.fourier(time))


class TimedBlock(nn.Module):
    """SiLU(L2(SiLU(L1(x)) + time)) + skip(x), (S, B, I), (S, B, W) -> (S, B, W).

    `skip` is a layer where the widths differ.
    """

    def __init__(self, initialiser: Initialiser, inputs: int, width: int) -> None:
        super().__init__()
        self.first, self.second = Linear(initialiser, inputs, width), Linear(initialiser, width, width)
        self.skip = Linear(initialiser, inputs, width) if inputs != width else nn.Identity()

    def forward(self, inputs: Tensor, time: Tensor) -> Tensor:
        """`time` is added between the two layers."""
        hidden = functional.silu(self.first(inputs)) + time
        return functional.silu(self.second(hidden)) + self.skip(inputs)


class UNoiseNetwork(nn.Module):
    """eps(noisy actions (S, B, A), observations (S, B, O), time (S, B) or (S, 1)) -> noise (S, B, A).

    Six blocks, whose widths fall from `width` to its quarter and rise again, with skips between those of a
    width. The released network gives the score, -eps / sigma_t; its last layer is this one's with the other
    sign, and starts as symmetrically.
    """

    def __init__(
        self,
        initialiser: Initialiser,
        dimensions: Dimensions,
        *,
        width: int,
        embedding: int,
        time_features: int,
        fourier_scale: float,
    ) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.time = TimeFeatures(initialiser, time_features, fourier_scale)
        self.state = Linear(initialiser, dimensions.observation, STATE_FEATURES)
        self.embed = nn.ModuleList(
            (
                Linear(initialiser, STATE_FEATURES + time_features, embedding),
                Linear(initialiser, embedding, embedding),
            )
        )
        sizes = (
            (dimensions.action, width),
            (width, half),
            (half, quarter),
            (quarter, quarter),
            (half, half),
            (width, width),
        )
        self.blocks = nn.ModuleList(TimedBlock(initialiser, inputs, outputs) for inputs, outputs in sizes)
        # One layer for all blocks, of which each takes its part: one product instead of six.
        self.widths = [outputs for _, outputs in sizes]
        self.times = Linear(initialiser, embedding, sum(self.widths))
        self.last = Linear(initialiser, 2 * width, dimensions.action)

    def forward(self, noisy: Tensor, observations: Tensor, time: Tensor) -> Tensor:
        """Down through the first three blocks, up through the others."""
        features = self.time(time).expand(*noisy.shape[:-1], -1)
        condition = torch.cat((functional.silu(self.state(observations)), features), dim=-1)
        condition = self.embed[1](functional.silu(self.embed[0](condition)))
        times = self.times(functional.silu(condition)).split(self.widths, dim=-1)
        wide = self.blocks[0](noisy, times[0])
        half = self.blocks[1](wide, times[1])
        quarter = self.blocks[2](half, times[2])
        rising = self.blocks[3](quarter, times[3])
        rising = self.blocks[4](torch.cat((quarter, rising), dim=-1), times[4])
        rising = self.blocks[5](torch.cat((half, rising), dim=-1), times[5])
        return self.last(torch.cat((wide, rising), dim=-1))


@hyperparameters
class BehaviourConfig:
    """Hyper-parameters of the behaviour model: alone, with the data and the seed, they decide its weights."""

    behaviour_iterations: Count = 600_000
    """iterations of the phase `behaviour`"""
    behaviour_batch_size: BatchSize = 4096
    """transitions, drawn without replacement; phase `behaviour`"""
    behaviour_learning_rate: Positive = 1e-4
    """per step, constant; Adam on the behaviour model"""
    behaviour_width: Annotated[Count, Field(multiple_of=4), Tiny(16)] = 512
    """units of the widest blocks; a half and a quarter of it between them"""
    behaviour_embedding: Annotated[Count, Tiny(8)] = 128
    """units in which state and time meet, of the behaviour model"""
    time_features: SineFeatures = 32
    """sines and cosines of time together"""
    fourier_scale: Positive = 30.0
    """cycles per unit of time; standard deviation of the frozen frequencies"""
    behaviour_time_min: InnerFraction = 1e-3
    """diffusion time from 0 (clean) to 1 (noise); earliest that is trained on, and where sampling ends"""


@hyperparameters
class SupportConfig(BehaviourConfig):
    """Hyper-parameters of the behaviour model and of the actions that it gives the states of the data."""

    support_iterations: Count = 31_250
    """iterations of the phase `support`"""
    support_batch_size: Annotated[Count, Tiny(8)] = 32
    """transitions, in the order of the dataset; phase `support`. Those beyond the last have no support"""
    support_actions: Annotated[Count, Tiny(3)] = 16
    """actions per state (M)"""
    solver_calls: Annotated[Count, Field(ge=3), Tiny(5)] = 15
    """calls of the behaviour model per sample"""


class DiffusionBehaviour(Algorithm):
    """The phases `behaviour` and `support`. A subclass says how it samples, and adds networks and phases.

    Supports (S, P, M, A) are large, up to 2 GB per seed in the presets: neither policy nor checkpoints hold
    them.
    """

    config: SupportConfig
    supports: ClassVar[tuple[str, ...]]
    """Which observations of a transition get a support, by their names in a batch."""
    support: dict[str, Tensor]
    """By the same names; there once `prepare` knows the dataset."""
    _offsets: Tensor
    """(S, 1) places of each seed's first row among those of all seeds."""

    def build(self) -> None:
        """The behaviour model and its optimiser; a subclass goes on."""
        config = self.config
        network = UNoiseNetwork(
            Initialiser(self.seeds, "behaviour"),
            self.dimensions,
            width=config.behaviour_width,
            embedding=config.behaviour_embedding,
            time_features=config.time_features,
            fourier_scale=config.fourier_scale,
        )
        self.add("behaviour", network)
        self.optimisers["behaviour"] = Adam(network.parameters(), config.behaviour_learning_rate)
        self.support = {}
        self._steps = self.solver_steps()
        self.call_times = tuple(stage.time for step in self._steps for stage in step)
        """When a sampler asks the model."""
        self._times = torch.tensor(self.call_times, dtype=torch.float64, device=self.device)

    @abstractmethod
    def solver_steps(self) -> tuple[Step, ...]:
        """The steps by which actions are sampled, from the latest time to the earliest."""

    @property
    def behaviour_phase(self) -> Phase:
        """The phase `behaviour`, which all methods of this class share."""
        config = self.config
        rows = config.behaviour_batch_size
        draws = (
            Draw("behaviour_time", (rows,), "uniform"),
            Draw("behaviour_noise", (rows, self.dimensions.action), "normal"),
        )
        settings = {field.name: getattr(config, field.name) for field in dataclasses.fields(BehaviourConfig)}
        return Phase(
            "behaviour",
            config.behaviour_iterations,
            rows,
            draws,
            sampling="shuffled",
            shared=Shared("behaviour", settings),
        )

    def support_phase(self, until: str) -> Phase:
        """The phase `support`; `until` names the last phase that reads what it makes."""
        config = self.config
        shape = (config.support_batch_size, config.support_actions, self.dimensions.action)
        draws = tuple(Draw(f"support_{name}", shape, "normal") for name in self.supports)
        return Phase(
            "support",
            config.support_iterations,
            config.support_batch_size,
            draws,
            sampling="in_order",
            first_rows=self.supported_rows,
            remade_until=until,
        )

    @property
    def supported_rows(self) -> int:
        """How many transitions get a support, of a dataset that has as many."""
        return self.config.support_iterations * self.config.support_batch_size

    def prepare(self, observations: Tensor) -> None:
        """Room for the supports."""
        rows = min(len(observations), self.supported_rows)
        seeds, shape = len(self.seeds), (self.config.support_actions, self.dimensions.action)
        for name in self.supports:
            self.support[name] = observations.new_zeros((seeds, rows, *shape))
        self._offsets = torch.arange(seeds, device=self.device).unsqueeze(1) * rows

    def update_behaviour(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One Adam step of the behaviour model."""
        loss = noise_prediction_loss(
            self.networks["behaviour"],
            batch["actions"],
            batch["observations"],
            time_between(draws["behaviour_time"], self.config.behaviour_time_min, LATEST_TIME),
            draws["behaviour_noise"],
        )
        self.minimise("behaviour", loss)
        return {"behaviour_loss": loss.detach()}

    @torch.no_grad()
    def update_support(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Sample the supports of a batch's transitions; tells the mean size of an action's component."""
        places = (draws[ROWS] + self._offsets).flatten()
        sizes = []
        for name in self.supports:
            noise = draws[f"support_{name}"]
            actions = self.sample(batch[name], noise)
            self.support[name].flatten(0, 1).index_copy_(0, places, actions.flatten(0, 1))
            sizes.append(actions.abs().mean(dim=(1, 2, 3)))
        return {"support_size": torch.stack(sizes).mean(dim=0)}

    def supported(self, name: str, rows: Tensor) -> Tensor:
        """The supports (S, B, M, A) of transitions (S, B), by their places in the dataset."""
        places = (rows + self._offsets).flatten()
        return self.support[name].flatten(0, 1).index_select(0, places).unflatten(0, rows.shape)

    def sample(self, observations: Tensor, noise: Tensor, guide: Guide | None = None) -> Tensor:
        """Actions (S, B, M, A) for observations (S, B, O) from standard normal noise (S, B, M, A).

        `guide` may change the noise that the model predicts.
        """
        states = repeated(observations, noise.shape[2])
        times = self._times.to(noise.dtype)

        def predict(call: int, noisy: Tensor) -> Tensor:
            time = times[call].expand(len(noisy), 1)
            predicted = self.networks["behaviour"](noisy, states, time)
            return predicted if guide is None else guide(call, states, noisy, time, predicted)

        return solve(self._steps, predict, noise.flatten(1, 2)).unflatten(1, noise.shape[1:3])


def repeated(observations: Tensor, count: int) -> Tensor:
    """Each observation `count` times in a row, (S, B, O) -> (S, B count, O)."""
    return observations.unsqueeze(2).expand(-1, -1, count, -1).flatten(1, 2)
