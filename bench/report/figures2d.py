"""Which figures of the 2D problems there are, and which of them a store can fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bench.bandit2d.stored import Illustration, representative
from bench.errors import BenchError, unknown_name
from bench.report.panels2d import Sheet
from bench.report.sheets2d import every_policy, generation, moving_points, policies, resampled

ENERGY_TASKS = tuple(
    f"bandit-energy-{name}"
    for name in ("8gaussians", "2spirals", "swissroll", "rings", "moons", "checkerboard")
)
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
    shown: str
    """Which trials it shows, at which budget."""


def choose_figures(names: str, known: Sequence[str] = ()) -> list[str]:
    """Ids from a comma-separated list, or all of them for `all`; `known`: by default those of FIGURES.

    Raises
    ------
    BenchError : a name is unknown, or none is given.
    """
    known = known or tuple(FIGURES)
    if names.strip() == "all":
        return list(known)
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not chosen:
        raise BenchError(f"no figure named in {names!r}", "", f"Known: {', '.join(known)}, or all.")
    for name in chosen:
        if name not in known:
            raise unknown_name("figure", name, known, "bench report --help")
    return chosen


def fill_figures(items: Sequence[Illustration], names: Sequence[str] | None = None) -> list[FilledFigure]:
    """Those of the named figures (by default all) for which something is measured."""
    filled = []
    for layout in (FIGURES[name] for name in names or FIGURES):
        cells = layout.cells(items)
        if cells:
            filled.append(FilledFigure(layout, layout.sheet(cells), _shown(cells)))
    return filled


def _shown(cells: Sequence[Illustration]) -> str:
    trials = ", ".join(str(cell.trial_id) for cell in cells)
    budgets = " and ".join(f"{budget:g}" for budget in sorted({cell.budget for cell in cells}))
    reduced = ", reduced: not what the full sizes give" if any(cell.reduced for cell in cells) else ""
    return f"One seed of each cell (trial {trials}), at budget {budgets}{reduced}."


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
