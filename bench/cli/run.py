"""`bench run`: which grid of algorithms x tasks x seeds was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.catalog import RunDefaults, Task, load_catalog
from bench.cli.options import LARGEST_NUMBER
from bench.cli.output import print_lines
from bench.errors import BenchError, names_in, unknown_name
from bench.execute.grid import Cell, Request, left_out, plan_cells, understood
from bench.presets import explanations, listed_names
from bench.records import Executor, GoalRule, Physics, Precision
from bench.visible_text import quoted, shortened
from bench.yaml_lines import plain_value

MOST_SEEDS = 10_000
ALL_SEEDS = "0-4"
"""Five, as in most of the papers' tables."""
_EXAMPLE = "For example: --set discount=0.98"


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
    precision: Precision | None = None,
    changes: Iterable[str] = (),
    preset_of: str | None = None,
    executor: Executor | None = None,
) -> tuple[Request, Executor]:
    """The request, filled up from the suite's defaults, and the executor; None where nothing was typed.

    Raises
    ------
    BenchError : something asked for does not exist or contradicts itself.
    """
    chosen, defaults = _tasks(suite, tasks, preset_of)
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
        precision=precision,
        changes=parse_changes(changes),
        suite=suite,
        suite_settings=defaults.settings,
    )
    note = _note_on_seeds(seeds)
    if note:
        print_lines([note])
    return request, executor or defaults.executor or "ray"


def planned(request: Request) -> list[Cell]:
    """The cells of a request; says which names were resolved, and which cells are left out.

    Raises
    ------
    BenchError : something in the request is wrong.
    """
    cells = plan_cells(request)
    without: dict[str, list[str]] = {}
    for algorithm, task in left_out(request, cells):
        without.setdefault(algorithm, []).append(task)
    lines = explanations(request.algorithms) + understood(request)
    lines += [
        f"Left out, the grid is not whole: {algorithm} has no preset for {', '.join(tasks)}."
        for algorithm, tasks in without.items()
    ]
    print_lines(lines)
    return cells


def _tasks(
    suite: str | None, tasks: str | None, preset_of: str | None
) -> tuple[tuple[Task, ...], RunDefaults]:
    if (suite is None) == (tasks is None):
        raise BenchError(
            "neither --suite nor --tasks" if suite is None else "both --suite and --tasks",
            "A run needs one of them.",
            "For example: bench run --suite quickstart. `bench list suites` shows all.",
        )
    catalog = load_catalog()
    if suite is not None:
        found = catalog.suite(suite)
        return tuple(catalog.following(task, preset_of) for task in found.tasks), found.defaults
    named = (catalog.task(name) for name in _names(tasks or "", "--tasks"))
    return tuple(catalog.following(task, preset_of) for task in named), RunDefaults()


def _algorithms(algos: str | None, defaults: RunDefaults) -> tuple[str, ...]:
    if algos is None:
        if defaults.algorithms is None:
            raise BenchError(
                "no --algos", "", "For example: --algos dtql,edp. `bench list algorithms` shows all."
            )
        return defaults.algorithms
    chosen = _names(algos, "--algos")
    for name in chosen:
        if name not in listed_names():
            raise unknown_name("algorithm", name, listed_names(), "bench list algorithms")
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
            raise BenchError(what, why, _meant(part) or "For example: --seeds 0-4")
        if dash and int(last) < int(first):
            raise BenchError(what, f"{quoted(part)} runs backwards.", f"Write {last}-{first}.")
        if int(last or first) - int(first) >= MOST_SEEDS:
            raise BenchError(what, f"{quoted(part)} is more than {MOST_SEEDS:,} seeds.", "Ask for fewer.")
        seeds |= set(range(int(first), int(last or first) + 1))
        if len(seeds) > MOST_SEEDS:
            raise BenchError(what, f"Together they are more than {MOST_SEEDS:,} seeds.", "Ask for fewer.")
    return tuple(sorted(seeds))


def _meant(part: str) -> str:
    """What to type instead of a range as other languages write it: `0..4`, `0:4`."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*(?:\.\.+|:|\u2013|to)\s*(\d{1,9})\s*", part)
    return f"Write {found[1]}-{found[2]}." if found else ""


def _note_on_seeds(seeds: str | None) -> str:
    """What to know of a single number, which is often meant as how many; empty where nothing is."""
    if seeds is None or not _is_seed(seeds.strip()) or int(seeds) < 2:
        return ""
    number = int(seeds)
    return f"Seed {number} alone; for {number} seeds write --seeds 0-{number - 1}."


def _is_seed(text: str) -> bool:
    return text.isdecimal() and len(text) <= len(str(LARGEST_NUMBER)) and int(text) <= LARGEST_NUMBER


def parse_changes(texts: Iterable[str]) -> dict[str, bool | int | float | str]:
    """Hyper-parameters from `name=value` or `algorithm.name=value`, also several with commas between them.

    A value is written as in YAML, and has no comma.

    Raises
    ------
    BenchError : there is no `=`, or the value is no plain value.
    """
    changes = {}
    for text in (one for several in texts for one in several.split(",")):
        name, equals, value = text.partition("=")
        try:
            parsed = plain_value(value) if equals and name.strip() else None
        except BenchError as error:
            raise BenchError(f"--set {shortened(text, 160)}", f"{error.what}.", _EXAMPLE) from error
        if parsed is None:
            raise BenchError(f"--set {shortened(text, 160)}", "It is not of the form name=value.", _EXAMPLE)
        changes[name.strip()] = parsed
    return changes
