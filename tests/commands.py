"""Every command of bench, as the program declares it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from typer.main import get_group


@cache
def all_commands() -> Mapping[str, Any]:
    """Commands and groups by what is typed: `run`, `db`, `db merge`."""
    # Not at the top: the fuzzer's workers choose first whose bench they import.
    from bench.cli.commands import app

    return dict(_within(get_group(app).commands))


@cache
def leaves() -> Mapping[str, Any]:
    """Those that are no groups."""
    return {name: command for name, command in all_commands().items() if not hasattr(command, "commands")}


def _within(commands: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in commands.items():
        yield f"{group}{name}", command
        yield from _within(getattr(command, "commands", {}), f"{group}{name} ")
