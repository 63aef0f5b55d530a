"""Works off a grid: data, trials, stacks, executor; the only process that writes the store."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

from bench.catalog import Task
from bench.data.verify import dataset_record
from bench.errors import BenchError
from bench.execute.collector import Collector, Watcher
from bench.execute.grid import Cell
from bench.execute.local import run_locally
from bench.execute.plan import StackPlan
from bench.execute.stacks import stacks_of
from bench.provenance import describe_run
from bench.records import FAILED, FINISHED, DatasetRecord, TrialKey, TrialRecord
from bench.store.database import Store, open_store
from bench.store.writer import Writer

Obtain = Callable[[Task], Path]
"""Gives the path of a task's dataset, fetching or collecting it first where it is missing."""


SEEDS_PER_STACK_ON_GPU = 5


@dataclass(frozen=True)
class Settings:
    """How a grid is worked off; nothing here changes a number."""

    executor: Literal["ray", "local"] = "ray"
    seeds_per_stack: int | None = None
    """None: five on a GPU, where they cost little more than one; one on a CPU, where processes share the
    cores better than a stack does."""
    cpus_per_stack: int = 1
    gpus_per_stack: float | None = None
    """None: half a GPU where there is one, else none."""
    address: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where stacks take a share of one. On `cpu` such shares are counted for scheduling alone."""
    runner: str = "auto"
    retry_failed: bool = False
    checkpoint_seconds: float = 60.0


@dataclass(frozen=True)
class Summary:
    """What became of a grid."""

    trials: int
    finished_before: int
    finished: int
    failed: int
    failed_before: int
    stopped: bool


@dataclass
class Grid:
    """The trials of a grid, what the store says of them, and the stacks that are left."""

    trials: list[TrialRecord] = field(default_factory=list)
    states: dict[TrialKey, str] = field(default_factory=dict)
    plans: list[StackPlan] = field(default_factory=list)

    def count(self, state: str) -> int:
        """Trials in a state, before anything is run."""
        return sum(self.states[trial.key] == state for trial in self.trials)


def run_grid(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    settings: Settings,
    store_url: str,
    command: str,
    watcher: Watcher,
    obtain: Obtain,
) -> Summary:
    """Run whatever of a grid is not finished yet, storing every result before going on.

    Raises
    ------
    BenchError : the settings are wrong, the store cannot be written, a dataset cannot be had.
    """
    if settings.address is not None:
        from bench.execute.ray_tune import check_listening

        check_listening(settings.address)
    device, shares = device_of(settings)
    with open_store(store_url) as store, Writer(store) as writer:
        run = describe_run(command)
        writer.begin_run(run)
        try:
            grid = _grid(cells, seeds, settings, store, writer, obtain, device)
            collector = Collector(writer, store.folder, grid.states, watcher)
            if grid.plans:
                _execute(grid.plans, collector, settings, shares)
        finally:
            writer.end_run(run.run_id)
    return Summary(
        trials=len(grid.trials),
        finished_before=grid.count(FINISHED),
        finished=collector.finished,
        failed=collector.failed,
        failed_before=grid.count(FAILED),
        stopped=collector.unfinished > 0,
    )


def checkpoints_folder(store: Store) -> Path:
    """Where the checkpoints of a store's stacks lie."""
    return store.folder / "checkpoints"


def _grid(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    settings: Settings,
    store: Store,
    writer: Writer,
    obtain: Obtain,
    device: str,
) -> Grid:
    grid = Grid()
    datasets: dict[str, tuple[Path, DatasetRecord]] = {}
    for cell in cells:
        task = cell.task
        if task.name not in datasets:
            path = obtain(task)
            datasets[task.name] = (path, dataset_record(task, path))
        path, dataset = datasets[task.name]
        trials = cell.trials(seeds, dataset)
        states = writer.plan(trials, retry=settings.retry_failed)
        stacks = stacks_of(
            cell,
            dataset,
            seeds,
            states,
            seeds_per_stack=stack_size(settings, device),
            checkpoints=checkpoints_folder(store),
        )
        grid.trials += trials
        grid.states |= states
        for stack in stacks:
            # A cut-off stack may bring seeds along that were not asked for this time.
            brought = [trial for trial in stack if trial.key not in grid.states]
            grid.states |= writer.plan(brought, retry=settings.retry_failed)
            grid.plans.append(_plan(stack, cell, path, settings, store, device))
    return grid


def _plan(
    stack: tuple[TrialRecord, ...], cell: Cell, path: Path, settings: Settings, store: Store, device: str
) -> StackPlan:
    return StackPlan(
        trials=stack,
        task=cell.task,
        data_path=path.resolve(),
        checkpoints=checkpoints_folder(store).resolve(),
        device=device,
        threads=settings.cpus_per_stack,
        runner=settings.runner,
        checkpoint_seconds=settings.checkpoint_seconds,
    )


def device_of(settings: Settings) -> tuple[str, float]:
    """Device of the stacks, and the share of a GPU that each takes."""
    import torch

    asked = settings.gpus_per_stack
    if settings.device == "cpu":
        return "cpu", asked or 0.0
    present = torch.cuda.is_available() or settings.address is not None
    if settings.device == "cuda" and (asked == 0 or not present):
        why = (
            "This machine has no GPU that torch can use." if asked != 0 else "Stacks take no share of a GPU."
        )
        raise BenchError("device 'cuda'", why, "Use --device cpu.")
    if asked and not present:
        raise BenchError(
            f"{asked:g} GPU per stack asked for",
            "This machine has no GPU that torch can use.",
            "Leave --gpus-per-stack out to train on the CPU.",
        )
    if asked is None and settings.address is not None:
        raise BenchError(
            "--address without --gpus-per-stack",
            "What the cluster has cannot be seen from here.",
            "Add --gpus-per-stack 0.5, or 0 to train on its CPUs.",
        )
    if asked is None:
        asked = 0.5 if torch.cuda.is_available() else 0.0
    return ("cuda" if asked else "cpu"), asked


def stack_size(settings: Settings, device: str) -> int:
    """Seeds per stack on a device."""
    return settings.seeds_per_stack or (1 if device == "cpu" else SEEDS_PER_STACK_ON_GPU)


def _execute(plans: list[StackPlan], collector: Collector, settings: Settings, gpus: float) -> None:
    with _graceful_stop(plans[0].checkpoints) as stop_file:
        if settings.executor == "local":
            run_locally(plans, collector.receive, stop_file.exists)
            return
        # Imported here, so that everything but this executor works where Ray is not installed.
        from bench.execute.ray_tune import Shares, run_with_ray

        shares = Shares(settings.cpus_per_stack, gpus)
        run_with_ray(plans, collector.receive, shares=shares, address=settings.address, stop_file=stop_file)


@contextmanager
def _graceful_stop(folder: Path) -> Iterator[Path]:
    """A file that appears at the first Ctrl-C or SIGTERM; workers then save and end. A second ends at once.

    It lies beside the checkpoints, which workers on other machines must be able to reach anyway.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stop_file = folder / f".stop-{os.getpid()}"

    def request_stop(number: int, frame: FrameType | None) -> None:
        if stop_file.exists():
            raise KeyboardInterrupt
        stop_file.touch()
        # os.write is safe inside a handler, print is not.
        os.write(2, b"\nStopping: stacks save their state. Ctrl-C again ends at once.\n")

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop_file
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop_file.unlink(missing_ok=True)
