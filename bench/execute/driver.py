"""Works off a grid: data, trials, claims, executor; the only process that writes the store."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.catalog import Task
from bench.data.folder import Ledger, Obtain, dataset_path
from bench.data.manifest import load_manifest, remarks_on, verification_of
from bench.data.verify import dataset_record
from bench.errors import BenchError
from bench.execute.grid import Cell
from bench.execute.keeper import Keeper, Watcher, beating
from bench.execute.local import run_locally
from bench.execute.messages import GridPlanned, Notice, StackPlan
from bench.execute.queue import CellOfGrid, StackQueue
from bench.hardware import stacks_on, usable_cores
from bench.provenance import code_fingerprint, describe_run
from bench.records import (
    FAILED,
    FINISHED,
    MAX_RETRIES,
    MISMATCH,
    CellKey,
    DatasetRecord,
    Device,
    Executor,
    PhaseRecord,
    Runner,
    TrialKey,
    TrialRecord,
)
from bench.signals import saving_at_signals
from bench.store.database import Store, open_store
from bench.store.queries import trial_states
from bench.store.writer import Writer
from bench.training.checkpoint import SharedFolder
from bench.training.trainer import phases_for
from bench.visible_text import quoted

SEEDS_PER_STACK_ON_GPU = 5
CHECKPOINT_SECONDS = 60.0
CLUSTER_CHECKPOINT_SECONDS = 600.0
CHECKPOINT_SHARE = 0.01
"""Of a stack's time, that its checkpoints take at most unless their interval was asked for."""


MUCH = 500_000_000
"""Bytes that take seconds to read, and minutes over a network."""


@dataclass(frozen=True)
class Settings:
    """How a grid is worked off; nothing here changes a number."""

    executor: Executor = "ray"
    seeds_per_stack: int | None = None
    """None: five on a GPU, where they cost little more than one; one on a CPU, where processes share the
    cores better than a stack does."""
    cpus_per_stack: int | None = None
    """None: one on a CPU; on a GPU the machine's cores, shared out among its stacks."""
    gpus_per_stack: float | None = None
    """None: half a GPU where there is one, else none."""
    address: str | None = None
    device: Device = "auto"
    """auto: a GPU where stacks take a share of one. On `cpu` such shares are counted for scheduling alone."""
    runner: Runner = "auto"
    retry_failed: bool = False
    """Run just the trials that failed, as a further attempt."""
    max_retries: int = MAX_RETRIES
    """How often a stack is taken up again whose worker process was lost."""
    checkpoint_seconds: float | None = None
    """None: a minute on this machine, ten on a cluster, whose checkpoints travel; longer where they take more
    than a hundredth of the time.
    """
    shared_checkpoints: Path | None = None
    """A folder that all machines see under this path: workers write checkpoints there themselves, and only
    their names travel to the driver. None: they travel, and lie beside the store.
    """
    tune_callbacks: tuple[str, ...] = ()
    """`module:name` of callbacks of Ray Tune that a person adds."""
    accept_mismatch: bool = False
    """Train at full budget on a dataset that is not the task's, too."""


@dataclass(frozen=True)
class Summary:
    """What became of a grid."""

    trials: int
    finished_before: int
    finished: int
    finished_elsewhere: int
    """By other drivers in the meantime."""
    failed: int
    """Elsewhere too."""
    failed_before: int
    left: int
    """Neither finished nor failed: of stacks that were stopped, or never begun."""


