"""Illustrations as sheets of panels: policies, generation paths, re-weighted data, moving points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from bench.bandit2d.stored import (
    Array,
    Clouds,
    FreePoints,
    Illustration,
    interval_bounds,
    representative,
)
from bench.report.panels2d import (
    PALE,
    RED,
    Panel,
    Sheet,
    SheetRow,
    data_by_reward,
    interval,
    landscape,
    limit_of,
    moves,
    policy_over_data,
    samples,
    spread_over,
)

SHOWN_TEMPERATURES = 4
LEAST_TOLD = 0.01
"""Share of actions outside a panel from which on it says so."""


def policies(items: Sequence[Illustration], down: Mapping[str, str], across: Mapping[str, str]) -> Sheet:
    """The policy of every pair over its data; one of `down` and `across` names methods, the other tasks."""
    found = {(item.algorithm, item.task) for item in items}
    rows = []
    for name, label in down.items():
        pairs = [(name, other) if (name, other) in found else (other, name) for other in across]
        rows.append(SheetRow(label, tuple(_policy(representative(items, *pair)) for pair in pairs)))
    return Sheet(tuple(rows), tuple(across.values()))


def every_policy(items: Sequence[Illustration]) -> Sheet:
    """All methods across, all problems down."""
    tasks = {item.task: short_name(item) for item in items}
    return policies(items, tasks, {item.algorithm: item.algorithm for item in items})


def resampled(items: Sequence[Illustration]) -> Sheet:
    """The dataset by energy, and its points re-weighted by exp(energy / eta)."""
    rows = []
    for item in items:
        limit = limit_of(item.clouds.data)
        data = Panel(partial(data_by_reward, clouds=item.clouds), limit)
        truth = Panel(partial(samples, points=item.clouds.truth), limit)
        rows.append(SheetRow(short_name(item), (data, truth)))
    return Sheet(tuple(rows), ("data, by energy", "re-weighted"))


def generation(items: Sequence[Illustration]) -> Sheet:
    """Intervals of the generation path over the landscapes V_n, and the final samples over Q."""
    rows = [
        SheetRow(short_name(item), _generation_panels(item.clouds, item.clouds.path))
        for item in items
        if item.clouds.path is not None
    ]
    return Sheet(tuple(rows))


def moving_points(items: Sequence[Illustration]) -> Sheet:
    """Data, behaviour model, Q of all targets stacked, then the optimised points, greedy first."""
    rows = [
        SheetRow(short_name(item), _point_panels(item.clouds, item.clouds.free_points))
        for item in items
        if item.clouds.free_points is not None
    ]
    return Sheet(tuple(rows))


def short_name(item: Illustration) -> str:
    """`8gaussians` for bandit-energy-8gaussians."""
    return item.task.removeprefix("bandit-").removeprefix("energy-")


def _policy(item: Illustration | None) -> Panel | None:
    if item is None:
        return None
    limit = limit_of(item.clouds.data)
    return Panel(
        partial(policy_over_data, clouds=item.clouds), limit, note=_outside(item.clouds.actions, limit)
    )


def _outside(actions: Array, limit: float) -> str:
    """Tells of actions beyond the panel: a policy that left the plane must not look like one without any."""
    share = float((np.abs(actions).max(axis=1) > limit).mean())
    return f"{share:.0%} of actions outside" if share >= LEAST_TOLD else ""


def _generation_panels(clouds: Clouds, path: Array) -> tuple[Panel, ...]:
    limit = limit_of(clouds.grid, margin=1.0)
    panels = []
    for start, end in pairwise(interval_bounds(clouds)):
        draw = partial(_interval_over_value, clouds=clouds, path=path, start=start, end=end)
        panels.append(Panel(draw, limit, f"n = {start} to {end}, over V({start})"))
    final = partial(_samples_over_value, clouds=clouds, made=path[0])
    return (*panels, Panel(final, limit, "samples, over Q", _outside(path[0], limit)))


def _interval_over_value(axes: Axes, clouds: Clouds, path: Array, start: int, end: int) -> None:
    landscape(axes, clouds.grid, clouds.diffusion_values[start])
    interval(axes, path, start, end)


def _samples_over_value(axes: Axes, clouds: Clouds, made: Array) -> None:
    if clouds.action_value is not None:
        landscape(axes, clouds.grid, clouds.action_value)
    samples(axes, made, RED)


def _point_panels(clouds: Clouds, free: FreePoints) -> tuple[Panel | None, ...]:
    limit = limit_of(clouds.data, free.targets)
    behaviour = None
    if clouds.behaviour is not None:
        behaviour = Panel(partial(samples, points=clouds.behaviour), limit, "behaviour model")
    greedy_first = free.greedy_first()
    chosen = [greedy_first[place] for place in spread_over(len(greedy_first), SHOWN_TEMPERATURES)]
    optimised = (
        Panel(
            partial(_moves_over_data, clouds=clouds, free=free, place=place),
            limit,
            f"β = {free.betas[place]:.3g}",
        )
        for place in chosen
    )
    return (
        Panel(partial(samples, points=clouds.data), limit, "data"),
        behaviour,
        Panel(partial(_stacked_values, clouds=clouds, free=free), limit, "targets over their Q"),
        *optimised,
    )


def _stacked_values(axes: Axes, clouds: Clouds, free: FreePoints) -> None:
    squares = ((clouds.grid[:, None] - free.targets[None]) ** 2).sum(-1)
    landscape(axes, clouds.grid, -squares.min(axis=1))
    samples(axes, free.targets, RED)


def _moves_over_data(axes: Axes, clouds: Clouds, free: FreePoints, place: int) -> None:
    samples(axes, clouds.data, PALE)
    moves(axes, free.targets, free.points[place])
