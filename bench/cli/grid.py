"""A grid before a person's eyes: what of it is left, how it goes on, what became of it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from bench.catalog import Task
from bench.cli.options import typed_command
from bench.cli.output import (
    console_of,
    left_words,
    print_lines,
    print_table,
    progress_text,
    roughly,
    stop_printing,
)
from bench.cli.progress import SECONDS_BETWEEN_LINES, saying, shown_progress
from bench.data.fetch import ensure_dataset
from bench.data.folder import dataset_path
from bench.data.manifest import remarks_on
from bench.execute.driver import (
    SEEDS_PER_STACK_ON_GPU,
    Datasets,
    Settings,
    Summary,
    cpus_per_stack,
    device_of,
    refused,
    run_grid,
    stack_size,
)
from bench.execute.estimate import Estimator, ModelledGpu
from bench.execute.grid import Cell
from bench.execute.keeper import Watcher
from bench.execute.messages import (
    Ended,
    GridPlanned,
    Notice,
    Progress,
    Shown,
    Started,
    Stopped,
    TrialFinished,
)
from bench.hardware import usable_cores
from bench.records import DatasetRecord, EvaluationRecord, FailureRecord, TrialKey, method_label
from bench.signals import INTERRUPTED
from bench.store.database import Store, opened_if_made
from bench.store.location import locate
from bench.store.queries import MeasuredPart, measured_parts, trial_states
from bench.visible_text import count, visible

# Working it off


def run(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    settings: Settings,
    store: str,
    log: Path | None = None,
) -> None:
    """Run what is left of a grid, and say what became of it; TensorBoard's files grow in `log` meanwhile.

    Exit code 1 where a trial failed, 130 where one was interrupted. Missing data is obtained.
    """
    summary = work_off(cells, seeds, settings, store, Datasets(obtained), log)
    parts = [f"{summary.finished} finished"]
    if summary.finished_before:
        parts.append(f"{summary.finished_before} were there already")
    if summary.finished_elsewhere:
        parts.append(f"{summary.finished_elsewhere} finished by other drivers")
    if summary.failed_before:
        parts.append(f"{summary.failed_before} failed earlier (--retry failed gives them another attempt)")
    if summary.failed:
        parts.append(f"{summary.failed} FAILED (`bench status` says why)")
    print(f"{count(summary.trials, 'trial')}: {', '.join(parts)}. Store: {locate(store)}")
    if summary.left:
        print("Interrupted; the state is saved. The same command continues.")
        raise SystemExit(INTERRUPTED)
    if summary.failed:
        raise typer.Exit(1)


def work_off(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    settings: Settings,
    store: str,
    datasets: Datasets,
    log: Path | None = None,
) -> Summary:
    """Run what is left of a grid, shown as suits standard output, and to TensorBoard where `log` is named."""
    with watching() as lines, logged(lines, log, store) as watcher:
        return run_grid(cells, seeds, settings, store, typed_command(), watcher, datasets)


@contextmanager
def logged(watcher: Watcher, folder: Path | None, store: str) -> Iterator[Watcher]:
    """Yield what shows events as `watcher` does, and keeps TensorBoard's files in a named folder."""
    if folder is None:
        yield watcher
        return
    from bench.cli.tensorboard import LiveLog

    log = LiveLog(watcher, folder, store)
    try:
        yield log
    finally:
        log.close()


def obtained(task: Task) -> Path:
    """Path of a task's dataset; where it is missing it is fetched or collected before a person's eyes."""
    if dataset_path(task).is_file() or task.generated or task.added:
        return ensure_dataset(task)
    verb, unit = ("collecting", "transitions") if task.collected else ("fetching", "bytes")
    with shown_progress(f"{verb} {task.name}", unit) as progress:
        return ensure_dataset(task, progress)


