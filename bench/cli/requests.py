"""From the options of `bench run` to a request: tasks, algorithms, seeds, changed hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.cli.common import LARGEST_NUMBER, check_goals, check_physics
from bench.errors import BenchError, unknown_name
from bench.visible_text import quoted, shortened

if TYPE_CHECKING:
    from bench.catalog import RunDefaults, Task
    from bench.execute.grid import Cell, Request

MOST_SEEDS = 10_000
_EXAMPLE = "For example: --set discount=0.98"
ALL_SEEDS = "0-4"
"""Five, as in most of the papers' tables."""


@dataclass(frozen=True)
class Options:
    """What was typed; None where nothing was."""

    suite: str | None
    tasks: str | None
    algos: str | None
    seeds: str | None
    variant: str
    budget: float | None
    evals: int | None
    episodes: int | None
    physics: str | None
    goals: str | None
    changes: tuple[str, ...]
    """`name=value` or `algorithm.name=value`."""
    executor: str | None


def request_of(options: Options) -> tuple[Request, str]:
    """The request, filled up from the suite's defaults, and the executor.

    Raises
    ------
    BenchError : something asked for does not exist or contradicts itself.
    """
    from bench.execute.grid import Request

    check_physics(options.physics)
    check_goals(options.goals)
    tasks, defaults = _tasks(options.suite, options.tasks)
    request = Request(
        tasks=tasks,
        algorithms=_algorithms(options.algos, defaults),
        seeds=parse_seeds(options.seeds if options.seeds is not None else defaults.seeds or ALL_SEEDS),
        variant=options.variant,
        budget=options.budget if options.budget is not None else defaults.budget or 1.0,
        evaluations=options.evals or defaults.evaluations,
        episodes=options.episodes or defaults.episodes,
        physics=options.physics,
        goals=options.goals,
        changes=parse_changes(options.changes),
        suite=options.suite,
        suite_settings=defaults.settings,
    )
    return request, options.executor or defaults.executor or "ray"


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
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
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
