"""CQL of one seed, written a second time: plain networks, torch.optim, torch.distributions."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from algorithms.base import Algorithm
from algorithms.cql import CQLConfig
from benchmarks.plain.modules import PlainVersion, Tensors, follow, layered, q_values, slice_of


class PlainCQL(PlainVersion):
    """Training of one seed."""

    def __init__(self, algorithm: Algorithm, seed: int) -> None:
        state = algorithm.networks.state_dict()
        config: CQLConfig = algorithm.config
        self.config, self.bound = config, algorithm.dimensions.action_bound
        statistics = slice_of(state, "states.", seed)
        self.mean, self.scale = statistics["mean"][0], 1 / statistics["factor"][0]
        self.actor = layered(slice_of(state, "actor.mlp.", seed), nn.ReLU)
        together = "critics.parts.1.layers.0.weight" not in state
        where = (("0", 0), ("0", 1)) if together else (("0", 0), ("1", 0))
        self.q1, self.q2 = (
            layered(slice_of(state, f"critics.parts.{part}.", seed, member), nn.ReLU)
            for part, member in where
        )
        self.slow_q1, self.slow_q2 = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        numbers = {
            name: nn.Parameter(state[name][seed].reshape(()).clone())
            for name in ("actor.multiplier", "actor.offset", "entropy.value", "multiplier.value")
            if name in state
        }
        self.m, self.c = numbers.get("actor.multiplier"), numbers.get("actor.offset")
        self.log_alpha, self.log_multiplier = numbers["entropy.value"], numbers.get("multiplier.value")
        own = [number for number in (self.m, self.c) if number is not None]
        slow, fast = config.actor_learning_rate, config.critic_learning_rate
        self.actor_optimiser = torch.optim.Adam([*own, *self.actor.parameters()], lr=slow)
        self.critic_optimiser = torch.optim.Adam([*self.q1.parameters(), *self.q2.parameters()], lr=fast)
        self.entropy_optimiser = torch.optim.Adam([self.log_alpha], lr=slow)
        if self.log_multiplier is not None:
            self.multiplier_optimiser = torch.optim.Adam([self.log_multiplier], lr=fast)

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainCQL:
        """The twin of a seed, before training."""
        return cls(algorithm, seed)

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, A) for observations (B, O)."""
        out = self.actor((observations - self.mean) / self.scale)
        return self.bound * torch.tanh(out.chunk(2, dim=-1)[0])

    def gaussian(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation before tanh."""
        mean, log_std = self.actor(s).chunk(2, dim=-1)
        if self.m is not None and self.c is not None:
            log_std = self.m * log_std + self.c
        return mean, torch.exp(torch.clamp(log_std, self.config.log_std_min, self.config.log_std_max))

    def sample(self, s: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions in (-1, 1) of states (B, O) by noise (B, A) or (N, B, A), and their log-densities."""
        mean, std = self.gaussian(s)
        squash = TanhTransform(cache_size=1)
        # The transform remembers where its last result came from; without that tanh would be undone badly.
        actions = squash(mean + std * noise)
        return actions, TransformedDistribution(Independent(Normal(mean, std), 1), [squash]).log_prob(actions)

    def gap(self, q: nn.Module, s: Tensor, a: Tensor, samples: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Mean over states of log sum over samples of exp(Q) / density, less Q of the data."""
        terms = [
            q_values(q, s.expand(len(actions), -1, -1), self.bound * actions) - densities
            for actions, densities in samples
        ]
        rows = torch.logsumexp(torch.cat(terms), dim=0) - q_values(q, s, a)
        return (torch.clamp(rows, min=self.config.smallest_gap) if self.config.gap_clipped else rows).mean()

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration: all losses first, then all gradients, then all steps."""
        config = self.config
        s = (batch["observations"] - self.mean) / self.scale
        following = (batch["next_observations"] - self.mean) / self.scale
        a, rows, width = batch["actions"], len(s), batch["actions"].shape[1]

        chosen, log_pi = self.sample(s, draws["action"])
        entropy_loss = -(self.log_alpha * (log_pi.detach() - width)).mean()
        (entropy_gradient,) = torch.autograd.grad(entropy_loss, [self.log_alpha])
        alpha = self.log_alpha.detach().exp()
        if config.entropy_first:
            self.log_alpha.grad = entropy_gradient
            self.entropy_optimiser.step()
            alpha = self.log_alpha.detach().exp()

        if program == "warm_up":
            mean, std = self.gaussian(s)
            ratio = torch.clamp(1 + a / self.bound, min=1e-6) / torch.clamp(1 - a / self.bound, min=1e-6)
            u = torch.log(ratio) / 2
            jacobian = torch.log(1 / torch.cosh(u) ** 2).sum(dim=1)
            worth = Normal(mean, std).log_prob(u).sum(dim=1) - jacobian
        else:
            action = self.bound * chosen
            worth = torch.minimum(q_values(self.q1, s, action), q_values(self.q2, s, action))
        actor_loss = (alpha * log_pi - worth).mean()

        with torch.no_grad():
            best = torch.full((rows,), -math.inf, dtype=s.dtype)
            for noise in draws["backup"].transpose(0, 1):
                action = self.bound * self.sample(following, noise)[0]
                q = torch.minimum(
                    q_values(self.slow_q1, following, action), q_values(self.slow_q2, following, action)
                )
                best = torch.maximum(best, q)
            y = batch["rewards"] + config.discount * (1 - batch["terminals"]) * best
            uniform = 2 * draws["random"].transpose(0, 1) - 1
            samples = [
                (uniform, torch.full(uniform.shape[:2], math.log(0.5**width), dtype=s.dtype)),
                self.sample(following, draws["next"].transpose(0, 1)),
                self.sample(s, draws["current"].transpose(0, 1)),
            ]
        mse = nn.functional.mse_loss
        critic_loss = mse(q_values(self.q1, s, a), y) + mse(q_values(self.q2, s, a), y)
        gaps = [self.gap(q, s, a, samples) for q in (self.q1, self.q2)]
        weighted = [config.conservative_weight * gap for gap in gaps]
        multiplier_gradient = None
        if config.lagrange:
            assert self.log_multiplier is not None
            factor = config.conservative_weight if config.threshold_weighted else 1
            over = [term - factor * config.gap_threshold for term in weighted]
            multiplier = torch.clamp(torch.exp(self.log_multiplier), 0.0, 1e6)
            multiplier_loss = sum((-multiplier * term.detach() for term in over), torch.zeros(())) * 0.5
            (multiplier_gradient,) = torch.autograd.grad(multiplier_loss, [self.log_multiplier])
            weighted = [multiplier.detach() * term for term in over]

        actors = self.actor_optimiser.param_groups[0]["params"]
        critics = self.critic_optimiser.param_groups[0]["params"]
        actor_gradients = torch.autograd.grad(actor_loss, actors)
        critic_gradients = torch.autograd.grad(critic_loss + sum(weighted), critics)
        for parameters, gradients in ((actors, actor_gradients), (critics, critic_gradients)):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        if not config.entropy_first:
            self.log_alpha.grad = entropy_gradient
            self.entropy_optimiser.step()
        self.actor_optimiser.step()
        self.critic_optimiser.step()
        if self.log_multiplier is not None:
            self.log_multiplier.grad = multiplier_gradient
            self.multiplier_optimiser.step()
        follow(self.slow_q1, self.q1, config.target_update_rate)
        follow(self.slow_q2, self.q2, config.target_update_rate)
        return {
            "actor_loss": actor_loss.detach(),
            "critic_loss": critic_loss.detach(),
            "conservative_gap": ((gaps[0] + gaps[1]) / 2).detach(),
            "entropy_coefficient": alpha,
        }
