"""`bench data fetch`, `add`, `collect` and `verify`: datasets are obtained, and their files checked."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import typer

from bench.catalog import ReferenceScores, Task
from bench.cli.data import for_each, megabytes, print_summary, tasks_named
from bench.cli.output import print_lines, print_table
from bench.cli.progress import shown_progress
from bench.cli.recorded import recorded_run
from bench.data.add import Wanted
from bench.data.add import add as add_file
from bench.data.collect import collect as collect_file
from bench.data.collect import write_generated
from bench.data.fetch import fetch as fetch_file
from bench.data.folder import Ledger, dataset_path
from bench.data.manifest import known_file
from bench.data.replay import ReplayReport, replay
from bench.data.verify import VerificationReport, record_of
from bench.data.verify import verify as verify_file
from bench.envs import physics_under
from bench.errors import BenchError, WorkFailedError
from bench.records import DatasetRecord, Physics
from bench.store.database import Store, open_store
from bench.store.location import DEFAULT_STORE
from bench.store.sqlite import MissingStoreError
from bench.store.writer import Writer
from bench.visible_text import count, shortened

FOREIGN_SCORES = "Scores on it are foreign: shown, and held against no paper's."


def fetch(names: list[str], source: str | None, *, overwrite: bool) -> None:
    """Get D4RL's files; only a file whose SHA-256 is the known one is taken."""

    def get(task: Task) -> None:
        with shown_progress(task.name, "bytes") as progress:
            fetched = fetch_file(task, progress, overwrite=overwrite, source=source)
        state = "now at" if fetched.source else "already at"
        typer.echo(f"{task.name}: {state} {fetched.path} ({megabytes(fetched.path.stat().st_size)})")
        origin = f", from {fetched.source}" if fetched.source else ""
        if known_file(task):
            typer.echo(f"  D4RL's own file by its SHA-256{origin}")
        else:
            typer.echo(
                f"  not known to be D4RL's{origin}; `bench data verify {task.name}` checks its content"
            )

    for_each(tasks_named(names), get)


def add(
    given: str,
    name: str,
    environment: str | None,
    reference: str | None,
    preset_of: str | None,
    *,
    replace: bool,
) -> None:
    """Take in a dataset of the user's own, and say what it is and what to type next."""
    scores = None if reference is None else reference_of(reference)
    wanted = Wanted(name, environment, scores, preset_of)
    added = add_file(given, wanted, replace=replace)
    task = added.task
    print_summary(added.summary)
    reference_scores = f"{task.reference.random:g} is score 0, {task.reference.expert:g} is 100"
    facts = [
        f"{name}: {'entered in' if added.is_new else 'stands already in'} {added.catalogue}.",
        f"Its copy lies in {added.path.parent}, by its SHA-256: {added.path.stem[:12]}...",
        f"Judged by {task.environment} for at most {task.horizon} steps; a return of {reference_scores}.",
    ]
    if added.made_in:
        facts.append(
            f"The set was made in {added.made_in}. This suite judges by the rules and the physics of D4RL's "
            f"{task.environment}, which may differ: docs/your-own-data.md."
        )
    if added.empty:
        facts.append(f"Left out: {count(added.empty, 'episode')} without a step.")
    facts.append(FOREIGN_SCORES)
    follows = "" if task.preset_of else " --preset-of TASK"
    facts.append(f"Next: bench run --tasks {name} --algos bc{follows} --dry-run")
    print_lines(facts)


def reference_of(text: str) -> ReferenceScores:
    """Reference scores from `LOW,HIGH`.

    Raises
    ------
    BenchError : they are not two finite numbers, the second above the first.
    """
    what, example = f"--reference {shortened(text, 80)}", "For example: --reference 0,3000"
    parts = text.split(",")
    if len(parts) != 2:
        raise BenchError(what, "Two returns are wanted: of score 0, and of score 100.", example)
    try:
        low, high = map(float, parts)
    except ValueError as error:
        raise BenchError(what, "These are no two numbers.", example) from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise BenchError(what, "The second must be above the first, and both finite.", example)
    return ReferenceScores(random=low, expert=high)


def collect(
    names: list[str],
    transitions: int | None,
    seed: int | None,
    physics: Physics | None,
    out: Path | None,
    threads: int | None,
    *,
    overwrite: bool,
) -> None:
    """Roll out the shipped behaviour policies into datasets; generate those of the 2D problems."""
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


def verify(names: list[str], replayed_rows: int | None, store: str, *, accept: bool) -> None:
    """Check files against what is known of their content; with `replayed_rows`, replay so many steps too."""
    found: list[DatasetRecord] = []

    def check(task: Task) -> None:
        path = dataset_path(task)
        report = verify_file(task, path, accept=accept)
        entry = report.entry
        _print_verification(report)
        if replayed_rows is not None:
            replayed = replay(path, task, replayed_rows)
            entry = Ledger().note(path, replace(entry, replay=replayed.answer))
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
    try:
        return open_store(store, create=False)
    except MissingStoreError:
        if store != DEFAULT_STORE:
            raise
        return None


def _note(store: Store, found: Sequence[DatasetRecord]) -> None:
    if not found:
        return
    with Writer(store) as writer, recorded_run(writer):
        for dataset in found:
            writer.note_dataset(dataset)
    typer.echo(f"Noted in the store {store.location}: {', '.join(dataset.name for dataset in found)}")


def _print_verification(report: VerificationReport) -> None:
    typer.echo(f"{report.task}: {report.status}")
    rows = [(check.name, check.expected, check.found, check.outcome) for check in report.checks]
    print_table(("check", "expected", "found", "outcome"), rows)
    typer.echo(f"SHA-256 {report.entry.sha256}")
    print_lines([f"  first seen {report.entry.first_seen[:10]}, {report.path}"])


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
