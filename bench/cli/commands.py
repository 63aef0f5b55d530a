"""What may be typed after `bench`: every command with its parameters, their bounds and their help.

A command imports its work when it is called, in one line. So whoever asks for help waits for no library, and
the modules of the work import all that they need at their top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli import acting, measuring, reporting
from bench.cli.completion import names_of, one_of
from bench.cli.groups import baseline_app, data_app, db_app, export_app, list_app
from bench.cli.options import (
    DEFAULT_PORT,
    FORM,
    MOST_ROWS,
    WHERE,
    MarginsOption,
    MethodArgument,
    Panelled,
    PanelledGroup,
    PresetOfOption,
    StoreOption,
    TrialArgument,
    between,
)
from bench.files import typed_path
from bench.store.location import DEFAULT_STORE
from bench.version import __version__

MEASURE, RESULTS, LOOK_UP, KEEP, EXTEND = "Measure", "Results", "Look up", "Keep", "Extend"
"""Panels of `bench --help`."""

app = typer.Typer(
    name="bench",
    cls=PanelledGroup,
    help="Reproduces the D4RL tables of DTQL, SRPO, EDP and BDPO, into a results database.",
    no_args_is_help=True,
    epilog="Where another program is called bench, type dpbench. "
    "Exit codes: 0 done; 1 something ran and failed, or was not reproduced; 2 the request was wrong; "
    "70 a defect of bench; 130 interrupted.",
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (measuring.run, measuring.evaluate, measuring.tune, measuring.speed, measuring.nightly):
    app.command(cls=Panelled, rich_help_panel=MEASURE)(command)
for judging in (reporting.report, reporting.check):
    app.command(cls=Panelled, rich_help_panel=RESULTS)(judging)
app.command("import", cls=Panelled, rich_help_panel=RESULTS)(reporting.import_scores)
app.command(cls=Panelled, rich_help_panel=RESULTS)(reporting.compare)
app.add_typer(list_app, name="list", rich_help_panel=LOOK_UP)
app.add_typer(export_app, name="export", rich_help_panel=RESULTS)
app.add_typer(data_app, name="data", rich_help_panel=KEEP)
app.add_typer(db_app, name="db", rich_help_panel=KEEP)
app.add_typer(baseline_app, name="baseline", rich_help_panel=KEEP)


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


@app.command(cls=Panelled, rich_help_panel=RESULTS)
def status(
    format: Annotated[
        Literal["text", "json"],
        typer.Option(
            metavar="text|json",
            help="For people, or for programs.",
            rich_help_panel=FORM,
            autocompletion=one_of(("text", "json")),
        ),
    ] = "text",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show what ran, what runs, what is left, what failed and why, and which commands go on.

    Says, too, which of the datasets are not D4RL's own files.
    """
    from bench.cli import status as work

    work.status(format, store)


@app.command(cls=Panelled, rich_help_panel=RESULTS)
def explain(
    trial: TrialArgument,
    format: Annotated[
        Literal["text", "json"],
        typer.Option(
            metavar="text|json",
            help="For people, or for programs.",
            rich_help_panel=FORM,
            autocompletion=one_of(("text", "json")),
        ),
    ] = "text",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show all that a trial's number depends on: settings, data, simulator, code, machines, time, weights."""
    from bench.cli import explain as work

    work.explain(trial, format, store)


@app.command(cls=Panelled, rich_help_panel=RESULTS)
def query(
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL", help='For example "SELECT task, AVG(score) FROM scores GROUP BY task".'
        ),
    ],
    format: Annotated[
        Literal["table", "csv"],
        typer.Option(
            metavar="table|csv",
            help="A table, whose wide cells are cut, or CSV, whole to the last digit. Where a terminal is "
            "too narrow for the columns, every row becomes a block.",
            rich_help_panel=FORM,
            autocompletion=one_of(("table", "csv")),
        ),
    ] = "table",
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=between(1, MOST_ROWS),
            help="Print at most so many rows.",
            rich_help_panel=FORM,
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Run SQL that reads, on the views `scores`, `timings` and `provenance` or on any table."""
    from bench.cli import query as work

    work.query(sql, format, limit, store)


@app.command(cls=Panelled, rich_help_panel=RESULTS)
def serve(
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            callback=between(0, 65535),
            help="0 takes a free one.",
            rich_help_panel=WHERE,
        ),
    ] = DEFAULT_PORT,
    host: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            help="Address to listen at; one that other machines reach needs --public.",
            rich_help_panel=WHERE,
        ),
    ] = "127.0.0.1",
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="Let other machines in; nobody is asked for a password.", rich_help_panel=WHERE
        ),
    ] = False,
    margins: MarginsOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show the report's page live while a run goes on: it follows what is stored, and only reads.

    The same page as `bench report --format html`. Ctrl-C ends it.
    """
    from bench.cli import serve as work

    work.serve(host, port, margins, store, public=public)


@app.command(cls=Panelled, rich_help_panel=LOOK_UP)
def show(
    algorithm: MethodArgument,
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", help="As in `bench list tasks`.", autocompletion=names_of("task")),
    ],
    preset_of: PresetOfOption = None,
) -> None:
    """Show every hyper-parameter of METHOD on TASK: value per variant, unit, meaning and source."""
    from bench.cli import listing as work

    work.show(algorithm, task, preset_of)


@app.command(cls=Panelled, rich_help_panel=EXTEND)
def new_method(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Of the method: small letters, digits and hyphens."),
    ],
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            parser=typed_path,
            help="A new folder for the package. Default: NAME-method.",
            rich_help_panel=FORM,
        ),
    ] = None,
) -> None:
    """Write a package with a method of your own: it installs, passes its tests and trains as it is.

    Then change its loss, its networks and its preset file into yours.
    """
    from bench.cli import new_method as work

    work.new_method(name, into)


app.command(cls=Panelled, rich_help_panel=RESULTS)(acting.export_policy)
app.command(cls=Panelled, rich_help_panel=RESULTS)(acting.video)
