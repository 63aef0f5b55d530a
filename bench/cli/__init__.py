"""The command line: one module per subcommand; heavy imports happen inside the commands."""

from __future__ import annotations

import errno
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from typer import Context, core, exceptions

import bench
from bench import __version__
from bench.cli import (
    check,
    data,
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
from bench.cli.common import exit_code_of, show_error, show_usage_error
from bench.cli.defects import DEFECT, report_defect
from bench.cli.output import readable_output, stop_printing
from bench.errors import BenchError
from bench.visible_text import is_text, quoted

NOBODY_READS = 141
"""As a shell tells a program that SIGPIPE ended."""
OF_THE_MACHINE = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
        errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR,
    }
)  # fmt: skip
"""Errors of files and disks that say themselves what is wrong."""
OF_THE_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Those that name no file where standard output cannot take any more."""

INTERRUPTED = "Interrupted. What had finished is stored; the same command continues."


class Commands(core.TyperGroup):
    """The commands; an interruption is told, of which Typer only makes an exit code."""

    def invoke(self, ctx: Context) -> object:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            raise


app = typer.Typer(
    name="bench",
    cls=Commands,
    help="Reproduces the D4RL tables of DTQL, SRPO, EDP and BDPO, into a results database.",
    no_args_is_help=True,
    epilog="Exit codes: 0 done; 1 something ran and failed, or was not reproduced; 2 the request was wrong; "
    "70 a defect of bench; 130 interrupted.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(evaluate.evaluate)
app.command()(speed.speed)
app.add_typer(listing.app, name="list")
app.add_typer(data.app, name="data")
app.command()(show.show)
app.command()(status.status)
app.command()(explain.explain)
app.command()(query.query)
app.add_typer(db.app, name="db")
app.command()(report.report)
app.command()(check.check)
app.command()(nightly.nightly)
app.add_typer(nightly.baseline_app, name="baseline")
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
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
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
        print(INTERRUPTED, file=sys.stderr)
        code = 130
    except Exception as error:  # noqa: BLE001 (told, with its traceback)
        code = _unforeseen(error, arguments, debug=debug)
    return code if isinstance(code, int) else 0


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


def _unforeseen(error: Exception, arguments: list[str], *, debug: bool) -> int:
    """Tell an error that no command expected: of the machine, or a defect of ours; its exit code."""
    if isinstance(error, UnicodeEncodeError) and (odd := [one for one in arguments if not is_text(one)]):
        why = f"It holds bytes that are no text in this terminal's encoding, {sys.getfilesystemencoding()}."
        advice = "Begin the command with PYTHONUTF8=1, or rename the file."
        show_error(BenchError(f"argument {quoted(odd[0])}", why, advice))
        return 2
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        if debug:
            traceback.print_exc()
        if error.filename is None and error.errno in OF_THE_OUTPUT:
            stop_printing()
            advice = "Make room where the output goes." if error.errno == errno.ENOSPC else ""
            show_error(BenchError("cannot write the output", f"{error.strerror}.", advice))
        elif error.filename is None:
            show_error(BenchError("the machine refuses what the command needs", f"{error.strerror}."))
        else:
            show_error(BenchError(f"cannot use {quoted(str(error.filename))}", f"{error.strerror}."))
        return 2
    if isinstance(error, MemoryError):
        advice = "Ask for less at once, or use another machine."
        show_error(BenchError("not enough memory", str(error), advice))
        return 1
    report_defect(error, debug=debug)
    return DEFECT
