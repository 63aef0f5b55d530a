"""What may be typed after `bench`: every command with its parameters, their bounds and their help.

A command imports its work when it is called, in one line. So whoever asks for help waits for no library, and
the modules of the work import all that they need at their top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from bench.cli import acting, measuring
from bench.cli.completion import lists_of, names_of, one_of
from bench.cli.groups import baseline_app, data_app, db_app, export_app, list_app
from bench.cli.options import (
    CHARTS,
    DECLARED,
    DEFAULT_PORT,
    FORM,
    LATEX,
    MOST_ROWS,
    STORE,
    WHAT,
    WHERE,
    CheckFormat,
    ColumnChoice,
    CompareFormat,
    LatexMarks,
    MarginsOption,
    Panelled,
    PanelledGroup,
    PictureFormat,
    PresetOfOption,
    ReportFormat,
    StoreOption,
    TrialArgument,
    between,
    choice,
    default_store,
    of_grid,
)
from bench.errors import BenchError
from bench.files import typed_path
from bench.records import Declaration, DeclaredData, DeclaredProtocol, GoalRule, Physics
from bench.store.location import DEFAULT_STORE, STORE_VARIABLE
from bench.version import __version__

Reference = Literal["paper", "baseline"]
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
for command in (measuring.run, measuring.evaluate, measuring.speed, measuring.nightly):
    app.command(cls=Panelled, rich_help_panel=MEASURE)(command)
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
def report(
    tables: Annotated[
        str,
        typer.Option(
            metavar="TABLE,...",
            help="Tables by id (dtql-1,bandit2d), or all: the papers', and bandit2d where a 2D problem is "
            "measured.",
            rich_help_panel=WHAT,
            autocompletion=lists_of("table"),
        ),
    ] = "all",
    suite: Annotated[str, of_grid("suite", "Only the tasks of these suites.")] = "",
    tasks: Annotated[str, of_grid("task", "Only these tasks.")] = "",
    algos: Annotated[str, of_grid("method", "Only these methods.")] = "",
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Print all rows and all of the paper's methods, not only what was measured. Files and other "
            "formats always hold everything.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    columns: Annotated[
        ColumnChoice | None,
        choice(
            "columns",
            ColumnChoice,
            metavar="own|measured|all",
            help="own: of the methods that the paper ran itself, in the rows that were measured. measured: "
            "all that is printed, and measured columns that hold anything; the default. all: blank too.",
            panel=WHAT,
        ),
    ] = None,
    format_: Annotated[
        ReportFormat | None,
        choice(
            "format",
            ReportFormat,
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"{', '.join(get_args(ReportFormat))}. Default: terminal on one, else markdown.",
            panel=FORM,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=typed_path,
            help="Write files into this folder. Without it text is printed; html and figures go to results/.",
            rich_help_panel=FORM,
        ),
    ] = None,
    figures: Annotated[
        str,
        typer.Option(
            metavar="FIGURE,...",
            help=f"Write figures too: {', '.join(CHARTS)}, those of the 2D problems (dtql-fig3), or all. The "
            "page holds them anyway; --format figures writes only them.",
            rich_help_panel=FORM,
            autocompletion=lists_of("figure", *CHARTS, "all"),
        ),
    ] = "",
    figure_format: Annotated[
        PictureFormat | None,
        choice(
            "figure format",
            PictureFormat,
            metavar="FORMAT",
            help=f"Of figures: {', '.join(get_args(PictureFormat))}. Default: pdf.",
            panel=FORM,
        ),
    ] = None,
    marks: Annotated[
        LatexMarks,
        choice(
            "marks",
            LatexMarks,
            metavar="all|none",
            help="Marks of verdicts and misprints.",
            panel=LATEX,
        ),
    ] = "all",
    legend: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=typed_path,
            help="Also write what every mark and note means into this file, for an appendix.",
            rich_help_panel=LATEX,
        ),
    ] = None,
    text_width: Annotated[
        float | None,
        typer.Option(
            metavar="INCHES",
            callback=between(3, 20),
            help="Width of the text, that of both columns together. Default: 6.2; NeurIPS and ICLR have 5.5.",
            rich_help_panel=LATEX,
        ),
    ] = None,
    margins: MarginsOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print the papers' tables with the measured numbers beside the printed ones, and the verdicts on them.

    A cell that must not be held against the printed number is marked with a dagger and the reason. What was
    not measured is blank, and counted.
    """
    from bench.cli import report as work

    chosen = format_ or work.usual_format(out)
    style = work.latex_style(chosen, columns, marks, legend, text_width)
    only = work.only(suite, tasks, algos, store)
    if chosen == "figures":
        work.write_figures_only(figures, figure_format, out, store, only)
    else:
        work.report(
            chosen,
            tables,
            figures,
            figure_format,
            out,
            margins,
            store,
            style,
            legend,
            only,
            columns,
            full=full,
        )


