"""The command line: one module per subcommand; heavy imports happen inside the commands."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer
from typer import exceptions

from bench import __version__
from bench.cli import (
    baseline,
    check,
    data,
    data_collect,
    data_verify,
    db,
    evaluate,
    explain,
    listing,
    nightly,
    query,
    report,
    run,
    serve,
    show,
    speed,
    status,
)
from bench.cli.common import exit_code_of, show_error
from bench.errors import BenchError

app = typer.Typer(
    name="bench",
    help="Reproduces the D4RL tables of DTQL, SRPO, EDP and BDPO, into a results database.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(evaluate.evaluate)
app.command()(speed.speed)
app.add_typer(listing.app, name="list")
app.add_typer(data.app, name="data")
data.app.command()(data_collect.collect)
data.app.command()(data_verify.verify)
app.command()(show.show)
app.command()(status.status)
app.command()(explain.explain)
app.command()(query.query)
app.add_typer(db.app, name="db")
app.command()(report.report)
app.command()(check.check)
app.command()(nightly.nightly)
app.add_typer(baseline.app, name="baseline")
app.command()(serve.serve)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of wrong requests too.")] = False,
) -> None:
    """Reproduce the D4RL tables of DTQL, SRPO, EDP and BDPO, into a results database."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 something ran and failed, 2 wrong request, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(arguments, standalone_mode=False)
    except BenchError as error:
        if debug:
            raise
        show_error(error)
        code = exit_code_of(error)
    except exceptions.Exit as exit_request:
        code = exit_request.exit_code
    except exceptions.TyperException as error:
        error.show()
        code = 2
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename:
            raise
        _stop_printing()
        advice = "Make room where the output goes."
        show_error(BenchError("cannot write the output", f"{error.strerror}.", advice))
        code = 2
    except (KeyboardInterrupt, exceptions.Abort):
        print("Interrupted. What had finished is stored; the same command continues.", file=sys.stderr)
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _stop_printing() -> None:
    # What is left in the buffer would be tried once more as Python ends, and its failure told.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
