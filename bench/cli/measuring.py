"""What may be typed to measure: `run`, `evaluate`, `speed` and `nightly`; as in `commands`, and as light."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.completion import names_of
from bench.cli.options import (
    BUDGET,
    FORM,
    MOST_ROWS,
    MOST_THREADS,
    STORE,
    WHAT,
    WHERE,
    AcceptMismatchOption,
    ConfigOption,
    CpusPerStackOption,
    DeviceOption,
    EpisodesOption,
    ExecutorOption,
    GpusPerStackOption,
    MethodArgument,
    PresetOfOption,
    Retry,
    SeedsPerStackOption,
    StoreOfNightsOption,
    StoreOption,
    TrialArgument,
    between,
    choice,
    of_grid,
)
from bench.errors import BenchError
from bench.files import typed_path
from bench.records import MAX_RETRIES, Device, Executor, GoalRule, Physics, Precision, Runner
from bench.store.location import DEFAULT_STORE

ADDRESS_VARIABLE = "BENCH_ADDRESS"
DEFAULT_LOG = Path("results/tensorboard")
Log = Literal["tensorboard"]
"""Whose files a run writes beside the store."""

VariantOption = Annotated[
    str,
    typer.Option(
        metavar="VARIANT",
        help="released: what the authors' code does; paper: what the text says.",
        rich_help_panel=WHAT,
        autocompletion=names_of("variant"),
    ),
]


def run(
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="SUITE",
            help="Suite of tasks; `bench list suites`.",
            rich_help_panel=WHAT,
            autocompletion=names_of("suite"),
        ),
    ] = None,
    tasks: Annotated[str | None, of_grid("task", "Tasks instead of a suite.")] = None,
    algos: Annotated[str | None, of_grid("method", "Methods; `bench list algorithms`.")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="SEEDS", help="Training seeds: 0-4, or 0,2,5. Default: 0-4.", rich_help_panel=WHAT
        ),
    ] = None,
    variant: VariantOption = "released",
    preset_of: PresetOfOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Hyper-parameters, with commas between; of one method: bdpo.NAME=VALUE. Never judged. "
            "lr, gamma, tau, bs and width are understood.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    physics: Annotated[
        Physics | None,
        choice(
            "physics",
            Physics,
            metavar="PHYSICS",
            help="d4rl or modern capsule inertia. Default: the task's.",
            panel=WHAT,
        ),
    ] = None,
    goals: Annotated[
        GoalRule | None,
        choice(
            "goals",
            GoalRule,
            metavar="RULE",
            help="AntMaze v0: which episodes share a goal: per_episode, per_evaluation, per_run or "
            "per_environment. Default: each paper's own; another one is never judged.",
            panel=WHAT,
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        choice(
            "precision",
            Precision,
            metavar="PRECISION",
            help="fp32 or tf32: how a GPU multiplies matrices. Default: each method's, as its authors' code.",
            panel=WHAT,
        ),
    ] = None,
    retry: Annotated[
        Retry | None,
        choice("--retry", Retry, metavar="failed", help="Run just the trials that failed.", panel=WHAT),
    ] = None,
    accept_mismatch: AcceptMismatchOption = False,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            help="Of every step count of the preset, at most 1. Default: 1.",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    evals: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=between(1, 100_000),
            help="Evaluations. Default: the preset's.",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    episodes: EpisodesOption = None,
    executor: Annotated[
        Executor | None,
        choice(
            "executor",
            Executor,
            metavar="ray|local",
            help="ray: a process per stack; local: one after the other. Default: ray.",
            panel=WHERE,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help=f"Ray cluster to run on; auto finds the one here. Default: {ADDRESS_VARIABLE}, else Ray "
            "on this machine.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    device: Annotated[
        Device,
        choice(
            "device",
            Device,
            metavar="DEVICE",
            help="cpu, cuda, or auto: a GPU where stacks take a share of one.",
            panel=WHERE,
        ),
    ] = "auto",
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = None,
    runner: Annotated[
        Runner,
        choice(
            "runner",
            Runner,
            metavar="RUNNER",
            help="eager, graph (CUDA graphs), compiled (fused by torch.compile), or auto: graph on a GPU.",
            panel=WHERE,
        ),
    ] = "auto",
    max_retries: Annotated[
        int,
        typer.Option(
            metavar="N",
            callback=between(0, 1000),
            help="Times that a stack is taken up again whose process was killed.",
            rich_help_panel=WHERE,
        ),
    ] = MAX_RETRIES,
    checkpoint_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            callback=between(0, 604_800),
            help="Between checkpoints of a stack. Default: 60 (on a cluster 600), or as seldom as costs 1 %.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    shared_checkpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=typed_path,
            help="Folder that all machines see under this path: workers write checkpoints there themselves. "
            "Default: they travel to this machine, beside the store.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    tune_callback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A callback of Ray Tune, which sees progress and scores; may be given several times.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    log: Annotated[
        Log | None,
        choice(
            "log",
            Log,
            metavar="tensorboard",
            help="Also write curves and scores for TensorBoard while they come.",
            panel=STORE,
        ),
    ] = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=typed_path,
            help="Where the log goes. Default: results/tensorboard.",
            rich_help_panel=STORE,
        ),
    ] = None,
    tuned: Annotated[
        bool, typer.Option("--tuned", hidden=True, help="Of a search; see `bench tune`.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the grid, how long it takes, and what its data is; train nothing.",
            rich_help_panel=STORE,
        ),
    ] = False,
) -> None:
    """Train, evaluate and store a grid; run again it does only what is left.

    Finished trials are skipped, cut-off stacks continue where they were. Ctrl-C saves every stack's state.
    What is not D4RL's own file is said before anything is trained.
    """
    from bench.cli import run as work

    request, chosen_executor = work.request_of(
        suite=suite,
        tasks=tasks,
        algos=algos,
        seeds=seeds,
        variant=variant,
        budget=budget,
        evals=evals,
        episodes=episodes,
        physics=physics,
        goals=goals,
        precision=precision,
        changes=set_ or (),
        preset_of=preset_of,
        executor=executor,
    )
    request = replace(request, tuned=tuned)
    if log_dir is not None and log is None:
        raise BenchError("--log-dir without --log", "", "Add --log tensorboard.")
    if tune_callback and chosen_executor != "ray":
        raise BenchError("--tune-callback with --executor local", "", "Leave one of them out.")
    if address is not None and chosen_executor != "ray":
        raise BenchError("--address with --executor local", "", "Leave one of them out.")
    if address is None and chosen_executor == "ray":
        # What one's environment says is for runs that ask for nothing else.
        address = os.environ.get(ADDRESS_VARIABLE) or None
    # Whatever is wrong with the grid is told first, and alone; only then comes what takes seconds to import.
    cells = work.planned(request)

    from bench.cli import grid

    settings = grid.Settings(
        executor=chosen_executor,
        seeds_per_stack=seeds_per_stack,
        cpus_per_stack=cpus_per_stack,
        gpus_per_stack=gpus_per_stack,
        address=address,
        device=device,
        runner=runner,
        retry_failed=retry is not None,
        max_retries=max_retries,
        checkpoint_seconds=checkpoint_seconds,
        shared_checkpoints=shared_checkpoints,
        tune_callbacks=tuple(tune_callback or ()),
        accept_mismatch=accept_mismatch,
    )
    if dry_run:
        grid.show_grid(cells, request.seeds, settings, store)
    else:
        grid.run(cells, request.seeds, settings, store, (log_dir or DEFAULT_LOG) if log else None)


def evaluate(
    trial: TrialArgument,
    episodes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=between(1, 100_000),
            help="Default: as many as in training.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    physics: Annotated[
        Physics | None,
        choice(
            "physics", Physics, metavar="PHYSICS", help="d4rl or modern. Default: the trial's.", panel=WHAT
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            metavar="N", callback=between(1, MOST_THREADS), help="CPU threads.", rich_help_panel=WHERE
        ),
    ] = 1,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Evaluate the stored weights of a finished trial in fresh episodes; store the result beside its scores.

    The trial's own score stays as it is.
    """
    from bench.cli import measure as work

    work.evaluate(trial, episodes, physics, threads, store)


