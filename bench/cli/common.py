"""What the subcommands share: the store option, how errors look and which exit codes they mean."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import exceptions

from bench.errors import BenchError, WorkFailedError
from bench.store.location import without_password
from bench.visible_text import shortened, visible

StoreOption = Annotated[
    str, typer.Option("--store", metavar="URL", help="Results database: a file, or postgresql+psycopg://...")
]

MarginsOption = Annotated[
    Path | None,
    typer.Option("--margins", metavar="FILE", help="Margins of the verdicts, instead of the project's."),
]


def show_error(error: BenchError) -> None:
    """Print what is wrong, why, and what to do, on standard error."""
    print(f"bench: {error.what}", file=sys.stderr)
    for line in (error.why, error.do_this):
        if line:
            print(f"  {line}", file=sys.stderr)


def show_usage_error(error: exceptions.TyperException) -> None:
    """Print an error of options or arguments, what a person typed cut to a sensible length."""
    context = getattr(error, "ctx", None)
    if context is not None:
        print(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", file=sys.stderr)
    for line in error.format_message().splitlines():
        print(f"Error: {shortened(line)}", file=sys.stderr)


def exit_code_of(error: BenchError) -> int:
    """1 where something ran and failed, 2 where the request was wrong."""
    return 1 if isinstance(error, WorkFailedError) else 2


def typed_command() -> str:
    """The command as it was typed, for the record of the run, without passwords; always proper text."""
    return visible(shlex.join(["bench", *map(without_password, sys.argv[1:])]))


def check_physics(name: str | None) -> None:
    """Refuse what is no physics; None leaves the choice to the task."""
    if name not in (None, "d4rl", "modern"):
        raise BenchError(f"physics {name!r}", "", "Choose d4rl or modern.")
