"""EDP of one seed, written a second time from its equations: plain modules, torch.optim, no stacks.

Steps are k = 0 .. K-1 as in the paper's code; `abar` (K,) is an input, checked by tests of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.edp import EDP, EDPConfig, EDPCRRConfig, EDPIQLConfig, EDPTD3Config
from benchmarks.plain.modules import (
    PlainVersion,
    Tensors,
    clip_by_global_norm,
    follow,
    linear,
    q_values,
    slice_of,
)

SINGLE = np.float32


def mish_network(weights: Tensors) -> nn.Sequential:
    """3 x {Linear, Mish}, Linear."""
    hidden = [part for i in range(3) for part in (linear(weights, f"layers.{i}"), nn.Mish())]
    return nn.Sequential(*hidden, linear(weights, "layers.3"))


class PlainNoise(nn.Module):
    """eps(s, a^k, k): [s, a^k, temb]; temb: cos, then sin, at exp(-i ln(10000) / 8), i = 0 .. 7."""

    def __init__(self, embed: Tensors, body: Tensors) -> None:
        super().__init__()
        first = linear(embed, "layers.0")
        half = first.in_features // 2
        powers = torch.arange(half, dtype=torch.float64) / half
        self.frequencies = torch.exp(-powers * math.log(10_000)).to(first.weight.dtype)
        self.embed = nn.Sequential(first, nn.Mish(), linear(embed, "layers.1"))
        self.body = mish_network(body)

    def forward(self, s: Tensor, a: Tensor, k: Tensor) -> Tensor:
        """(B, O), (B, A), (B,) -> (B, A)."""
        angles = k[:, None] * self.frequencies
        time = self.embed(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1))
        return self.body(torch.cat([s, a, time], dim=1))


@dataclass
class PlainNetworks:
    """The networks of one seed; `target_policy` and `v` only where the method has them."""

    policy: nn.Module
    q1: nn.Module
    q2: nn.Module
    target_q1: nn.Module
    target_q2: nn.Module
    target_policy: nn.Module | None
    v: nn.Module | None

    @classmethod
    def copied(cls, algorithm: Algorithm, seed: int) -> PlainNetworks:
        """With a seed's weights."""
        state = algorithm.networks.state_dict()

        def noise(name: str) -> PlainNoise:
            return PlainNoise(slice_of(state, f"{name}.embed.", seed), slice_of(state, f"{name}.mlp.", seed))

        def q(name: str, member: int) -> nn.Sequential:
            return mish_network(slice_of(state, f"{name}.mlp.", seed, member))

        there = algorithm.networks
        return cls(
            policy=noise("policy"),
            q1=q("critics", 0),
            q2=q("critics", 1),
            target_q1=q("target_critics", 0),
            target_q2=q("target_critics", 1),
            target_policy=noise("target_policy") if "target_policy" in there else None,
            v=mish_network(slice_of(state, "value.", seed)) if "value" in there else None,
        )


def diffusion_terms(
    policy: nn.Module, abar: Tensor, s: Tensor, a: Tensor, u: Tensor, eps: Tensor, m: float
) -> tuple[Tensor, Tensor]:
    """L_diff and the approximated action from one a^k: k uniform in 0 .. K-1."""
    k = torch.floor(u * len(abar)).long()
    ab = abar[k][:, None]
    noisy = torch.sqrt(ab) * a + torch.sqrt(1 - ab) * eps
    predicted = policy(s, noisy, k.to(a.dtype))
    approximated = noisy / torch.sqrt(ab) - torch.sqrt(1 / ab - 1) * predicted
    return ((eps - predicted) ** 2).mean(dim=1).mean(), torch.clamp(approximated, -m, m)


def ddpm_sample(policy: nn.Module, abar: Tensor, s: Tensor, noise: Tensor, m: float) -> Tensor:
    """K ancestral steps; noise[0] is the start, noise[i] enters after step i, but not after the last."""
    steps = len(abar)
    x = noise[0]
    for i, k in enumerate(reversed(range(steps))):
        ab = abar[k]
        before = abar[k - 1] if k else torch.ones_like(ab)
        alpha = ab / before
        beta = 1 - alpha
        eps = policy(s, x, torch.full_like(x[:, 0], k))
        x0 = torch.clamp(x / torch.sqrt(ab) - torch.sqrt(1 / ab - 1) * eps, -m, m)
        mean = beta * torch.sqrt(before) / (1 - ab) * x0 + (1 - before) * torch.sqrt(alpha) / (1 - ab) * x
        variance = beta * (1 - before) / (1 - ab)
        x = mean + torch.sqrt(variance) * noise[i + 1] if k else mean
    return x


