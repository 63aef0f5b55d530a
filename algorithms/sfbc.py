"""SfBC: the best of a diffusion model's actions by a critic that plans within the data (Chen, Lu, Ying, Su &
Zhu 2023).

Five phases: the behaviour model; actions that it would choose in every state; a critic of the data's returns;
what it makes of those actions, by which the returns are planned anew; and the critic of the planned returns,
from its beginning. Follows the authors' code (ChenDRAG/SfBC) with two rounds of the critic, its default.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn import functional

from algorithms.base import (
    ROWS,
    BatchSize,
    Count,
    Draw,
    Fraction,
    NonNegative,
    NonNegativeCount,
    Phase,
    Positive,
    Tensors,
    Tiny,
    Width,
    hyperparameters,
)
from algorithms.diffusion import squared_error
from algorithms.diffusion_behaviour import LATEST_TIME, DiffusionBehaviour, SupportConfig, repeated
from algorithms.dpm_solver import Step, fast_orders, solver_steps, vp_log_alpha
from algorithms.losses import soft_value
from algorithms.networks import MLP, Initialiser
from algorithms.optim import Adam

Planning = Literal["this_state", "next_state"]
NO_VALUE = -1e30
"""Of a state without a support: any return is larger."""
SMALLEST_DEVIATION = 0.1
"""By which returns are divided at least."""


def planned_returns(
    rewards: Tensor, ends: Tensor, values: Tensor, discount: float, planning: Planning = "this_state"
) -> Tensor:
    """Returns R_t (S, N) of all rows, planned with the values V (S, N) of their states, in double precision.

    this_state: R_t = max(r_t + gamma (1 - end_t) R_{t+1}, V_t); next_state: r_t + gamma (1 - end_t)
    max(R_{t+1}, V_{t+1}). Values of -1e30 leave the plain discounted returns. Rewards (N,), ends (N,) bool,
    of which the last is true. Both rules are x -> max(slope x + offset, floor) of the next return, and so are
    chains of them: twice as long ones in every round, instead of a loop over the rows.
    """
    slope = (discount * (~ends).double()).expand(values.shape).clone()
    offset = rewards.double().expand(values.shape).clone()
    floor = values.double()
    if planning == "next_state":
        floor = torch.addcmul(offset, slope, floor.roll(-1, dims=1))
    rows, reach = values.shape[1], 1
    while reach < rows:
        before, after = slice(None, rows - reach), slice(reach, None)
        rise = slope[:, before]
        floor_of_both = torch.maximum(
            torch.addcmul(offset[:, before], rise, floor[:, after]), floor[:, before]
        )
        offset_of_both = torch.addcmul(offset[:, before], rise, offset[:, after])
        slope_of_both = rise * slope[:, after]
        floor, offset, slope = (
            torch.cat((joined, alone[:, rows - reach :]), dim=1)
            for joined, alone in ((floor_of_both, floor), (offset_of_both, offset), (slope_of_both, slope))
        )
        reach *= 2
    return torch.maximum(offset, floor)


def mean_of_drawn(
    candidates: Tensor,
    values: Tensor,
    uniform: Tensor,
    count: int,
    *,
    inverse_temperature: float,
    lead: float,
) -> Tensor:
    """Mean of `count` candidates, drawn without replacement from the softmax of their values: (S, N, A).

    Before that no scaled value is more than `lead` above the count-th best. Shapes: candidates (S, N, C, A);
    values, uniform (S, N, C). Gumbel's trick: the largest of scaled values plus noise are such a draw.
    Source: released model.py, _select.
    """
    scaled = inverse_temperature * values.double()
    highest = scaled.topk(count, dim=-1).values[..., -1:] + lead
    gumbel = -(-uniform.log()).log()
    drawn = (scaled.minimum(highest) + gumbel).topk(count, dim=-1).indices
    index = drawn.unsqueeze(-1).expand(-1, -1, -1, candidates.shape[-1])
    return candidates.gather(2, index).mean(dim=2)


@hyperparameters
class SfBCConfig(SupportConfig):
    """Hyper-parameters of SfBC; values per task, with their sources, are in presets/sfbc.yaml."""

    returns_iterations: Count = 24_500
    """iterations of the phase `returns`"""
    planning_iterations: Count = 977
    """iterations of the phase `planning`"""
    critic_iterations: Count = 24_255
    """iterations of the phase `critic`"""
    critic_batch_size: BatchSize = 4096
    """transitions, drawn without replacement; phases `returns` and `critic`"""
    planning_batch_size: Annotated[Count, Tiny(64)] = 1024
    """transitions, in the order of the dataset; phase `planning`"""
    discount: Fraction = 0.99
    """per step"""
    critic_learning_rate: Positive = 1e-3
    """per step, constant; Adam on the critic, begun anew for the phase `critic`"""
    critic_width: Width = 256
    """units of the critic's two last hidden layers"""
    wide_critic_layer: Annotated[NonNegativeCount, Tiny(8)] = 0
    """units of a hidden layer before those two; 0: there is none"""
    planning: Planning = "this_state"
    """what a planned return is at least: this state's value, or a reward and the discounted next one's"""
    planning_inverse_temperature: NonNegative = 20.0
    """per standard deviation of the returns (alpha); of the softmax over a support"""
    candidates: Annotated[Count, Tiny(4)] = 32
    """actions sampled per state when acting"""
    selected: Annotated[Count, Tiny(2)] = 4
    """candidates that are drawn by their values; their mean acts"""
    selection_inverse_temperature: NonNegative = 100.0
    """per standard deviation of the returns; of the softmax by which they are drawn"""
    selection_lead: NonNegative = 40.0
    """how far a scaled value counts above the best that is drawn last"""

    @model_validator(mode="after")
    def _feasible(self) -> Self:
        if self.selected > self.candidates:
            raise ValueError(
                f"selected is {self.selected}; it must be at most candidates ({self.candidates})"
            )
        return self


