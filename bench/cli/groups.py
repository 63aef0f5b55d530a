"""What may be typed after `bench list`, `data`, `db`, `baseline`, `export`: as `commands`, and as light."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.completion import names_of, one_of
from bench.cli.options import (
    FRAMES,
    LARGEST_NUMBER,
    MOST_ROWS,
    MOST_THREADS,
    WHAT,
    AcceptMismatchOption,
    ConfigOption,
    CpusPerStackOption,
    DeviceOption,
    ExecutorOption,
    GpusPerStackOption,
    Panelled,
    PanelledGroup,
    PresetOfOption,
    SeedsPerStackOption,
    StoreOfNightsOption,
    StoreOption,
    between,
    choice,
    of_grid,
)
from bench.files import typed_path
from bench.records import Physics
from bench.store.location import DEFAULT_STORE

list_app = typer.Typer(
    cls=PanelledGroup,
    help="List suites, tasks, algorithms or tables; alone: the suites.",
    invoke_without_command=True,
)
data_app = typer.Typer(
    cls=PanelledGroup,
    help="Get, check and describe datasets. They lie in ~/.d4rl/datasets or where BENCH_DATA_DIR says.",
    no_args_is_help=True,
)
db_app = typer.Typer(
    cls=PanelledGroup,
    help="Look at the results database, bring it to the newest schema, carry it to other machines.",
    no_args_is_help=True,
)
baseline_app = typer.Typer(
    cls=PanelledGroup,
    help="Freeze what nights are compared with, list it, write notes on it.",
    no_args_is_help=True,
)

export_app = typer.Typer(
    cls=PanelledGroup,
    help="Write what is stored for other programs; `bench db export` writes stores and data frames.",
    no_args_is_help=True,
)


# bench list


@list_app.callback()
def list_alone(ctx: typer.Context) -> None:
    """List suites, tasks, algorithms or tables; alone: the suites."""
    if ctx.invoked_subcommand is None:
        suites()
        typer.echo("\n`bench list tasks`, `algorithms` and `tables` list the rest.")


@list_app.command(cls=Panelled)
def suites() -> None:
    """List the suites."""
    from bench.cli import listing as work

    work.list_suites()


@list_app.command(cls=Panelled)
def tasks(
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="SUITE",
            help="Only the tasks of this suite.",
            autocompletion=names_of("suite"),
        ),
    ] = None,
) -> None:
    """List the tasks: dimensions, steps per episode, rows of the dataset, and how its simulator was proven.

    proof: the largest error of any position or velocity after one step, against recorded steps of the MuJoCo
    2.1.0 that made D4RL's data.
    """
    from bench.cli import listing as work

    work.list_tasks(suite)


@list_app.command(cls=Panelled)
def algorithms() -> None:
    """List the methods that can be trained, with their variants."""
    from bench.cli import listing as work

    work.list_algorithms()


@list_app.command(cls=Panelled)
def tables() -> None:
    """List the tables that `bench report` makes, with the numbers that a paper prints in them."""
    from bench.cli import listing as work

    work.list_tables()


# bench data


Names = Annotated[
    list[str],
    typer.Argument(metavar="TASK|SUITE", help="Tasks or suites.", autocompletion=names_of("task or suite")),
]


@data_app.command("list", cls=Panelled)
def list_datasets(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK|SUITE",
            help="The files of these, one by one.",
            autocompletion=names_of("task or suite"),
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every file, one by one.")] = False,
    paths: Annotated[bool, typer.Option("--paths", help="Show where each file lies or belongs.")] = False,
) -> None:
    """List which datasets are there: a line per suite; for names or --all a line per file.

    Sizes of files that are not there are those to be fetched; what is collected or generated here costs no
    download.
    """
    from bench.cli import data as work

    if paths:
        work.list_paths(names)
    elif names or everything:
        work.list_datasets(names)
    else:
        work.list_suites()


@data_app.command(cls=Panelled)
def fetch(
    names: Names,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FOLDER|URL",
            help="Where they lie, in the place of mirrors and of D4RL's server.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Get again what is there, in place of another file.")
    ] = False,
) -> None:
    """Get D4RL's files; only a file whose SHA-256 is the known one is taken.

    Files of the data folder under other names are tried first, then mirrors, then D4RL's server.
    BENCH_D4RL_MIRRORS may name mirrors, separated by commas: addresses or folders, in which the files lie as
    at D4RL's or side by side, in folders under any name.
    """
    from bench.cli import obtain as work

    work.fetch(names, source, overwrite=overwrite)


@data_app.command(cls=Panelled)
def add(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="HDF5 in one of the layouts of D4RL; or minari:NAME, a set of Minari."
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Of the task that it becomes.", rich_help_panel=WHAT)
    ],
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            metavar="ROBOT",
            help="What judges the policies: hopper, pen, ...",
            rich_help_panel=WHAT,
            autocompletion=names_of("environment"),
        ),
    ] = None,
    preset_of: PresetOfOption = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="LOW,HIGH",
            help="Returns that count as score 0 and 100; by default D4RL's of the robot.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="In the place of another that was added under the name.", rich_help_panel=WHAT
        ),
    ] = False,
) -> None:
    """Take in a dataset of your own: check it, keep a copy, enter it in your catalogue.

    The catalogue is the file that BENCH_TASKS names, else tasks.yaml in this folder; it may be edited. Scores
    on such data are shown as foreign, and held against no paper's.
    """
    from bench.cli import obtain as work

    work.add(file, name, environment, reference, preset_of, replace=replace)


@data_app.command("info", cls=Panelled)
def describe_datasets(names: Names) -> None:
    """Describe datasets: episodes, returns, lengths, normalised score."""
    from bench.cli import data as work

    work.info(names)


@data_app.command(cls=Panelled)
def collect(
    names: Names,
    transitions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=between(1, MOST_ROWS),
            help="Rows of each file; by default the task's, which are D4RL's.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", callback=between(0, LARGEST_NUMBER), help="By default the task's."),
    ] = None,
    physics: Annotated[
        Physics | None,
        choice("physics", Physics, metavar="PHYSICS", help="d4rl or modern; by default the task's."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            parser=typed_path,
            help="File to write; by default where `bench run` finds it.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=between(1, MOST_THREADS),
            help="By default all cores. The bytes do not depend on it.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make again what is there.")] = False,
) -> None:
    """Roll out the shipped behaviour policies into datasets of D4RL's layout; generate the 2D problems'.

    Same seed, same machine: same bytes. Each file's SHA-256 is printed and, in the data folder, recorded.
    """
    from bench.cli import obtain as work

    work.collect(names, transitions, seed, physics, out, threads, overwrite=overwrite)


@data_app.command(cls=Panelled)
def verify(
    names: Names,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also replay single steps to see which physics the data has.")
    ] = False,
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", callback=between(10, MOST_ROWS), help="Steps to replay.")
    ] = 2000,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take a content that is not the one first seen.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Check files against what is known of their content, and remember their SHA-256.

    What is found is also noted in the results database, where there is one. Exit code 1 where a file differs
    from what is known of it.
    """
    from bench.cli import obtain as work

    work.verify(names, rows if replay else None, store, accept=accept)


