"""nightly.yaml: which cells are run every night, and the rates at which they may cry wolf."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from bench.catalog import Catalog, PositiveInt, load_catalog
from bench.errors import BenchError, unknown_name
from bench.evaluation.protocols import RUNNING_AVERAGE
from bench.execute.grid import Cell, Request, plan_cells
from bench.presets import RELEASED, Value, algorithms_with_presets, hyperparameter_docs, listed_names
from bench.records import Physics
from bench.resources import resource
from bench.yaml_lines import Entry, LinedYaml, load_yaml, validated

FILE = "nightly.yaml"

Rate = Annotated[float, Field(gt=0, lt=1, strict=True)]
"""A probability, neither certain nor impossible."""


MOST_SEEDS = 500
"""Of one night, and again as many to confirm with; what a date's seeds have room for."""

SeedCount = Annotated[int, Field(gt=0, le=MOST_SEEDS, strict=True)]


class Canary(Entry):
    """One grid of the canary: methods x tasks with one budget; None leaves a setting to the preset."""

    suite: str | None = None
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Tasks by name; either these or a suite."""
    algorithms: Annotated[tuple[str, ...], Field(min_length=1)]
    variant: str = RELEASED
    budget: Annotated[float, Field(gt=0, le=1, strict=True)] = 1.0
    evaluations: PositiveInt | None = None
    episodes: PositiveInt | None = None
    """Per evaluation."""
    physics: Physics | None = None
    settings: dict[str, dict[str, Value]] = Field(default={})
    """Hyper-parameters that a method has here instead of its preset's, by method: reduced sizes."""

    @model_validator(mode="after")
    def _one_source(self) -> Canary:
        if (self.suite is None) == (self.tasks is None):
            raise ValueError("name either a suite or tasks")
        return self


class Seeds(Entry):
    """How many training seeds, per cell."""

    baseline: Annotated[int, Field(ge=2, strict=True)] = 20
    """Of the frozen baseline: the seeds from 0 on. A spread needs two."""
    per_night: SeedCount = 2
    confirmation: SeedCount = 6
    """Fresh ones, run only for the cells that alarmed."""


class ScoreRates(Entry):
    """False alarms of the comparison with the baseline, over all cells together."""

    family_rate: Rate = 0.01
    """Per night, before confirmation."""
    confirmation_rate: Rate = 0.05
    """Of the repetition with fresh seeds, over the cells that alarmed."""


class DriftRates(Entry):
    """False alarms of the watch for slow drift, over all cells together."""

    rate: Rate = 0.001
    """Per night."""
    nights: PositiveInt = 100
    """Nights after a new baseline over which the rate is kept; sooner or later every baseline's own error
    would be found out, so a rate without such a number means nothing."""


class SpeedRates(Entry):
    """Comparison of training speed, on one machine only."""

    task: str = "hopper-medium-v2"
    """Whose dimensions and presets are timed."""
    repeats: Annotated[int, Field(ge=2, strict=True)] = 8
    iterations: PositiveInt = 20
    """Per repeat and phase."""
    rate: Rate = 0.01
    """False alarms per night, over all timed quantities together."""
    slack: Annotated[float, Field(ge=0, strict=True)] = 0.1
    """Slower by less than this share is never an alarm, however certain."""


class Nightly(Entry):
    """A whole file."""

    canary: Annotated[tuple[Canary, ...], Field(min_length=1)]
    seeds: Seeds = Seeds()
    scores: ScoreRates = ScoreRates()
    drift: DriftRates = DriftRates()
    speed: SpeedRates | None = SpeedRates()
    """None: speed is not watched."""
    store: str = "results/nightly.sqlite"
    margins: str | None = None
    """File with the margins of the comparison with the papers; None: the installation's margins.yaml."""


@dataclass(frozen=True)
class NightlyFile:
    """A file that was read and checked, with the canary's names resolved."""

    path: Path
    settings: Nightly
    cells: tuple[Cell, ...]
    """Of all grids of the canary, each once."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Methods of the canary, aliases resolved (`edp-td3`), in the order of the file."""
        return tuple(dict.fromkeys(cell.algorithm for cell in self.cells))


