"""`bench run`: train, evaluate and store a grid of algorithms x tasks x seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import StoreOption, check_physics, typed_command
from bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

    from bench.catalog import RunDefaults, Task
    from bench.execute.driver import Settings, Summary
    from bench.execute.grid import Request

MOST_SEEDS = 10_000
ALL_SEEDS = "0-4"
"""Five, as in most of the papers' tables."""


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
    evals: Annotated[int | None, typer.Option(min=1, help="Evaluations; by default the preset's.")] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes per evaluation; by default the preset's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Change a hyper-parameter; such trials are never judged."
        ),
    ] = None,
    seeds_per_stack: Annotated[
        int | None, typer.Option(min=1, help="Seeds trained side by side. Default: 5 on a GPU, 1 on a CPU.")
    ] = None,
    gpus_per_stack: Annotated[
        float | None, typer.Option(min=0, help="GPUs per stack. Default: 0.5 where there is one.")
    ] = None,
    cpus_per_stack: Annotated[int, typer.Option(min=1, help="CPU cores (threads) per stack.")] = 1,
    executor: Annotated[
        str | None, typer.Option(help="ray: a process per stack; local: one after the other. Default: ray.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster with shared folders; auto finds it here."),
    ] = None,
    physics: Annotated[
        str | None, typer.Option(help="d4rl or modern capsule inertia; by default the task's.")
    ] = None,
    runner: Annotated[
        str, typer.Option(help="auto, eager or graph (CUDA graphs, the default on a GPU).")
    ] = "auto",
    retry: Annotated[str | None, typer.Option(help="failed: give failed trials another attempt.")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Between checkpoints of a stack.")] = 60.0,
    store: StoreOption = "results/bench.sqlite",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the grid and how long it takes.")] = False,
) -> None:
    """Train, evaluate and store a grid; run again it does only what is left.

    Finished trials are skipped, cut-off stacks continue where they were. Ctrl-C saves every stack's state.
    """
    chosen, defaults = _tasks(suite, tasks)
    request = _request(chosen, defaults, algos, seeds, variant, budget, evals, episodes, physics)
    request = replace(request, changes=parse_changes(set_ or []))
    settings = _settings(
        executor or defaults.executor or "ray",
        seeds_per_stack=seeds_per_stack,
        cpus_per_stack=cpus_per_stack,
        gpus_per_stack=gpus_per_stack,
        address=address,
        runner=runner,
        retry=retry,
        checkpoint_seconds=checkpoint_seconds,
    )
    if dry_run:
        from bench.cli.dry_run import show_grid

        show_grid(request, settings, store)
        return
    _run(request, settings, store)


def _run(request: Request, settings: Settings, store: str) -> None:
    from bench.cli.watching import watching
    from bench.execute.driver import run_grid

    command = typed_command()
    with watching() as watcher:
        summary = run_grid(request, settings, store, command, watcher, _obtained)
    _conclude(summary, store)


def _obtained(task: Task) -> Path:
    """Path of a task's dataset; where it is missing it is fetched or collected before a person's eyes."""
    from bench.cli.progress import shown_progress
    from bench.data.fetch import ensure_dataset
    from bench.data.paths import dataset_path

    if dataset_path(task).is_file():
        return ensure_dataset(task)
    verb, unit = ("collecting", "transitions") if task.collected else ("fetching", "bytes")
    with shown_progress(f"{verb} {task.name}", unit) as progress:
        return ensure_dataset(task, progress)


def _conclude(summary: Summary, store: str) -> None:
    parts = [f"{summary.finished} finished"]
    if summary.finished_before:
        parts.append(f"{summary.finished_before} were there already")
    if summary.failed_before:
        parts.append(f"{summary.failed_before} failed earlier (--retry failed gives them another attempt)")
    if summary.failed:
        parts.append(f"{summary.failed} FAILED (`bench status` says why)")
    print(f"{summary.trials} trials: {', '.join(parts)}. Store: {store}")
    if summary.stopped:
        print("Interrupted; the state is saved. The same command continues.")
        raise typer.Exit(130)
    if summary.failed:
        raise typer.Exit(1)


