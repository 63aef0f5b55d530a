"""The command line. A command's module is imported when the command is typed; to list them takes none."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer import core, exceptions

import bench
from bench import __version__
from bench.cli.errors import exit_code_of, show_error, show_usage_error, tell_unforeseen
from bench.cli.output import readable_output, stop_printing
from bench.errors import BenchError

if TYPE_CHECKING:
    # Typer's own copy of Click has no public name.
    from typer._click import Command, Context

MARKUP: Final = "markdown"
NOBODY_READS = 141
"""As a shell tells a program that SIGPIPE ended."""
INTERRUPTED = "Interrupted. What had finished is stored; the same command continues."
COMMANDS = {
    "run": "Train, evaluate and store a grid; run again it does only what is left.",
    "evaluate": "Judge the stored weights of a finished trial in fresh episodes, and store the result beside "
    "its scores.",
    "speed": "Time training and single-policy action latency on synthetic data, and store both.",
    "show": "Show every hyper-parameter of ALGORITHM on TASK: value per variant, unit, meaning and source.",
    "status": "Show what ran, what runs, what is left, what failed and why, and which commands go on.",
    "explain": "Show all that a trial's number depends on: settings, data, simulator, code, machines, time, "
    "weights.",
    "query": "Run SQL that reads, on the views `scores`, `timings` and `provenance` or on any table.",
    "report": "Print the papers' tables with the measured numbers beside the printed ones, and the verdicts "
    "on them.",
    "check": "Say which printed numbers the stored seeds reproduce, per cell and per suite, with stated "
    "error rates.",
    "nightly": "Hold a night: exact checks, then the canary with fresh seeds, then speed, drift and the "
    "papers.",
    "serve": "Show the report's page live while a run goes on: it follows what is stored, and only reads.",
    "list": "List algorithms, tasks, suites or tables.",
    "data": "Get, check and describe datasets. They lie in ~/.d4rl/datasets or where BENCH_DATA_DIR says.",
    "db": "Look at the results database, bring it to the newest schema, carry it to other machines.",
    "baseline": "Freeze what nights are held against, list it, write notes on it.",
}
"""What `bench --help` says of each. All but GROUPS are functions in modules of the same name."""
GROUPS = {
    "list": ("listing", "app"),
    "data": ("data", "app"),
    "db": ("db", "app"),
    "baseline": ("nightly", "baseline_app"),
}
"""Those with commands of their own: module and name in it."""


def loaded(name: str) -> Command:
    """A command or group, its module imported."""
    module, attribute = GROUPS.get(name, (name, name))
    found = getattr(import_module(f"bench.cli.{module}"), attribute)
    holder = typer.Typer(rich_markup_mode=MARKUP)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    return typer.main.get_group(holder).commands[name]


class Commands(core.TyperGroup):
    """All commands, of which only the one that was typed is imported."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 (whatever Typer passes)
        super().__init__(**attributes)
        self.commands = {name: core.TyperCommand(name, help=text) for name, text in COMMANDS.items()}

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Import what was typed."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, loaded(name) if name else command, rest

    def invoke(self, ctx: Context) -> object:
        """Run it; an interruption is told, of which Typer only makes an exit code."""
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
    rich_markup_mode=MARKUP,
    pretty_exceptions_enable=False,
)


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
        code = tell_unforeseen(error, arguments, debug=debug)
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
