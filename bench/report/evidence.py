"""Checks behind the papers' expectations of the 2D problems: numbers of trained seeds, and whether they hold.

Every function takes the seeds of one or two methods on one task and gives means over them; None where the
trials lack what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from bench.bandit2d.clouds import in_support, modes_of, modes_reached
from bench.report.illustrations import Array, Clouds, Illustration, interval_bounds

Seeds = Sequence[Illustration]
"""The trials of one configuration, which differ in the seed alone."""

VALUE_TOLERANCE = 0.1
"""Relative error within which a value counts as met."""
MOSTLY = 0.9
"""Share that counts as nearly all."""
SLACK = 0.02
"""Of the whole change: a step back smaller than this is no turn, only the noise of the optimiser."""


@dataclass(frozen=True)
class Evidence:
    """Measured numbers as text, and whether they are as expected."""

    numbers: str
    holds: bool


def _number(seeds: Seeds, name: str) -> float:
    """Mean of a stored number over seeds; NaN where it is not stored, which no comparison passes."""
    return float(np.mean([seed.numbers.get(name, np.nan) for seed in seeds]))


def _mean(seeds: Seeds, quantity: Callable[[Clouds], float]) -> float:
    return float(np.mean([quantity(seed.clouds) for seed in seeds]))


def nearer_than_behaviour(seeds: Seeds) -> Evidence | None:
    """Energy distance to the exactly re-weighted data: policy below behaviour model."""
    policy = _number(seeds, "energy_distance_to_truth")
    behaviour = _number(seeds, "behaviour_energy_distance_to_truth")
    if np.isnan(policy + behaviour):
        return None
    return Evidence(f"policy {policy:.3f}, behaviour {behaviour:.3f}", policy < behaviour)


def value_at_noise(seeds: Seeds) -> Evidence | None:
    """V_T at noise against eta log mean exp(Q / eta)."""
    if any(seed.clouds.value_test is None for seed in seeds):
        return None
    value, wanted = np.mean([seed.clouds.value_test for seed in seeds], axis=0)
    error = abs(value - wanted) / abs(wanted)
    return Evidence(
        f"{value:.3f} for {wanted:.3f}, off by {100 * error:.1f} %", bool(error <= VALUE_TOLERANCE)
    )


def landscape_sharpens(seeds: Seeds) -> Evidence | None:
    """Standard deviation of V_n over the grid, at the first interval of the figure against the last."""
    if any(len(interval_bounds(seed.clouds)) < 3 for seed in seeds):
        return None
    noisy, *_, late, _end = interval_bounds(seeds[0].clouds)
    flat = _mean(seeds, lambda clouds: float(clouds.diffusion_values[noisy].std()))
    sharp = _mean(seeds, lambda clouds: float(clouds.diffusion_values[late].std()))
    return Evidence(f"{flat:.3g} at n={noisy}, {sharp:.3g} at n={late}", flat < sharp)


def moves_late(seeds: Seeds) -> Evidence | None:
    """Mean distance that samples go in the first 40 % of the steps against the other 60 %."""
    if any(seed.clouds.path is None for seed in seeds):
        return None
    first = _mean(seeds, lambda clouds: _travelled(clouds, 1.0, 0.6))
    rest = _mean(seeds, lambda clouds: _travelled(clouds, 0.6, 0.0))
    return Evidence(f"{first:.2f}, then {rest:.2f}", first < rest)


def _travelled(clouds: Clouds, start: float, end: float) -> float:
    """Mean distance between path points at two shares of the number of steps."""
    last = len(clouds.path) - 1
    return float(
        np.linalg.norm(clouds.path[round(start * last)] - clouds.path[round(end * last)], axis=1).mean()
    )


def larger_share(name: str, seeds: Seeds, other: Seeds) -> Evidence | None:
    """A stored share, larger under the first method than under the second."""
    mine, theirs = _number(seeds, name), _number(other, name)
    if np.isnan(mine + theirs):
        return None
    return Evidence(f"{_pair(seeds, mine)}, {_pair(other, theirs)}", mine > theirs)


def mostly(name: str, *groups: Seeds) -> Evidence | None:
    """A stored share of at least MOSTLY under every method."""
    shares = [_number(group, name) for group in groups]
    if np.isnan(sum(shares)):
        return None
    text = ", ".join(_pair(group, share) for group, share in zip(groups, shares, strict=True))
    return Evidence(text, min(shares) >= MOSTLY)


def _pair(seeds: Seeds, value: float) -> str:
    return f"{seeds[0].algorithm} {value:.3f}"


def covers_more_modes(narrow: Seeds, wide: Seeds) -> Evidence:
    """Best modes reached: all of them by the second method, fewer by the first."""
    count = len(modes_of(wide[0].clouds.truth))
    few, many = (_mean(seeds, _best_modes_reached) for seeds in (narrow, wide))
    text = f"{narrow[0].algorithm} {few:.1f}, {wide[0].algorithm} {many:.1f} of {count}"
    return Evidence(text, few < many and many == count)


def covers_all_modes(seeds: Seeds) -> Evidence:
    """All modes of the data reached (where no reward tells them apart, all are best)."""
    count, reached = len(modes_of(seeds[0].clouds.truth)), _mean(seeds, _best_modes_reached)
    return Evidence(f"{reached:.1f} of {count}", reached == count)


def _best_modes_reached(clouds: Clouds) -> float:
    return float(modes_reached(clouds.actions, modes_of(clouds.truth)))


def leaves_target(seeds: Seeds) -> Evidence | None:
    """Mean distance from target to optimised point rises as the temperature falls."""
    if any(seed.clouds.points is None for seed in seeds):
        return None
    moved = np.mean([_by_falling_beta(seed.clouds, _from_target) for seed in seeds], axis=0)
    return Evidence(_ladder(seeds[0].clouds, moved), _rises(moved))


def approaches_data(seeds: Seeds) -> Evidence | None:
    """Mean distance to the nearest data point falls as the temperature falls."""
    if any(seed.clouds.points is None for seed in seeds):
        return None
    away = np.mean([_by_falling_beta(seed.clouds, _from_data) for seed in seeds], axis=0)
    return Evidence(_ladder(seeds[0].clouds, away), _rises(-away))


def ends_on_support(seeds: Seeds) -> Evidence | None:
    """Share of points within the data's support at the lowest temperature."""
    if any(seed.clouds.points is None for seed in seeds):
        return None
    share = _mean(seeds, lambda c: float(in_support(c.points[np.argmin(c.betas)], c.data).mean()))
    return Evidence(f"{share:.3f}", share >= MOSTLY)