def _tasks(suite: str | None, tasks: str | None) -> tuple[tuple[Task, ...], RunDefaults]:
    from bench.catalog import RunDefaults, load_catalog

    if (suite is None) == (tasks is None):
        raise BenchError(
            "neither --suite nor --tasks" if suite is None else "both --suite and --tasks",
            "A run needs one of them.",
            "For example: bench run --suite quickstart. `bench list suites` shows all.",
        )
    catalog = load_catalog()
    if suite is not None:
        found = catalog.suite(suite)
        return found.tasks, found.defaults
    return tuple(catalog.task(name) for name in _names(tasks or "", "--tasks")), RunDefaults()


def _request(
    tasks: tuple[Task, ...],
    defaults: RunDefaults,
    algos: str | None,
    seeds: str | None,
    variant: str,
    budget: float | None,
    evals: int | None,
    episodes: int | None,
    physics: str | None,
) -> Request:
    from bench.execute.grid import Request

    check_physics(physics)
    return Request(
        tasks=tasks,
        algorithms=_algorithms(algos, defaults),
        seeds=parse_seeds(seeds if seeds is not None else defaults.seeds or ALL_SEEDS),
        variant=variant,
        budget=budget if budget is not None else defaults.budget or 1.0,
        evaluations=evals or defaults.evaluations,
        episodes=episodes or defaults.episodes,
        physics=physics,
    )


def _algorithms(algos: str | None, defaults: RunDefaults) -> tuple[str, ...]:
    from bench.presets import algorithms_with_presets

    if algos is None:
        if defaults.algorithms is None:
            raise BenchError("no --algos", "", f"For example: --algos {','.join(algorithms_with_presets())}")
        return defaults.algorithms
    chosen = _names(algos, "--algos")
    for name in chosen:
        if name not in algorithms_with_presets():
            raise unknown_name("algorithm", name, algorithms_with_presets(), "bench list algorithms")
    return chosen


def _settings(executor: str, *, retry: str | None, **values: object) -> Settings:
    from bench.execute.driver import Settings

    if executor not in ("ray", "local"):
        raise BenchError(f"executor {executor!r}", "", "Choose ray or local.")
    if retry not in (None, "failed"):
        raise BenchError(f"--retry {retry}", "", "The only choice is: --retry failed")
    if values["runner"] not in ("auto", "eager", "graph"):
        raise BenchError(f"runner {values['runner']!r}", "", "Choose auto, eager or graph.")
    if values["address"] is not None and executor != "ray":
        raise BenchError("--address with --executor local", "", "Leave one of them out.")
    return Settings(executor=executor, retry_failed=retry == "failed", **values)


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise BenchError(f"{option} {text!r} names nothing", "", "Separate names by commas.")
    return names


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from `0-4`, `0,2,5` or both mixed, sorted, each once.

    Raises
    ------
    BenchError : it is no such range.
    """
    seeds: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BenchError(
                f"seeds {text!r}", f"{part!r} is no seed and no range.", "For example: --seeds 0-4"
            )
        if dash and int(last) < int(first):
            raise BenchError(f"seeds {text!r}", f"{part!r} runs backwards.", f"Write {last}-{first}.")
        if int(last or first) - int(first) >= MOST_SEEDS:
            too_many = f"{part!r} is more than {MOST_SEEDS:,} seeds."
            raise BenchError(f"seeds {text!r}", too_many, "Ask for fewer.")
        seeds |= set(range(int(first), int(last or first) + 1))
    return tuple(sorted(seeds))


def parse_changes(texts: list[str]) -> dict[str, bool | int | float | str]:
    """Hyper-parameters from `name=value`, the value as in YAML.

    Raises
    ------
    BenchError : there is no `=`, or the value is no plain value.
    """
    import yaml

    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        # YAML 1.1 reads 1e-3 as text; people mean the number.
        parsed = _number(value) if equals else None
        try:
            parsed = yaml.safe_load(value) if parsed is None else parsed
        except yaml.YAMLError:
            parsed = None
        if not equals or not isinstance(parsed, bool | int | float | str):
            raise BenchError(
                f"--set {text}", "It is not of the form name=value.", "For example: --set discount=0.98"
            )
        changes[name.strip()] = parsed
    return changes


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