@dataclass
class Grid:
    """The trials of a request, what the store says of them, and what to do about them."""

    trials: list[TrialRecord] = field(default_factory=list)
    states: dict[TrialKey, str] = field(default_factory=dict)
    cells: list[CellOfGrid] = field(default_factory=list)

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
    datasets: Datasets,
) -> Summary:
    """Run whatever of a grid is not finished yet, storing every result before going on.

    Raises
    ------
    BenchError : the settings are wrong, the store cannot be written, a dataset cannot be had, or one is not
        the task's and the cell is not reduced.
    """

    def notify(text: str) -> None:
        watcher.watch(Notice(text))

    # What is there is looked at before anything is written; what is obtained later is checked as it comes.
    there = datasets.there((cell.task for cell in cells), notify)
    _report_shortfalls(cells, there, settings, watcher)
    if settings.address is not None:
        from bench.execute.ray_start import check_listening

        check_listening(settings.address)
    device, gpus = device_of(settings)
    with open_store(store_url) as store, Writer(store) as writer:
        shared = _shared(settings.shared_checkpoints, store)
        run = describe_run(command)
        writer.begin_run(run)
        try:
            data = {cell.task.name: datasets.of(cell.task) for cell in cells}
            _report_shortfalls(
                cells, [record for record, _ in data.values() if record not in there], settings, watcher
            )
            algorithms = sorted({cell.algorithm for cell in cells})
            threads = cpus_per_stack(settings, device, gpus)
            grid = _grid(cells, seeds, settings, writer, data, device, threads)
            watcher.watch(GridPlanned(len(grid.trials), grid.count(FINISHED)))
            stop = threading.Event()
            with saving_at_signals(stop.set):
                queue = StackQueue(
                    grid.cells, writer, notify, stop.is_set, seeds_per_stack=stack_size(settings, device)
                )
                keeper = Keeper(
                    queue,
                    writer,
                    store.folder,
                    watcher,
                    stop,
                    code_sha256=code_fingerprint(algorithms),
                    max_retries=settings.max_retries,
                    shared=shared,
                )
                if grid.cells:
                    with beating(keeper):
                        _execute(keeper, algorithms, settings, device, gpus)
        finally:
            writer.end_run(run.run_id)
        states = trial_states(store, [trial.key for trial in grid.trials])
    return _summary(grid, states, keeper)


def _shared(path: Path | None, store: Store) -> SharedFolder | None:
    """The shared folder of the store's checkpoints, where one was named."""
    if path is None:
        return None
    another, owner = "Name another folder with --shared-checkpoints.", str(store.location)
    if store.location.file is not None:
        owner = str(store.location.file.absolute())
    what = f"checkpoints cannot be written into {quoted(str(path))}"
    try:
        # As it was named: a link may lead elsewhere on another machine.
        shared = SharedFolder.marked(path.absolute(), owner)
    except OSError as error:
        raise BenchError(what, f"{error.strerror}.", another) from error
    if shared.owner != owner:
        raise BenchError(what, f"It holds those of another store: {quoted(shared.owner)}.", another)
    return shared


def _summary(grid: Grid, states: dict[TrialKey, str], keeper: Keeper) -> Summary:
    finished = sum(state == FINISHED for state in states.values()) - grid.count(FINISHED)
    failed = sum(state == FAILED for state in states.values()) - grid.count(FAILED)
    return Summary(
        trials=len(grid.trials),
        finished_before=grid.count(FINISHED),
        finished=keeper.ended[FINISHED],
        # A cut-off stack may have brought seeds along that were not asked for.
        finished_elsewhere=max(0, finished - keeper.ended[FINISHED]),
        failed=max(failed, keeper.ended[FAILED]),
        failed_before=grid.count(FAILED),
        left=sum(state not in (FINISHED, FAILED) for state in states.values()),
    )


def _grid(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    settings: Settings,
    writer: Writer,
    data: Mapping[str, tuple[DatasetRecord, Path]],
    device: str,
    threads: int,
) -> Grid:
    planners = {}
    for cell in cells:
        phases = phases_for(cell.task, cell.algorithm, cell.preset.values)
        planner = _Planner(cell, phases, *data[cell.task.name], settings, device, threads)
        planners[planner.trials(seeds[:1])[0].key.cell] = planner
    wanted = {key: tuple(seeds) for key in planners}
    if settings.retry_failed:
        asked = [key.trial(seed) for key in planners for seed in seeds]
        retried = sorted(writer.retry(asked), key=lambda key: key.seed)
        wanted = {cell: tuple(key.seed for key in retried if key.cell == cell) for cell in planners}
    # All at once: a transaction for each cell of a large grid would take seconds.
    trials = [trial for key, planner in planners.items() for trial in planner.trials(wanted[key])]
    states = writer.plan(trials)
    left: dict[CellKey, set[int]] = {}
    for key, state in states.items():
        if state not in (FINISHED, FAILED):
            left.setdefault(key.cell, set()).add(key.seed)
    of_grid = [CellOfGrid(key, frozenset(open_), planners[key].plan) for key, open_ in left.items()]
    return Grid(trials, states, of_grid)