def fast_orders(calls: int) -> list[int]:
    """DPM-Solver-fast: threes first; 15 calls are 3, 3, 3, 3, 2, 1."""
    threes, rest = divmod(calls, 3)
    return [3] * threes + [rest] if rest else [3] * (threes - 1) + [2, 1]


def linspace_in_single(start: np.float32, end: np.float32, count: int) -> NDArray[np.float32]:
    """jax.numpy.linspace: start (1 - s) + end s; XLA computes s = i / count as i (1 / count)."""
    s = np.arange(count, dtype=SINGLE) * (SINGLE(1) / SINGLE(count))
    return np.append(start * (SINGLE(1) - s) + end * s, end)


def steps_in_single(betas: NDArray[np.float32], calls: int) -> list[int]:
    """int((t - 1/K) K) in single precision for every call's time t: where the released code looks abar up.

    The whole way of its times: the calls equally spaced, each step's inner ones again between its ends, and
    those to half the log-SNR and back. `betas` (K,) in single precision.
    """
    size = len(betas)
    log_alphas = SINGLE(0.5) * np.log(np.cumprod(SINGLE(1) - betas, dtype=SINGLE))
    grid = linspace_in_single(SINGLE(0), SINGLE(1), size)[1:]

    def interpolated(x: Any, xs: NDArray[np.float32], ys: NDArray[np.float32]) -> Any:  # noqa: ANN401
        right = min(max(int(np.searchsorted(xs, x)), 1), size - 1)
        left = right - 1
        return ys[left] + (x - xs[left]) * (ys[right] - ys[left]) / (xs[right] - xs[left])

    def lam(t: Any) -> Any:  # noqa: ANN401
        log_alpha = interpolated(t, grid, log_alphas)
        return log_alpha - SINGLE(0.5) * np.log(SINGLE(1) - np.exp(SINGLE(2) * log_alpha))

    def time(lam: Any) -> Any:  # noqa: ANN401
        log_alpha = SINGLE(-0.5) * np.logaddexp(SINGLE(0), SINGLE(-2) * lam)
        return interpolated(log_alpha, log_alphas[::-1], grid[::-1])

    outer, at, times = linspace_in_single(SINGLE(1), SINGLE(1 / size), calls), 0, []
    for order in fast_orders(calls):
        lams = [lam(t) for t in linspace_in_single(outer[at], outer[at + order], order)]
        h = lams[-1] - lams[0]
        times += [outer[at], *(time(lams[0] + (inner - lams[0]) / h * h) for inner in lams[1:-1])]
        at += order
    labels = [(t - SINGLE(1 / size)) * SINGLE(size) for t in times]
    assert {label.dtype for label in labels} == {np.dtype(SINGLE)}
    return [int(label) for label in labels]


@dataclass(frozen=True)
class Move:
    """x -> shrink x - pull e_s - bend (e - e_s), with e_s the step's first prediction and e its latest."""

    shrink: float
    pull: float
    bend: float = 0.0


class PlainSolver:
    """DPM-Solver-fast, singlestep, noise prediction, uniform times from 1 to 1/K."""

    def __init__(self, abar: Tensor, calls: int) -> None:
        self.abar, self.size = abar, len(abar)
        exact = abar.double().cpu().numpy()
        alphas = exact / np.append(1.0, exact[:-1])
        self.clipped_at = steps_in_single((1 - alphas).astype(SINGLE), calls)
        self.log_alphas = 0.5 * np.log(exact)
        self.times = np.arange(1, self.size + 1) / self.size
        self.labels: list[float] = []
        """Of every call, in order."""
        self.steps: list[list[Move]] = []
        grid, at = np.linspace(1, 1 / self.size, calls + 1), 0
        for order in fast_orders(calls):
            self._add_step(order, grid[at : at + order + 1])
            at += order

    def log_alpha(self, t: float) -> float:
        """Between the steps, log alpha is linear in time."""
        return float(np.interp(t, self.times, self.log_alphas))

    def sigma(self, t: float) -> float:
        """Of the noise at a time."""
        return math.sqrt(1 - math.exp(2 * self.log_alpha(t)))

    def lam(self, t: float) -> float:
        """Half the log-SNR at a time."""
        return self.log_alpha(t) - math.log(self.sigma(t))

    def time(self, lam: float) -> float:
        """When half the log-SNR is `lam`."""
        log_alpha = -0.5 * np.logaddexp(0, -2 * lam)
        return float(np.interp(log_alpha, self.log_alphas[::-1], self.times[::-1]))

    def _add_step(self, order: int, inner: NDArray[np.float64]) -> None:
        """One singlestep update from inner[0] to inner[-1]."""
        s, t = inner[0], inner[-1]
        h = self.lam(t) - self.lam(s)
        ratios = [(self.lam(time) - self.lam(s)) / h for time in inner[1:-1]]
        stops = [self.time(self.lam(s) + r * h) for r in ratios]
        self.labels += [time * self.size - 1 for time in (s, *stops)]

        def move(to: float, gone: float, bend: float = 0.0) -> Move:
            shrink = math.exp(self.log_alpha(to) - self.log_alpha(s))
            return Move(shrink, self.sigma(to) * (math.exp(gone) - 1), self.sigma(to) * bend)

        if order == 1:
            self.steps.append([move(t, h)])
        elif order == 2:
            (r1,) = ratios
            self.steps.append([move(stops[0], r1 * h), move(t, h, (math.exp(h) - 1) / (2 * r1))])
        else:
            r1, r2 = ratios
            second = r2 / r1 * ((math.exp(r2 * h) - 1) / (r2 * h) - 1)
            third = ((math.exp(h) - 1) / h - 1) / r2
            self.steps.append([move(stops[0], r1 * h), move(stops[1], r2 * h, second), move(t, h, third)])

    def sample(self, policy: nn.Module, s: Tensor, x: Tensor, m: float) -> Tensor:
        """Actions (B, A) for states (B, O) from noise `x`."""
        calls = iter(zip(self.labels, self.clipped_at, strict=True))

        def noise(x: Tensor) -> Tensor:
            label, at = next(calls)
            eps = policy(s, x, torch.full_like(x[:, 0], label))
            ab = self.abar[at]
            w, centre = torch.sqrt(1 / ab - 1), x / torch.sqrt(ab)
            return torch.maximum(torch.minimum(eps, (centre + m) / w), (centre - m) / w)

        for moves in self.steps:
            start, first = x, noise(x)
            latest = first
            for move in moves:
                x = move.shrink * start - move.pull * first
                if move.bend:
                    x = x - move.bend * (latest - first)
                if move is not moves[-1]:
                    latest = noise(x)
        return x


