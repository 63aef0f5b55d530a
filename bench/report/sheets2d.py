"""Illustrations as sheets of panels: policies, generation paths, re-weighted data, moving points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from bench.report.illustrations import Array, Clouds, Illustration, interval_bounds, representative
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
    return Sheet(tuple(SheetRow(short_name(item), _generation_panels(item.clouds)) for item in items))


def moving_points(items: Sequence[Illustration]) -> Sheet:
    """Data, behaviour model, Q of all targets stacked, then the optimised points, greedy first."""
    return Sheet(tuple(SheetRow(short_name(item), _point_panels(item.clouds)) for item in items))


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


def _generation_panels(clouds: Clouds) -> tuple[Panel, ...]:
    limit = limit_of(clouds.grid, margin=1.0)
    bounds = interval_bounds(clouds)
    panels = []
    for start, end in pairwise(bounds):
        draw = partial(_interval_over_value, clouds=clouds, start=start, end=end)
        panels.append(Panel(draw, limit, f"n = {start} to {end}, over V({start})"))
    final = partial(_samples_over_value, clouds=clouds)
    return (*panels, Panel(final, limit, "samples, over Q", _outside(clouds.path[0], limit)))


def _interval_over_value(axes: Axes, clouds: Clouds, start: int, end: int) -> None:
    landscape(axes, clouds.grid, clouds.diffusion_values[start])
    interval(axes, clouds.path, start, end)


def _samples_over_value(axes: Axes, clouds: Clouds) -> None:
    if clouds.action_value is not None:
        landscape(axes, clouds.grid, clouds.action_value)
    samples(axes, clouds.path[0], RED)


def _point_panels(clouds: Clouds) -> tuple[Panel | None, ...]:
    limit = limit_of(clouds.data, clouds.targets)
    behaviour = None
    if clouds.behaviour is not None:
        behaviour = Panel(partial(samples, points=clouds.behaviour), limit, "behaviour model")
    greedy_first = sorted(range(len(clouds.betas)), key=lambda place: -clouds.betas[place])
    chosen = [greedy_first[place] for place in spread_over(len(greedy_first), SHOWN_TEMPERATURES)]
    optimised = (
        Panel(partial(_moves_over_data, clouds=clouds, place=place), limit, f"β = {clouds.betas[place]:.3g}")
        for place in chosen
    )
    return (
        Panel(partial(samples, points=clouds.data), limit, "data"),
        behaviour,
        Panel(partial(_stacked_values, clouds=clouds), limit, "targets over their Q"),
        *optimised,
    )


def _stacked_values(axes: Axes, clouds: Clouds) -> None:
    squares = ((clouds.grid[:, None] - clouds.targets[None]) ** 2).sum(-1)
    landscape(axes, clouds.grid, -squares.min(axis=1))
    samples(axes, clouds.targets, RED)


def _moves_over_data(axes: Axes, clouds: Clouds, place: int) -> None:
    samples(axes, clouds.data, PALE)
    moves(axes, clouds.targets, clouds.points[place])
