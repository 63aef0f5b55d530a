"""The datasets of a grid: each is obtained, hashed and checked once, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.catalog import Task
from bench.data.folder import dataset_path
from bench.data.manifest import load_manifest, remarks_on, verification_of
from bench.data.verify import dataset_record
from bench.errors import BenchError
from bench.execute.grid import Cell
from bench.records import MISMATCH, DatasetRecord

Obtain = Callable[[Task], Path]
"""Gives the path of a task's dataset, fetching or collecting it first where it is missing."""

MUCH = 500_000_000
"""Bytes that take seconds to read, and minutes over a network."""


@dataclass
class Datasets:
    """What is known of tasks' datasets; each is looked at once, since large files take seconds."""

    obtain: Obtain
    _found: dict[str, tuple[DatasetRecord, Path]] = field(default_factory=dict)

    def there(self, tasks: Iterable[Task], say: Callable[[str], None]) -> list[DatasetRecord]:
        """What is known of those whose files are there, each once; nothing is obtained.

        `say` is told beforehand where there is much to read.
        """
        there = {task.name: task for task in tasks if self.is_there(task)}
        new = [dataset_path(task) for name, task in there.items() if name not in self._found]
        size = sum(path.stat().st_size for path in new)
        if size >= MUCH:
            say(f"Hashing {len(new)} dataset{'s' * (len(new) > 1)}, {size / 1e9:.1f} GB.")
        return [self.of(task)[0] for task in there.values()]

    def is_there(self, task: Task) -> bool:
        """Whether a task's dataset need not be obtained first."""
        return task.name in self._found or dataset_path(task).is_file()

    def of(self, task: Task) -> tuple[DatasetRecord, Path]:
        """What is known of a task's dataset, and where it lies; it is obtained where it is missing.

        Raises
        ------
        BenchError : it cannot be had or read.
        """
        if task.name not in self._found:
            path = self.obtain(task)
            self._found[task.name] = (dataset_record(task, path), path.resolve())
        return self._found[task.name]


def refused(cells: Sequence[Cell], datasets: Iterable[DatasetRecord]) -> dict[str, Task]:
    """Tasks of full cells whose data is another one; a reduced cell is never judged, whatever its data."""
    manifest = load_manifest()
    wrong = {dataset.name for dataset in datasets if verification_of(dataset, manifest) == MISMATCH}
    return {cell.task.name: cell.task for cell in cells if not cell.reduced and cell.task.name in wrong}


def require_fit(cells: Sequence[Cell], datasets: Sequence[DatasetRecord]) -> None:
    """Refuse to train at full budget on data that is not the task's.

    Raises
    ------
    BenchError : names every such dataset.
    """
    tasks = refused(cells, datasets)
    if not tasks:
        return
    remarks = remarks_on(dataset for dataset in datasets if dataset.name in tasks)
    raise BenchError(
        "a run at full budget on the wrong data",
        "\n  ".join(line for remark in remarks for line in remark.lines),
        f"Type {' and '.join(_anew(tasks.values()))}; or add --accept-mismatch to train on it all the same.",
    )


def _anew(tasks: Iterable[Task]) -> Iterator[str]:
    """The commands that put the right files in the place of the wrong ones."""
    wrong: dict[str, list[str]] = {}
    for task in tasks:
        command = "collect" if task.collected or task.generated else "fetch"
        wrong.setdefault(command, []).append(task.name)
    for command, names in wrong.items():
        yield f"`bench data {command} {' '.join(names)} --overwrite`"