class WholeGrid:
    """How far a grid is: `37/180 trials, about 14 h left`, at the pace of what has finished here."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._planned = GridPlanned(0, 0)
        self._finished = 0

    @property
    def more_than_one(self) -> bool:
        """Whether there is more to say than of one trial."""
        return self.trials > 1

    @property
    def trials(self) -> int:
        """Of the grid."""
        return self._planned.trials

    @property
    def done(self) -> int:
        """Trials that have finished, before or now."""
        return self._planned.finished + self._finished

    def take(self, event: Shown) -> None:
        """Count what finishes."""
        if isinstance(event, GridPlanned):
            self._began, self._planned, self._finished = time.monotonic(), event, 0
        self._finished += isinstance(event, TrialFinished)

    def __str__(self) -> str:
        left = self.trials - self.done
        text = f"{self.done:,}/{self.trials:,} trials"
        if not self._finished or left <= 0:
            return text
        return f"{text}, {left_words((time.monotonic() - self._began) / self._finished * left)}"


class Lines:
    """Prints every result as a line, and progress every ten seconds per stack."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, float] = {}
        self._whole = WholeGrid()

    def watch(self, event: Shown) -> None:
        """Show one event; where nobody reads any more, work goes on in silence."""
        try:
            self._show(event)
        except (OSError, SystemExit):
            # The terminal was closed, or a pipe's other end has gone, as `tee` does at the same Ctrl-C; of
            # that Rich makes a SystemExit.
            stop_printing()

    def _show(self, event: Shown) -> None:
        self._whole.take(event)
        if isinstance(event, Progress):
            self.progress(event)
            return
        text = described(event)
        if text:
            self._print(text)
        if isinstance(event, TrialFinished) and self._whole.more_than_one:
            self.tell_whole()

    def tell_whole(self) -> None:
        """Show how far the whole grid is."""
        self._print(f"{self._whole}")

    def progress(self, event: Progress) -> None:
        """Show how far a stack is, unless it was shown a moment ago."""
        now = time.monotonic()
        if now - self._last.get(event.stack, 0.0) >= SECONDS_BETWEEN_LINES:
            self._last[event.stack] = now
            self._print(f"{event.stack}: {progress_text(event.progress)}")

    def _print(self, text: str) -> None:
        # Folded at spaces on a terminal; in a pipe a line stays one line.
        folded = self._console.is_terminal
        self._console.print(visible(text), highlight=False, markup=False, soft_wrap=not folded)


class BarsAndLines(Lines):
    """The same lines above one bar per stack in training."""

    def __init__(self, console: Console, bars: Bars) -> None:
        super().__init__(console)
        self._bars = bars
        self._shown: dict[str, TaskID] = {}
        self._grid: TaskID | None = None

    def progress(self, event: Progress) -> None:
        """Move the stack's bar."""
        # Started late: while data is being collected another bar is on the screen.
        self._bars.start()
        if event.stack not in self._shown:
            self._shown[event.stack] = self._bars.add_task(visible(event.stack), total=None, place="")
        self._bars.update(
            self._shown[event.stack],
            total=event.progress.iterations_total,
            completed=event.progress.iterations_done,
            place=progress_text(event.progress),
        )

    def _show(self, event: Shown) -> None:
        """A stack's bar goes away with its process."""
        super()._show(event)
        if isinstance(event, Ended) and event.stack in self._shown:
            self._bars.remove_task(self._shown.pop(event.stack))

    def tell_whole(self) -> None:
        """Rewrite the line of the whole grid, which stands among the bars."""
        if self._grid is None:
            self._grid = self._bars.add_task("all", total=None, place="")
        self._bars.update(
            self._grid, total=self._whole.trials, completed=self._whole.done, place=str(self._whole)
        )


@contextmanager
def watching() -> Iterator[Lines]:
    """Yield what shows events, as suits standard output."""
    console = console_of(sys.stdout)
    if not console.is_terminal:
        yield Lines(console)
        return
    name, place = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[place]}")
    bars = Bars(name, BarColumn(bar_width=20), place, console=console)
    try:
        yield BarsAndLines(console, bars)
    finally:
        bars.stop()


