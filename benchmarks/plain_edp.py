"""EDP's iteration as one would first write it in PyTorch: one network each, autograd, torch.optim.

The yardstick of `benchmarks.iteration`; nothing else uses it.
"""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from algorithms.edp import EDPConfig, EDPCRRConfig, EDPIQLConfig, EDPTD3Config


def _network(inputs: int, width: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in (inputs, width, width):
        layers += [nn.Linear(size, width), nn.Mish()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def clip_by_global_norm(parameters: list[nn.Parameter], maximum: float) -> None:
    """optax's rule, which EDP and BDPO share: gradients whose joint norm is below the maximum stay."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    if norm >= maximum:
        for gradient in gradients:
            gradient.div_(norm).mul_(maximum)


class _Noise(nn.Module):
    def __init__(self, observation: int, action: int, config: EDPConfig) -> None:
        super().__init__()
        time = config.time_embedding_width
        self.frequencies = torch.exp(-math.log(10_000) * torch.arange(time // 2) / (time // 2))
        self.embed = nn.Sequential(nn.Linear(time, 2 * time), nn.Mish(), nn.Linear(2 * time, time))
        self.body = _network(observation + action + time, config.hidden_width, action)

    def forward(self, state: Tensor, noisy: Tensor, label: Tensor) -> Tensor:
        angle = label[:, None] * self.frequencies
        time = self.embed(torch.cat((angle.cos(), angle.sin()), dim=1))
        return self.body(torch.cat((state, noisy, time), dim=1))


class _Solver:
    """DPM-Solver-fast, coefficients worked out ahead as any sensible implementation would."""

    def __init__(self, abar: Tensor, calls: int) -> None:
        self.abar, self.steps = abar, len(abar)
        times = np.arange(1, self.steps + 1) / self.steps
        grid = np.linspace(1, 1 / self.steps, calls + 1)
        log_alpha = np.interp(grid, times, 0.5 * np.log(abar.double().numpy()))
        sigma = np.sqrt(1 - np.exp(2 * log_alpha))
        self.labels = grid * self.steps - 1
        self.log_alpha, self.sigma = log_alpha.tolist(), sigma.tolist()
        self.half_log_snr = (log_alpha - np.log(sigma)).tolist()
        threes, rest = divmod(calls, 3)
        self.orders = [3] * threes + [rest] if rest else [3] * (threes - 1) + [2, 1]
        self.clipped_at = self._clipped_at(np.float32(1 / self.steps), calls)

    def _clipped_at(self, end: np.float32, calls: int) -> list[int]:
        """Whole steps in single precision, in which the released code indexes abar to clip a prediction."""

        def linspace(start: np.float32, end: np.float32, count: int) -> np.ndarray:
            shares = np.arange(count, dtype=np.float32) * (np.float32(1) / np.float32(count))
            return np.append(start * (1 - shares) + end * shares, end)

        grid, at, times = linspace(np.float32(1), end, calls), 0, []
        for order in self.orders:
            times += linspace(grid[at], grid[at + order], order)[:-1].tolist()
            at += order
        return ((np.array(times, np.float32) - end) * np.float32(self.steps)).astype(int).tolist()

    def sample(self, policy: _Noise, state: Tensor, bound: float) -> Tensor:
        at, point = 0, torch.randn(len(state), policy.body[-1].out_features)
        for order in self.orders:
            point = self._step(policy, state, point, at, order, bound)
            at += order
        return point

    def _noise(self, policy: _Noise, state: Tensor, point: Tensor, at: int, bound: float) -> Tensor:
        label = float(self.labels[at])
        noise = policy(state, point, torch.full((len(state),), label))
        abar = self.abar[self.clipped_at[at]]
        scale = (1 / abar - 1).sqrt()
        centre = point / abar.sqrt()
        return torch.clamp(noise, (centre - bound) / scale, (centre + bound) / scale)

    def _step(
        self, policy: _Noise, state: Tensor, point: Tensor, at: int, order: int, bound: float
    ) -> Tensor:
        end = at + order
        snr, sigma, log_alpha = self.half_log_snr, self.sigma, self.log_alpha
        h = snr[end] - snr[at]
        start = self._noise(policy, state, point, at, bound)

        def straight(to: int) -> Tensor:
            gone = math.expm1(snr[to] - snr[at])
            return math.exp(log_alpha[to] - log_alpha[at]) * point - sigma[to] * gone * start

        if order == 1:
            return straight(end)
        first = (snr[at + 1] - snr[at]) / h
        change = self._noise(policy, state, straight(at + 1), at + 1, bound) - start
        if order == 2:
            return straight(end) - sigma[end] * math.expm1(h) / (2 * first) * change
        second = (snr[at + 2] - snr[at]) / h
        bend = math.expm1(second * h) / (second * h) - 1
        middle = straight(at + 2) - second / first * sigma[at + 2] * bend * change
        change = self._noise(policy, state, middle, at + 2, bound) - start
        return straight(end) - (math.expm1(h) / h - 1) / second * sigma[end] * change


class PlainEDP:
    """One seed of EDP under the method that the configuration belongs to."""

    def __init__(self, observation: int, action: int, config: EDPConfig) -> None:
        self.config = config
        width = config.hidden_width
        betas = torch.linspace(
            0.1 / config.diffusion_steps, 20 / config.diffusion_steps, config.diffusion_steps
        )
        self.abar = torch.cumprod(1 - betas, 0)
        self.solver = _Solver(self.abar, config.solver_calls)
        self.policy = _Noise(observation, action, config)
        self.critics = [_network(observation + action, width, 1) for _ in "12"]
        self.value = _network(observation, width, 1)
        self.targets = [deepcopy(critic) for critic in self.critics]
        self.target_policy = deepcopy(self.policy)
        self.optimisers = {
            network: torch.optim.Adam(network.parameters(), config.learning_rate)
            for network in (self.policy, *self.critics, self.value)
        }

    def iterate(self, data: tuple[Tensor, ...], step: int) -> None:
        """One iteration on a minibatch drawn from `data`: observations, actions, rewards, next, terminals."""
        rows = torch.randint(len(data[0]), (self.config.batch_size,))
        state, action, reward, following, terminal = (column[rows] for column in data)
        action = action.clamp(-self.config.action_clip, self.config.action_clip)
        if isinstance(self.config, EDPIQLConfig):
            weights = self._value_step(state, action)
        diffusion, denoised = self._denoise(state, action)
        if isinstance(self.config, EDPTD3Config):
            critic = self.critics[int(torch.rand(()) < 0.5)]
            values = critic(torch.cat((state, denoised), 1))
            guidance = -self.config.value_weight * values.mean() / values.abs().mean().detach()
        else:
            if isinstance(self.config, EDPCRRConfig):
                weights = self._advantage_weights(state, action, denoised)
            likelihood = -0.5 * ((action - denoised) ** 2).sum(1) - 0.5 * action.shape[1] * math.log(
                2 * math.pi
            )
            guidance = -(weights * likelihood).mean()
        self._step(
            self.policy, self.config.diffusion_weight * diffusion + self.config.guidance_weight * guidance
        )
        with torch.no_grad():
            future = reward + self.config.discount * (1 - terminal) * self._future(following)
        for critic in self.critics:
            self._step(critic, functional.mse_loss(critic(torch.cat((state, action), 1)).squeeze(1), future))
        self._follow_all(step)

    def _future(self, following: Tensor) -> Tensor:
        if isinstance(self.config, EDPIQLConfig):
            return self.value(following).squeeze(1)
        action = self.solver.sample(self.target_policy, following, 1.0)
        return self._lowest(self.targets, following, action)

    def _lowest(self, critics: list[nn.Sequential], state: Tensor, action: Tensor) -> Tensor:
        inputs = torch.cat((state, action), -1)
        return torch.min(*(critic(inputs) for critic in critics)).squeeze(-1)

    def _denoise(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        label = torch.randint(len(self.abar), (len(action),))
        abar, noise = self.abar[label][:, None], torch.randn_like(action)
        noisy = abar.sqrt() * action + (1 - abar).sqrt() * noise
        predicted = self.policy(state, noisy, label.float())
        denoised = (noisy / abar.sqrt() - (1 / abar - 1).sqrt() * predicted).clamp(-1, 1)
        return ((noise - predicted) ** 2).mean(), denoised

    @torch.no_grad()
    def _advantage_weights(self, state: Tensor, action: Tensor, centre: Tensor) -> Tensor:
        samples = centre + torch.randn(self.config.advantage_samples, *centre.shape)
        baseline = self._lowest(self.critics, state.expand(len(samples), -1, -1), samples).mean(0)
        advantage = self._lowest(self.critics, state, action) - baseline
        return (advantage / self.config.advantage_temperature).exp().clamp(max=self.config.weight_limit)

    def _value_step(self, state: Tensor, action: Tensor) -> Tensor:
        with torch.no_grad():
            target = self._lowest(self.targets, state, action)
        difference = target - self.value(state).squeeze(1)
        expectile = torch.where(difference > 0, self.config.expectile, 1 - self.config.expectile)
        self._step(self.value, (expectile * difference**2).mean())
        with torch.no_grad():
            advantage = target - self.value(state).squeeze(1)
            return (self.config.inverse_temperature * advantage).exp().clamp(max=self.config.weight_limit)

    def _step(self, network: nn.Module, loss: Tensor) -> None:
        optimiser = self.optimisers[network]
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        clip_by_global_norm(list(network.parameters()), self.config.gradient_norm)
        optimiser.step()

    def _follow_all(self, step: int) -> None:
        pairs: list[tuple[nn.Module, nn.Module]] = list(zip(self.targets, self.critics, strict=True))
        if step > 1000 and step % 5 == 0:
            pairs.append((self.target_policy, self.policy))
        rate = self.config.target_update_rate
        for target, online in pairs:
            for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                slow.data.copy_((1 - rate) * slow.data + rate * fast.data)
