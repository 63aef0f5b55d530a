"""`bench evaluate` and `bench speed`: what is measured by itself, outside a grid."""

from __future__ import annotations

import statistics

import torch

from algorithms.registry import GROUPS
from bench.catalog import load_catalog
from bench.cli.output import print_lines, print_table
from bench.cli.progress import saying
from bench.cli.recorded import recorded_run
from bench.errors import BenchError
from bench.execute.reevaluate import reevaluate
from bench.execute.speed import measure
from bench.presets import explanations, load_preset, methods_on, tasks_of
from bench.records import Device, Physics, Runner, TimingRecord
from bench.store.database import open_store
from bench.store.writer import Writer
from bench.training.runners import check_runner


def evaluate(trial: int, episodes: int | None, physics: Physics | None, threads: int, store: str) -> None:
    """Evaluate the stored weights of a finished trial in fresh episodes; store the result, and show it."""
    with open_store(store, create=False) as opened, Writer(opened) as writer:
        result = reevaluate(opened, trial, episodes=episodes, physics=physics, threads=threads)
        with recorded_run(writer):
            writer.record(result)
    spread = f" ± {statistics.stdev(result.scores):.1f} (sd over episodes)" if len(result.scores) > 1 else ""
    mean = statistics.mean(result.scores)
    print_lines(
        [
            f"trial {trial}, {len(result.scores)} fresh episodes, physics {result.physics}: "
            f"score {mean:.1f}{spread}, return {statistics.mean(result.returns):.0f}, "
            f"length {statistics.mean(result.lengths):.0f}"
        ]
    )


def speed(
    algos: str,
    tasks: str,
    variant: str,
    *,
    seeds: int,
    iterations: int,
    device: Device,
    threads: int | None,
    runner: Runner,
    store: str,
) -> None:
    """Time each method on each task, on synthetic data; store the timings, and show them."""
    catalog = load_catalog()
    chosen = [catalog.task(name.strip()) for name in tasks.split(",")]
    names = [name.strip() for name in algos.split(",")]
    chosen_device = _device(device)
    cells = [
        (task, algorithm)
        for task in chosen
        for algorithm in methods_on(names, task)
        # A group leaves out what has no preset.
        if algorithm in methods_on(set(names) - GROUPS.keys(), task)
        or task.preset_task in tasks_of(algorithm)
    ]
    # A wrong request is told before a store is made for it.
    check_runner(runner, chosen_device)
    for task, algorithm in cells:
        load_preset(algorithm, task, variant)
    for line in explanations(names):
        print(line, flush=True)
    timings: list[TimingRecord] = []
    with open_store(store) as opened, Writer(opened) as writer, recorded_run(writer):
        for number, (task, algorithm) in enumerate(cells, start=1):
            with saying(f"Timing {algorithm} on {task.name}, {number} of {len(cells)}"):
                measured = measure(
                    algorithm,
                    task,
                    variant,
                    seeds=seeds,
                    iterations=iterations,
                    device=chosen_device,
                    threads=threads,
                    runner=runner,
                )
            for timing in measured:
                writer.record(timing)
            timings += measured
    _show(timings)


def _device(name: Device) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise BenchError("device 'cuda'", "This machine has no GPU that torch can use.", "Use --device cpu.")
    return name


def _show(timings: list[TimingRecord]) -> None:
    columns = ("task", "algorithm", "quantity", "seconds", "stack", "threads", "runner", "exclusive")
    rows = [
        (
            timing.task,
            timing.algorithm,
            timing.quantity.removesuffix("_seconds"),
            f"{timing.value:.4g}",
            str(timing.stack_size),
            str(timing.threads),
            timing.runner,
            "yes" if timing.exclusive else "no",
        )
        for timing in timings
    ]
    print_table(columns, rows, right=("seconds", "stack", "threads"))
    print(f"Device: {timings[0].device}")
    if not all(timing.exclusive for timing in timings):
        print("Something else was running: these rows do not enter the papers' timing tables.")
