"""`bench data verify`: holds files against what is known of them, and tells the store."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import MOST_ROWS, StoreOption, typed_command
from bench.cli.data import Names, for_each, tasks_named
from bench.cli.tables import print_table
from bench.errors import WorkFailedError
from bench.store.location import DEFAULT_STORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.catalog import Task
    from bench.data.replay import ReplayReport
    from bench.data.verify import VerificationReport
    from bench.records import DatasetRecord
    from bench.store.database import Store


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
    from bench.data.folder import Ledger, dataset_path
    from bench.data.replay import replay as replay_file
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
    from bench.provenance import describe_run
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
