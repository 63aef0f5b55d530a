"""The command line: what was typed is run, and how it ended becomes an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from typer import exceptions
from typer.main import get_command

import bench
from bench.cli.commands import app
from bench.cli.errors import exit_code_of, show_error, show_usage_error, tell_unforeseen
from bench.cli.output import readable_output, stop_printing
from bench.errors import BenchError
from bench.signals import INTERRUPTED, Interrupted, asked_to_end

NOBODY_READS = 141
"""As a shell tells a program that SIGPIPE ended."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit.

    0: done. 1: something ran and failed. 2: the request was wrong. 70: a defect of bench, its traceback in a
    file that is named. 130: interrupted (143: by SIGTERM, 129: by SIGHUP). 141: nobody read the output any
    more (`| head`).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    with readable_output():
        code = _outcome(arguments, debug=debug)
    sys.exit(code)


def _outcome(arguments: list[str], *, debug: bool) -> int:
    """Run one command; its exit code."""
    try:
        _require_own_algorithms()
        code = _program()(arguments, standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:
            # All that Typer makes of a KeyboardInterrupt. Commands that told it themselves raise SystemExit.
            raise KeyboardInterrupt
    except BenchError as error:
        if debug:
            traceback.print_exc()
        show_error(error)
        code = exit_code_of(error)
    except exceptions.Exit as exit_request:
        code = exit_request.exit_code
    except exceptions.TyperException as error:
        show_usage_error(error)
        code = 2
    except BrokenPipeError:
        code = _nobody_reads()
    except SystemExit as error:
        # What Typer and Rich make of a pipe that nobody reads; 1 would say that something failed.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        code = _nobody_reads()
    except (KeyboardInterrupt, exceptions.Abort):
        print("Interrupted. What had finished is stored; the same command continues.", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:
        # A library that asks a process of its own what to load finds nothing if the signal ended that one.
        if isinstance(error, ImportError) and asked_to_end():
            raise Interrupted from error
        code = tell_unforeseen(error, arguments, debug=debug)
    return code if isinstance(code, int) else 0


@cache
def _program() -> Callable[..., Any]:
    # Made of the functions once: it takes longer than most commands, of which the tests run thousands.
    return get_command(app)


def _require_own_algorithms() -> None:
    """Raise where a folder on the import path hides the methods that are installed beside this package."""
    found = find_spec("algorithms")
    if found is None or found.origin is None:
        return
    folder = Path(found.origin).resolve().parent
    if folder.parent != Path(bench.__file__).resolve().parent.parent:
        raise BenchError(
            f"another package algorithms is found first: {folder}",
            "PYTHONPATH, or the folder that `python -m bench` starts in, hides bench's own.",
            "Begin the command with env -u PYTHONPATH, and type `bench` instead of `python -m bench`.",
        )


def _nobody_reads() -> int:
    stop_printing()
    return NOBODY_READS
