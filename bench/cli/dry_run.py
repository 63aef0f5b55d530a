"""What `bench run --dry-run` shows: the grid, what is left of it, and how long that takes."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from bench.cli.tables import print_lines, print_table
from bench.records import method_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.execute.driver import Datasets, Settings
    from bench.execute.grid import Cell
    from bench.records import DatasetRecord
    from bench.store.database import Store


def show_grid(cells: Sequence[Cell], seeds: Sequence[int], settings: Settings, store: str) -> None:
    """Print every cell with its trials, what is left, and an upper estimate of its time; changes nothing."""
    from bench.data.folder import dataset_path
    from bench.execute.driver import Datasets, device_of, stack_size
    from bench.execute.estimate import Estimator
    from bench.store.database import opened_if_made

    device, _ = device_of(settings)
    seeds_per_stack = stack_size(settings, device)
    estimator = Estimator(device=device, runner=settings.runner, threads=settings.cpus_per_stack)
    rows, total, left_in_all = [], 0.0, 0
    datasets = Datasets(dataset_path)  # Nothing is fetched or collected.
    there = datasets.there((cell.task for cell in cells), print)
    with opened_if_made(store) as opened:
        counted = [_counts(cell, seeds, opened, datasets) for cell in cells]
    for cell, counts in zip(cells, counted, strict=True):
        finished, failed = counts["finished"], counts["failed"]
        left = len(seeds) - finished - (0 if settings.retry_failed else failed)
        stacks = -(-left // seeds_per_stack)
        seconds = stacks * estimator.estimate(cell, min(left, seeds_per_stack)).seconds if left else 0.0
        total, left_in_all = total + seconds, left_in_all + left
        rows.append(_row(cell, len(seeds), finished, failed, stacks, seconds))
    numbers = ("trials", "finished", "failed", "stacks")
    columns = ("task", "algorithm", *numbers, "evaluations", "data", "at most")
    print_table(columns, rows, right=(*numbers, "at most"))
    print(f"{left_in_all} trials left; stack after stack on {device} they take at most {_duration(total)}.")
    _show_remarks(cells, there, settings)


def _row(cell: Cell, trials: int, finished: int, failed: int, stacks: int, seconds: float) -> tuple[str, ...]:
    from bench.data.folder import dataset_path

    there = dataset_path(cell.task).is_file()
    missing = {"d4rl": "to fetch", "collected": "to collect", "generated": "to generate"}
    evaluations = f"{len(cell.evaluation_steps)} x {cell.episodes} episodes"
    name = method_label(cell.algorithm, cell.variant)
    data = "there" if there else missing[cell.task.dataset.source]
    duration = _duration(seconds) if stacks else "-"
    numbers = (str(number) for number in (trials, finished, failed, stacks))
    return cell.task.name, name, *numbers, evaluations, data, duration


def _counts(cell: Cell, seeds: Sequence[int], store: Store | None, datasets: Datasets) -> Counter[str]:
    """Trials of the cell by state; none where store or data do not exist yet."""
    from bench.store.queries import trial_states

    if store is None or not datasets.is_there(cell.task):
        return Counter()
    dataset, _ = datasets.of(cell.task)
    return Counter(trial_states(store, [trial.key for trial in cell.trials(seeds, dataset)]).values())


def _show_remarks(cells: Sequence[Cell], there: Sequence[DatasetRecord], settings: Settings) -> None:
    """Say what of the data is not what it should be, and whether the run itself would refuse it."""
    from bench.data.manifest import remarks_on
    from bench.execute.driver import refused

    for remark in remarks_on(there):
        print_lines(remark.lines)
    if refused(cells, there) and not settings.accept_mismatch:
        print_lines(["At full budget, as here, a run on such data needs --accept-mismatch."])


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