def tune(
    algorithm: MethodArgument,
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="One of which no paper prints a number: collected, or your own.",
            autocompletion=names_of("task"),
        ),
    ],
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=KIND(...)",
            help="What is searched, once for each hyper-parameter and in quotes: loguniform(1e-5,1e-3), "
            "uniform(0,1), randint(1,8), choice(128,256).",
            rich_help_panel=WHAT,
        ),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(metavar="SEEDS", help="Training seeds whose mean score counts.", rich_help_panel=WHAT),
    ] = "0",
    variant: VariantOption = "released",
    preset_of: PresetOfOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="As of `bench run`, for all of them.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            metavar="N", callback=between(1, 10_000), help="Configurations drawn.", rich_help_panel=BUDGET
        ),
    ] = 16,
    rungs: Annotated[
        int,
        typer.Option(
            metavar="N",
            callback=between(1, 10),
            help="Budgets at which the best go on; the last is --budget.",
            rich_help_panel=BUDGET,
        ),
    ] = 3,
    reduction: Annotated[
        int,
        typer.Option(
            metavar="N",
            callback=between(2, 100),
            help="One in so many goes on, at so many times the budget.",
            rich_help_panel=BUDGET,
        ),
    ] = 3,
    budget: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            help="Of every step count of the preset, in the last rung; at most 1.",
            rich_help_panel=BUDGET,
        ),
    ] = 1.0,
    evals: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=between(1, 100_000),
            help="Evaluations of each rung. Default: the preset's.",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    episodes: EpisodesOption = None,
    search_seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            callback=between(0, 2**31 - 1),
            help="Of the drawing of configurations.",
            rich_help_panel=BUDGET,
        ),
    ] = 0,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Search hyper-parameters on a task without printed numbers, by Ray Tune's ASHA.

    Each rung trains anew at a larger budget; its trials are stored, marked as tuned and never judged. Given
    again, the command takes up what is stored. The best is to be measured with fresh seeds.
    """
    from bench.cli import run as request_work

    request, _ = request_work.request_of(
        tasks=task,
        algos=algorithm,
        seeds=seeds,
        variant=variant,
        budget=budget,
        evals=evals,
        episodes=episodes,
        changes=set_ or (),
        preset_of=preset_of,
    )
    from bench.cli import tune as work
    from bench.execute.driver import Settings

    arguments = work.arguments_of(algorithm, task, seeds, variant, evals, episodes, set_ or (), preset_of)
    settings = Settings(gpus_per_stack=gpus_per_stack, cpus_per_stack=cpus_per_stack)
    work.tune(request, space or (), samples, rungs, reduction, search_seed, settings, arguments, store)


def speed(
    algos: Annotated[str, of_grid("method", "Methods.")],
    tasks: Annotated[
        str, of_grid("task", "Tasks; only their dimensions and batch sizes count.", "--tasks", "--task")
    ] = "antmaze-umaze-v0",
    variant: VariantOption = "released",
    iterations: Annotated[
        int,
        typer.Option(
            metavar="N",
            callback=between(10, MOST_ROWS),
            help="Timed per phase, after a warm-up.",
            rich_help_panel=BUDGET,
        ),
    ] = 200,
    device: Annotated[
        Device, choice("device", Device, metavar="DEVICE", help="cpu, cuda, or auto.", panel=WHERE)
    ] = "auto",
    seeds_per_stack: Annotated[
        int,
        typer.Option(
            metavar="N",
            callback=between(1, 1000),
            help="Seeds side by side; the papers' tables: 1.",
            rich_help_panel=WHERE,
        ),
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=between(1, MOST_THREADS),
            help="CPU threads. Default: all cores.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    runner: Annotated[
        Runner,
        choice("runner", Runner, metavar="RUNNER", help="auto, eager, graph, compiled.", panel=WHERE),
    ] = "auto",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Time training and single-policy action latency on synthetic data, and store both.

    The data has the task's dimensions and the preset's batch size, so no dataset is needed. Rows measured
    while nothing else ran are marked exclusive; only those of single seeds enter the papers' timing tables.
    """
    from bench.cli import measure as work

    work.speed(
        algos,
        tasks,
        variant,
        seeds=seeds_per_stack,
        iterations=iterations,
        device=device,
        threads=threads,
        runner=runner,
        store=store,
    )


