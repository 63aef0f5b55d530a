"""EDP of one seed, written a second time from its equations: plain modules, torch.optim, no stacks.

Steps are k = 0 .. K-1 as in the paper's code; `abar` (K,) is an input, checked by tests of its own.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tests.algorithms.checks import clip_by_global_norm, linear, q_values, slice_of

SINGLE = np.float32


def mish_network(weights):
    """3 x {Linear, Mish}, Linear."""
    hidden = [part for i in range(3) for part in (linear(weights, f"layers.{i}"), nn.Mish())]
    return nn.Sequential(*hidden, linear(weights, "layers.3"))


class PlainNoise(nn.Module):
    """eps(s, a^k, k): [s, a^k, temb]; temb: cos, then sin, at exp(-i ln(10000) / 8), i = 0 .. 7."""

    def __init__(self, embed, body):
        super().__init__()
        self.embed = nn.Sequential(linear(embed, "layers.0"), nn.Mish(), linear(embed, "layers.1"))
        self.body = mish_network(body)

    def forward(self, s, a, k):
        angles = [k * math.exp(-i * math.log(10_000) / 8) for i in range(8)]
        features = torch.stack([torch.cos(x) for x in angles] + [torch.sin(x) for x in angles], dim=1)
        return self.body(torch.cat([s, a, self.embed(features)], dim=1))


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
    def copied(cls, algorithm, seed):
        state = algorithm.networks.state_dict()

        def noise(name):
            if name not in algorithm.networks:
                return None
            return PlainNoise(slice_of(state, f"{name}.embed.", seed), slice_of(state, f"{name}.mlp.", seed))

        def q(name, member):
            return mish_network(slice_of(state, f"{name}.mlp.", seed, member))

        value = mish_network(slice_of(state, "value.", seed)) if "value" in algorithm.networks else None
        return cls(
            noise("policy"),
            *(q(name, member) for name in ("critics", "target_critics") for member in (0, 1)),
            noise("target_policy"),
            value,
        )


def diffusion_terms(policy, abar, s, a, u, eps, m):
    """L_diff and the approximated action from one a^k: k uniform in 0 .. K-1."""
    k = torch.floor(u * len(abar)).long()
    ab = abar[k][:, None]
    noisy = torch.sqrt(ab) * a + torch.sqrt(1 - ab) * eps
    predicted = policy(s, noisy, k.double())
    approximated = noisy / torch.sqrt(ab) - torch.sqrt(1 / ab - 1) * predicted
    return ((eps - predicted) ** 2).mean(dim=1).mean(), torch.clamp(approximated, -m, m)


def ddpm_sample(policy, abar, s, noise, m):
    """K ancestral steps; noise[0] is the start, noise[i] enters after step i, but not after the last."""
    steps = len(abar)
    x = noise[0]
    for i, k in enumerate(reversed(range(steps))):
        ab = abar[k]
        before = abar[k - 1] if k else torch.ones((), dtype=torch.float64)
        alpha = ab / before
        beta = 1 - alpha
        eps = policy(s, x, torch.full((len(s),), float(k), dtype=torch.float64))
        x0 = torch.clamp(x / torch.sqrt(ab) - torch.sqrt(1 / ab - 1) * eps, -m, m)
        mean = beta * torch.sqrt(before) / (1 - ab) * x0 + (1 - before) * torch.sqrt(alpha) / (1 - ab) * x
        variance = beta * (1 - before) / (1 - ab)
        x = mean + torch.sqrt(variance) * noise[i + 1] if k else mean
    return x


def fast_orders(calls):
    """DPM-Solver-fast: threes first; 15 calls are 3, 3, 3, 3, 2, 1."""
    threes, rest = divmod(calls, 3)
    return [3] * threes + [rest] if rest else [3] * (threes - 1) + [2, 1]


def linspace_in_single(start, end, count):
    """jax.numpy.linspace: start (1 - s) + end s; XLA computes s = i / count as i (1 / count)."""
    s = np.arange(count, dtype=SINGLE) * (SINGLE(1) / SINGLE(count))
    return np.append(start * (SINGLE(1) - s) + end * s, end)


def steps_in_single(betas, calls):
    """int((t - 1/K) K) in single precision for every call's time t: where the released code looks abar up.

    The whole way of its times: the calls equally spaced, each step's inner ones again between its ends, and
    those to half the log-SNR and back. `betas` (K,) in single precision.
    """
    size = len(betas)
    log_alphas = SINGLE(0.5) * np.log(np.cumprod(SINGLE(1) - betas, dtype=SINGLE))
    grid = linspace_in_single(SINGLE(0), SINGLE(1), size)[1:]

    def interpolated(x, xs, ys):
        right = min(max(int(np.searchsorted(xs, x)), 1), size - 1)
        left = right - 1
        return ys[left] + (x - xs[left]) * (ys[right] - ys[left]) / (xs[right] - xs[left])

    def lam(t):
        log_alpha = interpolated(t, grid, log_alphas)
        return log_alpha - SINGLE(0.5) * np.log(SINGLE(1) - np.exp(SINGLE(2) * log_alpha))

    def time(lam):
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


class PlainSolver:
    """DPM-Solver-fast, singlestep, noise prediction, uniform times from 1 to 1/K."""

    def __init__(self, abar, calls):
        self.abar, self.calls, self.size = abar, calls, len(abar)
        alphas = abar.numpy() / np.append(1.0, abar.numpy()[:-1])
        self.clipped_at = steps_in_single((1 - alphas).astype(SINGLE), calls)
        self.log_alphas = 0.5 * np.log(abar.numpy())
        self.times = np.arange(1, self.size + 1) / self.size

    def log_alpha(self, t):
        return np.interp(t, self.times, self.log_alphas)

    def sigma(self, t):
        return math.sqrt(1 - math.exp(2 * self.log_alpha(t)))

    def lam(self, t):
        return self.log_alpha(t) - math.log(self.sigma(t))

    def time(self, lam):
        log_alpha = -0.5 * np.logaddexp(0, -2 * lam)
        return np.interp(log_alpha, self.log_alphas[::-1], self.times[::-1])

    def sample(self, policy, s, x, m):
        clipped_at = iter(self.clipped_at)

        def noise(x, t):
            k = t * self.size - 1
            eps = policy(s, x, torch.full((len(s),), float(k), dtype=torch.float64))
            ab = self.abar[next(clipped_at)]
            w = torch.sqrt(1 / ab - 1)
            low, high = (x / torch.sqrt(ab) - m) / w, (x / torch.sqrt(ab) + m) / w
            return torch.maximum(torch.minimum(eps, high), low)

        grid = np.linspace(1, 1 / self.size, self.calls + 1)
        at = 0
        for order in fast_orders(self.calls):
            x = self.step(noise, x, order, grid[at : at + order + 1])
            at += order
        return x

    def step(self, noise, x, order, inner):
        """One singlestep update from inner[0] to inner[-1]."""
        s, t = inner[0], inner[-1]
        h = self.lam(t) - self.lam(s)
        ratios = [(self.lam(time) - self.lam(s)) / h for time in inner[1:-1]]
        stops = [self.time(self.lam(s) + r * h) for r in ratios]

        def shrink(to):
            return math.exp(self.log_alpha(to) - self.log_alpha(s))

        e_s = noise(x, s)
        straight = shrink(t) * x - self.sigma(t) * (math.exp(h) - 1) * e_s
        if order == 1:
            return straight
        r1, t1 = ratios[0], stops[0]
        x_1 = shrink(t1) * x - self.sigma(t1) * (math.exp(r1 * h) - 1) * e_s
        e_1 = noise(x_1, t1)
        if order == 2:
            return straight - self.sigma(t) * (math.exp(h) - 1) / (2 * r1) * (e_1 - e_s)
        r2, t2 = ratios[1], stops[1]
        bend = (math.exp(r2 * h) - 1) / (r2 * h) - 1
        x_2 = shrink(t2) * x - self.sigma(t2) * (math.exp(r2 * h) - 1) * e_s
        x_2 = x_2 - r2 / r1 * self.sigma(t2) * bend * (e_1 - e_s)
        e_2 = noise(x_2, t2)
        return straight - self.sigma(t) * ((math.exp(h) - 1) / h - 1) / r2 * (e_2 - e_s)


def log_likelihood(a, centre):
    """log N(a; centre, I), summed over the action."""
    return torch.distributions.Normal(centre, 1.0).log_prob(a).sum(dim=1)


class PlainEDP:
    """Training of one seed with torch's own optimisers, one per network."""

    def __init__(self, nets, config, abar, bound=1.0):
        self.nets, self.config, self.bound = nets, config, bound
        self.abar = abar
        self.solver = PlainSolver(abar, config.solver_calls) if config.sampler == "dpm" else None
        self.steps = 0
        self.optimisers = {
            name: torch.optim.Adam(getattr(nets, name).parameters(), lr=config.learning_rate)
            for name in ("policy", "q1", "q2", "v")
            if getattr(nets, name) is not None
        }

    def sampled(self, policy, s, noise):
        if self.solver is None:
            return ddpm_sample(policy, self.abar, s, noise, self.bound)
        return self.solver.sample(policy, s, noise[0], self.bound)

    def iterate(self, batch, draws):
        """One iteration of the method that the configuration belongs to; returns the losses."""
        self.steps += 1
        limit = self.config.action_clip * self.bound
        batch = {**batch, "actions": torch.clamp(batch["actions"], -limit, limit)}
        method = type(self.config).__name__
        losses = self.iql(batch, draws) if method == "EDPIQLConfig" else self.td(batch, draws)
        nets = self.nets
        self.follow(nets.target_q1, nets.q1)
        self.follow(nets.target_q2, nets.q2)
        if nets.target_policy is not None and self.target_policy_follows():
            self.follow(nets.target_policy, nets.policy)
        return losses

    def target_policy_follows(self):
        start, interval = self.config.policy_target_start, self.config.policy_target_interval
        return self.steps > start and self.steps % interval == 0

    def td(self, batch, draws):
        """TD3 and CRR: gradients of all losses at the parameters from before the step."""
        critic_1, critic_2 = self.td_losses(batch, draws)
        diffusion, guidance = self.policy_terms(batch, draws)
        policy = self.config.diffusion_weight * diffusion + self.config.guidance_weight * guidance
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

    def td_losses(self, batch, draws):
        nets, config = self.nets, self.config
        following, copies = batch["next_observations"], config.backup_samples
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

    def policy_terms(self, batch, draws):
        nets, config = self.nets, self.config
        s, a = batch["observations"], batch["actions"]
        diffusion, centre = diffusion_terms(
            nets.policy, self.abar, s, a, draws["step"], draws["noise"], self.bound
        )
        if type(config).__name__ == "EDPTD3Config":
            if not config.action_approximation:
                centre = self.sampled(nets.policy, s, draws["policy_noise"])
            q = q_values(nets.q1 if draws["critic_choice"] < 0.5 else nets.q2, s, centre)
            lam = config.value_weight / q.abs().mean().detach()
            return diffusion, -lam * q.mean()
        with torch.no_grad():
            samples = [
                torch.minimum(q_values(nets.q1, s, centre + e), q_values(nets.q2, s, centre + e))
                for e in draws["advantage_noise"]
            ]
            baseline = sum(samples) / len(samples)
            advantage = torch.minimum(q_values(nets.q1, s, a), q_values(nets.q2, s, a)) - baseline
            weight = torch.exp(advantage / config.advantage_temperature)
            weight = torch.minimum(weight, torch.full_like(weight, config.weight_limit))
        return diffusion, -(weight * log_likelihood(a, centre)).mean()

    def iql(self, batch, draws):
        """Value, then policy, then critics; each sees what has moved before it."""
        nets, config = self.nets, self.config
        s, a = batch["observations"], batch["actions"]
        with torch.no_grad():
            q = torch.minimum(q_values(nets.target_q1, s, a), q_values(nets.target_q2, s, a))
        u = q - nets.v(s)[:, 0]
        value = (torch.abs(config.expectile - (u < 0).double()) * u**2).mean()
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

    def apply(self, name, gradients):
        """Clip the network's global norm, then Adam."""
        net = getattr(self.nets, name)
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        clip_by_global_norm(net.parameters(), self.config.gradient_norm)
        self.optimisers[name].step()

    def follow(self, target, online):
        rate = self.config.target_update_rate
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                slow.copy_((1 - rate) * slow + rate * fast)
