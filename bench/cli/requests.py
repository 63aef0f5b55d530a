"""From the options of `bench run` to a request: tasks, algorithms, seeds, changed hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.cli.common import check_physics
from bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from bench.catalog import RunDefaults, Task
    from bench.execute.grid import Cell, Request

MOST_SEEDS = 10_000
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
        changes=parse_changes(options.changes),
        suite=options.suite,
        suite_settings=defaults.settings,
    )
    return request, options.executor or defaults.executor or "ray"


def remarks(request: Request, cells: Sequence[Cell]) -> list[str]:
    """What a person should know of the grid before it starts: names that were resolved, cells left out."""
    from bench.execute.grid import left_out
    from bench.headlines import explanations

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
    from bench.headlines import method_names

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


def parse_changes(texts: Iterable[str]) -> dict[str, bool | int | float | str]:
    """Hyper-parameters from `name=value` or `algorithm.name=value`, the value as in YAML.

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