@app.command(cls=Panelled, rich_help_panel=RESULTS)
def check(
    against: Annotated[
        Reference,
        choice(
            "reference",
            Reference,
            metavar="paper|baseline",
            help="What the numbers are held against.",
            panel=WHAT,
        ),
    ] = "paper",
    suite: Annotated[
        str,
        of_grid(
            "suite", "Judge only the tasks of these suites; what is judged together is corrected together."
        ),
    ] = "",
    explain: Annotated[
        str,
        typer.Option(
            metavar="CELL",
            help="Show the arithmetic of one verdict: dtql/hopper-medium-v2/last, a suite "
            "(dtql/d4rl-locomotion/last), or parts that fit one alone ('dtql hopper-medium-v2').",
            rich_help_panel=WHAT,
        ),
    ] = "",
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Text: name everything that has no verdict, not only counts.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    format_: Annotated[
        CheckFormat,
        choice(
            "format",
            CheckFormat,
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"One of: {', '.join(get_args(CheckFormat))}.",
            panel=FORM,
        ),
    ] = "text",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=typed_path,
            help="Write there instead of printing.",
            rich_help_panel=FORM,
        ),
    ] = None,
    margins: MarginsOption = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=f"Results database. Default: {STORE_VARIABLE}, else {DEFAULT_STORE}; against the baseline, "
            "that of nightly.yaml.",
            rich_help_panel=STORE,
        ),
    ] = None,
) -> None:
    """Say which printed numbers the stored seeds reproduce, per cell and per suite, with stated error rates.

    Exit code 1 where a number or the mean of a suite is *not reproduced, below*; numbers above are reported.
    With --explain it is 0. Against the baseline: 1 where a cell of the last night is below, and its fresh
    seeds did not clear it, or lacks scores.
    """
    from bench.cli import check as work

    if against == "baseline":
        work.check_baseline(suite, format_, out, margins, explain, store)
    else:
        work.check_papers(
            suite, format_, out, margins, explain, store or default_store(), everything=everything
        )


@app.command("import", cls=Panelled, rich_help_panel=RESULTS)
def import_scores(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", parser=typed_path, help="Scores: a .csv, .npz or .parquet file."),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Name of the method in tables, page, figures and `bench compare`.",
            rich_help_panel=WHAT,
        ),
    ] = "",
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Take the rows of this one, where the file has several.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    returns: Annotated[
        bool,
        typer.Option(
            "--returns",
            help="Scores are undiscounted returns: normalise them by each task's reference.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="What is stored of the file's tasks under this name gives way.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take all scores of this name out again.", rich_help_panel=WHAT)
    ] = False,
    data: Annotated[
        DeclaredData | None,
        choice(
            "data",
            DeclaredData,
            metavar="d4rl|other",
            help="Trained on D4RL's own files, unchanged, or on other data.",
            panel=DECLARED,
        ),
    ] = None,
    protocol: Annotated[
        DeclaredProtocol | None,
        choice(
            "protocol",
            DeclaredProtocol,
            metavar="PROTOCOL",
            help="What a score is: last, the last evaluation; rat, the mean of the last ten; oms, the best "
            "over training; mean5, the mean of the last five.",
            panel=DECLARED,
        ),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=between(1, MOST_ROWS),
            help="Episodes per evaluation.",
            rich_help_panel=DECLARED,
        ),
    ] = None,
    physics: Annotated[
        Physics | None,
        choice(
            "physics",
            Physics,
            metavar="d4rl|modern",
            help="d4rl: MuJoCo up to 2.1.0 (mujoco-py); modern: a later one.",
            panel=DECLARED,
        ),
    ] = None,
    goals: Annotated[
        GoalRule | None,
        choice(
            "goals",
            GoalRule,
            metavar="RULE",
            help=f"AntMaze -v0: which episodes share a goal: {', '.join(get_args(GoalRule))}.",
            panel=DECLARED,
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Bring in scores of your own, to stand beside the papers' under their own name and mark.

    Columns: task, seed, score, and algorithm where there are several; a row per seed, or per evaluation with
    a column step. Optional: episode_returns, seconds. The same file again changes nothing.
    """
    from bench.cli import importing as work

    if not name:
        raise BenchError("no name to import under", "", "Name it: bench import scores.csv --as NAME")
    if remove:
        work.remove(name, store)
    else:
        declared = Declaration(data, protocol, episodes, physics, goals)
        work.bring(file, name, algorithm, declared, store, returns=returns, replace=replace)


@app.command(cls=Panelled, rich_help_panel=RESULTS)
def compare(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A method with scores in the store, imported or measured.")
    ],
    against: Annotated[
        str,
        typer.Option(
            metavar="paper|METHOD",
            help="paper: what DTQL, SRPO, EDP and BDPO print; paper:METHOD: what is printed of one method; "
            "else a method with scores in the store.",
            rich_help_panel=WHAT,
        ),
    ] = "paper",
    suite: Annotated[
        str,
        of_grid("suite", "Only the tasks of these suites; what is compared together is corrected together."),
    ] = "",
    format_: Annotated[
        CompareFormat,
        choice(
            "format",
            CompareFormat,
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"One of: {', '.join(get_args(CompareFormat))}.",
            panel=FORM,
        ),
    ] = "text",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=typed_path,
            help="Write there instead of printing.",
            rich_help_panel=FORM,
        ),
    ] = None,
    margins: MarginsOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Say whether a method is better, worse or equivalent, per task and per suite, with stated error rates.

    Also how probably a run of it scores higher than one of the other method, and how many further seeds would
    decide what is undecided.
    """
    from bench.cli import compare as work

    work.compare_methods(name, against, suite, format_, out, margins, store)


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
    algorithm: Annotated[
        str,
        typer.Argument(
            metavar="METHOD", help="As in `bench list algorithms`.", autocompletion=names_of("method")
        ),
    ],
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
            rich_help_panel=WHERE,
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
