"""What may be typed after `bench`: every command with its parameters, their bounds and their help.

A command imports its work when it is called, in one line. So whoever asks for help waits for no library, and
the modules of the work import all that they need at their top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from bench import __version__
from bench.cli.groups import baseline_app, data_app, db_app, list_app
from bench.cli.options import (
    CHARTS,
    MOST_ROWS,
    MOST_THREADS,
    AcceptMismatchOption,
    CheckFormat,
    ConfigOption,
    CpusPerStackOption,
    DeviceOption,
    ExecutorOption,
    GpusPerStackOption,
    LatexColumns,
    LatexMarks,
    MarginsOption,
    PictureFormat,
    ReportFormat,
    Retry,
    SeedsPerStackOption,
    StoreOfNightsOption,
    StoreOption,
    TrialArgument,
    choice,
    finite,
)
from bench.errors import BenchError
from bench.files import typed_path
from bench.records import MAX_RETRIES, Device, Executor, GoalRule, Physics, Runner
from bench.store.location import DEFAULT_STORE

Reference = Literal["paper", "baseline"]

app = typer.Typer(
    name="bench",
    help="Reproduces the D4RL tables of DTQL, SRPO, EDP and BDPO, into a results database.",
    no_args_is_help=True,
    epilog="Exit codes: 0 done; 1 something ran and failed, or was not reproduced; 2 the request was wrong; "
    "70 a defect of bench; 130 interrupted.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(list_app, name="list")
app.add_typer(data_app, name="data")
app.add_typer(db_app, name="db")
app.add_typer(baseline_app, name="baseline")


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


@app.command()
def run(
    suite: Annotated[str | None, typer.Option(help="Suite of tasks; `bench list suites`.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Tasks instead of a suite, separated by commas.")] = None,
    algos: Annotated[str | None, typer.Option(help="Algorithms, separated by commas.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Training seeds: 0-4, or 0,2,5. Default: 0-4.")] = None,
    variant: Annotated[
        str, typer.Option(help="released: what the authors' code does; paper: what the text says.")
    ] = "released",
    budget: Annotated[
        float | None, typer.Option(help="Factor on every step count of the preset, at most 1. Default: 1.")
    ] = None,
    evals: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Evaluations; by default the preset's.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Episodes per evaluation; by default the preset's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a hyper-parameter, or that of one algorithm: bdpo.NAME=VALUE. Never judged.",
        ),
    ] = None,
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = 1,
    executor: Annotated[
        Executor | None,
        choice(
            "executor", Executor, help="ray: a process per stack; local: one after the other. Default: ray."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to run on (host:port); auto finds the one here."),
    ] = None,
    physics: Annotated[
        Physics | None,
        choice("physics", Physics, help="d4rl or modern capsule inertia; by default the task's."),
    ] = None,
    goals: Annotated[
        GoalRule | None,
        choice(
            "goals",
            GoalRule,
            help="AntMaze v0: which episodes share a goal. per_episode, per_evaluation, per_run or "
            "per_environment; by default each paper's own. Another one is never judged.",
        ),
    ] = None,
    device: Annotated[
        Device,
        choice("device", Device, help="auto (a GPU where stacks take a share of one), cpu or cuda."),
    ] = "auto",
    runner: Annotated[
        Runner, choice("runner", Runner, help="auto, eager or graph (CUDA graphs, the default on a GPU).")
    ] = "auto",
    retry: Annotated[
        Retry | None, choice("--retry", Retry, help="failed: run just the trials that failed.")
    ] = None,
    max_retries: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Times that a stack is taken up again whose process was killed."),
    ] = MAX_RETRIES,
    checkpoint_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=604_800,
            callback=finite,
            help="Between checkpoints of a stack. Default: 60, with --address 600.",
        ),
    ] = None,
    accept_mismatch: AcceptMismatchOption = False,
    store: StoreOption = "results/bench.sqlite",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the grid, how long it takes, and what its data is; train nothing."
        ),
    ] = False,
) -> None:
    """Train, evaluate and store a grid; run again it does only what is left.

    Finished trials are skipped, cut-off stacks continue where they were. Ctrl-C saves every stack's state.
    What is not D4RL's own file is said before anything is trained.
    """
    from bench.cli import run as work

    request, chosen_executor = work.request_of(
        suite=suite,
        tasks=tasks,
        algos=algos,
        seeds=seeds,
        variant=variant,
        budget=budget,
        evals=evals,
        episodes=episodes,
        physics=physics,
        goals=goals,
        changes=set_ or (),
        executor=executor,
    )
    if address is not None and chosen_executor != "ray":
        raise BenchError("--address with --executor local", "", "Leave one of them out.")
    # Whatever is wrong with the grid is told first, and alone; only then comes what takes seconds to import.
    cells = work.planned(request)

    from bench.cli import grid

    settings = grid.Settings(
        executor=chosen_executor,
        seeds_per_stack=seeds_per_stack,
        cpus_per_stack=cpus_per_stack,
        gpus_per_stack=gpus_per_stack,
        address=address,
        device=device,
        runner=runner,
        retry_failed=retry is not None,
        max_retries=max_retries,
        checkpoint_seconds=checkpoint_seconds,
        accept_mismatch=accept_mismatch,
    )
    if dry_run:
        grid.show_grid(cells, request.seeds, settings, store)
    else:
        grid.run(cells, request.seeds, settings, store)


@app.command()
def evaluate(
    trial: TrialArgument,
    episodes: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="By default as many as in training.")
    ] = None,
    physics: Annotated[
        Physics | None, choice("physics", Physics, help="d4rl or modern; by default the trial's.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="CPU threads.")] = 1,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Evaluate the stored weights of a finished trial in fresh episodes; store the result beside its scores.

    The trial's own score stays as it is.
    """
    from bench.cli import measure as work

    work.evaluate(trial, episodes, physics, threads, store)


