"""`bench run`: train, evaluate and store a grid of algorithms x tasks x seeds.

What trains and what reads presets is imported where it is used: `bench run --help` waits for neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import (
    LARGEST_NUMBER,
    AcceptMismatchOption,
    CpusPerStackOption,
    GpusPerStackOption,
    Retry,
    SeedsPerStackOption,
    StoreOption,
    choice,
    finite,
)
from bench.errors import BenchError, names_in, unknown_name
from bench.records import MAX_RETRIES, Device, Executor, GoalRule, Physics, Runner
from bench.visible_text import quoted, shortened

if TYPE_CHECKING:
    from bench.catalog import RunDefaults, Task
    from bench.execute.grid import Cell, Request

MOST_SEEDS = 10_000
ALL_SEEDS = "0-4"
"""Five, as in most of the papers' tables."""
_EXAMPLE = "For example: --set discount=0.98"


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
        Executor | None,
        choice(
            "executor", Executor, help="ray: a process per stack; local: one after the other. Default: ray."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to run on (host:port); auto finds the one here."),
    ] = None,
    physics: Annotated[
        Physics | None,
        choice("physics", Physics, help="d4rl or modern capsule inertia; by default the task's."),
    ] = None,
    goals: Annotated[
        GoalRule | None,
        choice(
            "goals",
            GoalRule,
            help="AntMaze v0: which episodes share a goal. per_episode, per_evaluation, per_run or "
            "per_environment; by default each paper's own. Another one is never judged.",
        ),
    ] = None,
    device: Annotated[
        Device,
        choice("device", Device, help="auto (a GPU where stacks take a share of one), cpu or cuda."),
    ] = "auto",
    runner: Annotated[
        Runner, choice("runner", Runner, help="auto, eager or graph (CUDA graphs, the default on a GPU).")
    ] = "auto",
    retry: Annotated[
        Retry | None, choice("--retry", Retry, help="failed: run just the trials that failed.")
    ] = None,
    max_retries: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Times that a stack is taken up again whose process was killed."),
    ] = MAX_RETRIES,
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

    request, chosen_executor = request_of(
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
        changes=set_ or (),
        executor=executor,
    )
    if address is not None and chosen_executor != "ray":
        raise BenchError("--address with --executor local", "", "Leave one of them out.")
    # Whatever is wrong with the grid is told first, and alone; only then comes what takes seconds to import.
    cells = plan_cells(request)
    for line in remarks(request, cells):
        print(line, flush=True)

    from bench.cli.grid import Datasets, Settings, conclude, obtained, show_grid, work_off

    settings = Settings(
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
        accept_mismatch=accept_mismatch,
    )
    if dry_run:
        show_grid(cells, request.seeds, settings, store)
    else:
        conclude(work_off(cells, request.seeds, settings, store, Datasets(obtained)), store)


# The request


def request_of(
    *,
    suite: str | None = None,
    tasks: str | None = None,
    algos: str | None = None,
    seeds: str | None = None,
    variant: str = "released",
    budget: float | None = None,
    evals: int | None = None,
    episodes: int | None = None,
    physics: Physics | None = None,
    goals: GoalRule | None = None,
    changes: Iterable[str] = (),
    executor: Executor | None = None,
) -> tuple[Request, Executor]:
    """The request, filled up from the suite's defaults, and the executor; None where nothing was typed.

    Raises
    ------
    BenchError : something asked for does not exist or contradicts itself.
    """
    from bench.execute.grid import Request

    chosen, defaults = _tasks(suite, tasks)
    request = Request(
        tasks=chosen,
        algorithms=_algorithms(algos, defaults),
        seeds=parse_seeds(seeds if seeds is not None else defaults.seeds or ALL_SEEDS),
        variant=variant,
        budget=budget if budget is not None else defaults.budget or 1.0,
        evaluations=evals or defaults.evaluations,
        episodes=episodes or defaults.episodes,
        physics=physics,
        goals=goals,
        changes=parse_changes(changes),
        suite=suite,
        suite_settings=defaults.settings,
    )
    return request, executor or defaults.executor or "ray"


def remarks(request: Request, cells: Sequence[Cell]) -> list[str]:
    """What a person should know of the grid before it starts: names that were resolved, cells left out."""
    from bench.execute.grid import left_out
    from bench.presets import explanations

    lines = explanations(request.algorithms)
    without: dict[str, list[str]] = {}
    for algorithm, task in left_out(request, cells):
        without.setdefault(algorithm, []).append(task)
    lines += [
        f"Left out, the grid is not whole: {algorithm} has no preset for {', '.join(tasks)}."
        for algorithm, tasks in without.items()
    ]
    return lines


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


def _algorithms(algos: str | None, defaults: RunDefaults) -> tuple[str, ...]:
    from bench.presets import method_names

    if algos is None:
        if defaults.algorithms is None:
            raise BenchError(
                "no --algos", "", "For example: --algos dtql,edp. `bench list algorithms` shows all."
            )
        return defaults.algorithms
    chosen = _names(algos, "--algos")
    for name in chosen:
        if name not in method_names():
            raise unknown_name("algorithm", name, method_names(), "bench list algorithms")
    return chosen


def _names(text: str, option: str) -> tuple[str, ...]:
    names = names_in(text)
    if not names:
        raise BenchError(f"{option} {quoted(text)} names nothing", "", "Separate names by commas.")
    return names


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from `0-4`, `0,2,5` or both mixed, sorted, each once.

    Raises
    ------
    BenchError : it is no such range, or more than MOST_SEEDS.
    """
    what, seeds = f"seeds {quoted(text)}", set[int]()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_seed(first) or (dash and not _is_seed(last)):
            why = f"{quoted(part)} is no seed and no range."
            if part.strip().isdecimal():
                why = f"{quoted(part)} is larger than {LARGEST_NUMBER}, the largest seed."
            raise BenchError(what, why, "For example: --seeds 0-4")
        if dash and int(last) < int(first):
            raise BenchError(what, f"{quoted(part)} runs backwards.", f"Write {last}-{first}.")
        if int(last or first) - int(first) >= MOST_SEEDS:
            raise BenchError(what, f"{quoted(part)} is more than {MOST_SEEDS:,} seeds.", "Ask for fewer.")
        seeds |= set(range(int(first), int(last or first) + 1))
        if len(seeds) > MOST_SEEDS:
            raise BenchError(what, f"Together they are more than {MOST_SEEDS:,} seeds.", "Ask for fewer.")
    return tuple(sorted(seeds))


def _is_seed(text: str) -> bool:
    return text.isdecimal() and len(text) <= len(str(LARGEST_NUMBER)) and int(text) <= LARGEST_NUMBER


def parse_changes(texts: Iterable[str]) -> dict[str, bool | int | float | str]:
    """Hyper-parameters from `name=value` or `algorithm.name=value`, the value as in YAML.

    Raises
    ------
    BenchError : there is no `=`, or the value is no plain value.
    """
    from bench.yaml_lines import plain_value

    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            parsed = plain_value(value) if equals and name.strip() else None
        except BenchError as error:
            raise BenchError(f"--set {shortened(text, 160)}", f"{error.what}.", _EXAMPLE) from error
        if parsed is None:
            raise BenchError(f"--set {shortened(text, 160)}", "It is not of the form name=value.", _EXAMPLE)
        changes[name.strip()] = parsed
    return changes
