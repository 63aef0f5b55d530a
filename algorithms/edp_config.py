"""Hyper-parameters of EDP; values per task, with their sources, are in presets/edp-*.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from algorithms.hyperparameters import (
    Count,
    Fraction,
    Hyperparameters,
    InnerFraction,
    NonNegative,
    NonNegativeCount,
    Positive,
)

LARGEST_LINEAR_BETA = 20
"""Last beta of the linear schedule, times the number of steps."""


@dataclass(frozen=True)
class EDPConfig(Hyperparameters):
    """Hyper-parameters that EDP has under every method."""

    train_iterations: Count = 2_000_000
    """iterations; epochs of 1000 in the paper"""
    batch_size: Count = 256
    """transitions"""
    discount: Fraction = 0.99
    """per step"""
    learning_rate: Positive = 3e-4
    """per step; every network"""
    gradient_norm: Positive = 5.0
    """largest norm of a network's gradient, of each network by itself"""
    diffusion_weight: NonNegative = 1.0
    """weight of the denoising loss in the policy's loss (diff_coef)"""
    guidance_weight: NonNegative = 1.0
    """weight of the value or likelihood term in the policy's loss (guide_coef; lambda in the paper)"""
    target_update_rate: Fraction = 0.005
    """per update of a target network"""
    action_clip: Fraction = 0.999
    """share of the action bound to which dataset actions are clipped"""
    diffusion_steps: Count = 1000
    """steps (K) of the diffusion"""
    noise_schedule: Literal["linear", "vp"] = "linear"
    """linear: betas from 0.1/K to 20/K, for more than 20 steps; vp: Diffusion-QL's, for few steps"""
    sampler: Literal["dpm", "ddpm"] = "dpm"
    """dpm: DPM-Solver; ddpm: all K ancestral steps"""
    solver_calls: Count = 15
    """passes of the network in one run of DPM-Solver"""
    candidates: Count = 50
    """actions sampled per state at evaluation, one drawn by the softmax of its value; 1: a plain sample"""
    hidden_width: Count = 256
    """units per hidden layer"""
    time_embedding_width: Count = 16
    """features of the diffusion step"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_schedule == "linear" and self.diffusion_steps <= LARGEST_LINEAR_BETA:
            raise ValueError(
                f"diffusion_steps is {self.diffusion_steps}; it must be above {LARGEST_LINEAR_BETA} with "
                "noise_schedule linear, whose last beta is 1 or more otherwise"
            )
        if self.sampler == "dpm" and self.diffusion_steps < 2:
            raise ValueError("diffusion_steps is 1; it must be at least 2 with sampler dpm")


@dataclass(frozen=True)
class TargetPolicyConfig(EDPConfig):
    """Hyper-parameters of the methods whose critics learn from samples of a target policy."""

    policy_target_start: NonNegativeCount = 1000
    """iterations before the target policy begins to follow"""
    policy_target_interval: Count = 5
    """iterations between updates of the target policy"""
    backup_samples: Count = 1
    """next actions sampled for a target; more than one: max-Q backup over them"""


@dataclass(frozen=True)
class EDPTD3Config(TargetPolicyConfig):
    """Hyper-parameters of EDP with TD3."""

    value_weight: NonNegative = 2.0
    """alpha, weight of the normalised value; guidance_weight multiplies it"""
    action_approximation: bool = True
    """improve the one-step denoised dataset action instead of a sample of the policy"""


@dataclass(frozen=True)
class EDPCRRConfig(TargetPolicyConfig):
    """Hyper-parameters of EDP with critic-regularised regression."""

    advantage_samples: Count = 10
    """actions of N(approximated action, I) whose mean value is the baseline"""
    advantage_temperature: Positive = 1.0
    """reward units; beta, divides the advantage"""
    weight_limit: Positive = 20.0
    """upper limit of the regression weight"""


@dataclass(frozen=True)
class EDPIQLConfig(EDPConfig):
    """Hyper-parameters of EDP with IQL."""

    expectile: InnerFraction = 0.7
    """of the state value (tau)"""
    inverse_temperature: NonNegative = 3.0
    """per reward unit; multiplies the advantage"""
    weight_limit: Positive = 100.0
    """upper limit of the regression weight"""
