"""The figures of the 2D problems: which there are, which of them a store can fill, what is drawn where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from bench.bandit2d.expectations import ENERGY
from bench.bandit2d.stored import Array, Clouds, FreePoints, Illustration, interval_bounds, representative
from bench.errors import chosen_names
from bench.report.bandit2d_panels import (
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

ENERGY_TASKS = tuple(f"bandit-energy-{name}" for name in dict.fromkeys(("8gaussians", "2spirals", *ENERGY)))
"""The six energy sets, the two of BDPO's main text first."""
SAME = {"bandit-25gaussians-same": "25 Gaussians, no reward"}
FAR = {"bandit-25gaussians-far": "25 Gaussians, far"}
SCENARIOS = {
    **FAR,
    "bandit-25gaussians-near": "25 Gaussians, near",
    "bandit-25gaussians-hard": "25 Gaussians, hard",
    "bandit-swissroll-far": "Swiss roll, far",
    "bandit-swissroll-near": "Swiss roll, near",
}
TRUST_REGION, KL = {"dtql": "trust region"}, {"dtql-kl": "KL"}
SHOWN_TEMPERATURES = 4
LEAST_TOLD = 0.01
"""Share of actions outside a panel from which on it says so."""


@dataclass(frozen=True)
class FigureLayout:
    """A figure of a paper: what it shows, and how it is made of finished trials."""

    id: str
    title: str
    about: str
    """What the paper says of it, or how it differs from the paper's."""
    command: str
    """Measures what it needs."""
    cells: Callable[[Sequence[Illustration]], list[Illustration]]
    """The trials that it shows; empty where nothing of it is measured."""
    sheet: Callable[[Sequence[Illustration]], Sheet]
    """Its panels, made of those trials."""


@dataclass(frozen=True)
class FilledFigure:
    """A figure that has something to show."""

    layout: FigureLayout
    sheet: Sheet
    cells: Sequence[Illustration]
    """The trials that it shows, one of each cell."""

    @property
    def shown(self) -> str:
        """Which trials it shows, at which budget."""
        trials = ", ".join(str(cell.trial_id) for cell in self.cells)
        budgets = " and ".join(f"{budget:g}" for budget in sorted({cell.budget for cell in self.cells}))
        reduced = (
            ", reduced: not what the full sizes give" if any(cell.reduced for cell in self.cells) else ""
        )
        return f"One seed of each cell (trial {trials}), at budget {budgets}{reduced}."


def choose_figures(names: str, known: Sequence[str] = ()) -> list[str]:
    """Ids from a comma-separated list, or all of them for `all`; `known`: by default those of FIGURES.

    Raises
    ------
    BenchError : a name is unknown, or none is given.
    """
    return chosen_names("figure", names, known or FIGURES, "bench report --help")


def fill_figures(items: Sequence[Illustration], names: Sequence[str] | None = None) -> list[FilledFigure]:
    """Those of the named figures (by default all) for which something is measured."""
    filled = []
    for layout in (FIGURES[name] for name in names or FIGURES):
        cells = layout.cells(items)
        if cells:
            filled.append(FilledFigure(layout, layout.sheet(cells), cells))
    return filled


# Sheets of panels


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
    return f"{100 * share:.0f} % of actions outside" if share >= LEAST_TOLD else ""


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


# The figures, each with the trials that it shows


def _chosen(
    items: Sequence[Illustration], algorithms: Sequence[str], tasks: Sequence[str]
) -> list[Illustration]:
    found = (representative(items, algorithm, task) for task in tasks for algorithm in algorithms)
    return [item for item in found if item is not None]


def _policies_of_all(items: Sequence[Illustration]) -> list[Illustration]:
    # Free points, one per target and temperature, are no policy.
    acting = [item for item in items if item.clouds.free_points is None]
    return _chosen(acting, sorted({i.algorithm for i in acting}), sorted({i.task for i in acting}))


def _with_path(items: Sequence[Illustration], tasks: Sequence[str]) -> list[Illustration]:
    return [item for item in _chosen(items, ("bdpo",), tasks) if item.clouds.path is not None]


def _with_points(items: Sequence[Illustration]) -> list[Illustration]:
    free = [item for item in items if item.clouds.free_points is not None]
    return _chosen(free, sorted({item.algorithm for item in free}), ENERGY_TASKS)


def _dtql(number: int, about: str, losses: Mapping[str, str], tasks: Mapping[str, str]) -> FigureLayout:
    return FigureLayout(
        id=f"dtql-fig{number}",
        title=f"DTQL Fig. {number}",
        about=about,
        command=_command(losses, tasks),
        cells=partial(_chosen, algorithms=tuple(losses), tasks=tuple(tasks)),
        sheet=partial(policies, down=losses, across=tasks),
    )


def _bdpo(number: int, about: str, tasks: Sequence[str], sheet: Callable[..., Sheet]) -> FigureLayout:
    cells = partial(_chosen, algorithms=("bdpo",)) if sheet is resampled else _with_path
    return FigureLayout(
        id=f"bdpo-fig{number}",
        title=f"BDPO Fig. {number}",
        about=about,
        command=_command(["bdpo"], tasks),
        cells=partial(cells, tasks=tuple(tasks)),
        sheet=sheet,
    )


def _command(algorithms: Sequence[str] | Mapping[str, str], tasks: Sequence[str] | Mapping[str, str]) -> str:
    return f"bench run --algos {','.join(algorithms)} --tasks {','.join(tasks)}"


_PATHS = (
    "Generation from noise to action: green where an interval begins, red where it ends, over the diffusion "
    "value of its beginning; the last column shows the samples over Q. "
    "The paper draws n = 50, 30, 15, 5, 0; shorter chains are cut in proportion."
)
FIGURES: dict[str, FigureLayout] = {
    layout.id: layout
    for layout in (
        _dtql(1, "The trust-region loss alone: actions stay on the data.", TRUST_REGION, SAME),
        _dtql(2, "The KL loss alone: actions cover all of the data.", KL, SAME),
        _dtql(
            3,
            "All four corners are equally good. The trust-region loss chooses among them; KL covers them and "
            "leaves points between.",
            {**TRUST_REGION, **KL},
            FAR,
        ),
        _dtql(
            6,
            "1,000 actions (red) over the data, coloured by reward. In the paper the policies differ in the "
            "first column and on the Swiss roll; with one best mode, in the second and third, they agree.",
            {**TRUST_REGION, **KL},
            SCENARIOS,
        ),
        FigureLayout(
            id="srpo-fig3",
            title="SRPO Fig. 3",
            about="Points start at the targets, where their Q is highest, and are optimised: greedy at high "
            "temperature β, held to the behaviour distribution at low. Lines lead from each target to its "
            "point.",
            command=_command(["srpo-points"], ENERGY_TASKS),
            cells=_with_points,
            sheet=moving_points,
        ),
        _bdpo(4, _PATHS, ENERGY_TASKS[:2], generation),
        _bdpo(5, "The data, and its exactly re-weighted points.", ENERGY_TASKS[:2], resampled),
        _bdpo(11, f"{_PATHS} All six sets.", ENERGY_TASKS, generation),
        FigureLayout(
            id="policies",
            title="All policies on the 2D problems",
            about="1,000 actions (red) over the data, coloured by reward. Not a figure of a paper.",
            command="bench run --suite bandit2d",
            cells=_policies_of_all,
            sheet=every_policy,
        ),
    )
}
"""By id, in the order of the page."""
