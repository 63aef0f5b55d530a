"""DTQL of one seed, written a second time from the paper's formulas: plain modules, torch.optim, no stacks.

Everything that the tests hold against the stacked code comes from here or from the test itself.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from tests.algorithms.checks import layer_norm, linear, q_values, slice_of

SIGMA_DATA = 0.5
SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
LOCATION, SCALE = math.log(0.5), 0.5


def plain_q(weights, norm=True):
    """3 x {Linear, LayerNorm, Mish}, Linear."""
    parts = []
    for i in range(3):
        parts += [linear(weights, f"layers.{i}")]
        parts += [layer_norm(weights, f"norms.{i}")] if norm else []
        parts += [nn.Mish()]
    return nn.Sequential(*parts, linear(weights, "layers.3"))


def plain_v(weights):
    """3 x {Linear, Mish}, Linear."""
    return plain_q(weights, norm=False)


def plain_actor(weights):
    """3 x {Linear, ReLU}, Linear to mean and log standard deviation."""
    parts = []
    for i in range(3):
        parts += [linear(weights, f"layers.{i}"), nn.ReLU()]
    return nn.Sequential(*parts, linear(weights, "layers.3"))


def time_features(condition):
    """(B,) -> (B, 16): sin(c f_k), then cos(c f_k), f_k = exp(-k ln(10000) / 7), k = 0 .. 7."""
    columns = [torch.sin(condition * math.exp(-k * math.log(10_000) / 7)) for k in range(8)]
    columns += [torch.cos(condition * math.exp(-k * math.log(10_000) / 7)) for k in range(8)]
    return torch.stack(columns, dim=1)


class PlainF(nn.Module):
    """The diffusion network: no activation after the first layer unless `activated`."""

    def __init__(self, embed, body, activated=False):
        super().__init__()
        self.embed = nn.Sequential(linear(embed, "layers.0"), nn.Mish(), linear(embed, "layers.1"))
        parts = [linear(body, "layers.0"), *([nn.Mish()] if activated else [])]
        for i in (1, 2, 3):
            parts += [linear(body, f"layers.{i}"), nn.Mish()]
        self.body = nn.Sequential(*parts, linear(body, "layers.4"))

    def forward(self, x, s, condition):
        return self.body(torch.cat([x, s, self.embed(time_features(condition))], dim=1))


@dataclass
class PlainNetworks:
    """Q1, Q2, V, F and the actor of one seed."""

    q1: nn.Module
    q2: nn.Module
    v: nn.Module
    f: nn.Module
    actor: nn.Module
    target_q1: nn.Module
    target_q2: nn.Module

    @classmethod
    def copied(cls, algorithm, seed, norm=True, activated=False):
        state = algorithm.networks.state_dict()
        return cls(
            plain_q(slice_of(state, "critics.mlp.", seed, 0), norm),
            plain_q(slice_of(state, "critics.mlp.", seed, 1), norm),
            plain_v(slice_of(state, "value.", seed)),
            PlainF(
                slice_of(state, "diffusion.embed.", seed),
                slice_of(state, "diffusion.mlp.", seed),
                activated,
            ),
            plain_actor(slice_of(state, "actor.mlp.", seed)),
            plain_q(slice_of(state, "target_critics.mlp.", seed, 0), norm),
            plain_q(slice_of(state, "target_critics.mlp.", seed, 1), norm),
        )


def noise_level(u, truncated=True):
    """sigma = exp(ln 0.5 + 0.5 logit(u)), u in [F(0.002), F(80)] when truncated."""
    if truncated:
        low, high = (1 / (1 + math.exp(-(math.log(s) - LOCATION) / SCALE)) for s in (SIGMA_MIN, SIGMA_MAX))
        u = low + (high - low) * u
    return torch.exp(LOCATION + SCALE * (torch.log(u) - torch.log1p(-u)))


def den_loss(f, a, s, sigma, eps, clamp):
    """mean(((D(a + sigma eps) - a) / c_out)^2) with D clamped to +-clamp (None: not)."""
    sg = sigma[:, None]
    c_skip = SIGMA_DATA**2 / (sg**2 + SIGMA_DATA**2)
    c_out = sg * SIGMA_DATA / torch.sqrt(sg**2 + SIGMA_DATA**2)
    c_in = 1 / torch.sqrt(sg**2 + SIGMA_DATA**2)
    x = a + sg * eps
    d = c_skip * x + c_out * f(c_in * x, s, torch.log(sigma) / 4)
    if clamp is not None:
        d = torch.clamp(d, -clamp, clamp)
    return torch.mean(((d - a) / c_out) ** 2)


def value_loss(nets, batch, tau):
    """Mean of w(u) u^2 with u = min(Q1, Q2)(s, a) - V(s), Q held fixed."""
    s, a = batch["observations"], batch["actions"]
    with torch.no_grad():
        q = torch.minimum(q_values(nets.q1, s, a), q_values(nets.q2, s, a))
    u = q - nets.v(s)[:, 0]
    return torch.mean((tau * (u > 0).double() + (1 - tau) * (u <= 0).double()) * u**2)


def q_loss(nets, batch, gamma):
    """MSE of Q1 and of Q2 to r + gamma (1 - done) V(s'), V held fixed."""
    s, a = batch["observations"], batch["actions"]
    with torch.no_grad():
        y = batch["rewards"] + gamma * (1 - batch["terminals"]) * nets.v(batch["next_observations"])[:, 0]
    mse = nn.MSELoss()
    return mse(q_values(nets.q1, s, a), y) + mse(q_values(nets.q2, s, a), y)


def actor_terms(nets, batch, action_eps, sigma, eps, bound, clamp):
    """L_TR, L_Q and L_ent of the actor."""
    s = batch["observations"]
    mu, log_std = nets.actor(s).split(batch["actions"].shape[1], dim=1)
    std = torch.exp(torch.clamp(log_std, -5, 2))
    a = torch.clamp(bound * torch.tanh(mu + std * action_eps), -bound, bound)
    pre_tanh = torch.atanh(batch["actions"] / (bound + 1e-3))
    likelihood = torch.distributions.Normal(mu, std).log_prob(pre_tanh).sum(dim=1)
    q = torch.minimum(q_values(nets.q1, s, a), q_values(nets.q2, s, a))
    return den_loss(nets.f, a, s, sigma, eps, clamp), -q.mean(), -likelihood.mean()


class PlainDTQL:
    """Training of one seed with torch's own optimisers and schedule."""

    def __init__(self, nets, config, bound):
        self.nets, self.config, self.bound = nets, config, bound
        critics = [p for net in (nets.q1, nets.q2, nets.v) for p in net.parameters()]
        self.critic_optimiser = torch.optim.Adam(critics, lr=config.critic_learning_rate)
        self.f_optimiser = torch.optim.Adam(nets.f.parameters(), lr=config.learning_rate)
        self.actor_optimiser = torch.optim.Adam(nets.actor.parameters(), lr=config.learning_rate)
        self.schedulers = []
        if config.learning_rate_decay:
            self.schedulers = [
                torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.train_iterations)
                for optimiser in (self.critic_optimiser, self.f_optimiser, self.actor_optimiser)
            ]

    def iterate(self, batch, draws, train):
        """One iteration; returns the losses."""
        nets, config = self.nets, self.config
        clamp = self.bound if config.clip_denoised else None
        losses = {
            "value_loss": value_loss(nets, batch, config.expectile),
            "critic_loss": q_loss(nets, batch, config.discount),
        }
        self._step(self.critic_optimiser, losses["value_loss"] + losses["critic_loss"])
        sigma = noise_level(draws["behaviour_level"], config.truncate_noise)
        losses["diffusion_loss"] = den_loss(
            nets.f, batch["actions"], batch["observations"], sigma, draws["behaviour_noise"], clamp
        )
        self._step(self.f_optimiser, losses["diffusion_loss"])
        if not train:
            return losses
        sigma = noise_level(draws["actor_level"], config.truncate_noise)
        trust, negative_q, likelihood = actor_terms(
            nets, batch, draws["action_noise"], sigma, draws["actor_noise"], self.bound, clamp
        )
        losses["trust_region_loss"], losses["actor_value"] = trust, -negative_q
        loss = config.trust_region_weight * trust + negative_q + config.likelihood_weight * likelihood
        losses["actor_loss"] = loss
        self._step(self.actor_optimiser, loss)
        for scheduler in self.schedulers:
            scheduler.step()
        with torch.no_grad():
            for target, online in ((nets.target_q1, nets.q1), (nets.target_q2, nets.q2)):
                for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                    slow.copy_((1 - config.target_update_rate) * slow + config.target_update_rate * fast)
        return losses

    @staticmethod
    def _step(optimiser, loss):
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