@app.command()
def speed(
    algos: Annotated[str, typer.Option(help="Algorithms, separated by commas.")],
    tasks: Annotated[
        str, typer.Option("--tasks", "--task", help="Tasks, separated by commas; dimensions and batch count.")
    ] = "antmaze-umaze-v0",
    variant: Annotated[str, typer.Option(help="released or paper.")] = "released",
    seeds_per_stack: Annotated[
        int, typer.Option(min=1, max=1000, help="Seeds side by side; the papers' tables: 1.")
    ] = 1,
    iterations: Annotated[
        int, typer.Option(min=10, max=MOST_ROWS, help="Timed per phase, after a warm-up.")
    ] = 200,
    device: Annotated[Device, choice("device", Device, help="cpu, cuda, or auto.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads; by default all cores.")
    ] = None,
    runner: Annotated[Runner, choice("runner", Runner, help="auto, eager or graph.")] = "auto",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Time training and single-policy action latency on synthetic data, and store both.

    The data has the task's dimensions and the preset's batch size, so no dataset is needed. Rows measured
    while nothing else ran are marked exclusive; only those of single seeds enter the papers' timing tables.
    """
    from bench.cli import measure as work

    work.speed(
        algos,
        tasks,
        variant,
        seeds=seeds_per_stack,
        iterations=iterations,
        device=device,
        threads=threads,
        runner=runner,
        store=store,
    )


@app.command()
def show(
    algorithm: Annotated[str, typer.Argument(help="As in `bench list algorithms`.")],
    task: Annotated[str, typer.Argument(help="As in `bench list tasks`.")],
) -> None:
    """Show every hyper-parameter of ALGORITHM on TASK: value per variant, unit, meaning and source."""
    from bench.cli import listing as work

    work.show(algorithm, task)


@app.command()
def status(
    format: Annotated[Literal["text", "json"], typer.Option(help="For people, or for programs.")] = "text",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show what ran, what runs, what is left, what failed and why, and which commands go on.

    Says, too, which of the datasets are not D4RL's own files.
    """
    from bench.cli import status as work

    work.status(format, store)


@app.command()
def explain(
    trial: TrialArgument,
    format: Annotated[Literal["text", "json"], typer.Option(help="For people, or for programs.")] = "text",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show all that a trial's number depends on: settings, data, simulator, code, machines, time, weights."""
    from bench.cli import explain as work

    work.explain(trial, format, store)


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help='For example "SELECT task, AVG(score) FROM scores GROUP BY task".')
    ],
    format: Annotated[
        Literal["table", "csv"],
        typer.Option(help="A table, whose wide cells are cut, or CSV, whole to the last digit."),
    ] = "table",
    limit: Annotated[
        int | None, typer.Option(min=1, max=MOST_ROWS, help="Print at most so many rows.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Run SQL that reads, on the views `scores`, `timings` and `provenance` or on any table."""
    from bench.cli import query as work

    work.query(sql, format, limit, store)


@app.command()
def report(
    format_: Annotated[
        ReportFormat,
        choice(
            "format",
            ReportFormat,
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"One of: {', '.join(get_args(ReportFormat))}.",
        ),
    ] = "markdown",
    tables: Annotated[
        str,
        typer.Option(
            metavar="IDS",
            help="Tables by id, separated by commas (dtql-1,bandit2d), or all: the papers' tables and, where "
            "something of the 2D problems is measured, bandit2d.",
        ),
    ] = "all",
    figures: Annotated[
        str,
        typer.Option(
            metavar="IDS",
            help=f"Figures to write as files: {', '.join(CHARTS)}, "
            "those of the 2D problems (dtql-fig3,bdpo-fig11), or all. The page (html) holds them anyway; "
            "--format figures writes only them.",
        ),
    ] = "",
    figure_format: Annotated[
        PictureFormat | None,
        choice(
            "figure format",
            PictureFormat,
            metavar="FORMAT",
            help=f"Of figures, one of: {', '.join(get_args(PictureFormat))}. By default pdf.",
        ),
    ] = None,
    columns: Annotated[
        LatexColumns,
        choice(
            "columns",
            LatexColumns,
            metavar="WHICH",
            help="LaTeX: all columns of the paper's table, or own: its own method, printed beside measured, "
            "in the rows that were measured.",
        ),
    ] = "all",
    marks: Annotated[
        LatexMarks,
        choice(
            "marks",
            LatexMarks,
            metavar="WHICH",
            help="LaTeX: all marks of verdicts and misprints, or none.",
        ),
    ] = "all",
    legend: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=typed_path,
            help="LaTeX: also write what every mark and note means into this file, for an appendix.",
        ),
    ] = None,
    text_width: Annotated[
        float | None,
        typer.Option(
            min=3,
            max=20,
            metavar="INCHES",
            callback=finite,
            help="LaTeX: width of the text, that of both columns together. Default: 6.2; NeurIPS and ICLR "
            "have 5.5.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=typed_path,
            help="Write files into this folder. Without it text is printed; html and figures go to results/.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Markdown in the terminal: all rows and all of the paper's methods, not only those that "
            "were measured. Files and other formats always hold everything.",
        ),
    ] = False,
    margins: MarginsOption = None,
    store: Annotated[str, typer.Option(metavar="URL", help="Results database.")] = DEFAULT_STORE,
) -> None:
    """Print the papers' tables with the measured numbers beside the printed ones, and the verdicts on them.

    A cell that must not be held against the printed number is marked with a dagger and the reason. What was
    not measured is blank, and counted.
    """
    from bench.cli import report as work

    style = work.latex_style(format_, columns, marks, legend, text_width)
    if format_ == "figures":
        work.write_figures_only(figures, figure_format, out, store)
    else:
        work.report(format_, tables, figures, figure_format, out, margins, store, style, legend, full=full)


