"""How many workers one driver can take in: a keeper and a store under the messages of simulated workers.

Each worker sends its progress every second, an evaluation of its five seeds every minute and a checkpoint
every ten minutes, which travels to the driver or lies in a shared folder and is only named; now and then one
dies, and another process takes its stack up again. Every message goes through the real keeper into the real
store, one after the other as the driver takes them, as fast as they go.

What each kind costs gives the share of a core at the rates above. The delay of a message is that in a queue
in which messages arrive by the clock and take what was measured. The driver falls behind at the number of
workers at which one message in a hundred is dealt with later than a second after it came: messages of more
and more workers are put into that queue, each with the cost of one that was measured, and as many parts of
the heartbeat as there are hundreds of workers. What Ray needs to carry a message, and a server's own work,
come on top.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bench.catalog import Task, load_catalog
from bench.execute.grid import Request, plan_cells
from bench.execute.keeper import BEAT_PAUSE_SECONDS, STACKS_OF_A_BEAT, Keeper
from bench.execute.messages import Event, Named, Progress, Saved, Shown, StackPlan, Started, Worker
from bench.execute.queue import CellOfGrid, StackQueue
from bench.provenance import describe_execution, describe_run
from bench.records import EvaluationRecord, StackProgress, TrialRecord, config_hash
from bench.store.claims import HEARTBEAT_SECONDS
from bench.store.database import open_store
from bench.store.writer import Writer
from bench.training.checkpoint import Checkpoint, SharedFolder
from benchmarks.full_store import dataset_of
from benchmarks.measuring import Figure, write_record

SEEDS = 5
PERIODS = {"progress": 1.0, "evaluation": 60.0 / SEEDS, "checkpoint": 600.0, "death": 3600.0}
"""Seconds between two messages of a kind from one worker."""
NAMED = "checkpoint in a shared folder"
WAYS = {"checkpoints travel": "checkpoint", "checkpoints are shared": NAMED}
"""Two ways with checkpoints, and what a message then is."""
FEWEST = 5
"""Messages of each kind that are measured."""
LATE_SECONDS = 1.0
"""A worker sends its progress as often, and waits for the answer."""
QUEUE_SECONDS = 120.0
"""Of messages in a queue that is only calculated."""
CODE = "0" * 64


@dataclass(frozen=True)
class Cost:
    """What the driver spends on one message."""

    kind: str
    cpu: float
    """Seconds of CPU time, which hold on a busy machine too."""


class Silent:
    """Shows nothing."""

    def watch(self, event: Shown) -> None:
        """Do nothing."""


class Load:
    """A driver's keeper with so many workers at work, each on a stack of its own."""

    def __init__(self, keeper: Keeper, workers: int, checkpoint_bytes: int) -> None:
        self.costs: list[Cost] = []
        self._keeper = keeper
        self._state = Checkpoint.of({"state": torch.zeros(checkpoint_bytes // 4)}, {"position": 0})
        self._small = Checkpoint.of({"state": torch.zeros(1000)}, {"position": 0})
        """Of what is only named the driver does not know the size."""
        self._processes = itertools.count()
        here = describe_execution(
            algorithm="dtql", device="cpu", threads=1, runner="eager", stack=(), from_iteration=0
        )
        self._execution = replace(here, code_sha256=CODE)
        self._plans: dict[int, tuple[Worker, StackPlan]] = {}
        self._evaluations = [0] * workers
        for number in range(workers):
            self._timed("claim", partial(self._take, number))

    def send(self, kind: str, number: int) -> Cost:
        """One message of a kind from a worker, or the keeper's own heartbeat.

        What the worker does itself, as writing into the shared folder, counts for nothing.
        """
        if kind == "heartbeat":
            return self._timed(kind, self._keeper.heartbeat)
        if kind == "death":
            return self._timed(kind, lambda: self._die(number))
        worker, plan = self._plans[number]
        event = self._event(kind, number, plan)
        return self._timed(kind, lambda: self._keeper.receive(worker, event))

    def _timed(self, kind: str, work: Callable[[], object]) -> Cost:
        started = time.process_time()
        work()
        cost = Cost(kind, time.process_time() - started)
        self.costs.append(cost)
        return cost

    def _take(self, number: int) -> None:
        """A process of the worker asks for a stack and begins, or goes on from its checkpoint."""
        worker = Worker(f"worker-{number}", f"process-{next(self._processes)}", f"node-{number // 8}", CODE)
        plan = self._keeper.next_stack(worker)
        assert plan is not None, "there is a stack for each worker"
        self._plans[number] = worker, plan
        self._keeper.checkpoint(worker)
        execution = replace(self._execution, stack=plan.seeds, started_at=datetime.now(UTC))
        self._keeper.receive(worker, Started(plan.title, execution))

    def _die(self, number: int) -> None:
        self._keeper.lost(f"worker-{number}", "it is simulated")
        self._take(number)

    def _event(self, kind: str, number: int, plan: StackPlan) -> Event:
        if kind == "progress":
            return Progress(plan.title, StackProgress("train", 1000, 1_000_000, 500.0, 2000.0))
        if kind == "checkpoint":
            return Saved(plan.title, self._state)
        if kind == NAMED:
            assert plan.shared is not None, "the keeper has one"
            return Named(plan.title, plan.checkpoints_in(plan.shared.path).deliver(self._small))
        made = self._evaluations[number]
        self._evaluations[number] += 1
        trial, evaluation = plan.trials[made % SEEDS], made // SEEDS + 1
        returns = tuple(np.random.default_rng(made).normal(1000, 300, trial.episodes).tolist())
        return EvaluationRecord(
            trial=trial.key,
            number=evaluation,
            step=50_000 * evaluation,
            physics=trial.physics,
            returns=returns,
            lengths=(1000,) * len(returns),
            scores=tuple(value / 32 for value in returns),
            seconds=12.0,
            metrics={"critic_loss": 0.25, "actor_loss": -1.5},
            evaluated_at=datetime.now(UTC),
        )


def grid(stacks: int) -> Iterator[CellOfGrid]:
    """Cells of five seeds each that differ in a number of their configuration."""
    task = load_catalog().task("hopper-medium-v2")
    (cell,) = plan_cells(Request(tasks=(task,), algorithms=("dtql",), seeds=tuple(range(SEEDS))))
    usual = cell.trials(range(SEEDS), dataset_of(task))
    for number in range(stacks):
        config = usual[0].config | {"number": number}
        hashed = config_hash(config)
        trials = tuple(
            replace(trial, key=replace(trial.key, config_hash=hashed), config=config) for trial in usual
        )
        yield CellOfGrid(trials[0].key.cell, frozenset(range(SEEDS)), partial(_plan, trials, task))


def _plan(trials: tuple[TrialRecord, ...], task: Task, seeds: Sequence[int]) -> StackPlan:
    return StackPlan(
        trials=tuple(trial for trial in trials if trial.key.seed in seeds), task=task, data_path=Path("none")
    )


def arrivals(workers: int, seconds: float) -> list[tuple[float, str, int]]:
    """When which worker sends what; each begins at a moment of its own."""
    found = []
    for kind, times in times_of(workers, seconds).items():
        for worker, own in enumerate(times):
            found += [(float(at), kind, worker if kind in PERIODS else -1) for at in own]
    return sorted(found)


def times_of(workers: int, seconds: float) -> dict[str, list[np.ndarray]]:
    """Kind -> the times at which each worker sends a message of it; the driver's own heartbeat as of one."""
    random = np.random.default_rng(0)
    found = {
        kind: [np.arange(first, seconds, period) for first in random.uniform(0, period, workers)]
        for kind, period in PERIODS.items()
    }
    return found | {"heartbeat": [np.arange(HEARTBEAT_SECONDS / 2, seconds, HEARTBEAT_SECONDS)]}


def delays(times: ArrayLike, services: ArrayLike) -> NDArray[np.float64]:
    """Seconds from the arrival of each message until it is dealt with, one after the other."""
    came, spent = np.asarray(times), np.cumsum(services)
    # Each is begun when it comes or when the one before has ended: the latest start still to be made up for.
    begun = np.maximum.accumulate(came - np.concatenate(([0.0], spent[:-1])))
    late: NDArray[np.float64] = begun + spent - came
    return late


def lateness(costs: Mapping[str, Sequence[float]], measured: int, workers: int) -> float:
    """Seconds within which 99 % of the messages of so many workers are dealt with.

    `costs` : seconds of messages of each kind, as measured with `measured` workers.
    """
    random = np.random.default_rng(0)
    times, services = [], []
    for kind, of_workers in times_of(workers, QUEUE_SECONDS).items():
        if kind not in costs:
            continue
        at, cost = np.concatenate(of_workers), np.asarray(costs[kind])
        if kind == "heartbeat":
            # In parts, with a pause after each.
            cost = cost / math.ceil(measured / STACKS_OF_A_BEAT)
            parts = np.arange(math.ceil(workers / STACKS_OF_A_BEAT))
            at = np.add.outer(at, parts * (BEAT_PAUSE_SECONDS + cost.mean())).ravel()
        times.append(at)
        services.append(random.choice(cost, len(at)))
    came, spent = np.concatenate(times), np.concatenate(services)
    order = np.argsort(came, kind="stable")
    return float(np.quantile(delays(came[order], spent[order]), 0.99))


def falls_behind(costs: Mapping[str, Sequence[float]], measured: int) -> int:
    """The number of workers, to a hundredth, at which messages are late."""
    few, many = 1, measured
    while lateness(costs, measured, many) <= LATE_SECONDS:
        few, many = many, 2 * many
    while many - few > max(1, many // 100):
        middle = (few + many) // 2
        if lateness(costs, measured, middle) <= LATE_SECONDS:
            few = middle
        else:
            many = middle
    return many


def measure(store: str, options: argparse.Namespace, shared: Path) -> list[Figure]:
    """Put the load on a store; what it costs, as figures."""
    cells = list(grid(options.stacks))
    stop = threading.Event()
    with open_store(store) as opened, Writer(opened) as writer:
        writer.begin_run(describe_run("benchmarks.keeper"))
        writer.plan([trial for cell in cells for trial in cell.plan(tuple(range(SEEDS))).trials])
        queue = StackQueue(cells, writer, print, stop.is_set, seeds_per_stack=SEEDS)
        keeper = Keeper(
            queue,
            writer,
            Path(opened.folder),
            Silent(),
            stop,
            code_sha256=CODE,
            max_retries=1_000_000,
            shared=SharedFolder.marked(shared, store),
        )
        load = Load(keeper, options.workers, int(1e6 * options.checkpoint_mb))
        sent = [kind for _, kind, _ in arrivals(options.workers, options.seconds)]
        for _, kind, worker in arrivals(options.workers, options.seconds):
            load.send(kind, worker)
        for kind in (*PERIODS, NAMED, "heartbeat"):
            for number in range(FEWEST - sent.count(kind)):
                load.send(kind, number % options.workers)
    return figures_of(load.costs, options, store.partition("://")[0] if "://" in store else "sqlite")


def figures_of(costs: Sequence[Cost], options: argparse.Namespace, name: str) -> list[Figure]:
    """What was measured of each kind, and what follows for either way with checkpoints."""

    def figure(what: str, unit: str, value: float) -> Figure:
        return Figure(f"{name}, {options.workers} workers: {what}", unit, (value,), None)

    kinds = ("claim", *PERIODS, NAMED, "heartbeat")
    found = [figure(kind, "CPU milliseconds each", 1e3 * _mean(costs, kind)) for kind in kinds]
    for way, checkpoint in WAYS.items():
        chosen = [replace(cost, kind="checkpoint") for cost in costs if cost.kind == checkpoint]
        chosen += [cost for cost in costs if cost.kind not in WAYS.values()]
        of_kinds: dict[str, list[float]] = {}
        for cost in chosen:
            of_kinds.setdefault(cost.kind, []).append(cost.cpu)
        found += [
            figure(f"{way}, share of a core", "of CPU time", share_of_a_core(chosen, options.workers)),
            figure(
                f"{way}, 99 % are dealt with after",
                "seconds, by CPU time",
                lateness(of_kinds, options.workers, options.workers),
            ),
            figure(f"{way}, falls behind", "workers, by CPU time", falls_behind(of_kinds, options.workers)),
        ]
    return found


def _mean(costs: Sequence[Cost], kind: str) -> float:
    chosen = [cost.cpu for cost in costs if cost.kind == kind]
    return sum(chosen) / len(chosen) if chosen else math.nan


def share_of_a_core(costs: Sequence[Cost], workers: int) -> float:
    """CPU seconds per second at the workers' rates; a kind that no message was of costs nothing."""
    per_second = {kind: workers / period for kind, period in PERIODS.items()}
    per_second["heartbeat"] = 1 / HEARTBEAT_SECONDS
    present = {cost.kind for cost in costs}
    return sum(rate * _mean(costs, kind) for kind, rate in per_second.items() if kind in present)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000, help="each on a stack (default 1000)")
    parser.add_argument("--stacks", type=int, default=2000, help="of the grid, of five trials (default 2000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of messages (default 20)")
    parser.add_argument("--checkpoint-mb", type=float, default=50.0, help="of one checkpoint (default 50)")
    parser.add_argument("--store", help="URL of an empty database (default: SQLite in a folder of its own)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or str(Path(folder) / "bench.sqlite")
        figures = measure(store, options, Path(folder) / "shared")
    for figure in figures:
        print(figure.as_line())
    if options.json:
        names = ("workers", "stacks", "seconds", "checkpoint_mb")
        settings = {name: getattr(options, name) for name in names}
        write_record(options.json, [], settings, figures=figures)


if __name__ == "__main__":
    main()
