"""SRPO's illustration in the plane (Chen et al. 2024, Fig. 3): free points instead of a policy.

Every target on a grid is the maximum of a fixed Q(a) = -|a - target|^2. A point per target and temperature
starts at its target and follows SRPO's gradient; as beta falls it leaves the target for the data.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, cast

import torch
from torch import Tensor, nn

from algorithms.base import (
    Count,
    Draw,
    InnerFraction,
    Phase,
    Positive,
    Tensors,
    Tiny,
    hyperparameters,
)
from algorithms.diffusion import time_between
from algorithms.optim import Adam, cosine_to_zero
from algorithms.srpo import (
    ScoreWeighting,
    VPBehaviour,
    VPBehaviourConfig,
    regularised_gradient,
    surrogate_loss,
)


def target_grid(side: int, extent: float) -> Tensor:
    """Points (side^2, 2) of an even grid over the square [-extent, extent]^2; the origin if side is 1."""
    line = torch.linspace(-extent, extent, side) if side > 1 else torch.zeros(1)
    return torch.cartesian_prod(line, line)


def beta_ladder(highest: float, lowest: float, count: int) -> Tensor:
    """Temperatures (count,) from `highest` to `lowest`, each the same factor below the last."""
    return torch.logspace(0, 1, count, base=lowest / highest) * highest


@hyperparameters
class SRPOPointsConfig(VPBehaviourConfig):
    """Hyper-parameters of SRPO's illustration; values with their sources are in presets/srpo-points.yaml."""

    policy_iterations: Count = 2000
    """iterations of the phase `policy`; also the length of its learning rate's cosine"""
    policy_learning_rate: Positive = 0.03
    """action units per step; falls to zero by half a cosine"""
    grid_side: Annotated[Count, Tiny(3)] = 8
    """targets along each side of the square grid"""
    grid_extent: Positive = 1.0
    """of the action bound; the grid reaches from minus to plus this"""
    highest_beta: Positive = 30.0
    """weight of Q's gradient against the behaviour model's noise; the greediest of the temperatures"""
    lowest_beta: Positive = 0.1
    """weight of Q's gradient against the behaviour model's noise; the most conservative"""
    beta_count: Count = 6
    """temperatures, a geometric ladder from the highest to the lowest"""
    score_weighting: ScoreWeighting = "alpha_over_sigma"
    """w(t) of the predicted noise: sigma_t^2, 1, or alpha_t / sigma_t"""
    noise_baseline: bool = True
    """subtract the noise that was added from the predicted noise; same mean, other variance"""
    policy_time_min: InnerFraction = 0.02
    """diffusion time from 0 (clean) to 1 (noise); earliest that points are perturbed to"""
    policy_time_max: InnerFraction = 0.2
    """diffusion time from 0 (clean) to 1 (noise); latest that points are perturbed to"""


class Points(nn.Module):
    """One point per seed, temperature and target, (S, K, P, A), starting at the targets (P, A)."""

    def __init__(self, seeds: int, temperatures: int, targets: Tensor) -> None:
        super().__init__()
        self.points = nn.Parameter(targets.expand(seeds, temperatures, -1, -1).clone())


class SRPOPoints(VPBehaviour):
    """SRPO's gradient on free points, over a stack of seeds; the observation is the data's constant one."""

    name: ClassVar[str] = "srpo-points"
    config: SRPOPointsConfig
    act_draws = (Draw("choice", (), "uniform"),)

    def build(self) -> None:
        """Behaviour model and points, and their optimisers."""
        super().build()
        config, bound = self.config, self.dimensions.action_bound
        self.targets = target_grid(config.grid_side, config.grid_extent * bound).to(self.device)
        self.betas = beta_ladder(config.highest_beta, config.lowest_beta, config.beta_count).to(self.device)
        self._point_betas = self.betas.repeat_interleave(len(self.targets)).unsqueeze(-1)  # (K P, 1)
        self.add("points", Points(len(self.seeds), config.beta_count, self.targets))
        self.optimisers["points"] = Adam(
            self.networks["points"].parameters(),
            config.policy_learning_rate,
            schedule=cosine_to_zero(config.policy_iterations),
        )

    @property
    def points(self) -> nn.Parameter:
        """Where they are now, (S, K, P, A)."""
        return cast(Points, self.networks["points"]).points

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`behaviour` and `policy`; the latter needs the data only for its constant observation."""
        count = self.config.beta_count * len(self.targets)
        draws = (
            Draw("policy_time", (count,), "uniform"),
            Draw("policy_noise", (count, self.dimensions.action), "normal"),
        )
        return self.behaviour_phase, Phase("policy", self.config.policy_iterations, 1, draws, evaluated=True)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """The behaviour model, or one step of every point."""
        if program == "behaviour":
            return self.update_behaviour(batch, draws)
        return self._update_points(batch["observations"], draws)

    def _update_points(self, observations: Tensor, draws: Tensors) -> dict[str, Tensor]:
        config = self.config
        points = self.points
        actions = points.flatten(1, 2)
        positions = points.detach()
        gradient = regularised_gradient(
            self.networks["behaviour"],
            observations.expand(-1, actions.shape[1], -1),
            actions.detach(),
            (2 * (self.targets.to(points.dtype) - positions)).flatten(1, 2),
            time=time_between(draws["policy_time"], config.policy_time_min, config.policy_time_max),
            noise=draws["policy_noise"],
            beta=self._point_betas.to(points.dtype),
            score_weighting=config.score_weighting,
            noise_baseline=config.noise_baseline,
        )
        loss = surrogate_loss(gradient, actions)
        self.minimise("points", loss)
        shift = (positions - self.targets.to(points.dtype)).norm(dim=-1).mean(dim=(1, 2))
        return {"policy_loss": loss.detach(), "distance_to_target": shift}

    @torch.no_grad()
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """One of all points, whatever the observation (S, N, O); choice (S, N) uniform; returns (S, N, A)."""
        points = self.points.flatten(1, 2)
        chosen = (draws["choice"] * points.shape[1]).long().unsqueeze(-1)
        return points.gather(1, chosen.expand(-1, -1, points.shape[-1]))
