"""Names that a shell offers while a command is being typed, read from files: no library is waited for.

A mistake in such a file is for the command to tell: here it offers nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import typer
import yaml

from bench.errors import BenchError
from bench.resources import own_tasks_file, resource
from bench.store.location import DEFAULT_STORE, STORE_VARIABLE, locate

MOST_TRIALS = 500
"""Numbers offered, the latest first: more could not be read on a screen."""
_NOT_OF_PAPERS = ("combined", "bandit2d")

_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Names = Callable[[str], list[str]]
"""What completes the beginning of a word."""


def names_of(kind: str) -> Names:
    """Completes one name of a kind: suite, task, `task or suite`, method, variant or table."""
    return lambda incomplete: [name for name in _known(kind) if name.startswith(incomplete)]


def lists_of(kind: str, *names: str) -> Names:
    """Completes the last of several names of a kind, or of these, that are separated by commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        chosen = set(before.split(","))
        known = (name for name in names or _known(kind) if name not in chosen)
        return [f"{before}{comma}{name}" for name in known if name.startswith(last)]

    return complete


def one_of(names: Iterable[str]) -> Names:
    """Completes one of these names."""
    known = tuple(names)
    return lambda incomplete: [name for name in known if name.startswith(incomplete)]


def trials(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completes the number of a trial of the store that the command names; none where it is on a server."""
    named = ctx.params.get("store") or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE
    try:
        return [number for number in _stored_trials(str(named)) if number.startswith(incomplete)]
    except (BenchError, OSError, sqlite3.Error):
        return []


def _stored_trials(store: str) -> Iterator[str]:
    path = locate(store).file
    if path is None or not path.is_file():
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
        found = connection.execute("SELECT id FROM trials ORDER BY id DESC LIMIT ?", (MOST_TRIALS,))
        yield from (str(number) for (number,) in found)


def _known(kind: str) -> tuple[str, ...]:
    try:
        return _read()[kind]()
    except (BenchError, OSError):
        return ()


def _read() -> dict[str, Callable[[], tuple[str, ...]]]:
    return {
        "suite": lambda: _catalogued("suites"),
        "task": lambda: _catalogued("tasks"),
        "task or suite": lambda: (*_catalogued("suites"), *_catalogued("tasks")),
        "environment": lambda: _keys(resource("tasks.yaml"), "environments"),
        "table": lambda: (*_keys(resource("paper_tables/tables.yaml"), "tables"), *_NOT_OF_PAPERS, "all"),
        "method": _methods,
        "method or group": lambda: (*_methods(), *_groups()),
        "variant": _variants,
    }


def _catalogued(part: str) -> tuple[str, ...]:
    """Names of the shipped catalogue, then those of the user's own."""
    own = own_tasks_file()
    return (
        *_keys(resource("tasks.yaml"), part),
        *(_keys(own.absolute(), part) if own and own.is_file() else ()),
    )


@cache
def _keys(file: Path, part: str) -> tuple[str, ...]:
    """The names that a part of a file has; none where it is damaged, which commands tell."""
    try:
        return tuple(yaml.load(file.read_bytes(), _Parser)[part])
    except (yaml.YAMLError, KeyError, TypeError):
        return ()


def _methods() -> tuple[str, ...]:
    from algorithms.registry import ALIASES, methods  # finds those of other distributions, too

    return tuple(sorted({*methods(), *ALIASES}))


def _groups() -> tuple[str, ...]:
    from algorithms.registry import GROUPS

    return tuple(GROUPS)


def _variants() -> tuple[str, ...]:
    from algorithms.registry import methods

    return tuple(dict.fromkeys(("released", *(name for of in methods().values() for name in of.variants))))
