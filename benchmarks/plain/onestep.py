"""One-step RL of one seed, written a second time: plain networks, torch.optim, torch.distributions."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from algorithms.base import Algorithm
from algorithms.onestep import OneStepConfig
from benchmarks.plain.modules import PlainVersion, Tensors, follow, layered, q_values, slice_of, step


class PlainOneStep(PlainVersion):
    """Training of one seed."""

    def __init__(self, algorithm: Algorithm, seed: int) -> None:
        state = algorithm.networks.state_dict()
        config: OneStepConfig = algorithm.config
        self.config, self.bound = config, algorithm.dimensions.action_bound
        self.beta, self.pi, self.q = (
            layered(slice_of(state, f"{name}.mlp.", seed), nn.ReLU)
            for name in ("behaviour", "policy", "critic")
        )
        self.slow_q = copy.deepcopy(self.q)
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=config.learning_rate)
            for name, network in (("behaviour", self.beta), ("policy", self.pi), ("critic", self.q))
        }

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainOneStep:
        """The twin of a seed, before training."""
        return cls(algorithm, seed)

    def begin_phase(self, name: str) -> None:
        """The policy becomes a copy of the behaviour policy, with a new optimiser."""
        if name == "policy":
            self.pi = copy.deepcopy(self.beta)
            self.optimisers["policy"] = torch.optim.Adam(self.pi.parameters(), lr=self.config.learning_rate)

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, A) for observations (B, O)."""
        return self.distribution(self.pi, observations).mean

    def distribution(self, network: nn.Module, s: Tensor) -> Independent:
        """Normal with mean bound tanh(x) and log sigma = -5 + 2.5 (tanh(x) + 1)."""
        out = torch.tanh(network(s))
        width = out.shape[-1] // 2
        sigma = torch.exp(-5 + 2.5 * (out[..., width:] + 1))
        return Independent(Normal(self.bound * out[..., :width], sigma), 1)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration on a minibatch."""
        if program == "behaviour":
            loss = -self.distribution(self.beta, batch["observations"]).log_prob(batch["actions"]).mean()
            step(self.optimisers["behaviour"], loss)
            return {"behaviour_loss": loss.detach()}
        if program == "policy":
            reverse = self.config.improvement == "reverse_kl"
            loss = self.reverse_kl(batch, draws) if reverse else self.regression(batch, draws)
            step(self.optimisers["policy"], loss)
            return {"policy_loss": loss.detach()}
        following = q_values(self.slow_q, batch["next_observations"], batch["next_actions"]).detach()
        y = batch["rewards"] + self.config.discount * (1 - batch["terminals"]) * following
        loss = ((q_values(self.q, batch["observations"], batch["actions"]) - y) ** 2).mean()
        step(self.optimisers["critic"], loss)
        if program == "critic+target":
            follow(self.slow_q, self.q, self.config.target_update_rate)
        return {"critic_loss": loss.detach()}

    def regression(self, batch: Tensors, draws: Tensors) -> Tensor:
        """-mean of exp(tau A) log pi(a|s)."""
        config, s, a = self.config, batch["observations"], batch["actions"]
        with torch.no_grad():
            beta = self.distribution(self.beta, s)
            values = [
                q_values(self.q, s, beta.mean + beta.stddev * noise)
                for noise in draws["samples"].unbind(dim=1)
            ]
            advantage = q_values(self.q, s, a) - torch.stack(values).mean(dim=0)
            weight = torch.clamp(torch.exp(config.inverse_temperature * advantage), 0, config.weight_limit)
        limit = self.bound - config.action_margin
        return -(weight * self.distribution(self.pi, s).log_prob(torch.clamp(a, -limit, limit))).mean()

    def reverse_kl(self, batch: Tensors, draws: Tensors) -> Tensor:
        """mean of -Q(s, a~) + alpha mean_j(log pi - log beta)(a_j)."""
        s = batch["observations"]
        pi, beta = self.distribution(self.pi, s), self.distribution(self.beta, s)
        chosen = pi.mean + pi.stddev * draws["action"]
        divergences = []
        for noise in draws["samples"].unbind(dim=1):
            action = pi.mean + pi.stddev * noise
            divergences.append(pi.log_prob(action) - beta.log_prob(action))
        divergence = torch.stack(divergences).mean(dim=0)
        return (-q_values(self.q, s, chosen) + self.config.divergence_weight * divergence).mean()
