"""The KL-regularised DTQL of one seed, written a second time from the formulas, in float64."""

from dataclasses import dataclass

import torch
from torch import nn

from tests.algorithms.checks import slice_of
from tests.algorithms.plain_dtql import (
    SIGMA_DATA,
    PlainF,
    den_loss,
    noise_level,
    plain_q,
    plain_v,
    q_loss,
    q_values,
    value_loss,
)


@dataclass
class PlainNetworks:
    """Q1, Q2, V, F (data), G (the actor), K (the actor's actions) and target critics of one seed."""

    q1: nn.Module
    q2: nn.Module
    v: nn.Module
    f: nn.Module
    g: nn.Module
    k: nn.Module
    target_q1: nn.Module
    target_q2: nn.Module

    @classmethod
    def copied(cls, algorithm, seed):
        state, config = algorithm.networks.state_dict(), algorithm.config
        critics = [
            plain_q(slice_of(state, f"{name}.mlp.", seed, member), config.critic_layer_norm)
            for name in ("critics", "target_critics")
            for member in (0, 1)
        ]
        scores = [
            PlainF(
                slice_of(state, f"{name}.embed.", seed),
                slice_of(state, f"{name}.mlp.", seed),
                config.embedding_activation,
            )
            for name in ("diffusion", "actor", "fake_score")
        ]
        return cls(*critics[:2], plain_v(slice_of(state, "value.", seed)), *scores, *critics[2:])


def generate(g, z, s):
    """a = G(2.5 z, s, 2.5): no scaling of the condition, no tanh, no clamp."""
    return g(2.5 * z, s, torch.full((len(z),), 2.5, dtype=torch.float64))


def denoised(net, x, s, sigma, clamp):
    """D(x, sigma, s) of a network."""
    sg = sigma[:, None]
    root = torch.sqrt(sg**2 + SIGMA_DATA**2)
    d = SIGMA_DATA**2 / root**2 * x + sg * SIGMA_DATA / root * net(x / root, s, torch.log(sigma) / 4)
    return d if clamp is None else torch.clamp(d, -clamp, clamp)


def kl_gradient(nets, a, s, sigma, eps, clamp):
    """(D_K - D_F) / mean_d |a - D_F|, nothing of it differentiable."""
    with torch.no_grad():
        x = a + sigma[:, None] * eps
        real, fake = denoised(nets.f, x, s, sigma, clamp), denoised(nets.k, x, s, sigma, clamp)
        return (fake - real) / (a - real).abs().mean(dim=1, keepdim=True)


class PlainDTQLKL:
    """Training of one seed with torch's own optimisers and schedule."""

    def __init__(self, nets, config, bound):
        self.nets, self.config = nets, config
        self.clamp = bound if config.clip_denoised else None
        critics = [p for net in (nets.q1, nets.q2, nets.v) for p in net.parameters()]
        self.critic_optimiser = torch.optim.Adam(critics, lr=config.critic_learning_rate)
        self.f_optimiser, self.g_optimiser, self.k_optimiser = (
            torch.optim.Adam(net.parameters(), lr=config.learning_rate) for net in (nets.f, nets.g, nets.k)
        )
        self.schedulers = []
        if config.learning_rate_decay:
            optimisers = (self.critic_optimiser, self.f_optimiser, self.g_optimiser, self.k_optimiser)
            self.schedulers = [
                torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.train_iterations)
                for optimiser in optimisers
            ]

    def hand_over(self):
        """After pretraining, G and K become F."""
        for net in (self.nets.g, self.nets.k):
            net.load_state_dict(self.nets.f.state_dict())

    def iterate(self, batch, draws, train):
        """Critic, F, G, K in this order; returns the losses."""
        nets, config, s = self.nets, self.config, batch["observations"]
        losses = {
            "value_loss": value_loss(nets, batch, config.expectile),
            "critic_loss": q_loss(nets, batch, config.discount),
        }
        self._step(self.critic_optimiser, losses["value_loss"] + losses["critic_loss"])
        sigma = noise_level(draws["behaviour_level"], config.truncate_noise)
        losses["diffusion_loss"] = den_loss(
            nets.f, batch["actions"], s, sigma, draws["behaviour_noise"], self.clamp
        )
        self._step(self.f_optimiser, losses["diffusion_loss"])
        if train:
            losses |= self._train_policy(s, draws)
        return losses

    def _train_policy(self, s, draws):
        nets, config = self.nets, self.config
        a = generate(nets.g, draws["action_noise"], s)
        sigma = noise_level(draws["actor_level"], config.truncate_noise)
        gradient = kl_gradient(nets, a, s, sigma, draws["actor_noise"], self.clamp)
        value = torch.minimum(q_values(nets.q1, s, a), q_values(nets.q2, s, a)).mean()
        # By its gradient, grad / (B A), instead of by the squared form.
        by_gradient = config.trust_region_weight * (gradient * a).mean() - config.action_value_weight * value
        self._step(self.g_optimiser, by_gradient)
        kl = 0.5 * (gradient**2).mean()
        sigma = noise_level(draws["fake_level"], config.truncate_noise)
        fake = den_loss(nets.k, a.detach(), s, sigma, draws["fake_noise"], self.clamp)
        self._step(self.k_optimiser, fake)
        for scheduler in self.schedulers:
            scheduler.step()
        with torch.no_grad():
            for target, online in ((nets.target_q1, nets.q1), (nets.target_q2, nets.q2)):
                for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                    slow.copy_((1 - config.target_update_rate) * slow + config.target_update_rate * fast)
        return {
            "kl_loss": kl,
            "actor_value": value,
            "actor_loss": config.trust_region_weight * kl - config.action_value_weight * value,
            "fake_score_loss": fake,
        }

    @staticmethod
    def _step(optimiser, loss):
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
