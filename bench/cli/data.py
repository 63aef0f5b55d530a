"""`bench data`: get datasets, collect them, check them, look at them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.catalog import Task, load_catalog
from bench.cli.common import (
    LARGEST_NUMBER,
    MOST_ROWS,
    MOST_THREADS,
    StoreOption,
    choice,
    typed_command,
)
from bench.cli.errors import show_error
from bench.cli.output import print_table
from bench.cli.progress import shown_progress
from bench.data.folder import Entry, Ledger, data_folder, dataset_path
from bench.data.info import Summary, summarise
from bench.data.manifest import Manifest, known_file, load_manifest, verification_of
from bench.data.replay import ReplayReport
from bench.data.replay import replay as replay_file
from bench.envs import physics_under
from bench.errors import BenchError, WorkFailedError, unknown_name
from bench.files import typed_path
from bench.provenance import describe_run
from bench.records import DatasetRecord, Physics
from bench.store.location import DEFAULT_STORE

if TYPE_CHECKING:
    # What needs the simulator, a database or the network is imported where it is used.
    from bench.data.verify import VerificationReport
    from bench.store.database import Store

SPREAD = "± is the standard deviation over whole episodes; score 0 is random, 100 expert."

app = typer.Typer(
    help="Get, check and describe datasets. They lie in ~/.d4rl/datasets or where BENCH_DATA_DIR says.",
    no_args_is_help=True,
)
Names = Annotated[list[str], typer.Argument(metavar="TASK|SUITE...", help="Tasks or suites.")]


def tasks_named(names: list[str]) -> list[Task]:
    """Tasks by their own names or those of suites, each once, in the order given.

    Raises
    ------
    BenchError : a name is neither a task nor a suite.
    """
    catalog = load_catalog()
    chosen: dict[str, Task] = {}
    for name in (part for argument in names for part in argument.split(",") if part):
        if name in catalog.suites:
            chosen |= {task.name: task for task in catalog.suites[name].tasks}
        elif name in catalog.tasks:
            chosen[name] = catalog.tasks[name]
        else:
            known = [*catalog.tasks, *catalog.suites]
            raise unknown_name("task or suite", name, known, "bench list tasks")
    return list(chosen.values())


@app.command("list")
def list_(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK|SUITE...]", help="Only these tasks or suites.")
    ] = None,
    paths: Annotated[bool, typer.Option("--paths", help="Show where each file lies or belongs.")] = False,
) -> None:
    """List which datasets are there and what is known of them."""
    tasks = tasks_named(names) if names else list(load_catalog().tasks.values())
    if paths:
        print_table(("task", "file"), [(task.name, str(dataset_path(task))) for task in tasks])
        return
    ledger, manifest, rows = Ledger(), load_manifest(), []
    for task in tasks:
        path = dataset_path(task)
        entry = ledger.known(path) if path.is_file() else None
        rows.append(
            (
                task.name,
                _megabytes(path) if path.is_file() else "missing",
                f"{entry.rows:,}" if entry and entry.rows else "",
                _content(task, entry, manifest) or ("not checked" if path.is_file() else ""),
                entry.replay if entry and entry.replay != "unverified" else "",
            )
        )
    print_table(("task", "size", "rows", "content", "replay"), rows, right=("size", "rows"))
    typer.echo(f"Folder: {data_folder()} (--paths shows each file)")


@app.command()
def fetch(
    names: Names,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Get again what is there, in place of another file.")
    ] = False,
) -> None:
    """Get D4RL's files; only a file whose SHA-256 is the known one is taken.

    Files of the data folder under other names are tried first, then mirrors, then D4RL's server.
    BENCH_D4RL_MIRRORS may name mirrors, separated by commas: addresses or folders, in which the files lie as
    at D4RL's or side by side.
    """
    from bench.data.fetch import fetch as fetch_file

    def get(task: Task) -> None:
        with shown_progress(task.name, "bytes") as progress:
            fetched = fetch_file(task, progress, overwrite=overwrite)
        state = "now at" if fetched.source else "already at"
        typer.echo(f"{task.name}: {state} {fetched.path} ({_megabytes(fetched.path)})")
        origin = f", from {fetched.source}" if fetched.source else ""
        if known_file(task):
            typer.echo(f"  D4RL's own file by its SHA-256{origin}")
        else:
            typer.echo(
                f"  not known to be D4RL's{origin}; `bench data verify {task.name}` checks its content"
            )

    for_each(tasks_named(names), get)


@app.command()
def info(names: Names) -> None:
    """Describe datasets: episodes, returns, lengths, normalised score."""
    summaries: list[Summary] = []
    tasks = tasks_named(names)
    try:
        for_each(tasks, lambda task: summaries.append(summarise(dataset_path(task), task)))
    finally:
        if len(tasks) == 1 and summaries:
            _print_summary(summaries[0])
        elif summaries:
            _print_summaries(summaries)


@app.command()
def collect(
    names: Names,
    transitions: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_ROWS, help="Rows of each file; by default the task's, which are D4RL's."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_NUMBER, help="By default the task's.")
    ] = None,
    physics: Annotated[
        Physics | None,
        choice("physics", Physics, metavar="NAME", help="d4rl or modern; by default the task's."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", parser=typed_path, help="File to write; by default where `bench run` finds it."
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="By default all cores. The bytes do not depend on it."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make again what is there.")] = False,
) -> None:
    """Roll out the shipped behaviour policies into datasets of D4RL's layout; generate the 2D problems'.

    Same seed, same machine: same bytes. Each file's SHA-256 is printed and, in the data folder, recorded.
    """
    from bench.data.collect import collect as collect_file
    from bench.data.generate import write_generated

    tasks = tasks_named(names)
    if out and len(tasks) > 1:
        raise BenchError(
            f"--out {out}", f"It names one file, and {len(tasks)} tasks were asked for.", "Leave --out away."
        )
    for task in tasks:
        path = out or dataset_path(task)
        if (task.collected or task.generated) and path.exists() and not overwrite:
            typer.echo(f"{task.name}: already at {path}; --overwrite makes it again.")
            continue
        started = time.monotonic()
        with shown_progress(task.name, "rows") as progress:
            if task.generated:
                physics_under(task, physics)
                digest = write_generated(task, path, transitions, seed)
            else:
                digest = collect_file(task, path, transitions, seed, progress, physics, threads)
        rows = transitions or task.rows or 0
        rate = rows / (time.monotonic() - started)
        typer.echo(f"{task.name}: {rows:,} rows, {rate:,.0f} per second, now at {path}")
        typer.echo(f"  SHA-256 {digest}")
        if not out:
            Ledger().look_up(path, accept=True)


@app.command()
def verify(
    names: Names,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also replay single steps to see which physics the data has.")
    ] = False,
    rows: Annotated[int, typer.Option("--rows", min=10, max=MOST_ROWS, help="Steps to replay.")] = 2000,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take a content that is not the one first seen.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Check files against what is known of their content, and remember their SHA-256.

    What is found is also noted in the results database, where there is one. Exit code 1 where a file differs
    from what is known of it.
    """
    from bench.data.verify import record_of
    from bench.data.verify import verify as verify_file

    found: list[DatasetRecord] = []

    def check(task: Task) -> None:
        path = dataset_path(task)
        report = verify_file(task, path, accept=accept)
        entry = report.entry
        _print_verification(report)
        if replay:
            replayed = replay_file(path, task, rows)
            entry = Ledger().note(path, entry, replay=replayed.answer)
            _print_replay(replayed)
        found.append(record_of(task, entry))
        if report.status == "mismatch":
            wrong = ", ".join(check.name for check in report.checks if check.outcome == "mismatch")
            raise WorkFailedError(f"{task.name}: {wrong} differ from what is known", "", f"File: {path}")

    tasks = tasks_named(names)
    with ExitStack() as held:
        # Opened before the work, so that a store that cannot be written is told at once.
        opened = _opened(store)
        if opened is not None:
            held.enter_context(opened)
            held.callback(_note, opened, found)
        for_each(tasks, check)


