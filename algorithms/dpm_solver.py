"""Ways to sample from a noise-predicting policy: DPM-Solver (Lu et al. 2022) and DDPM's ancestral steps.

DPM-Solver (singlestep, orders 1 to 3) solves the probability-flow equation of a variance-preserving
diffusion, x_t = alpha(t) x_0 + sigma(t) e, backwards in time. Every point that it visits is a fixed
combination of the step's first point and of the noises predicted since; so all coefficients are worked out
once, in double precision, before any sampling.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from algorithms.diffusion import BETA_0, BETA_1, Schedule, clean_action, posterior_mean

LogAlpha = Callable[[float], float]
"""log alpha(t) of a noise schedule."""


@dataclass(frozen=True)
class Stage:
    """One prediction of noise, and the point that is formed after it.

    The point is `start` x + sum of `noises[i]` e_i: x is the step's first point, e_i its predictions so far.
    """

    time: float
    """Where the noise is predicted."""
    start: float
    noises: tuple[float, ...]


Step = tuple[Stage, ...]
"""One step of the solver: as many stages as its order; the point of the last one is where the step ends."""


def interpolated_log_alpha(abar: Sequence[float]) -> LogAlpha:
    """log alpha(t) of a discrete schedule: 0.5 log abar_n at t = n / K, linear between; abar (K,), n = 1..K.

    Beyond the outermost points the outermost pieces go on. Source: NoiseScheduleVP, `discrete`.
    """
    times = [(n + 1) / len(abar) for n in range(len(abar))]
    values = [0.5 * math.log(value) for value in abar]

    def log_alpha(time: float) -> float:
        right = min(max(bisect.bisect_left(times, time), 1), len(times) - 1)
        left = right - 1
        share = (time - times[left]) / (times[right] - times[left])
        return values[left] + share * (values[right] - values[left])

    return log_alpha


def vp_log_alpha(time: float) -> float:
    """log alpha(t) of the variance-preserving SDE, exactly: -t^2 (beta_1 - beta_0) / 4 - t beta_0 / 2."""
    return -0.25 * time**2 * (BETA_1 - BETA_0) - 0.5 * time * BETA_0


def second_orders(calls: int) -> tuple[int, ...]:
    """Orders of the steps of at most second order that together predict `calls` noises; 15 calls end in a 1.

    Of an even number the last step but one is halved, as in the authors' `dpm_solver_pytorch.py`.
    """
    twos, rest = divmod(calls, 2)
    return (2,) * twos + (1,) if rest else (2,) * (twos - 1) + (1, 1)


def fast_orders(calls: int) -> tuple[int, ...]:
    """Orders of the steps that together predict `calls` noises, threes first (`DPM-Solver-fast`).

    15 calls are 3, 3, 3, 3, 2, 1.
    """
    threes, rest = divmod(calls, 3)
    if rest:
        return (3,) * threes + (rest,)
    return (3,) * (threes - 1) + (2, 1)


def solver_steps(
    log_alpha: LogAlpha, orders: Sequence[int], start: float, end: float, *, of_clean: bool = False
) -> tuple[Step, ...]:
    """Steps of the given orders from time `start` to `end`, all predictions equally spaced in time.

    `of_clean` steps, of orders 1 and 2, follow the clean action that the noise implies (DPM-Solver++, Lu et
    al. 2022), the others the noise itself.
    """
    calls = sum(orders)
    times = [start + (end - start) * i / calls for i in range(calls)] + [end]
    steps, first = [], 0
    step_through = _step_of_clean if of_clean else _step
    for order in orders:
        steps.append(step_through(log_alpha, times[first : first + order + 1]))
        first += order
    return tuple(steps)


def solve(steps: Sequence[Step], predict: Callable[[int, Tensor], Tensor], start: Tensor) -> Tensor:
    """The point where the last step ends; `predict(i, x)` is the noise seen in x (...), (...), at call i."""
    point, call = start, 0
    for step in steps:
        first, noises = point, []
        for stage in step:
            noises.append(predict(call, point))
            point = stage.start * first
            for factor, noise in zip(stage.noises, noises, strict=True):
                if factor:
                    point = torch.add(point, noise, alpha=factor)
            call += 1
    return point


@dataclass(frozen=True)
class _Point:
    """The noise schedule at one time."""

    time: float
    log_alpha: float
    sigma: float
    half_log_snr: float
    """log alpha - log sigma."""


def _point(log_alpha: LogAlpha, time: float) -> _Point:
    value = log_alpha(time)
    sigma = math.sqrt(-math.expm1(2 * value))
    return _Point(time, value, sigma, value - math.log(sigma))


def _step(log_alpha: LogAlpha, times: Sequence[float]) -> Step:
    """A step through its start, its intermediate times and its end."""
    start, *points = (_point(log_alpha, time) for time in times)
    *inner, end = points
    spans = [point.half_log_snr - start.half_log_snr for point in points]
    h = spans[-1]
    factors: list[tuple[float, ...]] = [_factors(points[0], spans[0])]
    if len(inner) == 1:
        ratio = spans[0] / h
        factors.append(_factors(end, h, math.expm1(h) / (2 * ratio)))
    elif len(inner) == 2:
        first, second = spans[0] / h, spans[1] / h
        factors.append(_factors(inner[1], spans[1], second / first * (math.expm1(spans[1]) / spans[1] - 1)))
        of_start, of_second = _factors(end, h, (math.expm1(h) / h - 1) / second)
        factors.append((of_start, 0.0, of_second))
    return tuple(
        Stage(called, math.exp(point.log_alpha - start.log_alpha), of_noises)
        for called, point, of_noises in zip(times, points, factors, strict=False)
    )


def _factors(point: _Point, span: float, correction: float | None = None) -> tuple[float, ...]:
    """Factors of the noises in -sigma (e^span - 1) e_s - sigma correction (e_i - e_s), of e_s and of e_i."""
    plain = point.sigma * math.expm1(span)
    if correction is None:
        return (-plain,)
    return point.sigma * correction - plain, -point.sigma * correction


def _step_of_clean(log_alpha: LogAlpha, times: Sequence[float]) -> Step:
    """A step of first or second order that follows predicted clean actions, (x - sigma e) / alpha.

    Every point is kept as its factors of the step's first point x, and of the noises e_s and e_1.
    """
    start, *points = (_point(log_alpha, time) for time in times)
    clean = _clean(start, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    followed, stages = clean, []
    for number, point in enumerate(points, start=1):
        span = point.half_log_snr - start.half_log_snr
        shrink, growth = point.sigma / start.sigma, -math.exp(point.log_alpha) * math.expm1(-span)
        x, *noises = (shrink * b + growth * c for b, c in zip((1.0, 0.0, 0.0), followed, strict=True))
        stages.append(Stage(times[number - 1], x, tuple(noises[:number])))
        if number < len(points):
            ratio = span / (points[-1].half_log_snr - start.half_log_snr)
            inner = _clean(point, (x, *noises), (0.0, 0.0, 1.0))
            followed = tuple(c + (i - c) / (2 * ratio) for c, i in zip(clean, inner, strict=True))
    return tuple(stages)


def _clean(point: _Point, noisy: Sequence[float], noise: Sequence[float]) -> tuple[float, ...]:
    """Factors of the clean action that a noise implies, from those of the noisy action and of the noise."""
    alpha = math.exp(point.log_alpha)
    return tuple((x - point.sigma * e) / alpha for x, e in zip(noisy, noise, strict=True))


Prediction = Callable[[int, Tensor], Tensor]
"""Noise (S, R, A) seen in noisy actions (S, R, A) at the i-th of a sampler's labels."""


