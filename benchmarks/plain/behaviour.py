"""The behaviour model of QGPO and SfBC and its samplers, of one seed, written a second time from formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.plain.modules import Tensors, linear
from benchmarks.plain.srpo import alpha_sigma

Score = Callable[[Tensor, Tensor], Tensor]
"""(noisy actions (B, A), time (B,)) -> gradient of their log-density, (B, A)."""


class PlainTime(nn.Module):
    """L([sin 2 pi t W, cos 2 pi t W])."""

    def __init__(self, weights: Tensors, name: str) -> None:
        super().__init__()
        self.w = weights[f"{name}.fourier.frequencies"][0].clone()
        self.layer = linear(weights, f"{name}.layer")

    def forward(self, t: Tensor) -> Tensor:
        """(...) -> (..., F)."""
        angle = 2 * math.pi * t[..., None] * self.w
        return self.layer(torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1))


class PlainBlock(nn.Module):
    """h = SiLU(L1 x) + L_t SiLU(e); out = SiLU(L2 h) + (L_s x or x)."""

    def __init__(self, weights: Tensors, name: str, time: nn.Linear) -> None:
        super().__init__()
        self.time = time
        self.first, self.second = linear(weights, f"{name}.first"), linear(weights, f"{name}.second")
        wider = f"{name}.skip.weight" in weights
        self.skip = linear(weights, f"{name}.skip") if wider else nn.Identity()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """(B, I), (B, E) -> (B, W)."""
        silu = nn.functional.silu
        return silu(self.second(silu(self.first(x)) + self.time(silu(e)))) + self.skip(x)


class PlainScore(nn.Module):
    """grad log p_t(a | s), h / sigma_t with a network h that falls and rises in width."""

    def __init__(self, weights: Tensors) -> None:
        super().__init__()
        self.t, self.s = PlainTime(weights, "time"), linear(weights, "state")
        self.e1, self.e2 = linear(weights, "embed.0"), linear(weights, "embed.1")
        self.blocks, first = nn.ModuleList(), 0
        for i in range(6):
            width = weights[f"blocks.{i}.second.weight"].shape[0]
            part = slice(first, first + width)
            # Here every block has the layer of the time that is its own.
            own = {name: weights[f"times.{name}"][:, part] for name in ("weight", "bias")}
            time = linear({f"t.{name}": tensor for name, tensor in own.items()}, "t")
            self.blocks.append(PlainBlock(weights, f"blocks.{i}", time))
            first += width
        self.last = linear(weights, "last")

    def forward(self, s: Tensor, a: Tensor, t: Tensor) -> Tensor:
        """(B, O), (B, A), (B,) -> (B, A)."""
        silu = nn.functional.silu
        e = torch.cat([silu(self.s(s)), self.t(t)], dim=1)
        e = self.e2(silu(self.e1(e)))
        d1 = self.blocks[0](a, e)
        d2 = self.blocks[1](d1, e)
        d3 = self.blocks[2](d2, e)
        u3 = self.blocks[3](d3, e)
        u2 = self.blocks[4](torch.cat([d3, u3], dim=1), e)
        u1 = self.blocks[5](torch.cat([d2, u2], dim=1), e)
        h = -self.last(torch.cat([d1, u1], dim=1))
        return h / alpha_sigma(t)[1][:, None]


def score_matching(score: nn.Module, batch: Tensors, u: Tensor, z: Tensor, earliest: float) -> Tensor:
    """mean_batch sum_dims (sigma_t score(a_t) + z)^2, t = earliest + (1 - earliest) U."""
    t = earliest + (1 - earliest) * u
    alpha, sigma = (scale[:, None] for scale in alpha_sigma(t))
    a = alpha * batch["actions"] + sigma * z
    return ((sigma * score(batch["observations"], a, t) + z) ** 2).sum(dim=1).mean()


def _lambda(t: Tensor) -> Tensor:
    alpha, sigma = alpha_sigma(t)
    return torch.log(alpha / sigma)


def of_clean(score: Score, x: Tensor, calls: int, end: float) -> Tensor:
    """DPM-Solver++ of second order, one step for two calls, from time 1 to `end`; an odd call ends it."""
    ts = torch.linspace(1, end, calls + 1, dtype=torch.float64)

    def clean(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(t)
        return (x + sigma**2 * score(x, t.to(x.dtype).expand(len(x)))) / alpha

    i = 0
    while i < calls:
        order = 2 if i + 2 <= calls and (calls % 2 or i + 2 < calls) else 1
        s, t = ts[i], ts[i + order]
        (_, sigma_s), (alpha_t, sigma_t) = alpha_sigma(s), alpha_sigma(t)
        h = _lambda(t) - _lambda(s)
        x0 = clean(x, s)
        new = (sigma_t / sigma_s) * x - alpha_t * (torch.exp(-h) - 1) * x0
        if order == 2:
            r = (_lambda(ts[i + 1]) - _lambda(s)) / h
            alpha_1, sigma_1 = alpha_sigma(ts[i + 1])
            x1 = (sigma_1 / sigma_s) * x - alpha_1 * (torch.exp(-r * h) - 1) * x0
            new = new - alpha_t * (torch.exp(-h) - 1) / (2 * r) * (clean(x1, ts[i + 1]) - x0)
        x, i = new, i + order
    return x


def of_noise(score: Score, x: Tensor, calls: int, end: float) -> Tensor:
    """DPM-Solver-fast of third order from time 1 to `end`: three calls a step, then what is left."""
    ts = torch.linspace(1, end, calls + 1, dtype=torch.float64)

    def eps(x: Tensor, t: Tensor) -> Tensor:
        return -alpha_sigma(t)[1] * score(x, t.to(x.dtype).expand(len(x)))

    i = 0
    while i < calls:
        left = calls - i
        order = {1: 1, 2: 2, 3: 2}.get(left, 3) if calls % 3 == 0 else min(left, 3)
        s, t = ts[i], ts[i + order]
        (alpha_s, _), (alpha_t, sigma_t) = alpha_sigma(s), alpha_sigma(t)
        h = _lambda(t) - _lambda(s)
        e = eps(x, s)
        new = (alpha_t / alpha_s) * x - sigma_t * (torch.exp(h) - 1) * e
        if order > 1:
            t1 = ts[i + 1]
            r1 = (_lambda(t1) - _lambda(s)) / h
            alpha_1, sigma_1 = alpha_sigma(t1)
            x1 = (alpha_1 / alpha_s) * x - sigma_1 * (torch.exp(r1 * h) - 1) * e
            d1 = eps(x1, t1) - e
        if order == 2:
            new = new - sigma_t * (torch.exp(h) - 1) / (2 * r1) * d1
        if order == 3:
            t2 = ts[i + 2]
            r2 = (_lambda(t2) - _lambda(s)) / h
            alpha_2, sigma_2 = alpha_sigma(t2)
            grown = torch.exp(r2 * h) - 1
            x2 = (alpha_2 / alpha_s) * x - sigma_2 * grown * e
            x2 = x2 - sigma_2 * (r2 / r1) * (grown / (r2 * h) - 1) * d1
            d2 = eps(x2, t2) - e
            new = new - sigma_t / r2 * ((torch.exp(h) - 1) / h - 1) * d2
        x, i = new, i + order
    return x
