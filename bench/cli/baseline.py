"""`bench baseline`: freeze what nights are held against, list it, write notes on it."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import (
    AcceptMismatchOption,
    CpusPerStackOption,
    GpusPerStackOption,
    SeedsPerStackOption,
    typed_command,
)
from bench.cli.nightly_work import (
    ConfigOption,
    DeviceOption,
    ExecutorOption,
    StoreOption,
    loaded,
    work_of,
    work_settings,
)
from bench.cli.tables import print_table
from bench.cli.words import moment
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.nightly.baseline import Gathered
    from bench.nightly.canary import CanaryCell
    from bench.nightly.config import NightlyFile
    from bench.nightly.night import Work
    from bench.nightly_records import BaselineRecord
    from bench.store.writer import Writer

app = typer.Typer(
    help="Freeze what nights are held against, list it, write notes on it.", no_args_is_help=True
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the baseline.")]
_Author = Annotated[
    str | None, typer.Option("--by", metavar="WHO", help="Default: git's user.name, else who is logged in.")
]


@app.command()
def freeze(
    name: _Name,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why this state is the one to hold on to, in your words.")
    ],
    by: _Author = None,
    config: ConfigOption = None,
    run: Annotated[bool, typer.Option("--run", help="Run the trials that are missing.")] = False,
    executor: ExecutorOption = "ray",
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = 1,
    device: DeviceOption = "auto",
    accept_mismatch: AcceptMismatchOption = False,
    store: StoreOption = None,
) -> None:
    """Freeze the canary's scores, fingerprints and timings as they are now.

    Takes the finished trials of the canary's cells under its present configuration; where some are missing it
    says which, and the command that makes them.
    """
    from bench.nightly.baseline import require_complete

    name, words = _required("NAME", name), _required("--reason", reason)
    file, place = loaded(config, store)
    settings = work_settings(
        executor, seeds_per_stack, gpus_per_stack, cpus_per_stack, device, accept_mismatch=accept_mismatch
    )
    _require_new(name, place)
    work = work_of(settings, place)
    cells, gathered = _gathered(file, work, place)
    if run and gathered.left:
        from bench.nightly.canary import baseline_seeds

        if work.run(file.cells, baseline_seeds(file)).left:
            print("Interrupted; the state is saved. The same command goes on.")
            raise typer.Exit(130)
        cells, gathered = _gathered(file, work, place)
    require_complete(gathered, file, place)
    baseline = _freeze(name, words, by or _author(), file, gathered, work, place)
    speed = f", {len(baseline.pace)} timings" if baseline.pace else ""
    print(
        f"Frozen {name!r}: {len(cells)} cells, {len(baseline.scores)} scores, exact layers{speed}. "
        "From now on: bench nightly"
    )
    if other := _of_other_code(baseline, place):
        from bench.nightly.summary import of_other_code

        print(f"Note: {of_other_code(other)}; nights compare theirs with the scores as they are.")


@app.command("list")
def list_(store: StoreOption = None, config: ConfigOption = None) -> None:
    """Show the baselines of a store with their notes, the latest first."""
    from bench.store.baselines import baselines, notes
    from bench.store.database import open_store, opened_if_made

    _, place = loaded(config, store)
    # A store that was named is there, or its name is a slip of the pen.
    opening = opened_if_made(place) if store is None else open_store(place, read_only=True)
    with opening as opened:
        found = [] if opened is None else baselines(opened)
        written = [note for baseline in found for note in notes(opened, baseline.name)]
    if not found:
        print('No baseline yet. Freeze one: bench baseline freeze NAME --reason "..."')
        return
    rows = [
        (
            baseline.name,
            moment(baseline.frozen_at),
            baseline.author,
            str(len(baseline.cells)),
            str(len(baseline.scores)),
            baseline.reason,
        )
        for baseline in found
    ]
    print_table(("name", "frozen", "by", "cells", "scores", "reason"), rows, right=("cells", "scores"))
    if written:
        print()
        accepts = {True: "yes", False: ""}
        notes_ = [
            (
                note.baseline,
                moment(note.written_at),
                note.author,
                accepts[note.fingerprints is not None],
                note.text,
            )
            for note in written
        ]
        print_table(("baseline", "written", "by", "accepts", "note"), notes_)


@app.command()
def annotate(
    name: _Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be known about it.")],
    by: _Author = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="The text explains the exact differences as they are now: they are no longer red.",
        ),
    ] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """Write a note on a baseline, which is itself never changed.

    With --accept the note excuses exact layers that differ from the baseline just as they do now, such as
    losses in another order of summation; a further difference is red again.
    """
    from datetime import UTC, datetime

    from bench.nightly.night import take_fingerprints
    from bench.nightly_records import NoteRecord
    from bench.store.baselines import find_baseline
    from bench.store.database import open_store

    words = _required("TEXT", text)
    file, place = loaded(config, store)
    with open_store(place, read_only=True) as opened:
        find_baseline(opened, name)
    work = work_of(work_settings("local", None, None, 1, "cpu", accept_mismatch=False), place)
    now = take_fingerprints(file, work).as_json() if accept else None
    note = NoteRecord(name, datetime.now(UTC), by or _author(), words, now)
    with _writing(place) as writer:
        writer.annotate(note)
    print(f"Noted on {name!r}." + (" Exact layers as they are now are accepted." if accept else ""))


def _required(option: str, text: str) -> str:
    words = text.strip()
    if not words:
        raise BenchError(f"{option} is empty", "", "Say it in a few words.")
    return words


def _author() -> str:
    """Who types: git's user.name, else the name of the account."""
    if shutil.which("git"):
        answer = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False)
        if answer.stdout.strip():
            return answer.stdout.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # an account without a name, as in some containers
        raise BenchError("it is not known who you are", "", "Say so with --by NAME.") from error


