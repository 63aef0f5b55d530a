"""SfBC of one seed, written a second time from its equations: plain modules, torch.optim."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.sfbc import SfBC, SfBCConfig
from benchmarks.plain.behaviour import PlainScore, of_noise, score_matching
from benchmarks.plain.modules import PlainVersion, Tensors, layered, q_values, slice_of, step


class PlainSfBC(PlainVersion):
    """Training of one seed; support (P, M, A), returns and values (N,) are copies of the method's."""

    def __init__(
        self, score: PlainScore, q: nn.Module, config: SfBCConfig, support: Tensor, memory: Tensors
    ) -> None:
        self.score, self.q, self.config = score, q, config
        self.support = support.clone()
        self.returns, self.values = memory["returns"].clone(), memory["values"].clone()
        self.score_optimiser = torch.optim.Adam(score.parameters(), lr=config.behaviour_learning_rate)
        self.q_optimiser = torch.optim.Adam(q.parameters(), lr=config.critic_learning_rate)

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainSfBC:
        """The twin of a seed."""
        assert isinstance(algorithm, SfBC)
        state = algorithm.networks.state_dict()
        score = PlainScore(slice_of(state, "behaviour.", seed))
        q = layered(slice_of(state, "critic.", seed), nn.SiLU)
        memory = {name: tensor[seed] for name, tensor in algorithm.memory.items()}
        return cls(score, q, algorithm.config, algorithm.support["observations"][seed], memory)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """The score, a batch's supports, their values, or the critic."""
        if program == "behaviour":
            u, z = draws["behaviour_time"], draws["behaviour_noise"]
            loss = score_matching(self.score, batch, u, z, self.config.behaviour_time_min)
            step(self.score_optimiser, loss)
            return {"behaviour_loss": loss}
        s, rows = batch["observations"], draws["rows"]
        if program == "support":
            z = draws["support_observations"]
            with torch.no_grad():
                a = self.sampled(s.repeat_interleave(z.shape[1], dim=0), z.flatten(0, 1)).view_as(z)
            self.support[rows] = a
            return {"support_size": a.abs().mean()}
        if program == "planning":
            a = self.support[rows]
            with torch.no_grad():
                q = q_values(self.q, s[:, None].expand(-1, a.shape[1], -1), a)
            v = (torch.softmax(self.config.planning_inverse_temperature * q, dim=1) * q).sum(dim=1)
            self.values[rows] = v
            return {"planned_value": v.mean()}
        loss = ((q_values(self.q, s, batch["actions"]) - self.returns[rows]) ** 2).mean()
        step(self.q_optimiser, loss)
        return {"critic_loss": loss}

    def sampled(self, s: Tensor, z: Tensor) -> Tensor:
        """Actions (B, A) along the score."""
        config = self.config
        return of_noise(lambda a, t: self.score(s, a, t), z, config.solver_calls, config.behaviour_time_min)