def _opened(store: str) -> Store | None:
    """The results database; None where the default one has not been made yet."""
    from bench.store.database import open_store
    from bench.store.sqlite import MissingStoreError

    try:
        return open_store(store, create=False)
    except MissingStoreError:
        if store != DEFAULT_STORE:
            raise
        return None


def _note(store: Store, found: Sequence[DatasetRecord]) -> None:
    from bench.store.writer import Writer

    if not found:
        return
    with Writer(store) as writer:
        run = describe_run(typed_command())
        writer.begin_run(run)
        for dataset in found:
            writer.note_dataset(dataset)
        writer.end_run(run.run_id)
    typer.echo(f"Noted in the store {store.location}: {', '.join(dataset.name for dataset in found)}")


def _print_verification(report: VerificationReport) -> None:
    typer.echo(f"{report.task}: {report.status}")
    rows = [(check.name, check.expected, check.found, check.outcome) for check in report.checks]
    print_table(("check", "expected", "found", "outcome"), rows)
    typer.echo(f"SHA-256 {report.entry.sha256}\n  first seen {report.entry.first_seen[:10]}, {report.path}")


def _print_replay(report: ReplayReport) -> None:
    typer.echo(f"\nOne-step replay of {report.rows:,} rows: {report.answer}")
    rows = [
        (physics, *(f"{value:.1e}" for value in (errors.median, errors.p90, errors.p99, errors.largest)))
        for physics, errors in report.errors.items()
    ]
    columns = ("physics", "median", "90 %", "99 %", "largest")
    print_table(columns, rows, right=columns[1:])
    typer.echo(
        f"Error: largest difference (m, rad, m/s, rad/s), the distance travelled left out.\n"
        f"Median motion in one step: {report.motion:.2g}. States are stored as {report.precision}.\n"
        f"Answer: {report.rule}."
    )


