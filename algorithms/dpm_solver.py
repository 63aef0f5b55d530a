"""DPM-Solver (Lu et al. 2022) for noise prediction: singlestep, orders 1 to 3.

It solves the probability-flow equation of a variance-preserving diffusion, x_t = alpha(t) x_0 + sigma(t) e,
backwards in time. Every point that it visits is a fixed combination of the step's first point and of the
noises predicted since; so all coefficients are worked out once, in double precision, before any sampling.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

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


def fast_orders(calls: int) -> tuple[int, ...]:
    """Orders of the steps that together predict `calls` noises, threes first (`DPM-Solver-fast`).

    15 calls are 3, 3, 3, 3, 2, 1.
    """
    threes, rest = divmod(calls, 3)
    if rest:
        return (3,) * threes + (rest,)
    return (3,) * (threes - 1) + (2, 1)


def uniform_steps(log_alpha: LogAlpha, orders: Sequence[int], start: float, end: float) -> tuple[Step, ...]:
    """Steps of the given orders from time `start` to `end`, all predictions equally spaced in time."""
    calls = sum(orders)
    times = [start + (end - start) * i / calls for i in range(calls)] + [end]
    steps, first = [], 0
    for order in orders:
        steps.append(_step(log_alpha, times[first : first + order + 1]))
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
                    point = point + factor * noise
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