def ends_nearby(seeds: Seeds) -> Evidence | None:
    """At the lowest temperature points are nearer to their targets than the data is on average."""
    if any(seed.clouds.points is None for seed in seeds):
        return None
    moved = _mean(seeds, lambda c: _from_target(c, int(np.argmin(c.betas))))
    nearest = _mean(seeds, lambda c: float(cKDTree(c.data).query(c.targets)[0].mean()))
    average = _mean(seeds, lambda c: float(np.linalg.norm(c.data[None] - c.targets[:, None], axis=-1).mean()))
    text = f"moved {moved:.2f}; nearest data {nearest:.2f}, average data {average:.2f} away"
    return Evidence(text, moved < (nearest + average) / 2)


def _by_falling_beta(clouds: Clouds, distance: Callable[[Clouds, int], float]) -> list[float]:
    return [distance(clouds, place) for place in np.argsort(-clouds.betas)]


def _from_target(clouds: Clouds, place: int) -> float:
    return float(np.linalg.norm(clouds.points[place] - clouds.targets, axis=1).mean())


def _from_data(clouds: Clouds, place: int) -> float:
    return float(cKDTree(clouds.data).query(clouds.points[place])[0].mean())


def _ladder(clouds: Clouds, values: Array) -> str:
    high, low = clouds.betas.max(), clouds.betas.min()
    return f"{values[0]:.2f} at β={high:.3g} to {values[-1]:.2f} at β={low:.3g}"


def _rises(values: Array) -> bool:
    """Whether the values go up, but for steps back within SLACK of the whole way."""
    steps = np.diff(values)
    return bool(values[-1] > values[0] and steps.min() >= -SLACK * np.ptp(values))