@app.command()
def check(
    against: Annotated[
        Reference,
        choice(
            "reference",
            Reference,
            metavar="REFERENCE",
            help="What the numbers are held against: paper or baseline.",
        ),
    ] = "paper",
    suite: Annotated[
        str,
        typer.Option(
            metavar="SUITES",
            help="Judge only the tasks of these suites, separated by commas; what is judged together is "
            "corrected together.",
        ),
    ] = "",
    format_: Annotated[
        CheckFormat,
        choice(
            "format",
            CheckFormat,
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"One of: {', '.join(get_args(CheckFormat))}.",
        ),
    ] = "text",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=typed_path, help="Write there instead of printing.")
    ] = None,
    margins: MarginsOption = None,
    explain: Annotated[
        str,
        typer.Option(
            metavar="CELL",
            help="Show the arithmetic of one verdict: dtql/hopper-medium-v2/last, a suite "
            "(dtql/d4rl-locomotion/last), or parts that fit one alone ('dtql hopper-medium-v2').",
        ),
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Text: name everything that has no verdict, not only counts.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=f"Results database. Default: {DEFAULT_STORE}; against the baseline, that of nightly.yaml.",
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
            suite, format_, out, margins, explain, store or DEFAULT_STORE, everything=everything
        )


@app.command()
def nightly(
    config: ConfigOption = None,
    night: Annotated[
        str | None,
        typer.Option(
            "--date", metavar="YYYY-MM-DD", help="Night to hold or to go on with. Default: today's."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Baseline to hold it against. Default: the latest.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=typed_path, help="Folder of the report. Default: nights/DATE by the store."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run; run nothing.")] = False,
    retry: Annotated[
        Retry | None,
        choice("--retry", Retry, help="failed: give that night's failed trials another attempt."),
    ] = None,
    executor: ExecutorOption = "ray",
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = 1,
    device: DeviceOption = "auto",
    store: StoreOfNightsOption = None,
) -> None:
    """Run the nightly job: exact checks, the canary with fresh seeds, speed, drift and the papers.

    Exit code 0: green. 1: red, and the summary says why and what to do. Interrupted, the same command goes
    on; the seeds follow from the date.
    """
    from bench.cli import nightly as work

    # Whose data it is was decided when the baseline was frozen; the night tells of it.
    settings = work.Settings(
        executor=executor,
        seeds_per_stack=seeds_per_stack,
        gpus_per_stack=gpus_per_stack,
        cpus_per_stack=cpus_per_stack,
        device=device,
        accept_mismatch=True,
    )
    work.nightly(config, store, settings, night, baseline, out, dry_run=dry_run, retry=retry is not None)


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8265,
    host: Annotated[
        str, typer.Option(help="Address to listen at; one that other machines reach needs --public.")
    ] = "127.0.0.1",
    public: Annotated[
        bool, typer.Option("--public", help="Let other machines in; nobody is asked for a password.")
    ] = False,
    margins: MarginsOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show the report's page live while a run goes on: it follows what is stored, and only reads.

    The same page as `bench report --format html`. Ctrl-C ends it.
    """
    from bench.cli import serve as work

    work.serve(host, port, margins, store, public=public)