class SfBC(DiffusionBehaviour):
    """Selecting from Behavior Candidates over a stack of seeds."""

    name: ClassVar[str] = "sfbc"
    config: SfBCConfig
    supports = ("observations",)

    def build(self) -> None:
        """Behaviour model, critic, and their optimisers."""
        super().build()
        config = self.config
        self.add("critic", self._new_critic())
        self.optimisers["critic"] = Adam(self.networks["critic"].parameters(), config.critic_learning_rate)
        self.act_draws = (
            Draw("candidates", (config.candidates, self.dimensions.action), "normal"),
            Draw("selection", (config.candidates,), "uniform"),
        )

    def _new_critic(self) -> MLP:
        config, size = self.config, self.dimensions
        wide = (config.wide_critic_layer,) if config.wide_critic_layer else ()
        sizes = (size.observation + size.action, *wide, config.critic_width, config.critic_width, 1)
        return MLP(Initialiser(self.seeds, "critic"), sizes, functional.silu)

    def solver_steps(self) -> tuple[Step, ...]:
        """Third order, following predicted noise."""
        calls, end = self.config.solver_calls, self.config.behaviour_time_min
        return solver_steps(vp_log_alpha, fast_orders(calls), LATEST_TIME, end)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`behaviour`, `support`, `returns`, `planning` and `critic`."""
        config = self.config
        rows = config.critic_batch_size
        return (
            self.behaviour_phase,
            self.support_phase(until="planning"),
            Phase("returns", config.returns_iterations, rows, sampling="shuffled"),
            Phase(
                "planning",
                config.planning_iterations,
                config.planning_batch_size,
                sampling="in_order",
                first_rows=self.supported_rows,
            ),
            Phase("critic", config.critic_iterations, rows, sampling="shuffled", evaluated=True),
        )

    @torch.no_grad()
    def prepare_trajectories(self, rewards: Tensor, ends: Tensor) -> None:
        """The plain discounted returns, which the critic learns first; no value is known yet."""
        self._rewards, self._ends = rewards, ends
        seeds = len(self.seeds)
        self.memory["values"] = rewards.new_full((seeds, len(rewards)), NO_VALUE)
        for name in ("mean", "deviation"):
            self.memory[name] = rewards.new_zeros(seeds, 1)
        self.memory["returns"] = torch.zeros_like(self.memory["values"])
        self._take(self.memory["values"])

    def _take(self, values: Tensor) -> None:
        """Plan the returns with values (S, N) in units of the rewards, and keep them standardised."""
        config, memory = self.config, self.memory
        returns = planned_returns(self._rewards, self._ends, values, config.discount, config.planning)
        deviation, mean = torch.std_mean(returns, dim=1, correction=0, keepdim=True)
        deviation = deviation.clamp(min=SMALLEST_DEVIATION)
        for name, now in (
            ("returns", (returns - mean) / deviation),
            ("mean", mean),
            ("deviation", deviation),
        ):
            memory[name].copy_(now)

    @torch.no_grad()
    def begin_phase(self, name: str) -> None:
        """Before `critic`, plan the returns by what the critic has found, and begin the critic anew."""
        if name != "critic":
            return
        memory = self.memory
        known = memory["values"] > NO_VALUE
        self._take(torch.where(known, memory["values"] * memory["deviation"] + memory["mean"], NO_VALUE))
        optimiser = self.optimisers["critic"]
        for mine, new in zip(optimiser.parameters, self._new_critic().parameters(), strict=True):
            mine.copy_(new)
        for tensor in (*optimiser.first_moments, *optimiser.second_moments, optimiser.steps):
            tensor.zero_()

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """The behaviour model, a batch's supports, their values, or the critic: what `program` names."""
        if program == "behaviour":
            return self.update_behaviour(batch, draws)
        if program == "support":
            return self.update_support(batch, draws)
        if program == "planning":
            return self._update_planning(batch["observations"], draws[ROWS])
        return self._update_critic(batch, draws[ROWS])

    def _critic(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values (S, B) in standard deviations of the returns, from their mean."""
        return self.networks["critic"](torch.cat((observations, actions), dim=-1)).squeeze(-1)

    def _critics_of(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values (S, B, M) of actions (S, B, M, A) in states (S, B, O)."""
        count = actions.shape[2]
        values = self._critic(repeated(observations, count), actions.flatten(1, 2))
        return values.unflatten(1, (-1, count))

    def _update_critic(self, batch: Tensors, rows: Tensor) -> dict[str, Tensor]:
        targets = self.memory["returns"].gather(1, rows)
        values = self._critic(batch["observations"], batch["actions"])
        loss = squared_error(values, targets).mean(dim=-1)
        self.minimise("critic", loss)
        return {"critic_loss": loss.detach()}

    @torch.no_grad()
    def _update_planning(self, observations: Tensor, rows: Tensor) -> dict[str, Tensor]:
        values = self._critics_of(observations, self.supported("observations", rows))
        soft = soft_value(values, self.config.planning_inverse_temperature)
        self.memory["values"].scatter_(1, rows, soft)
        return {"planned_value": soft.mean(dim=-1)}

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """Mean of the drawn candidates: observations (S, N, O), candidates (S, N, C, A) -> (S, N, A)."""
        config = self.config
        candidates = self.sample(observations, draws["candidates"])
        return mean_of_drawn(
            candidates,
            self._critics_of(observations, candidates),
            draws["selection"],
            config.selected,
            inverse_temperature=config.selection_inverse_temperature,
            lead=config.selection_lead,
        )
