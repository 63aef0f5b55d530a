"""Behaviour cloning of one seed, written a second time: a plain network and torch.optim."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.bc import BCConfig
from benchmarks.plain.modules import PlainVersion, Tensors, linear, slice_of, step


def plain_actor(algorithm: Algorithm, seed: int) -> nn.Sequential:
    """[s] -> 2 x {Linear, ReLU} -> Linear -> tanh, to be scaled by the bound."""
    weights = slice_of(algorithm.networks.state_dict(), "actor.mlp.", seed)
    layers = [linear(weights, f"layers.{i}") for i in range(3)]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.Tanh())


class PlainBC(PlainVersion):
    """Training of one seed with torch's own optimiser.

    Parameters
    ----------
    mean, deviation : of the dataset's observations, (O,).
    """

    def __init__(
        self, actor: nn.Module, mean: Tensor, deviation: Tensor, config: BCConfig, bound: float
    ) -> None:
        self.actor, self.mean, self.scale, self.bound = actor, mean, deviation + 1e-3, bound
        self.optimiser = torch.optim.Adam(actor.parameters(), lr=config.learning_rate)

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainBC:
        """The twin of a seed, with the statistics that the method has taken from the dataset."""
        statistics = slice_of(algorithm.networks.state_dict(), "actor.", seed)
        deviation = 1 / statistics["factor"][0] - 1e-3
        bound = algorithm.dimensions.action_bound
        return cls(plain_actor(algorithm, seed), statistics["mean"][0], deviation, algorithm.config, bound)

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, A) for observations (B, O)."""
        return self.bound * self.actor((observations - self.mean) / self.scale)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration on a minibatch."""
        loss = nn.functional.mse_loss(self.act(batch["observations"]), batch["actions"])
        step(self.optimiser, loss)
        return {"actor_loss": loss.detach()}
