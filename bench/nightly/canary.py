"""The canary's trials: which cells, which seeds on which night, and what they scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from bench.catalog import Task
from bench.data.verify import dataset_record
from bench.execute.grid import Cell
from bench.nightly.config import MOST_SEEDS, NightlyFile
from bench.provenance import code_fingerprint
from bench.records import FINISHED, CellKey, DatasetRecord
from bench.store.database import Store
from bench.store.queries import codes_of, stored_scores

Obtain = Callable[[Task], Path]
"""Gives the path of a task's dataset, fetching or collecting it first where it is missing."""


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
    now = {code_fingerprint()}
    keys = [cell.trial(seed) for cell in cells for seed in seeds]
    return sum(codes != now for codes in codes_of(store, keys).values())