def _report_shortfalls(
    cells: Sequence[Cell], data: Sequence[DatasetRecord], settings: Settings, watcher: Watcher
) -> None:
    """Say what falls short of these datasets, and refuse what may not be trained on."""
    if not settings.accept_mismatch:
        require_fit(cells, data)
    for remark in remarks_on(data):
        for line in remark.lines:
            watcher.watch(Notice(line))


@dataclass(frozen=True)
class _Planner:
    """Makes the trials of one cell and the plans of its stacks."""

    cell: Cell
    phases: tuple[PhaseRecord, ...]
    dataset: DatasetRecord
    data_path: Path
    settings: Settings
    device: str
    threads: int

    def trials(self, seeds: Sequence[int]) -> list[TrialRecord]:
        """The trials of these seeds."""
        return [replace(trial, phases=self.phases) for trial in self.cell.trials(seeds, self.dataset)]

    def plan(self, seeds: Sequence[int]) -> StackPlan:
        """The plan of a stack of these seeds."""
        seconds, share = checkpoints(self.settings)
        return StackPlan(
            trials=tuple(self.trials(seeds)),
            task=self.cell.task,
            data_path=self.data_path,
            device=self.device,
            threads=self.threads,
            runner=self.settings.runner,
            checkpoint_seconds=seconds,
            checkpoint_share=share,
            beside=self.device == "cuda",
        )


def checkpoints(settings: Settings) -> tuple[float, float]:
    """Least seconds between checkpoints in the middle of a phase, and their largest share of the time."""
    if settings.checkpoint_seconds is not None:
        return settings.checkpoint_seconds, math.inf
    return (CHECKPOINT_SECONDS if settings.address is None else CLUSTER_CHECKPOINT_SECONDS), CHECKPOINT_SHARE


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


def stacks_at_once(settings: Settings, device: str, gpus: float) -> int:
    """How many stacks this machine's GPUs take side by side; 1 on a CPU, and where a cluster is asked."""
    if device == "cpu" or settings.address is not None:
        return 1
    import torch

    return max(1, stacks_on(torch.cuda.device_count(), gpus))


def cpus_per_stack(settings: Settings, device: str, gpus: float) -> int:
    """Threads of a stack."""
    if settings.cpus_per_stack is not None:
        return settings.cpus_per_stack
    if device == "cpu" or settings.address is not None:
        return 1
    return max(1, usable_cores() // stacks_at_once(settings, device, gpus))


def _execute(keeper: Keeper, algorithms: Sequence[str], settings: Settings, device: str, gpus: float) -> None:
    if settings.executor == "local":
        run_locally(keeper, stacks_at_once(settings, device, gpus))
        return
    from bench.execute.ray_start import running_ray

    with running_ray(settings.address) as scratch:
        if keeper.stop.is_set():
            return
        # Imported here: only now Ray may be imported, and all else works where it is not installed.
        from bench.execute.ray_tune import Shares, run_with_ray

        shares = Shares(cpus_per_stack(settings, device, gpus), gpus)
        run_with_ray(
            keeper,
            algorithms=algorithms,
            shares=shares,
            scratch=scratch,
            callbacks=settings.tune_callbacks,
        )


# Datasets


@dataclass
class Datasets:
    """What is known of tasks' datasets; each is looked at once, since large files take seconds."""

    obtain: Obtain
    remembers: bool = True
    """Whether what is found is kept in the data folder."""
    _found: dict[str, tuple[DatasetRecord, Path]] = field(default_factory=dict)

    def there(self, tasks: Iterable[Task], notify: Callable[[str], None]) -> list[DatasetRecord]:
        """What is known of those whose files are there, each once; nothing is obtained.

        `notify` is told beforehand where there is much to read.
        """
        there = {task.name: task for task in tasks if self.is_there(task)}
        new = [dataset_path(task) for name, task in there.items() if name not in self._found]
        size = sum(path.stat().st_size for path in new)
        if size >= MUCH:
            notify(f"Hashing {len(new)} dataset{'s' * (len(new) > 1)}, {size / 1e9:.1f} GB.")
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
            path, ledger = self.obtain(task), Ledger(remembers=self.remembers)
            self._found[task.name] = (dataset_record(task, path, ledger), path.resolve())
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