def nightly(
    config: ConfigOption = None,
    night: Annotated[
        str | None,
        typer.Option(
            "--date",
            metavar="YYYY-MM-DD",
            help="Night to hold or to go on with. Default: today's.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Baseline to hold it against. Default: the latest.", rich_help_panel=WHAT
        ),
    ] = None,
    retry: Annotated[
        Retry | None,
        choice(
            "--retry",
            Retry,
            metavar="failed",
            help="Give that night's failed trials another attempt.",
            panel=WHAT,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run; run nothing.", rich_help_panel=WHAT)
    ] = False,
    executor: ExecutorOption = "ray",
    device: DeviceOption = "auto",
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            parser=typed_path,
            help="Folder of the report. Default: nights/DATE by the store.",
            rich_help_panel=FORM,
        ),
    ] = None,
    store: StoreOfNightsOption = None,
) -> None:
    """Run the nightly job: exact checks, the canary with fresh seeds, speed, drift and the papers.

    Exit code 0: green. 1: red, and the summary says why and what to do. Interrupted, the same command goes
    on; the seeds follow from the date.
    """
    from bench.cli import nightly as work

    # Whose data it is was decided when the baseline was frozen; the night tells of it.
    settings = work.Settings(
        executor=executor,
        seeds_per_stack=seeds_per_stack,
        gpus_per_stack=gpus_per_stack,
        cpus_per_stack=cpus_per_stack,
        device=device,
        accept_mismatch=True,
    )
    work.nightly(config, store, settings, night, baseline, out, dry_run=dry_run, retry=retry is not None)
