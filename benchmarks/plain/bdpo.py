"""BDPO of one seed, written a second time from its formulas: plain modules, autograd, torch.optim, no stacks.

Also its Gaussian and deterministic ablations.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.bdpo import BDPOConfig, RegularisedConfig
from algorithms.bdpo_unimodal import GaussianConfig
from benchmarks.plain.modules import (
    PlainVersion,
    Tensors,
    clip_by_global_norm,
    follow,
    layer_norm,
    linear,
    slice_of,
)

FLAX_EPSILON = 1e-6
"""flax.linen.LayerNorm's, which the authors leave as it is; torch's is 1e-5."""


def stack_of_layers(
    weights: Tensors, prefix: str, hidden: int, norm: bool = False, last: bool = True
) -> nn.Sequential:
    """hidden x {Linear, [LayerNorm], Mish}, then a Linear if `last`, else a Linear and a Mish."""
    parts: list[nn.Module] = []
    for i in range(hidden):
        parts.append(linear(weights, f"{prefix}layers.{i}"))
        if norm:
            parts.append(layer_norm(weights, f"{prefix}norms.{i}", FLAX_EPSILON))
        parts.append(nn.Mish())
    parts.append(linear(weights, f"{prefix}layers.{hidden}"))
    return nn.Sequential(*parts, *([] if last else [nn.Mish()]))


class Embedding(nn.Module):
    """cos(n f_j), then sin(n f_j), f_j = exp(-j ln(10000) / (width/2 - 1)), then {Linear, Mish} twice."""

    def __init__(self, weights: Tensors, width: int) -> None:
        super().__init__()
        self.layers = stack_of_layers(weights, "embed.mlp.", 1, last=False)
        powers = torch.arange(width // 2, dtype=torch.float64) / (width // 2 - 1)
        dtype = next(self.layers.parameters()).dtype
        self.frequencies = torch.exp(-powers * math.log(10_000)).to(dtype)

    def forward(self, n: Tensor) -> Tensor:
        """Steps (...) -> (..., width)."""
        angles = n[..., None] * self.frequencies
        return self.layers(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1))


class NoiseNet(nn.Module):
    """[a^n, temb, s] -> noise."""

    def __init__(self, weights: Tensors, config: BDPOConfig) -> None:
        super().__init__()
        self.time = Embedding(weights, config.time_embedding_width)
        self.body = stack_of_layers(weights, "mlp.", config.actor_layers)

    def forward(self, a: Tensor, s: Tensor, n: Tensor) -> Tensor:
        """(..., A), (..., O), (...) -> (..., A)."""
        return self.body(torch.cat([a, self.time(n), s], dim=-1))


class QNet(nn.Module):
    """[s, a] -> value."""

    def __init__(self, weights: Tensors, config: RegularisedConfig) -> None:
        super().__init__()
        self.body = stack_of_layers(weights, "mlp.", config.critic_layers, config.critic_layer_norm)

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        """(..., O), (..., A) -> (...)."""
        return self.body(torch.cat([s, a], dim=-1))[..., 0]


class VNet(nn.Module):
    """[s, a^n, temb] -> value, always with LayerNorm."""

    def __init__(self, weights: Tensors, config: BDPOConfig) -> None:
        super().__init__()
        self.time = Embedding(weights, config.time_embedding_width)
        self.body = stack_of_layers(weights, "mlp.", config.critic_layers, norm=True)

    def forward(self, s: Tensor, a: Tensor, n: Tensor) -> Tensor:
        """(..., O), (..., A), (...) -> (...)."""
        return self.body(torch.cat([s, a, self.time(n)], dim=-1))[..., 0]


class Bounded(nn.Module):
    """Policies of the ablation: tanh mean times the bound, and a log standard deviation if there is one."""

    def __init__(self, weights: Tensors, layers: int, bound: float, action: int) -> None:
        super().__init__()
        self.body = stack_of_layers(weights, "mlp.", layers)
        self.bound, self.action = bound, action

    def forward(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """(B, O) -> (B, A) and (B, A) or (B, 0)."""
        out = self.body(s)
        return self.bound * torch.tanh(out[:, : self.action]), out[:, self.action :]


def plain_networks(algorithm: Algorithm, seed: int) -> nn.ModuleDict:
    """{name: module or list of modules (ensembles)} of one seed, targets included."""
    state, config, dimensions = algorithm.networks.state_dict(), algorithm.config, algorithm.dimensions

    def make(name: str) -> nn.Module:
        if name.endswith(("critics", "diffusion_values")):
            kind = QNet if name.endswith("critics") else VNet
            members = range(config.ensemble)
            return nn.ModuleList(kind(slice_of(state, f"{name}.", seed, k), config) for k in members)
        weights = slice_of(state, f"{name}.", seed)
        if hasattr(config, "diffusion_steps"):
            return NoiseNet(weights, config)
        return Bounded(weights, config.actor_layers, dimensions.action_bound, dimensions.action)

    return nn.ModuleDict({name: make(name) for name in algorithm.networks})


def lcb(values: Tensor, rho: float) -> Tensor:
    """values (K, B): mean minus rho population standard deviations."""
    mean = values.mean(dim=0)
    if rho == 0 or len(values) == 1:  # no deviation, and no derivative of sqrt(0)
        return mean
    return mean - rho * torch.sqrt(((values - mean) ** 2).mean(dim=0))


class PlainTrainer(PlainVersion):
    """What BDPO and its ablations share: order of updates, clip norms, schedules, averages, hand-over."""

    def __init__(self, networks: nn.ModuleDict, config: RegularisedConfig, bound: float) -> None:
        self.nets, self.config, self.bound = networks, config, bound
        rates = {"behaviour": config.behaviour_learning_rate, "actor": config.actor_learning_rate}
        self.optimisers, self.schedulers = {}, {}
        for name in (n for n in networks if not n.startswith("target_")):
            rate = rates.get(name, config.critic_learning_rate)
            self.optimisers[name] = torch.optim.Adam(networks[name].parameters(), lr=rate, eps=1e-8)
            if name != "behaviour":
                self.schedulers[name] = torch.optim.lr_scheduler.CosineAnnealingLR(
                    self.optimisers[name], T_max=config.train_iterations
                )

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainTrainer:
        """The twin of a seed."""
        return cls(plain_networks(algorithm, seed), algorithm.config, algorithm.dimensions.action_bound)

    @abstractmethod
    def behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Of the behaviour model, ()."""

    @abstractmethod
    def critic_losses(self, batch: Tensors, draws: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of every value network, by its name, and what else is told."""

    @abstractmethod
    def actor_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Of the actor, ()."""

    def hand_over(self) -> None:
        """Actor and its target become the average of the behaviour model."""
        for name in ("actor", "target_actor"):
            self.nets[name].load_state_dict(self.nets["target_behaviour"].state_dict())

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration: of the behaviour model alone, or of what the program names after the critics."""
        limit = self.bound - self.config.action_margin
        batch = {**batch, "actions": torch.clamp(batch["actions"], -limit, limit)}
        if program == "pretrain":
            return {"behaviour_loss": self.step("behaviour", self.behaviour_loss(batch, draws))}
        losses, metrics = self.critic_losses(batch, draws)
        for name, loss in losses.items():
            metrics[f"{name}_loss"] = self.step(name, loss)
        if "actor" in program:
            metrics["actor_loss"] = self.step("actor", self.actor_loss(batch, draws))
        if "behaviour" in program:
            metrics["behaviour_loss"] = self.step("behaviour", self.behaviour_loss(batch, draws))
        return metrics

    def step(self, name: str, loss: Tensor) -> Tensor:
        """Step a network, then its average."""
        self.optimisers[name].zero_grad()
        loss.backward()
        clip_by_global_norm(self.nets[name].parameters(), self.config.gradient_norm)
        self.optimisers[name].step()
        if name in self.schedulers:
            self.schedulers[name].step()
        follow(self.nets[f"target_{name}"], self.nets[name], self.config.target_update_rate)
        return loss.detach()

    def q_target(self, batch: Tensors, q: Tensor, penalty: Tensor) -> Tensor:
        """q (K, B) per member at s', penalty (B,) = eta P."""
        config = self.config
        bootstrap = config.discount * (1 - batch["terminals"])
        if config.penalty_placement == "inside":
            return batch["rewards"] + bootstrap * (lcb(q, config.pessimism) - penalty)
        return batch["rewards"] + bootstrap * lcb(q, config.pessimism) - penalty

    def q_loss(self, batch: Tensors, y: Tensor) -> Tensor:
        """Mean over the members of their squared errors."""
        return torch.mean((self.members("critics", batch["observations"], batch["actions"]) - y) ** 2)

    def members(self, name: str, *inputs: Tensor) -> Tensor:
        """Values (K, ...) of an ensemble."""
        networks = self.nets[name]
        assert isinstance(networks, nn.ModuleList)
        return torch.stack([network(*inputs) for network in networks])

    def per_member(self, samples: Tensor, s: Tensor, best: bool) -> Tensor:
        """Target Q of each member at N samples (B, N, A), their mean or best: (K, B)."""
        values = self.members("target_critics", s[:, None].expand(*samples.shape[:2], -1), samples)
        return values.amax(dim=2) if best else values.mean(dim=2)


class PlainBDPO(PlainTrainer):
    """Training of one seed."""

    config: BDPOConfig

    def __init__(self, networks: nn.ModuleDict, config: BDPOConfig, bound: float) -> None:
        super().__init__(networks, config, bound)
        self.clip = bound if config.clip_denoised else None
        dtype, steps = next(networks.parameters()).dtype, config.diffusion_steps
        n = torch.arange(1, steps + 1, dtype=torch.float64)
        alpha = torch.exp(-0.1 / steps - 0.5 * 9.9 * (2 * n - 1) / steps**2)
        one = torch.ones(1, dtype=torch.float64)
        beta, abar = torch.cat([0 * one, 1 - alpha]), torch.cat([one, torch.cumprod(alpha, dim=0)])
        self.beta, self.abar = beta.to(dtype), abar.to(dtype)
        """Of n = 0 .. T; entry 0 is the clean action."""
        # Size of d mu / d e where nothing is clipped: through x0, then through mu.
        slope = torch.sqrt(abar[:-1]) * beta[1:] * torch.sqrt(1 - abar[1:]) / torch.sqrt(abar[1:])
        slope = slope / (1 - abar[1:])
        self.kl_weight = torch.cat([0 * one, slope**2 / (2 * beta[1:])]).to(dtype)

    def kl_step(self, n: Tensor, e_pi: Tensor, e_nu: Tensor) -> Tensor:
        """l_n by its definition |mu_pi - mu_nu|^2 / (2 beta_n), with unclipped means, (...)."""
        return self.kl_weight[n] * ((e_pi - e_nu) ** 2).sum(dim=-1)

    def reverse_mean(self, a: Tensor, n: Tensor, e: Tensor) -> Tensor:
        """mu_n, (..., A)."""
        beta, kept, before = (table[..., None] for table in (self.beta[n], self.abar[n], self.abar[n - 1]))
        x0 = (a - torch.sqrt(1 - kept) * e) / torch.sqrt(kept)
        if self.clip is not None:
            x0 = torch.clamp(x0, -self.clip, self.clip)
        return (torch.sqrt(before) * beta * x0 + torch.sqrt(1 - beta) * (1 - before) * a) / (1 - kept)

    def noised(self, a: Tensor, u: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """a^n and n, with n = k where (k - 1) / T <= u < k / T."""
        steps = self.config.diffusion_steps
        n = torch.clamp((u * steps).long(), max=steps - 1) + 1
        kept = self.abar[n][:, None]
        return torch.sqrt(kept) * a + torch.sqrt(1 - kept) * eps, n

    def behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Mean squared error of the noise."""
        eps = draws["behaviour_noise"]
        a, n = self.noised(batch["actions"], draws["behaviour_step"], eps)
        return torch.mean((eps - self.nets["behaviour"](a, batch["observations"], n)) ** 2)

    def chain(self, policy: str, s: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Chains of states (..., O) and noise (T, ..., A): a^0 (..., A) and the path KL (...)."""
        a, penalty = noise[0], torch.zeros_like(noise[0, ..., 0])
        for i, k in enumerate(range(self.config.diffusion_steps, 0, -1)):
            n = torch.full(a.shape[:-1], k, device=a.device)
            e = self.nets[policy](a, s, n)
            penalty = penalty + self.kl_step(n, e, self.nets["target_behaviour"](a, s, n))
            a = self.reverse_mean(a, n, e)
            if k > 1:
                a = a + torch.sqrt(self.beta[k]) * noise[i + 1]
        return a, penalty

    def critic_losses(self, batch: Tensors, draws: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of the critics along whole chains, and of the diffusion values at one step."""
        config, following = self.config, batch["next_observations"]
        with torch.no_grad():
            s = following[:, None].expand(-1, config.samples, -1)
            samples, penalty = self.chain("target_actor", s, draws["next_chain"])
            penalty = penalty.mean(dim=1)
            q = self.per_member(samples, following, config.max_q_backup)
            y_q = self.q_target(batch, q, config.divergence_weight * penalty)
            a_n, n, y_v = self.objective("target_actor", batch, draws, "value")
        v_loss = torch.mean((self.members("diffusion_values", batch["observations"], a_n, n) - y_v) ** 2)
        losses = {"critics": self.q_loss(batch, y_q), "diffusion_values": v_loss}
        return losses, {"path_divergence": penalty.mean()}

    def objective(
        self, policy: str, batch: Tensors, draws: Tensors, stage: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """a^n, n and J(s, a^n), (B,)."""
        config, s = self.config, batch["observations"]
        a_n, n = self.noised(batch["actions"], draws[f"{stage}_step"], draws[f"{stage}_noise"])
        e = self.nets[policy](a_n, s, n)
        mean, deviation = self.reverse_mean(a_n, n, e), torch.sqrt(self.beta[n]) * (n > 1)
        samples = mean[:, None] + deviation[:, None, None] * draws[f"{stage}_reverse"]
        # Where n = 1 there is no noise: Q at the clean action, N times the same.
        at_end = self.per_member(samples, s, best=False)
        states = s[:, None].expand(-1, config.samples, -1)
        below = torch.clamp(n - 1, min=1)[:, None].expand(-1, config.samples)
        further = self.members("target_diffusion_values", states, samples, below).mean(dim=2)
        value = lcb(torch.where(n == 1, at_end, further), config.pessimism)
        penalty = self.kl_step(n, e, self.nets["target_behaviour"](a_n, s, n))
        return a_n, n, value - config.divergence_weight * penalty

    def actor_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """The objective, to be maximised."""
        return -torch.mean(self.objective("actor", batch, draws, "actor")[2])


class PlainUnimodal(PlainTrainer):
    """The ablation with Gaussian policies, or deterministic ones where the configuration is no Gaussian's."""

    def distribution(self, name: str, s: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (B, A) of a policy; no deviation, (B, 0), where it is deterministic."""
        mean, log_std = self.nets[name](s)
        if not isinstance(self.config, GaussianConfig):
            return mean, log_std
        return mean, torch.exp(torch.clamp(log_std, self.config.log_std_min, self.config.log_std_max))

    def samples(self, policy: tuple[Tensor, Tensor], draws: Tensors, name: str) -> Tensor:
        """Actions (B, N, A)."""
        mean, std = policy
        if not isinstance(self.config, GaussianConfig):
            return mean[:, None]
        return torch.clamp(mean[:, None] + std[:, None] * draws[name], -self.bound, self.bound)

    def divergence(self, policy: tuple[Tensor, Tensor], s: Tensor) -> Tensor:
        """Per state, by torch.distributions for Gaussians."""
        other = self.distribution("target_behaviour", s)
        if not isinstance(self.config, GaussianConfig):
            return 0.5 * torch.sum((policy[0] - other[0]) ** 2, dim=1)
        normal = torch.distributions.Normal
        return torch.distributions.kl_divergence(normal(*policy), normal(*other)).sum(dim=1)

    def behaviour_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Squared error, or negative log-likelihood of the data's actions."""
        policy = self.distribution("behaviour", batch["observations"])
        if not isinstance(self.config, GaussianConfig):
            return torch.mean((policy[0] - batch["actions"]) ** 2)
        return -torch.distributions.Normal(*policy).log_prob(batch["actions"]).sum(dim=1).mean()

    def critic_losses(self, batch: Tensors, draws: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of the critics."""
        config, s = self.config, batch["next_observations"]
        with torch.no_grad():
            policy = self.distribution("target_actor", s)
            best = isinstance(config, GaussianConfig) and config.max_q_backup
            q = self.per_member(self.samples(policy, draws, "next_actions"), s, best)
            divergence = self.divergence(policy, s)
            y = self.q_target(batch, q, config.divergence_weight * divergence)
        return {"critics": self.q_loss(batch, y)}, {"divergence": divergence.mean()}

    def actor_loss(self, batch: Tensors, draws: Tensors) -> Tensor:
        """Values less the divergence, to be maximised."""
        s = batch["observations"]
        policy = self.distribution("actor", s)
        q = self.per_member(self.samples(policy, draws, "actor_actions"), s, best=False)
        objective = lcb(q, self.config.pessimism) - self.config.divergence_weight * self.divergence(policy, s)
        return -objective.mean()