# bench db


@db_app.command(cls=Panelled)
def upgrade(store: StoreOption = DEFAULT_STORE) -> None:
    """Bring an older results database to the newest schema."""
    from bench.cli import db as work

    work.upgrade(store)


@db_app.command("info", cls=Panelled)
def describe_store(
    check: Annotated[
        bool, typer.Option("--check", help="Read every cell too, and say which are damaged.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show the schema, the size, and the rows and columns of every table and view."""
    from bench.cli import db as work

    work.info(store, check=check)


@db_app.command(cls=Panelled)
def export(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", parser=typed_path, help="File to write: .sqlite or .parquet.")
    ],
    what: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help=f"For .parquet: {', '.join(FRAMES)}; the first if left out.",
            autocompletion=one_of(FRAMES),
        ),
    ] = None,
    weights: Annotated[
        bool,
        typer.Option(
            "--weights",
            help="For .sqlite: copy the files of weights beside it. What 2D problems show goes along anyway.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a portable file: the whole store (.sqlite), or one table for data frames (.parquet).

    Every command opens the .sqlite file as it does any store, and `bench db merge` unites it with another.
    """
    from bench.cli import db as work

    work.export(out, what, store, weights=weights, force=force)


@db_app.command(cls=Panelled)
def merge(
    into: Annotated[str, typer.Argument(metavar="INTO", help="Store to bring the others into.")],
    others: Annotated[list[str], typer.Argument(metavar="FROM", help="Stores that are only read.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    leave_out_conflicts: Annotated[
        bool, typer.Option("--leave-out-conflicts", help="Merge all that does not contradict.")
    ] = False,
) -> None:
    """Unite stores: bring what the others hold into the first, with the files of weights.

    Where two stores contradict each other, all contradictions are listed and nothing is written. Merging
    twice changes nothing; after an interruption the same command goes on.
    """
    from bench.cli import db as work

    work.merge(into, others, dry_run=dry_run, leave_out_conflicts=leave_out_conflicts)


# bench baseline


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the baseline.")]
Author = Annotated[
    str | None, typer.Option("--by", metavar="WHO", help="Default: git's user.name, else who is logged in.")
]


@baseline_app.command(cls=Panelled)
def freeze(
    name: Name,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why this state is the one to hold on to, in your words.")
    ],
    by: Author = None,
    config: ConfigOption = None,
    run: Annotated[bool, typer.Option("--run", help="Run the trials that are missing.")] = False,
    executor: ExecutorOption = "ray",
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = None,
    device: DeviceOption = "auto",
    accept_mismatch: AcceptMismatchOption = False,
    store: StoreOfNightsOption = None,
) -> None:
    """Freeze the canary's scores, fingerprints and timings as they are now.

    Takes the finished trials of the canary's cells under its present configuration; where some are missing it
    says which, and the command that makes them.
    """
    from bench.cli import nightly as work

    settings = work.Settings(
        executor=executor,
        seeds_per_stack=seeds_per_stack,
        gpus_per_stack=gpus_per_stack,
        cpus_per_stack=cpus_per_stack,
        device=device,
        accept_mismatch=accept_mismatch,
    )
    work.freeze(name, reason, by, config, store, settings, run=run)


@baseline_app.command("list", cls=Panelled)
def list_baselines(store: StoreOfNightsOption = None, config: ConfigOption = None) -> None:
    """Show the baselines of a store with their notes, the latest first."""
    from bench.cli import status as work

    work.list_baselines(config, store)


@baseline_app.command(cls=Panelled)
def annotate(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be known about it.")],
    by: Author = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="The text explains the exact differences as they are now: they are no longer red.",
        ),
    ] = False,
    config: ConfigOption = None,
    store: StoreOfNightsOption = None,
) -> None:
    """Write a note on a baseline, which is itself never changed.

    With --accept the note excuses exact layers that differ from the baseline just as they do now, such as
    losses in another order of summation; a further difference is red again.
    """
    from bench.cli import nightly as work

    work.annotate(name, text, by, config, store, accept=accept)


# bench export


@export_app.command(cls=Panelled)
def tensorboard(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", parser=typed_path, help="Folder of TensorBoard's runs."),
    ],
    suite: Annotated[str, of_grid("suite", "Only the tasks of these suites.")] = "",
    tasks: Annotated[str, of_grid("task", "Only these tasks.")] = "",
    algos: Annotated[str, of_grid("method", "Only these methods.")] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write learning curves, training metrics, scores and timings of every trial for TensorBoard.

    Each trial is a run, TASK/METHOD-HASH/seed-N. Again: what is new since then is added.
    """
    from bench.cli import report
    from bench.cli import tensorboard as work

    work.export(folder, report.only(suite, tasks, algos, store), store)
