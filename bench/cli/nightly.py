"""`bench nightly` and `bench baseline`: hold a night; freeze, list and annotate what it is held against."""

from __future__ import annotations

import getpass
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.catalog import load_catalog
from bench.cli.common import (
    AcceptMismatchOption,
    CpusPerStackOption,
    GpusPerStackOption,
    Retry,
    SeedsPerStackOption,
    choice,
    typed_command,
)
from bench.cli.output import moment, print_table
from bench.errors import BenchError, WorkFailedError
from bench.files import typed_path
from bench.nightly.config import NightlyFile, load_nightly
from bench.provenance import describe_run
from bench.records import BaselineRecord, Device, Executor, NoteRecord
from bench.store.baselines import baselines, find_baseline, none_yet, notes
from bench.store.database import open_store, opened_if_made
from bench.store.location import locate, without_password
from bench.store.writer import Writer

if TYPE_CHECKING:
    # What trains and simulates is imported where it is used: `--help` waits for neither.
    from bench.execute.driver import Settings, Summary
    from bench.execute.grid import Cell
    from bench.nightly.canary import CanaryCell, Gathered
    from bench.nightly.night import Work

_ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", parser=typed_path, help="Instead of the shipped nightly.yaml."),
]
_StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Results database; by default the configuration's."),
]
_ExecutorOption = Annotated[
    Executor, choice("executor", Executor, help="ray: a process per stack; local: one after the other.")
]
_DeviceOption = Annotated[Device, choice("device", Device, help="auto, cpu or cuda.")]
baseline_app = typer.Typer(
    help="Freeze what nights are held against, list it, write notes on it.", no_args_is_help=True
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the baseline.")]
_Author = Annotated[
    str | None, typer.Option("--by", metavar="WHO", help="Default: git's user.name, else who is logged in.")
]


# bench nightly


def nightly(
    config: _ConfigOption = None,
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
    executor: _ExecutorOption = "ray",
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = 1,
    device: _DeviceOption = "auto",
    store: _StoreOption = None,
) -> None:
    """Hold a night: exact checks, then the canary with fresh seeds, then speed, drift and the papers.

    Exit code 0: green. 1: red, and the summary says why and what to do. Interrupted, the same command goes
    on; the seeds follow from the date.
    """
    from bench.nightly.night import NightRequest, run_night

    file, place = _loaded(config, store)
    # Whose data it is was decided when the baseline was frozen; the night tells of it.
    settings = _work_settings(
        executor, seeds_per_stack, gpus_per_stack, cpus_per_stack, device, accept_mismatch=True
    )
    # A night is named by the day on which it begins.
    day = date.today() if night is None else _date(night)
    request = NightRequest(file, day, place, typed_command(), baseline, _again(config, store))
    if dry_run:
        _show_plan(file, request.seeds, settings, place, baseline)
        return
    found = run_night(request, _work_of(settings, place, retry=retry is not None))
    if found is None:
        print(f"Interrupted; the state is saved. To go on: bench nightly --date {day}{request.options}")
        raise typer.Exit(130)

    from bench.nightly.findings import summary, write_report

    print(f"\n{summary(found)}")
    folder = out or locate(place).folder / "nights" / str(day)
    try:
        paths = write_report(found, folder)
    except OSError as error:
        advice = "The night itself is stored. Name another folder with --out."
        raise WorkFailedError(
            f"cannot write {error.filename or folder}", f"{error.strerror}.", advice
        ) from error
    print(f"\nReport: {paths[0]}")
    if found.outcome == "red":
        raise typer.Exit(1)


def _again(config: Path | None, store: str | None) -> str:
    """The options that name configuration and store, as typed."""
    options = (("--config", config), ("--store", store))
    return "".join(
        f" {name} {shlex.quote(without_password(str(value)))}" for name, value in options if value is not None
    )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BenchError(f"date {text!r}", "It is no day.", "For example: --date 2026-11-21") from error


def _show_plan(
    file: NightlyFile, seeds: tuple[int, ...], settings: Settings, store: str, baseline: str | None
) -> None:
    from bench.cli.grid import show_grid
    from bench.nightly.night import margins_of

    margins_of(file)
    with opened_if_made(store) as opened:
        if opened is None:
            raise none_yet(store)
        found = find_baseline(opened, baseline)
    frozen = f"frozen {found.frozen_at:%Y-%m-%d} by {found.author}"
    print(f"Against baseline {found.name!r}, {frozen}: {found.reason}")
    print("Exact layers and speed come first. Then:")
    show_grid(file.cells, seeds, settings, store)


# bench baseline


@baseline_app.command()
def freeze(
    name: _Name,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why this state is the one to hold on to, in your words.")
    ],
    by: _Author = None,
    config: _ConfigOption = None,
    run: Annotated[bool, typer.Option("--run", help="Run the trials that are missing.")] = False,
    executor: _ExecutorOption = "ray",
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = 1,
    device: _DeviceOption = "auto",
    accept_mismatch: AcceptMismatchOption = False,
    store: _StoreOption = None,
) -> None:
    """Freeze the canary's scores, fingerprints and timings as they are now.

    Takes the finished trials of the canary's cells under its present configuration; where some are missing it
    says which, and the command that makes them.
    """
    from bench.nightly.baseline import require_complete

    name, words = _required("NAME", name), _required("--reason", reason)
    file, place = _loaded(config, store)
    settings = _work_settings(
        executor, seeds_per_stack, gpus_per_stack, cpus_per_stack, device, accept_mismatch=accept_mismatch
    )
    _require_new(name, place)
    work = _work_of(settings, place)
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
        from bench.nightly.findings import of_other_code

        print(f"Note: {of_other_code(other)}; nights compare theirs with the scores as they are.")


