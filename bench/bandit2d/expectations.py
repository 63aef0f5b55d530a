"""What the papers say that their 2D figures show, as checks on the trials in a store.

The papers state no thresholds; those used here stand in the words of each expectation. A check takes the
seeds of one or two methods on one task and gives means over them; None where the trials lack what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from bench.bandit2d.clouds import in_support, modes_of, modes_reached
from bench.bandit2d.stored import (
    Array,
    Clouds,
    FreePoints,
    Illustration,
    interval_bounds,
    representative,
)

Seeds = Sequence[Illustration]
"""The trials of one configuration, which differ in the seed alone."""
Part = TypeVar("Part")

ENERGY = ("swissroll", "rings", "moons", "8gaussians", "2spirals", "checkerboard")
SUPPORT, BEST = "share_in_support", "share_on_best_modes"
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


@dataclass(frozen=True)
class Expectation:
    """A statement about methods on one task."""

    source: str
    statement: str
    task: str
    methods: tuple[str, ...]
    check: Callable[..., Evidence | None]
    """Takes the seeds of every method; None where these lack what it needs."""


@dataclass(frozen=True)
class Finding:
    """An expectation with its answer."""

    expectation: Expectation
    answer: Literal["yes", "no", "not measured"]
    numbers: str = ""
    seeds: int = 0
    """The fewest that any of its methods has."""
    reduced: tuple[str, ...] = ()
    """What is below the preset in the trials behind it."""


def check_expectations(items: Sequence[Illustration]) -> list[Finding]:
    """Every expectation of the papers, checked where its trials are there."""
    return [_finding(expectation, items) for expectation in EXPECTATIONS]


def seeds_of(items: Sequence[Illustration], algorithm: str, task: str) -> list[Illustration]:
    """All seeds of the configuration that figures show of a cell."""
    shown = representative(items, algorithm, task)
    same = (item for item in items if (item.algorithm, item.task) == (algorithm, task))
    return [item for item in same if shown and item.config_hash == shown.config_hash]


def _finding(expectation: Expectation, items: Sequence[Illustration]) -> Finding:
    groups = [seeds_of(items, method, expectation.task) for method in expectation.methods]
    found = expectation.check(*groups) if all(groups) else None
    if found is None:
        return Finding(expectation, "not measured")
    reduced = tuple(dict.fromkeys(entry for group in groups for item in group for entry in item.reduced))
    answer: Literal["yes", "no"] = "yes" if found.holds else "no"
    return Finding(expectation, answer, found.numbers, min(map(len, groups)), reduced)


# The checks


def _number(seeds: Seeds, name: str) -> float:
    """Mean of a stored number over seeds; NaN where it is not stored, which no comparison passes."""
    return float(np.mean([seed.numbers.get(name, np.nan) for seed in seeds]))


def _mean(seeds: Seeds, quantity: Callable[[Clouds], float]) -> float:
    return float(np.mean([quantity(seed.clouds) for seed in seeds]))


def _of_all(seeds: Seeds, part: Callable[[Clouds], Part | None]) -> list[Part] | None:
    """A part of every seed's clouds; None where one lacks it."""
    found = [own for seed in seeds if (own := part(seed.clouds)) is not None]
    return found if len(found) == len(seeds) else None


def nearer_than_behaviour(seeds: Seeds) -> Evidence | None:
    """Energy distance to the exactly re-weighted data: policy below behaviour model."""
    policy = _number(seeds, "energy_distance_to_truth")
    behaviour = _number(seeds, "behaviour_energy_distance_to_truth")
    if np.isnan(policy + behaviour):
        return None
    return Evidence(f"policy {policy:.3f}, behaviour {behaviour:.3f}", policy < behaviour)


def value_at_noise(seeds: Seeds) -> Evidence | None:
    """V_T at noise against eta log mean exp(Q / eta)."""
    tests = _of_all(seeds, lambda clouds: clouds.value_test)
    if tests is None:
        return None
    value, wanted = np.mean(tests, axis=0)
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
    paths = _of_all(seeds, lambda clouds: clouds.path)
    if paths is None:
        return None
    first = float(np.mean([_travelled(path, 1.0, 0.6) for path in paths]))
    rest = float(np.mean([_travelled(path, 0.6, 0.0) for path in paths]))
    return Evidence(f"{first:.2f}, then {rest:.2f}", first < rest)


def _travelled(path: Array, start: float, end: float) -> float:
    """Mean distance between points of a path (T + 1, M, 2) at two shares of the number of steps."""
    last = len(path) - 1
    return float(np.linalg.norm(path[round(start * last)] - path[round(end * last)], axis=1).mean())


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
    groups = _of_all(seeds, lambda clouds: clouds.free_points)
    if groups is None:
        return None
    ladders = [[_from_target(group, place) for place in group.greedy_first()] for group in groups]
    moved = np.mean(ladders, axis=0)
    return Evidence(_ladder(groups[0], moved), _rises(moved))