def described(event: Shown) -> str | None:
    """One line about a result; None where there is nothing to say."""
    match event:
        case Notice():
            return event.text
        case Started():
            return "\n".join(f"{event.stack}: {note}" for note in event.notes) or None
        case Stopped():
            return f"{event.stack}: state saved"
        case EvaluationRecord():
            mean = sum(event.scores) / len(event.scores)
            return (
                f"{_named(event.trial)}: evaluation {event.number} after {event.step:,} iterations: "
                f"score {mean:.1f} ({count(len(event.scores), 'episode')})"
            )
        case FailureRecord():
            return f"{_named(event.trial)}: FAILED at step {event.step}: {event.error}: {event.message}"
        case TrialFinished():
            done = event.finished
            score = "none" if done.score is None else f"{done.score:.1f}"
            spent = timedelta(seconds=round(done.training_seconds + done.evaluation_seconds))
            return f"{_named(done.trial)}: finished, score {score}, in {spent}"
    return None


def _named(key: TrialKey) -> str:
    return f"{key.algorithm} {key.task} seed {key.seed}"


# What it would be: `--dry-run`


def show_grid(cells: Sequence[Cell], seeds: Sequence[int], settings: Settings, store: str) -> None:
    """Print every cell with its trials, what is left, and an upper estimate of its time; changes nothing."""
    device, gpus = device_of(settings)
    seeds_per_stack = stack_size(settings, device)
    datasets = Datasets(dataset_path, remembers=False)  # Nothing is fetched, collected or noted.
    there = datasets.there((cell.task for cell in cells), print)
    with opened_if_made(store) as opened:
        counted = [_counts(cell, seeds, opened, datasets) for cell in cells]
        measured = measured_parts(opened) if opened is not None else []
    estimates = _Estimates(device, gpus, settings, measured)
    rows, left_in_all = [], 0
    for number, (cell, counts) in enumerate(zip(cells, counted, strict=True), start=1):
        finished, failed = counts["finished"], counts["failed"]
        left = len(seeds) - finished - (0 if settings.retry_failed else failed)
        with saying(f"Measuring {cell.name}, {number} of {len(cells)}"):
            seconds = estimates.add(cell, left, seeds_per_stack) if left else None
        left_in_all += left
        stacks = -(-left // seeds_per_stack)
        rows.append(_row(cell, len(seeds), finished, failed, stacks, seconds))
    numbers = ("trials", "finished", "failed", "stacks")
    columns = ("task", "algorithm", *numbers, "evaluations", "data", "at most")
    same = [
        (column, rows[0][place])
        for place, column in enumerate(columns)
        if column not in ("task", "algorithm", "at most") and len({row[place] for row in rows}) == 1
    ]
    shown = [place for place, column in enumerate(columns) if column not in dict(same)]
    print_table(
        [columns[place] for place in shown],
        [[row[place] for place in shown] for row in rows],
        right=(*numbers, "at most"),
    )
    of_each = [f"{column} {text}" for column, text in same if text != "0"]
    if of_each:
        print_lines([f"Each cell: {', '.join(of_each)}."])
    print_lines(estimates.lines(left_in_all))
    _show_remarks(cells, there, settings)


class _Estimates:
    """Adds up what stacks take: on this machine, and by a model on a GPU where there is none here."""

    def __init__(
        self, device: str, gpus: float, settings: Settings, measured: Sequence[MeasuredPart]
    ) -> None:
        threads = cpus_per_stack(settings, device, gpus)
        self._here = device == "cpu" or torch.cuda.is_available()
        self._name = "this CPU" if device == "cpu" else "this GPU"
        self._estimator = Estimator(
            device=device if self._here else "cpu", runner=settings.runner, threads=threads, measured=measured
        )
        self._model = None if torch.cuda.is_available() else ModelledGpu(settings.runner)
        # Stacks that share a GPU take about as long as one after the other.
        self._at_once = 1
        if settings.executor == "ray" and device == "cpu" and settings.address is None:
            self._at_once = max(1, usable_cores() // threads)
        self._measured: dict[str, float] = {}
        self._modelled: dict[str, float] = {}
        """Both by method."""
        self._unknown: set[str] = set()
        """Cells that the model does not know."""
        self._stacks = 0
        self._sharing: dict[tuple[str, str], list[str]] = {}
        """Methods of a task that have a phase alike, by the two."""

    def add(self, cell: Cell, trials: int, seeds_per_stack: int) -> float | None:
        """Add the stacks of a cell's trials; what they take one after the other here, where that is known."""
        label, stacks = method_label(cell.algorithm, cell.variant), -(-trials // seeds_per_stack)
        self._stacks += stacks
        first = self._estimator.phases(cell)[0]
        if first.shared is not None:
            self._sharing.setdefault((cell.task.name, first.name), []).append(label)
        if self._model is not None:
            self._add_modelled(label, cell, trials)
        if not self._here:
            return None
        seconds = stacks * self._estimator.estimate(cell, min(trials, seeds_per_stack)).seconds
        self._measured[label] = self._measured.get(label, 0.0) + seconds
        return seconds

    def _add_modelled(self, label: str, cell: Cell, trials: int) -> None:
        assert self._model is not None
        if not self._model.knows(cell):
            self._unknown.add(cell.name)
            return
        size = min(trials, SEEDS_PER_STACK_ON_GPU)
        phases, robot = self._estimator.phases(cell), self._estimator.physics(cell)
        stack = self._model.estimate(cell, size, phases, robot)
        seconds = -(-trials // size) * stack.seconds
        self._modelled[label] = self._modelled.get(label, 0.0) + seconds

    def lines(self, left: int) -> list[str]:
        """What the whole grid takes, and each method where there are several."""
        if not left:
            return ["0 trials left."]
        labels = list(dict.fromkeys((*self._measured, *self._modelled)))
        found = [f"{label}: {self._both(label)}." for label in labels] if len(labels) > 1 else []
        whole = f"{count(left, 'trial')} left, at most: {self._both()}."
        if self._unknown and self._modelled:
            whole += f" Left out of the model, which does not know them: {count(len(self._unknown), 'cell')}."
        sharing = {(phase, tuple(methods)) for (_, phase), methods in self._sharing.items() if methods[1:]}
        alike = [
            f"{' and '.join(methods)} have the phase {phase} alike: counted for each, it is trained once "
            "where one runs after the other."
            for phase, methods in sorted(sharing)
        ]
        return [*found, whole, *alike]

    def _both(self, *labels: str) -> str:
        """`about 3.4 years on this CPU; about 5 days on one H200 (model)`, of these methods or of all."""
        parts = []
        for seconds, where, at_once in (
            (self._measured, self._name, min(self._at_once, self._stacks)),
            (self._modelled, ModelledGpu.name, 1),
        ):
            chosen = [seconds[label] for label in labels or seconds if label in seconds]
            if chosen:
                beside = f", {at_once} stacks at once" if at_once > 1 else ""
                parts.append(f"about {roughly(sum(chosen) / at_once)} on {where}{beside}")
        return "; ".join(parts) or "nobody knows"


def _row(
    cell: Cell, trials: int, finished: int, failed: int, stacks: int, seconds: float | None
) -> tuple[str, ...]:
    there = dataset_path(cell.task).is_file()
    missing = {"d4rl": "to fetch", "collected": "to collect", "generated": "to generate", "added": "missing"}
    evaluations = f"{len(cell.evaluation_steps)} x {cell.episodes} episodes"
    name = method_label(cell.algorithm, cell.variant)
    data = "there" if there else missing[cell.task.dataset.source]
    duration = "-" if seconds is None else roughly(seconds)
    numbers = (str(number) for number in (trials, finished, failed, stacks))
    return cell.task.name, name, *numbers, evaluations, data, duration


def _counts(cell: Cell, seeds: Sequence[int], store: Store | None, datasets: Datasets) -> Counter[str]:
    """Trials of the cell by state; none where store or data do not exist yet."""
    if store is None or not datasets.is_there(cell.task):
        return Counter()
    dataset, _ = datasets.of(cell.task)
    return Counter(trial_states(store, [trial.key for trial in cell.trials(seeds, dataset)]).values())


def _show_remarks(cells: Sequence[Cell], there: Sequence[DatasetRecord], settings: Settings) -> None:
    """Say what of the data is not what it should be, and whether the run itself would refuse it."""
    for remark in remarks_on(there):
        print_lines(remark.lines)
    if refused(cells, there) and not settings.accept_mismatch:
        print_lines(["At full budget, as here, a run on such data needs --accept-mismatch."])