def _require_new(name: str, store: str) -> None:
    """Refuse a name that is taken, before anything is run."""
    from bench.store.baselines import baselines
    from bench.store.database import opened_if_made

    with opened_if_made(store) as opened:
        taken = [] if opened is None else [baseline.name for baseline in baselines(opened)]
    if name in taken:
        why = "Nights were held against it, and what they said would no longer be true."
        raise BenchError(f"baseline {name!r} exists", why, "Freeze another name.")


def _gathered(file: NightlyFile, work: Work, store: str) -> tuple[Sequence[CanaryCell], Gathered]:
    from bench.nightly.baseline import gather
    from bench.nightly.canary import baseline_seeds, canary_cells
    from bench.store.database import opened_if_made

    cells = canary_cells(file, work.obtain)
    with opened_if_made(store) as opened:
        return cells, gather(opened, cells, baseline_seeds(file))


def _freeze(
    name: str, reason: str, author: str, file: NightlyFile, gathered: Gathered, work: Work, store: str
) -> BaselineRecord:
    from bench.catalog import load_catalog
    from bench.nightly.baseline import frozen
    from bench.nightly.night import take_fingerprints, take_pace

    fingerprints = take_fingerprints(file, work)
    pace = take_pace(file, work, load_catalog())
    baseline = frozen(name, reason, author, file, gathered, fingerprints, pace)
    with _writing(store) as writer:
        writer.freeze(baseline)
    return baseline


def _of_other_code(baseline: BaselineRecord, store: str) -> int:
    from bench.nightly.canary import of_other_code
    from bench.store.database import open_store

    seeds = sorted({score.trial.seed for score in baseline.scores})
    with open_store(store, read_only=True) as opened:
        return of_other_code(opened, baseline.cells, seeds)


@contextmanager
def _writing(store: str) -> Iterator[Writer]:
    """The store's writer, with the run of this command."""
    from bench.provenance import describe_run
    from bench.store.database import open_store
    from bench.store.writer import Writer

    with open_store(store, create=False) as opened, Writer(opened) as writer:
        run = describe_run(typed_command())
        writer.begin_run(run)
        yield writer
        writer.end_run(run.run_id)
