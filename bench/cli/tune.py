"""`bench tune`: a search for hyper-parameters on tasks of which no paper prints a number."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import replace

import typer

from bench.cli.grid import obtained
from bench.cli.output import print_lines, print_table
from bench.errors import BenchError, WorkFailedError
from bench.execute.driver import Datasets, Settings, cpus_per_stack, device_of
from bench.execute.grid import Request, plan_cells
from bench.execute.ray_start import running_ray
from bench.presets import Value
from bench.signals import INTERRUPTED
from bench.visible_text import count, quoted

FRESH_SEEDS = 5


def require_unjudged(request: Request) -> None:
    """Refuse a task of which papers print numbers.

    Raises
    ------
    BenchError : it is D4RL's.
    """
    for task in request.tasks:
        if not (task.collected or task.generated or task.foreign):
            raise BenchError(
                f"bench tune on {task.name}",
                "Papers print numbers of it, under settings of theirs; what was searched for on the task "
                "that judges it must not stand beside them.",
                "Search on a collected twin or on data of your own; `bench list tasks` shows all.",
            )


def tune(
    request: Request,
    spaces: Sequence[str],
    samples: int,
    rungs: int,
    reduction: int,
    search_seed: int,
    settings: Settings,
    arguments: Sequence[str],
    store: str,
) -> None:
    """Search, show what came of it, and the command that measures the best anew."""
    require_unjudged(request)
    if not spaces:
        example = "For example: --space 'learning_rate=loguniform(1e-5,1e-3)'"
        raise BenchError("no --space", "A search needs at least one hyper-parameter to vary.", example)
    (cell,) = plan_cells(replace(request, tuned=True))
    for name in (text.partition("=")[0].strip() for text in spaces):
        if name in cell.preset.step_counts:
            why = "It is a step count, and the rungs of the search are budgets of these."
            raise BenchError(f"--space {quoted(name)}", why, "Leave it out.")
        if name not in cell.preset.values:
            listing = f"`bench show {cell.algorithm} {cell.task.name}` shows all."
            why = f"{cell.algorithm} has no such hyper-parameter."
            raise BenchError(f"--space {quoted(name)}", why, listing)
    Datasets(obtained).of(cell.task)  # here, before several processes want it at once
    device, gpus = device_of(settings)
    with running_ray(None) as scratch:
        # Only now Ray may be imported.
        from bench.execute.ray_tune import Shares
        from bench.execute.tuning import Search, domain, search

        space = dict(domain(text) for text in spaces)
        wanted = Search(request, tuple(arguments), space, samples, rungs, reduction, search_seed, store)
        shares = Shares(cpus_per_stack(settings, device, gpus), gpus)
        outcomes, interrupted = search(wanted, shares, scratch, typer.echo)
    if interrupted:
        print_lines(["Interrupted; what had finished is stored. The same command goes on."])
        raise SystemExit(INTERRUPTED)
    best = outcomes[0] if outcomes else None
    if best is None or math.isnan(best.score):
        raise WorkFailedError(
            "no configuration has a score", "All diverged or failed.", "`bench status` says why."
        )
    names = list(space)
    print_table(
        (*names, "rungs", "score"),
        [
            (*(_shown(one.values[name]) for name in names), str(one.rungs), f"{one.score:.1f}")
            for one in outcomes
        ],
        right=(*names, "rungs", "score"),
    )
    first = max(request.seeds) + 1
    sets = " ".join(shlex.quote(f"--set={name}={best.values[name]!r}") for name in names)
    typed = f"bench run {shlex.join(arguments_without_seeds(arguments))} {sets} --budget {request.budget:g}"
    print_lines(
        [
            f"The best of {count(len(outcomes), 'configuration')} was chosen by its score, which is "
            "therefore too high. Measure it anew, with seeds that the search has not seen:"
        ]
    )
    typer.echo(f"  {typed} --seeds {first}-{first + FRESH_SEEDS - 1}")


def arguments_without_seeds(arguments: Sequence[str]) -> list[str]:
    """Arguments of `bench run` but for the seeds."""
    place = list(arguments).index("--seeds")
    return [*arguments[:place], *arguments[place + 2 :]]


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def arguments_of(
    method: str,
    task: str,
    seeds: str,
    variant: str,
    evals: int | None,
    episodes: int | None,
    changes: Sequence[str],
    preset_of: str | None,
) -> list[str]:
    """What `bench run` is given for these options."""
    typed = ["--tasks", task, "--algos", method, "--seeds", seeds]
    optional = {
        "--variant": None if variant == "released" else variant,
        "--evals": evals,
        "--episodes": episodes,
        "--preset-of": preset_of,
    }
    for name, value in optional.items():
        if value is not None:
            typed += [name, str(value)]
    return [*typed, *(f"--set={change}" for change in changes)]
