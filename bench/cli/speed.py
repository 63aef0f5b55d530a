"""`bench speed`: training and action latency, alone on the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.catalog import load_catalog
from bench.cli.common import MOST_ROWS, MOST_THREADS, StoreOption, choice, typed_command
from bench.cli.output import print_table
from bench.errors import BenchError
from bench.presets import explanations, load_preset, methods_on
from bench.provenance import describe_run
from bench.records import Device, Runner, TimingRecord
from bench.store.database import open_store
from bench.store.location import DEFAULT_STORE
from bench.store.writer import Writer


def speed(
    algos: Annotated[str, typer.Option(help="Algorithms, separated by commas.")],
    tasks: Annotated[
        str, typer.Option("--tasks", "--task", help="Tasks, separated by commas; dimensions and batch count.")
    ] = "antmaze-umaze-v0",
    variant: Annotated[str, typer.Option(help="released or paper.")] = "released",
    seeds_per_stack: Annotated[
        int, typer.Option(min=1, max=1000, help="Seeds side by side; the papers' tables: 1.")
    ] = 1,
    iterations: Annotated[
        int, typer.Option(min=10, max=MOST_ROWS, help="Timed per phase, after a warm-up.")
    ] = 200,
    device: Annotated[Device, choice("device", Device, help="cpu, cuda, or auto.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads; by default all cores.")
    ] = None,
    runner: Annotated[Runner, choice("runner", Runner, help="auto, eager or graph.")] = "auto",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Time training and single-policy action latency on synthetic data, and store both.

    The data has the task's dimensions and the preset's batch size, so no dataset is needed. Rows measured
    while nothing else ran are marked exclusive; only those of single seeds enter the papers' timing tables.
    """
    # They take PyTorch, which `--help` need not wait for.
    from bench.execute.speed import measure
    from bench.training.runners import check_runner

    catalog = load_catalog()
    chosen = [catalog.task(name.strip()) for name in tasks.split(",")]
    names = [name.strip() for name in algos.split(",")]
    chosen_device = _device(device)
    cells = [(task, algorithm) for task in chosen for algorithm in methods_on(names, task)]
    # A wrong request is told before a store is made for it.
    check_runner(runner, chosen_device)
    for task, algorithm in cells:
        load_preset(algorithm, task, variant)
    for line in explanations(names):
        print(line, flush=True)
    timings: list[TimingRecord] = []
    with open_store(store) as opened, Writer(opened) as writer:
        run = describe_run(typed_command())
        writer.begin_run(run)
        for task, algorithm in cells:
            measured = measure(
                algorithm,
                task,
                variant,
                seeds=seeds_per_stack,
                iterations=iterations,
                device=chosen_device,
                threads=threads,
                runner=runner,
            )
            for timing in measured:
                writer.record(timing)
            timings += measured
        writer.end_run(run.run_id)
    _show(timings)


def _device(name: Device) -> str:
    import torch

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