@baseline_app.command("list")
def list_(store: _StoreOption = None, config: _ConfigOption = None) -> None:
    """Show the baselines of a store with their notes, the latest first."""
    _, place = _loaded(config, store)
    # A store that was named is there, or its name is a slip of the pen.
    opening = opened_if_made(place) if store is None else open_store(place, read_only=True)
    with opening as opened:
        found, written = [], []
        if opened is not None:
            found = baselines(opened)
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


@baseline_app.command()
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
    config: _ConfigOption = None,
    store: _StoreOption = None,
) -> None:
    """Write a note on a baseline, which is itself never changed.

    With --accept the note excuses exact layers that differ from the baseline just as they do now, such as
    losses in another order of summation; a further difference is red again.
    """
    from bench.nightly.night import take_fingerprints

    words = _required("TEXT", text)
    file, place = _loaded(config, store)
    with open_store(place, read_only=True) as opened:
        find_baseline(opened, name)
    work = _work_of(_work_settings("local", None, None, 1, "cpu", accept_mismatch=False), place)
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
    with opened_if_made(store) as opened:
        taken = [] if opened is None else [baseline.name for baseline in baselines(opened)]
    if name in taken:
        why = "Nights were held against it, and what they said would no longer be true."
        raise BenchError(f"baseline {name!r} exists", why, "Freeze another name.")


def _gathered(file: NightlyFile, work: Work, store: str) -> tuple[Sequence[CanaryCell], Gathered]:
    from bench.nightly.canary import baseline_seeds, canary_cells, gather

    cells = canary_cells(file, work.obtain)
    with opened_if_made(store) as opened:
        return cells, gather(opened, cells, baseline_seeds(file))


def _freeze(
    name: str, reason: str, author: str, file: NightlyFile, gathered: Gathered, work: Work, store: str
) -> BaselineRecord:
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

    seeds = sorted({score.trial.seed for score in baseline.scores})
    with open_store(store, read_only=True) as opened:
        return of_other_code(opened, baseline.cells, seeds)


@contextmanager
def _writing(store: str) -> Iterator[Writer]:
    """The store's writer, with the run of this command."""
    with open_store(store, create=False) as opened, Writer(opened) as writer:
        run = describe_run(typed_command())
        writer.begin_run(run)
        yield writer
        writer.end_run(run.run_id)


# The work of both


def _loaded(config: Path | None, store: str | None) -> tuple[NightlyFile, str]:
    """The configuration and the store.

    Raises
    ------
    BenchError : names file, line and key of a mistake, or the file that is not there.
    """
    file = load_nightly(config)
    return file, store or file.settings.store


def _work_settings(
    executor: Executor,
    seeds_per_stack: int | None,
    gpus_per_stack: float | None,
    cpus_per_stack: int,
    device: Device,
    *,
    accept_mismatch: bool,
) -> Settings:
    """How the grid is worked off."""
    from bench.execute.driver import Settings

    return Settings(
        executor=executor,
        seeds_per_stack=seeds_per_stack,
        gpus_per_stack=gpus_per_stack,
        cpus_per_stack=cpus_per_stack,
        device=device,
        accept_mismatch=accept_mismatch,
    )


def _work_of(settings: Settings, store: str, *, retry: bool = False) -> Work:
    """Work by `bench run`'s means; with `retry` trials that failed get a further attempt."""
    from bench.cli.grid import Datasets, device_of, obtained, work_off
    from bench.nightly.night import Work

    datasets = Datasets(obtained)

    def run(cells: Sequence[Cell], seeds: Sequence[int]) -> Summary:
        summary = work_off(cells, seeds, settings, store, datasets)
        if retry and summary.failed_before and not summary.left:
            summary = work_off(cells, seeds, replace(settings, retry_failed=True), store, datasets)
        return summary

    return Work(run, obtained, device_of(settings)[0], lambda text: print(text, flush=True))
