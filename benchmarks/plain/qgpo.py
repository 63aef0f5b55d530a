"""QGPO of one seed, written a second time from its equations: plain modules, torch.optim."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.qgpo import CRITICS, QGPO, QGPOConfig
from benchmarks.plain.behaviour import PlainScore, PlainTime, of_clean, score_matching
from benchmarks.plain.modules import PlainVersion, Tensors, follow, layered, q_values, slice_of, step
from benchmarks.plain.srpo import alpha_sigma, relu_mlp


class PlainEnergy(nn.Module):
    """f(s, a_t, t)."""

    def __init__(self, weights: Tensors) -> None:
        super().__init__()
        self.t = PlainTime(weights, "time")
        below = {name.removeprefix("mlp."): w for name, w in weights.items() if name.startswith("mlp.")}
        self.mlp = layered(below, nn.SiLU)

    def forward(self, s: Tensor, a: Tensor, t: Tensor) -> Tensor:
        """(..., O), (..., A), (...) -> (...)."""
        return self.mlp(torch.cat([a, self.t(t), s], dim=-1))[..., 0]


class PlainQGPO(PlainVersion):
    """Training of one seed; supports (P, M, A) are copies of the method's as they are now."""

    def __init__(
        self,
        score: PlainScore,
        q1: nn.Module,
        q2: nn.Module,
        energy: PlainEnergy,
        config: QGPOConfig,
        supports: Tensors,
    ) -> None:
        self.score, self.q1, self.q2, self.energy = score, q1, q2, energy
        self.slow_q1, self.slow_q2 = copy.deepcopy(q1), copy.deepcopy(q2)
        self.config, self.supports = config, {name: tensor.clone() for name, tensor in supports.items()}
        self.score_optimiser = torch.optim.Adam(score.parameters(), lr=config.behaviour_learning_rate)
        self.q_optimiser = torch.optim.Adam([*q1.parameters(), *q2.parameters()], lr=config.learning_rate)
        # The last bias changes no difference of energies: without it nothing follows mere rounding.
        trained = [*energy.parameters()][:-1]
        self.energy_optimiser = torch.optim.Adam(trained, lr=config.learning_rate)

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainQGPO:
        """The twin of a seed."""
        assert isinstance(algorithm, QGPO)
        state = algorithm.networks.state_dict()
        q1, q2 = (relu_mlp(slice_of(state, "critics.mlp.", seed, member)) for member in (0, 1))
        score = PlainScore(slice_of(state, "behaviour.", seed))
        energy = PlainEnergy(slice_of(state, "energy.", seed))
        supports = {name: tensor[seed] for name, tensor in algorithm.support.items()}
        return cls(score, q1, q2, energy, algorithm.config, supports)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """The score, a batch's supports, or critics and energy."""
        if program == "behaviour":
            u, z = draws["behaviour_time"], draws["behaviour_noise"]
            loss = score_matching(self.score, batch, u, z, self.config.behaviour_time_min)
            step(self.score_optimiser, loss)
            return {"behaviour_loss": loss}
        if program == "support":
            return self.sample_supports(batch, draws)
        losses = {}
        if program == CRITICS:
            loss = self.critic_loss(batch, self.supports["next_observations"][draws["rows"]])
            step(self.q_optimiser, loss)
            for slow, fast in ((self.slow_q1, self.q1), (self.slow_q2, self.q2)):
                follow(slow, fast, self.config.target_update_rate)
            losses["critic_loss"] = loss
        support = self.supports["observations"][draws["rows"]]
        q = self.lower(batch["observations"], support)
        loss = self.energy_loss(batch["observations"], support, q, draws)
        step(self.energy_optimiser, loss)
        return losses | {"energy_loss": loss, "support_value": q.mean()}

    def sample_supports(self, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """M actions of the behaviour model for each s and each s' of a batch, with no guidance."""
        sizes = []
        for name, table in self.supports.items():
            z = draws[f"support_{name}"]
            s = batch[name].repeat_interleave(z.shape[1], dim=0)
            with torch.no_grad():
                a = self.sampled(s, z.flatten(0, 1), scale=0.0).view_as(z)
            table[draws["rows"]] = a
            sizes.append(a.abs().mean())
        return {"support_size": torch.stack(sizes).mean()}

    def lower(self, s: Tensor, a: Tensor) -> Tensor:
        """min of both target critics, (B, M), for states (B, O) and actions (B, M, A)."""
        s = s[:, None].expand(-1, a.shape[1], -1)
        with torch.no_grad():
            return torch.minimum(q_values(self.slow_q1, s, a), q_values(self.slow_q2, s, a))

    def critic_loss(self, batch: Tensors, support: Tensor) -> Tensor:
        """(MSE(Q1, y) + MSE(Q2, y)) / 2 with y = r + gamma (1 - d) sum_j softmax(beta_Q q_j) q_j at s'."""
        s, a = batch["observations"], batch["actions"]
        q = self.lower(batch["next_observations"], support)
        v = (torch.softmax(self.config.backup_inverse_temperature * q, dim=1) * q).sum(dim=1)
        y = batch["rewards"] + self.config.discount * (1 - batch["terminals"]) * v
        mse = nn.MSELoss()
        return (mse(q_values(self.q1, s, a), y) + mse(q_values(self.q2, s, a), y)) / 2

    def energy_loss(self, s: Tensor, support: Tensor, q: Tensor, draws: Tensors) -> Tensor:
        """-mean_s sum_j softmax(beta q_j) log softmax(f(s, a_jt, t)), one t per state."""
        earliest = self.config.behaviour_time_min
        t = (earliest + (1 - earliest) * draws["energy_time"])[:, None].expand(q.shape)
        alpha, sigma = (scale[:, :, None] for scale in alpha_sigma(t))
        a = (alpha * support + sigma * draws["energy_noise"]).to(support.dtype)
        f = self.energy(s[:, None].expand(-1, q.shape[1], -1), a, t.to(a.dtype))
        label = torch.softmax(self.config.inverse_temperature * q, dim=1)
        return -(label * torch.log_softmax(f, dim=1)).sum(dim=1).mean()

    def sampled(self, s: Tensor, z: Tensor, scale: float) -> Tensor:
        """Actions (B, A) along the score plus `scale` times the energy's gradient."""

        def score(a: Tensor, t: Tensor) -> Tensor:
            behaviour = self.score(s, a, t)
            if not scale:
                return behaviour
            with torch.enable_grad():
                free = a.detach().clone().requires_grad_()
                (gradient,) = torch.autograd.grad(self.energy(s, free, t).sum(), free)
            return behaviour + scale * gradient

        config = self.config
        return of_clean(score, z, config.solver_calls, config.behaviour_time_min)

    @torch.no_grad()
    def act(self, s: Tensor, z: Tensor) -> Tensor:
        """One guided sample for each state."""
        return self.sampled(s, z, self.config.guidance_scale)
