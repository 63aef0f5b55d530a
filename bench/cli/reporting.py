"""Commands that lay scores beside what papers print: report, check, import, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from bench.cli.completion import lists_of
from bench.cli.options import (
    CHARTS,
    DECLARED,
    FORM,
    LATEX,
    MOST_ROWS,
    STORE,
    WHAT,
    CheckFormat,
    ColumnChoice,
    CompareFormat,
    LatexMarks,
    MarginsOption,
    OutOption,
    PictureFormat,
    ReportFormat,
    StoreOption,
    between,
    choice,
    default_store,
    of_grid,
)
from bench.errors import BenchError
from bench.files import typed_path
from bench.records import Declaration, DeclaredData, DeclaredProtocol, GoalRule, Physics
from bench.store.location import DEFAULT_STORE, STORE_VARIABLE

Reference = Literal["paper", "baseline"]


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
            "--out",
            "-o",
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
    out: OutOption = None,
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
    out: OutOption = None,
    margins: MarginsOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Say whether a method is better, worse or equivalent, per task and per suite, with stated error rates.

    Also how probably a run of it scores higher than one of the other method, and how many further seeds would
    decide what is undecided.
    """
    from bench.cli import compare as work

    work.compare_methods(name, against, suite, format_, out, margins, store)
