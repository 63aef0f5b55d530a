"""Methods that start from a VP-SDE diffusion model of the data's behaviour: its network, phase and update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from algorithms.base import Algorithm, Dimensions, Draw, Phase, Tensors
from algorithms.hyperparameters import (
    Count,
    Hyperparameters,
    InnerFraction,
    Interval,
    Multiple,
    NonNegative,
    Positive,
)
from algorithms.networks import Initialiser
from algorithms.optim import Adam
from algorithms.residual import ResidualNoiseNetwork, dropout_masks
from algorithms.vp_sde import noise_prediction_loss, probability_flow, time_between

LATEST_TIME = 1.0
"""The behaviour model is trained up to pure noise."""
ILLUSTRATION_SAMPLES = 2000
ILLUSTRATION_STEPS = 50


@dataclass(frozen=True)
class VPBehaviourConfig(Hyperparameters):
    """Hyper-parameters of the behaviour model and its training."""

    behaviour_iterations: Count = 2_000_000
    """iterations of the phase `behaviour`"""
    behaviour_batch_size: Count = 2048
    """transitions, drawn without replacement; phase `behaviour`"""
    behaviour_learning_rate: Positive = 3e-4
    """per step, constant; AdamW on the behaviour model"""
    behaviour_weight_decay: NonNegative = 0.01
    """per step and learning rate, decoupled (AdamW); on the behaviour model"""
    behaviour_width: Count = 256
    """units between residual blocks; four times as many within"""
    behaviour_blocks: Count = 3
    """residual blocks of the behaviour model"""
    layer_norm_epsilon: Positive = 1e-5
    """added to the variance in the LayerNorm of each residual block"""
    dropout: Annotated[float, Interval(0, 1, open_high=True)] = 0.1
    """probability; at the entry of each residual block, only while the behaviour model is trained"""
    time_features: Annotated[int, Multiple(2), Interval(2)] = 64
    """sines and cosines of time together"""
    fourier_scale: Positive = 30.0
    """cycles per unit of time; standard deviation of the frozen frequencies"""
    behaviour_time_min: InnerFraction = 1e-3
    """diffusion time from 0 (clean) to 1 (noise); earliest that the behaviour model is trained on"""


class VPBehaviour(Algorithm):
    """What such methods share. A subclass adds its own networks and phases."""

    config: VPBehaviourConfig

    def __init__(
        self,
        dimensions: Dimensions,
        config: VPBehaviourConfig,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dimensions, config, seeds, device)
        self.networks["behaviour"] = ResidualNoiseNetwork(
            Initialiser(self.seeds, "behaviour"),
            dimensions,
            width=config.behaviour_width,
            blocks=config.behaviour_blocks,
            layer_norm_epsilon=config.layer_norm_epsilon,
            time_features=config.time_features,
            fourier_scale=config.fourier_scale,
        ).to(self.device)
        self.optimisers["behaviour"] = Adam(
            self.networks["behaviour"].parameters(),
            config.behaviour_learning_rate,
            weight_decay=config.behaviour_weight_decay,
        )
        self.illustration_draws = (
            Draw("behaviour_start", (ILLUSTRATION_SAMPLES, dimensions.action), "normal"),
        )

    @property
    def behaviour_phase(self) -> Phase:
        """The phase `behaviour`, of one program of that name."""
        config = self.config
        batch = config.behaviour_batch_size
        draws = (
            Draw("behaviour_time", (batch,), "uniform"),
            Draw("behaviour_noise", (batch, self.dimensions.action), "normal"),
        )
        if config.dropout:
            masks = (config.behaviour_blocks, batch, config.behaviour_width)
            draws += (Draw("dropout", masks, "uniform"),)
        return Phase(
            "behaviour",
            config.behaviour_iterations,
            batch,
            draws,
            lambda step: "behaviour",
            sampling="shuffled",
        )

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

    @torch.no_grad()
    def sample_behaviour(self, noise: Tensor) -> Tensor:
        """Actions (S, B, A) of the behaviour model at observation 0, from N(0, I) noise (S, B, A)."""
        observations = noise.new_zeros(*noise.shape[:2], self.dimensions.observation)
        return probability_flow(
            self.networks["behaviour"],
            observations,
            noise,
            steps=ILLUSTRATION_STEPS,
            end=self.config.behaviour_time_min,
        )