def approaches_data(seeds: Seeds) -> Evidence | None:
    """Mean distance to the nearest data point falls as the temperature falls."""
    groups = _of_all(seeds, lambda clouds: clouds.free_points)
    if groups is None:
        return None
    trees = [cKDTree(seed.clouds.data) for seed in seeds]
    ladders = [
        [float(tree.query(group.points[place])[0].mean()) for place in group.greedy_first()]
        for group, tree in zip(groups, trees, strict=True)
    ]
    away = np.mean(ladders, axis=0)
    return Evidence(_ladder(groups[0], away), _rises(-away))


def ends_on_support(seeds: Seeds) -> Evidence | None:
    """Share of points within the data's support at the lowest temperature."""
    groups = _of_all(seeds, lambda clouds: clouds.free_points)
    if groups is None:
        return None
    pairs = zip(groups, seeds, strict=True)
    within = [in_support(group.points[np.argmin(group.betas)], seed.clouds.data) for group, seed in pairs]
    share = float(np.mean([mask.mean() for mask in within]))
    return Evidence(f"{share:.3f}", share >= MOSTLY)


def ends_nearby(seeds: Seeds) -> Evidence | None:
    """At the lowest temperature points are nearer to their targets than the data is on average."""
    groups = _of_all(seeds, lambda clouds: clouds.free_points)
    if groups is None:
        return None
    pairs = [(group, seed.clouds.data) for group, seed in zip(groups, seeds, strict=True)]
    moved = float(np.mean([_from_target(group, int(np.argmin(group.betas))) for group in groups]))
    nearest = float(np.mean([cKDTree(data).query(group.targets)[0].mean() for group, data in pairs]))
    average = float(np.mean([cdist(group.targets, data).mean() for group, data in pairs]))
    text = f"moved {moved:.2f}; nearest data {nearest:.2f}, average data {average:.2f} away"
    return Evidence(text, moved < (nearest + average) / 2)


def _from_target(group: FreePoints, place: int) -> float:
    return float(np.linalg.norm(group.points[place] - group.targets, axis=1).mean())


def _ladder(group: FreePoints, values: Array) -> str:
    high, low = group.betas.max(), group.betas.min()
    return f"{values[0]:.2f} at β={high:.3g} to {values[-1]:.2f} at β={low:.3g}"


def _rises(values: Array) -> bool:
    """Whether the values go up, but for steps back within SLACK of the whole way."""
    steps = np.diff(values)
    return bool(values[-1] > values[0] and steps.min() >= -SLACK * np.ptp(values))


# The expectations


def _dtql() -> list[Expectation]:
    def of_both(statement: str, task: str, check: Callable[..., Evidence | None], fig: int) -> Expectation:
        return Expectation(f"DTQL Fig. {fig}", statement, f"bandit-{task}", ("dtql", "dtql-kl"), check)

    alone, far = "bandit-25gaussians-same", "25gaussians-far"
    on_data = "trust region alone: at least 90 % of actions in the data's support"
    all_modes = "KL alone: actions on all modes of the data"
    return [
        Expectation("DTQL Fig. 1", on_data, alone, ("dtql",), partial(mostly, SUPPORT)),
        Expectation("DTQL Fig. 2", all_modes, alone, ("dtql-kl",), covers_all_modes),
        of_both("KL covers all best modes, trust region fewer", far, covers_more_modes, 3),
        of_both(
            "trust region has more actions in the data's support than KL",
            far,
            partial(larger_share, SUPPORT),
            3,
        ),
        *(
            of_both(
                "trust region has more actions on the best modes than KL",
                task,
                partial(larger_share, BEST),
                6,
            )
            for task in (far, "swissroll-far", "swissroll-near")
        ),
        *(
            of_both(
                "one best mode: both have at least 90 % of actions there",
                task,
                partial(mostly, BEST),
                6,
            )
            for task in ("25gaussians-near", "25gaussians-hard")
        ),
    ]


def _on_energy_sets(
    source: str, method: str, checks: dict[str, Callable[..., Evidence | None]]
) -> list[Expectation]:
    return [
        Expectation(source, statement, f"bandit-energy-{name}", (method,), check)
        for statement, check in checks.items()
        for name in ENERGY
    ]


EXPECTATIONS: tuple[Expectation, ...] = (
    *_dtql(),
    *_on_energy_sets(
        "SRPO Fig. 3",
        "srpo-points",
        {
            "points leave their targets as β falls (mean distance)": leaves_target,
            "points come to the data as β falls (mean distance)": approaches_data,
            "at the lowest β at least 90 % of points are in the data's support": ends_on_support,
            "at the lowest β points went to data nearby": ends_nearby,
        },
    ),
    *_on_energy_sets(
        "BDPO Figs. 4, 5, 11",
        "bdpo",
        {
            "policy nearer to the re-weighted data than the behaviour model (energy distance)": (
                nearer_than_behaviour
            ),
            "V(T) at noise within 10 % of η log mean exp(Q/η)": value_at_noise,
            "value landscapes sharpen as noise falls (standard deviation)": landscape_sharpens,
            "samples move little in the first 40 % of steps, more in the rest (mean distance)": (moves_late),
        },
    ),
)
"""In the order of the papers' figures."""