def for_each(tasks: list[Task], action: Callable[[Task], None]) -> None:
    """Do `action` for every task; one that fails is told and does not keep the others from their turn."""
    if len(tasks) == 1:
        action(tasks[0])
        return
    failed = []
    for task in tasks:
        try:
            action(task)
        except BenchError as error:
            show_error(error)
            failed.append(task.name)
    if failed:
        raise WorkFailedError(f"{len(failed)} of {len(tasks)} failed", ", ".join(failed), "")


def _content(task: Task, entry: Entry | None, manifest: Manifest) -> str:
    """What was found of a file; empty where nothing was."""
    if entry is None or entry.verification is None:
        return ""
    # An older ledger, or one that somebody edited, may call another file verified.
    record = DatasetRecord(task.name, entry.sha256, entry.rows or 0, entry.verification, entry.replay)
    return verification_of(record, manifest)


def _print_summary(found: Summary) -> None:
    rows = [
        ("rows", f"{found.rows:,}"),
        ("layout", found.layout),
        ("kept for training", f"{found.transitions:,}"),
        ("terminals", f"{found.terminals:,}"),
        ("cut off", f"{found.timeouts:,}"),
        ("whole episodes", f"{found.episodes:,}"),
        ("steps per episode", f"{found.mean_length:.1f}"),
        ("return", f"{_return(found.mean_return, 1)} ± {_return(found.return_deviation, 1)}"),
        ("lowest, highest", f"{_return(found.lowest_return, 1)}, {_return(found.highest_return, 1)}"),
        ("normalised score", f"{found.mean_score:.1f} ± {found.score_deviation:.1f}"),
        *([("jumps across the maze", f"{found.jumps:,}")] if found.jumps is not None else []),
        ("physics", found.physics or "not stated"),
    ]
    print_table((found.task, ""), rows, right=("",))
    typer.echo(SPREAD)


def _print_summaries(summaries: list[Summary]) -> None:
    rows = [
        (
            found.task,
            f"{found.episodes:,}",
            f"{found.mean_length:.0f}",
            f"{_return(found.mean_return)} ± {_return(found.return_deviation)}",
            f"{found.mean_score:.1f} ± {found.score_deviation:.1f}",
        )
        for found in summaries
    ]
    columns = ("task", "eps.", "steps", "return", "score")
    print_table(columns, rows, right=columns[1:])
    typer.echo(SPREAD)


def _return(value: float, decimals: int = 0) -> str:
    # The 2D problems earn 1 or so in an episode; robots earn thousands.
    return f"{value:.{decimals if abs(value) >= 10 else 2}f}"


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:,.1f} MB"