def log_likelihood(a: Tensor, centre: Tensor) -> Tensor:
    """log N(a; centre, I), summed over the action."""
    return torch.distributions.Normal(centre, 1.0).log_prob(a).sum(dim=1)


class PlainEDP(PlainVersion):
    """Training of one seed, under the method that the configuration belongs to; an optimiser per network."""

    def __init__(self, nets: PlainNetworks, config: EDPConfig, abar: Tensor, bound: float = 1.0) -> None:
        self.nets, self.config, self.bound = nets, config, bound
        self.abar = abar
        self.solver = PlainSolver(abar, config.solver_calls) if config.sampler == "dpm" else None
        self.optimisers = {
            name: torch.optim.Adam(getattr(nets, name).parameters(), lr=config.learning_rate)
            for name in ("policy", "q1", "q2", "v")
            if getattr(nets, name) is not None
        }

    @classmethod
    def of(cls, algorithm: Algorithm, seed: int) -> PlainEDP:
        """The twin of a seed, with the method's own schedule."""
        assert isinstance(algorithm, EDP)
        abar = algorithm.schedule.abar[1:]
        bound = algorithm.dimensions.action_bound
        return cls(PlainNetworks.copied(algorithm, seed), algorithm.config, abar, bound)

    def sampled(self, policy: nn.Module, s: Tensor, noise: Tensor) -> Tensor:
        """Actions by the configuration's sampler."""
        if self.solver is None:
            return ddpm_sample(policy, self.abar, s, noise, self.bound)
        return self.solver.sample(policy, s, noise[0], self.bound)

    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration of the method that the configuration belongs to; returns the losses."""
        limit = self.config.action_clip * self.bound
        batch = {**batch, "actions": torch.clamp(batch["actions"], -limit, limit)}
        config, nets, rate = self.config, self.nets, self.config.target_update_rate
        if isinstance(config, EDPIQLConfig):
            losses = self.iql(config, batch, draws)
        else:
            assert isinstance(config, EDPTD3Config | EDPCRRConfig)
            losses = self.td(config, batch, draws)
        follow(nets.target_q1, nets.q1, rate)
        follow(nets.target_q2, nets.q2, rate)
        if program == "train+target_policy":
            assert nets.target_policy is not None
            follow(nets.target_policy, nets.policy, rate)
        return losses

    def td(self, config: EDPTD3Config | EDPCRRConfig, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """TD3 and CRR: gradients of all losses at the parameters from before the step."""
        critic_1, critic_2 = self.td_losses(config, batch, draws)
        diffusion, guidance = self.policy_terms(config, batch, draws)
        policy = config.diffusion_weight * diffusion + config.guidance_weight * guidance
        nets = self.nets
        gradients = {
            name: torch.autograd.grad(loss, list(net.parameters()))
            for name, net, loss in (
                ("q1", nets.q1, critic_1),
                ("q2", nets.q2, critic_2),
                ("policy", nets.policy, policy),
            )
        }
        for name, gradient in gradients.items():
            self.apply(name, gradient)
        return {
            "critic_loss": critic_1 + critic_2,
            "diffusion_loss": diffusion,
            "guidance_loss": guidance,
            "policy_loss": policy,
        }

    def td_losses(
        self, config: EDPTD3Config | EDPCRRConfig, batch: Tensors, draws: Tensors
    ) -> tuple[Tensor, Tensor]:
        """Of both critics, against the lower target at actions of the target policy."""
        nets, following, copies = self.nets, batch["next_observations"], config.backup_samples
        assert nets.target_policy is not None
        with torch.no_grad():
            repeated = following.repeat_interleave(copies, dim=0)
            a = self.sampled(nets.target_policy, repeated, draws["next_noise"])
            if copies > 1:
                a = torch.clamp(a, -self.bound, self.bound)
            q1, q2 = (q_values(net, repeated, a) for net in (nets.target_q1, nets.target_q2))
            q1, q2 = (q.reshape(-1, copies).max(dim=1).values for q in (q1, q2))
            y = batch["rewards"] + config.discount * (1 - batch["terminals"]) * torch.minimum(q1, q2)
        s, a = batch["observations"], batch["actions"]
        mse = nn.MSELoss()
        return mse(q_values(nets.q1, s, a), y), mse(q_values(nets.q2, s, a), y)

    def policy_terms(
        self, config: EDPTD3Config | EDPCRRConfig, batch: Tensors, draws: Tensors
    ) -> tuple[Tensor, Tensor]:
        """L_diff, and the guidance by value (TD3) or by weighted likelihood (CRR)."""
        nets = self.nets
        s, a = batch["observations"], batch["actions"]
        diffusion, centre = diffusion_terms(
            nets.policy, self.abar, s, a, draws["step"], draws["noise"], self.bound
        )
        if isinstance(config, EDPTD3Config):
            if not config.action_approximation:
                centre = self.sampled(nets.policy, s, draws["policy_noise"])
            q = q_values(nets.q1 if draws["critic_choice"] < 0.5 else nets.q2, s, centre)
            lam = config.value_weight / q.abs().mean().detach()
            return diffusion, -lam * q.mean()
        with torch.no_grad():
            samples = centre + draws["advantage_noise"]
            states = s.expand(len(samples), -1, -1)
            baseline = self.lower(states, samples).mean(dim=0)
            weight = torch.exp((self.lower(s, a) - baseline) / config.advantage_temperature)
            weight = torch.clamp(weight, max=config.weight_limit)
        return diffusion, -(weight * log_likelihood(a, centre)).mean()

    def lower(self, s: Tensor, a: Tensor) -> Tensor:
        """The lower of both critics' values."""
        return torch.minimum(q_values(self.nets.q1, s, a), q_values(self.nets.q2, s, a))

    def iql(self, config: EDPIQLConfig, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """Value, then policy, then critics; each sees what has moved before it."""
        nets = self.nets
        s, a = batch["observations"], batch["actions"]
        assert nets.v is not None
        with torch.no_grad():
            q = torch.minimum(q_values(nets.target_q1, s, a), q_values(nets.target_q2, s, a))
        u = q - nets.v(s)[:, 0]
        value = (torch.abs(config.expectile - (u < 0).to(u.dtype)) * u**2).mean()
        self.apply("v", torch.autograd.grad(value, list(nets.v.parameters())))

        diffusion, centre = diffusion_terms(
            nets.policy, self.abar, s, a, draws["step"], draws["noise"], self.bound
        )
        with torch.no_grad():
            weight = torch.exp(config.inverse_temperature * (q - nets.v(s)[:, 0]))
            weight = torch.clamp(weight, max=config.weight_limit)
        guidance = -(weight * log_likelihood(a, centre)).mean()
        policy = config.diffusion_weight * diffusion + config.guidance_weight * guidance
        self.apply("policy", torch.autograd.grad(policy, list(nets.policy.parameters())))

        with torch.no_grad():
            following = nets.v(batch["next_observations"])[:, 0]
            y = batch["rewards"] + config.discount * (1 - batch["terminals"]) * following
        critics = {}
        for name in ("q1", "q2"):
            net = getattr(nets, name)
            critics[name] = ((q_values(net, s, a) - y) ** 2).mean()
            self.apply(name, torch.autograd.grad(critics[name], list(net.parameters())))
        return {
            "value_loss": value,
            "diffusion_loss": diffusion,
            "guidance_loss": guidance,
            "policy_loss": policy,
            "critic_loss": critics["q1"] + critics["q2"],
        }

    def apply(self, name: str, gradients: tuple[Tensor, ...]) -> None:
        """Clip the network's global norm, then Adam."""
        net = getattr(self.nets, name)
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter.grad = gradient
        clip_by_global_norm(net.parameters(), self.config.gradient_norm)
        self.optimisers[name].step()
