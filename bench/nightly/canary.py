"""The canary's trials: which cells and seeds, what the store has of them, and the command that makes them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from bench.catalog import RunDefaults, load_catalog
from bench.data.folder import Obtain
from bench.data.verify import dataset_record
from bench.execute.grid import Cell
from bench.nightly.config import MOST_SEEDS, Canary, NightlyFile
from bench.provenance import code_fingerprint
from bench.records import FAILED, FINISHED, BaselineScoreRecord, CellKey, DatasetRecord, TrialKey
from bench.store.database import Store
from bench.store.location import without_password
from bench.store.queries import codes_of, stored_scores


@dataclass(frozen=True)
class CanaryCell:
    """A cell of the canary as it would be run now."""

    cell: Cell
    key: CellKey
    """Holds the hash of all that determines its numbers, the dataset's content among it."""
    config: dict[str, Any]
    dataset: DatasetRecord

    @property
    def name(self) -> str:
        """For people, and unique in a canary: `dtql collected-hopper-medium`."""
        return self.cell.name


def canary_cells(file: NightlyFile, obtain: Obtain) -> tuple[CanaryCell, ...]:
    """The cells of a configuration on the data that is here; missing data is obtained first."""
    made, datasets = [], {}
    for cell in file.cells:
        task = cell.task
        if task.name not in datasets:
            datasets[task.name] = dataset_record(task, obtain(task))
        trial = cell.trial(0, datasets[task.name])
        made.append(CanaryCell(cell, trial.key.cell, trial.config, trial.dataset))
    return tuple(made)


def baseline_seeds(file: NightlyFile) -> tuple[int, ...]:
    """Training seeds of a baseline: those from 0 on."""
    return tuple(range(file.settings.seeds.baseline))


def night_seeds(day: date, count: int) -> tuple[int, ...]:
    """Training seeds of one night: its date and a running number, so that no two nights share any.

    20261121000 and 20261121001 for two seeds of 21 November 2026. The same night asked for again has the
    same seeds, so that the store knows what of it is left to run.
    """
    first = int(f"{day:%Y%m%d}") * 2 * MOST_SEEDS
    return tuple(range(first, first + count))


def confirmation_seeds(day: date, count: int) -> tuple[int, ...]:
    """Fresh seeds of the same night, for cells that alarmed."""
    first = night_seeds(day, 1)[0] + MOST_SEEDS
    return tuple(range(first, first + count))


def scores_of_seeds(
    store: Store, cells: Sequence[CellKey], seeds: Sequence[int]
) -> dict[CellKey, tuple[float | None, ...]]:
    """Scores of each cell by seed; None where a trial failed, or has not been run to its end."""
    keys = [cell.trial(seed) for cell in cells for seed in seeds]
    stored = stored_scores(store, keys)
    return {
        cell: tuple(
            score if state == FINISHED else None
            for state, score in (stored.get(cell.trial(seed), (None, None)) for seed in seeds)
        )
        for cell in cells
    }


def of_other_code(store: Store, cells: Sequence[CellKey], seeds: Sequence[int]) -> int:
    """How many of these trials went through other code than is here now, for a while at least.

    A trial is never run twice, so a night that is held again after a change shows the scores of before.
    """
    now = {algorithm: {code_fingerprint([algorithm])} for algorithm in {cell.algorithm for cell in cells}}
    keys = [cell.trial(seed) for cell in cells for seed in seeds]
    return sum(codes != now[key.algorithm] for key, codes in codes_of(store, keys).items())


@dataclass(frozen=True)
class Gathered:
    """The trials of a baseline to be, by what the store says of them."""

    scores: tuple[BaselineScoreRecord, ...]
    failed: tuple[TrialKey, ...]
    without_score: tuple[TrialKey, ...]
    """Finished, but the protocol gives no score (`rat` with fewer than ten evaluations), or one that is not
    finite: against such a baseline every night would be red."""
    left: tuple[TrialKey, ...]
    """Not run, or not to their end."""

    @property
    def complete(self) -> bool:
        """Whether a baseline can be frozen."""
        return not (self.failed or self.without_score or self.left)


def gather(store: Store | None, cells: Sequence[CanaryCell], seeds: Sequence[int]) -> Gathered:
    """Look up the trials of the canary under its present configuration; None is a store nobody has made."""
    keys = [cell.key.trial(seed) for cell in cells for seed in seeds]
    stored = {} if store is None else stored_scores(store, keys)
    scores, failed, without_score, left = [], [], [], []
    for key in keys:
        state, score = stored.get(key, (None, None))
        if state == FAILED:
            failed.append(key)
        elif state != FINISHED:
            left.append(key)
        elif score is None or not math.isfinite(score):
            without_score.append(key)
        else:
            scores.append(BaselineScoreRecord(key, score))
    return Gathered(tuple(scores), tuple(failed), tuple(without_score), tuple(left))


def run_command(grid: Canary, seeds: Sequence[int], store: str, *, retry: bool = False) -> str:
    """The `bench run` that makes the trials of one grid of the canary, as typed."""
    words = ["bench", "run", *_tasks(grid)]
    words += ["--algos", ",".join(grid.algorithms), "--seeds", seeds_text(seeds)]
    defaults = Canary(tasks=("any",), algorithms=("any",))
    for option, value, default in (
        ("--variant", grid.variant, defaults.variant),
        ("--budget", grid.budget, defaults.budget),
        ("--evals", grid.evaluations, None),
        ("--episodes", grid.episodes, None),
        ("--physics", grid.physics, None),
    ):
        if value != default:
            words += [option, str(value)]
    for algorithm, settings in grid.settings.items():
        words += [f"--set={algorithm}.{name}={value}" for name, value in settings.items()]
    return shlex.join([*words, *(["--retry", "failed"] if retry else []), "--store", without_password(store)])


def _tasks(grid: Canary) -> list[str]:
    if grid.suite is None:
        return ["--tasks", ",".join(grid.tasks or ())]
    suite = load_catalog().suite(grid.suite)
    if suite.defaults == RunDefaults():
        return ["--suite", grid.suite]
    # The canary does not follow what the suite sets where the command line says nothing.
    return ["--tasks", ",".join(task.name for task in suite.tasks)]


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds as typed after --seeds: `0-4`, `0,2-3`."""
    runs = groupby(enumerate(sorted(seeds)), key=lambda pair: pair[1] - pair[0])
    bounds = [[seed for _, seed in run] for _, run in runs]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in bounds)
