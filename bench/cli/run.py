"""`bench run`: train, evaluate and store a grid of algorithms x tasks x seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import (
    AcceptMismatchOption,
    CpusPerStackOption,
    GpusPerStackOption,
    SeedsPerStackOption,
    StoreOption,
    finite,
    typed_command,
)
from bench.cli.requests import Options, remarks, request_of
from bench.errors import BenchError
from bench.store.location import locate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.catalog import Task
    from bench.execute.driver import Settings, Summary
    from bench.execute.grid import Cell


def run(
    suite: Annotated[str | None, typer.Option(help="Suite of tasks; `bench list suites`.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Tasks instead of a suite, separated by commas.")] = None,
    algos: Annotated[str | None, typer.Option(help="Algorithms, separated by commas.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Training seeds: 0-4, or 0,2,5. Default: 0-4.")] = None,
    variant: Annotated[
        str, typer.Option(help="released: what the authors' code does; paper: what the text says.")
    ] = "released",
    budget: Annotated[
        float | None, typer.Option(help="Factor on every step count of the preset, at most 1. Default: 1.")
    ] = None,
    evals: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Evaluations; by default the preset's.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Episodes per evaluation; by default the preset's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a hyper-parameter, or that of one algorithm: bdpo.NAME=VALUE. Never judged.",
        ),
    ] = None,
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = 1,
    executor: Annotated[
        str | None, typer.Option(help="ray: a process per stack; local: one after the other. Default: ray.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to run on (host:port); auto finds the one here."),
    ] = None,
    physics: Annotated[
        str | None, typer.Option(help="d4rl or modern capsule inertia; by default the task's.")
    ] = None,
    goals: Annotated[
        str | None,
        typer.Option(
            help="AntMaze v0: which episodes share a goal. per_episode, per_evaluation, per_run or "
            "per_environment; by default each paper's own. Another one is never judged."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto (a GPU where stacks take a share of one), cpu or cuda.")
    ] = "auto",
    runner: Annotated[
        str, typer.Option(help="auto, eager or graph (CUDA graphs, the default on a GPU).")
    ] = "auto",
    retry: Annotated[str | None, typer.Option(help="failed: run just the trials that failed.")] = None,
    max_retries: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Times that a stack is taken up again whose process was killed."),
    ] = 3,
    checkpoint_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=604_800,
            callback=finite,
            help="Between checkpoints of a stack. Default: 60, with --address 600.",
        ),
    ] = None,
    accept_mismatch: AcceptMismatchOption = False,
    store: StoreOption = "results/bench.sqlite",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the grid, how long it takes, and what its data is; train nothing."
        ),
    ] = False,
) -> None:
    """Train, evaluate and store a grid; run again it does only what is left.

    Finished trials are skipped, cut-off stacks continue where they were. Ctrl-C saves every stack's state.
    What is not D4RL's own file is said before anything is trained.
    """
    from bench.execute.grid import plan_cells

    options = Options(
        suite,
        tasks,
        algos,
        seeds,
        variant,
        budget,
        evals,
        episodes,
        physics,
        goals,
        tuple(set_ or ()),
        executor,
    )
    request, executor = request_of(options)
    settings = settings_of(
        executor,
        seeds_per_stack=seeds_per_stack,
        cpus_per_stack=cpus_per_stack,
        gpus_per_stack=gpus_per_stack,
        address=address,
        device=device,
        runner=runner,
        retry=retry,
        max_retries=max_retries,
        checkpoint_seconds=checkpoint_seconds,
        accept_mismatch=accept_mismatch,
    )
    # Whatever is wrong with the grid is told first, and alone.
    cells = plan_cells(request)
    for line in remarks(request, cells):
        print(line, flush=True)
    if dry_run:
        from bench.cli.dry_run import show_grid

        show_grid(cells, request.seeds, settings, store)
        return
    _run(cells, request.seeds, settings, store)


def _run(cells: Sequence[Cell], seeds: Sequence[int], settings: Settings, store: str) -> None:
    from bench.cli.watching import watching
    from bench.execute.driver import Datasets, run_grid

    command = typed_command()
    with watching() as watcher:
        summary = run_grid(cells, seeds, settings, store, command, watcher, Datasets(obtained))
    _conclude(summary, store)


def obtained(task: Task) -> Path:
    """Path of a task's dataset; where it is missing it is fetched or collected before a person's eyes."""
    from bench.cli.progress import shown_progress
    from bench.data.fetch import ensure_dataset
    from bench.data.folder import dataset_path

    if dataset_path(task).is_file() or task.generated:
        return ensure_dataset(task)
    verb, unit = ("collecting", "transitions") if task.collected else ("fetching", "bytes")
    with shown_progress(f"{verb} {task.name}", unit) as progress:
        return ensure_dataset(task, progress)


def _conclude(summary: Summary, store: str) -> None:
    parts = [f"{summary.finished} finished"]
    if summary.finished_before:
        parts.append(f"{summary.finished_before} were there already")
    if summary.finished_elsewhere:
        parts.append(f"{summary.finished_elsewhere} finished by other drivers")
    if summary.failed_before:
        parts.append(f"{summary.failed_before} failed earlier (--retry failed gives them another attempt)")
    if summary.failed:
        parts.append(f"{summary.failed} FAILED (`bench status` says why)")
    print(f"{summary.trials} trials: {', '.join(parts)}. Store: {locate(store)}")
    if summary.left:
        print("Interrupted; the state is saved. The same command continues.")
        raise typer.Exit(130)
    if summary.failed:
        raise typer.Exit(1)


def settings_of(executor: str, *, retry: str | None, **values: object) -> Settings:
    """How the grid is worked off, from the options as typed.

    Raises
    ------
    BenchError : an option has no such choice.
    """
    from bench.execute.driver import Settings

    if executor not in ("ray", "local"):
        raise BenchError(f"executor {executor!r}", "", "Choose ray or local.")
    if retry not in (None, "failed"):
        raise BenchError(f"--retry {retry}", "", "The only choice is: --retry failed")
    if values["device"] not in ("auto", "cpu", "cuda"):
        raise BenchError(f"device {values['device']!r}", "", "Choose auto, cpu or cuda.")
    if values["runner"] not in ("auto", "eager", "graph"):
        raise BenchError(f"runner {values['runner']!r}", "", "Choose auto, eager or graph.")
    if values["address"] is not None and executor != "ray":
        raise BenchError("--address with --executor local", "", "Leave one of them out.")
    return Settings(executor=executor, retry_failed=retry == "failed", **values)