def load_nightly(path: Path | None = None) -> NightlyFile:
    """Read and check `path`, by default the nightly.yaml of this installation.

    Raises
    ------
    BenchError : names file, line and key of the first mistake; or what `bench run` would say of the grid.
    """
    document = load_yaml(path or resource(FILE))
    settings = validated(Nightly, document)
    catalog = load_catalog()
    _check_names(settings, document, catalog)
    cells: dict[tuple[str, str, str], Cell] = {}
    for index, grid in enumerate(settings.canary):
        for cell in _planned(document, index, _request(grid, catalog)):
            key = (cell.algorithm, cell.variant, cell.task.name)
            if key in cells:
                raise document.error(("canary", index), f"{cell.name} is in the canary twice")
            if cell.preset.evaluation.protocol == "rat" and len(cell.evaluation_steps) < RUNNING_AVERAGE:
                few = f"{cell.name} reports the mean of its last {RUNNING_AVERAGE} evaluations and has fewer"
                raise document.error(("canary", index), few, f"Write evaluations: {RUNNING_AVERAGE}.")
            cells[key] = cell
    return NightlyFile(document.path, settings, tuple(cells.values()))


def store_of_nights(path: Path | None = None) -> str:
    """The store that a file names; its grids are not planned, which takes PyTorch.

    Raises
    ------
    BenchError : names file, line and key of the first mistake besides those of grids.
    """
    return validated(Nightly, load_yaml(path or resource(FILE))).store


def _planned(document: LinedYaml, index: int, request: Request) -> list[Cell]:
    try:
        return plan_cells(request)
    except BenchError as error:
        problem = f"{error.what}. {error.why}" if error.why else error.what
        raise document.error(("canary", index), problem, error.do_this) from error


def _request(grid: Canary, catalog: Catalog) -> Request:
    names = grid.tasks or ()
    tasks = catalog.suite(grid.suite).tasks if grid.suite else tuple(map(catalog.task, names))
    return Request(
        tasks=tasks,
        algorithms=grid.algorithms,
        seeds=(0,),  # Cells are the same for all; a night has its own.
        variant=grid.variant,
        budget=grid.budget,
        evaluations=grid.evaluations,
        episodes=grid.episodes,
        physics=grid.physics,
        changes={
            f"{method}.{name}": value
            for method, changed in grid.settings.items()
            for name, value in changed.items()
        },
        suite=grid.suite,
    )


def _names(
    settings: Nightly, catalog: Catalog
) -> Iterator[tuple[tuple[str | int, ...], str, str, Collection[str]]]:
    """Every name that a file gives: where it stands, of what it is one, itself, and those that are known."""
    for index, grid in enumerate(settings.canary):
        place = ("canary", index)
        if grid.suite is not None:
            yield (*place, "suite"), "suite", grid.suite, catalog.suites
        for number, name in enumerate(grid.tasks or ()):
            yield (*place, "tasks", number), "task", name, catalog.tasks
        for number, name in enumerate(grid.algorithms):
            yield (*place, "algorithms", number), "algorithm", name, listed_names()
        for method, values in grid.settings.items():
            here = (*place, "settings", method)
            yield here, "algorithm of this grid", method, grid.algorithms
            # An alias's methods differ by task; `plan_cells` looks at these.
            known = hyperparameter_docs(method) if method in algorithms_with_presets() else values
            for name in values:
                yield (*here, name), f"hyper-parameter of {method}", name, known
    if settings.speed is not None:
        yield ("speed", "task"), "task", settings.speed.task, catalog.tasks


def _check_names(settings: Nightly, document: LinedYaml, catalog: Catalog) -> None:
    for place, kind, name, known in _names(settings, catalog):
        if name not in known:
            is_listed = kind in ("suite", "task", "algorithm")
            listing = f"bench list {kind}s" if is_listed else "bench show ALGORITHM TASK"
            found = unknown_name(kind, name, known, listing)
            raise document.error(place, found.what, found.do_this)