class StepwiseNetwork(Protocol):
    """A noise network that is asked at labels known before (counting steps from 0, possibly between them)."""

    def along(self, observations: Tensor, labels: Tensor, repeats: int) -> Prediction:
        """The network at `labels` (T,), `repeats` noisy actions per observation (S, B, O); R = B repeats."""


class Sampler(Protocol):
    """Actions of a policy from standard normal numbers, differentiable in the policy's weights."""

    draws: int
    """Normal numbers per action component of one sample."""

    def __call__(self, policy: StepwiseNetwork, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions (S, R, A) for observations (S, B, O) and noise (S, draws, R, A); R a multiple of B."""


class SolverSampler:
    """DPM-Solver of third order from time 1 to 1/K; predictions imply clean actions within the bound.

    The released code ends at time 0.001, which is 1/K at the paper's K = 1000; with fewer steps that lies
    outside the schedule. As there, the result is not clipped.
    """

    draws = 1

    def __init__(self, schedule: Schedule, calls: int, bound: float, device: torch.device) -> None:
        abar = schedule.abar.tolist()
        log_alpha = interpolated_log_alpha(abar[1:])
        self._steps = solver_steps(log_alpha, fast_orders(calls), 1.0, 1 / schedule.steps)
        labels = [stage.time * schedule.steps - 1 for step in self._steps for stage in step]
        self._labels = torch.tensor(labels, dtype=torch.float64, device=device)
        at_labels = [abar[1 + label] for label in _whole_labels(fast_orders(calls), schedule.steps)]
        self.limits = [(1 / math.sqrt(1 - a), bound * math.sqrt(a / (1 - a))) for a in at_labels]
        """Per call: the noise that implies a clean action of 0, over the noisy action, and how far from it
        the noise lies that implies the bound."""

    def __call__(self, policy: StepwiseNetwork, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions after `solver_calls` passes."""
        network = policy.along(observations, self._labels, noise.shape[2] // observations.shape[1])

        def predict(call: int, noisy: Tensor) -> Tensor:
            slope, reach = self.limits[call]
            off_centre = torch.sub(network(call, noisy), noisy, alpha=slope).clamp(-reach, reach)
            return torch.add(off_centre, noisy, alpha=slope)

        return solve(self._steps, predict, noise[:, 0])


def _whole_labels(orders: Sequence[int], steps: int) -> list[int]:
    """Labels cut to whole numbers, one per call: where the released code looks its clipping limits up.

    It works in single precision, in which some labels that are whole numbers fall just short and are cut to
    the number below: with 1000 steps and 15 calls, 666 and 333 become 665 and 332. So the times are worked
    out in single precision here too, and in its order: equally spaced over the run, then within each step.
    """
    end = torch.tensor(1 / steps, dtype=torch.float32)
    ends = _equally_spaced(torch.ones_like(end), end, sum(orders))
    times, first = [], 0
    for order in orders:
        times.append(_equally_spaced(ends[first], ends[first + order], order)[:-1])
        first += order
    return ((torch.cat(times) - end) * steps).int().tolist()


def _equally_spaced(start: Tensor, end: Tensor, count: int) -> Tensor:
    """`jax.numpy.linspace`: `count` equal pieces, (count + 1,), in the dtype of its ends.

    Its compiler turns the division by the count into a product with 1 / count; the last digit depends on it.
    """
    shares = torch.arange(count, dtype=start.dtype) * (torch.ones_like(start) / count)
    return torch.cat((start * (1 - shares) + end * shares, end[None]))


class AncestralSampler:
    """DDPM: all K steps, clean actions clipped to the bound at each, no noise in the last.

    Parameters
    ----------
    variance : of a step's noise, the posterior's or beta.
    first_label : the policy's label of step 1.
    """

    def __init__(
        self,
        schedule: Schedule,
        bound: float,
        *,
        variance: Literal["posterior", "beta"] = "posterior",
        first_label: int = 0,
    ) -> None:
        self.draws = schedule.steps
        self.schedule = schedule
        self._bound = bound
        self._variance, self._first_label = variance, first_label

    def __call__(self, policy: StepwiseNetwork, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions after K passes."""
        schedule, last = self.schedule, self._first_label - 1
        labels = torch.arange(schedule.steps + last, last, -1, device=noise.device)
        predict = policy.along(observations, labels, noise.shape[2] // observations.shape[1])
        posterior = self._variance == "posterior"
        deviation = (schedule.posterior_variance if posterior else schedule.betas).sqrt()
        actions = noise[:, 0]
        for call in range(schedule.steps):
            step = schedule.steps - call
            clean = clean_action(schedule, actions, step, predict(call, actions), self._bound)
            actions = posterior_mean(schedule, actions, step, clean)
            if step > 1:
                actions = actions + deviation[step] * noise[:, call + 1]
        return actions
