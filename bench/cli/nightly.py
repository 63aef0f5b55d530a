"""`bench nightly` and `bench baseline`: run the job; freeze, list and annotate what it compares with."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import typer

from bench.catalog import load_catalog
from bench.cli.errors import keep_traceback
from bench.cli.grid import Datasets, Settings, Summary, device_of, obtained, show_grid, work_off
from bench.cli.options import typed_command
from bench.cli.recorded import recorded_run
from bench.errors import BenchError, WorkFailedError
from bench.execute.grid import Cell
from bench.files import write_text
from bench.nightly import findings
from bench.nightly.baseline import frozen, require_complete
from bench.nightly.canary import CanaryCell, Gathered, baseline_seeds, canary_cells, gather, of_other_code
from bench.nightly.config import NightlyFile, load_nightly
from bench.nightly.history import NIGHTS_FOLDER, links_from, nights_page
from bench.nightly.night import NightRequest, Work, margins_of, run_night, take_fingerprints, take_pace
from bench.records import NoteRecord
from bench.signals import INTERRUPTED
from bench.store.database import open_store, opened_if_made
from bench.store.location import locate, without_password
from bench.store.nights import baselines, find_baseline, nights, none_yet
from bench.store.writer import Writer

# bench nightly


def nightly(
    config: Path | None,
    store: str | None,
    settings: Settings,
    night: str | None,
    baseline: str | None,
    out: Path | None,
    *,
    dry_run: bool,
    retry: bool,
) -> None:
    """Run the nightly job, and write its report; exit code 1 where it is red."""
    file = load_nightly(config)
    place = store or file.settings.store
    # A night is named by the day on which it begins.
    day = date.today() if night is None else _date(night)
    request = NightRequest(file, day, place, typed_command(), baseline, _again(config, store))
    if dry_run:
        _show_plan(file, request.seeds, settings, place, baseline)
        return
    found = run_night(request, _work_of(settings, place, retry=retry))
    if found is None:
        print(f"Interrupted; the state is saved. To go on: bench nightly --date {day}{request.options}")
        raise SystemExit(INTERRUPTED)
    print(f"\n{findings.summary(found)}")
    beside = locate(place).folder
    folder = out or beside / NIGHTS_FOLDER / str(day)
    # With the nights' own folders, or with the night that was asked to lie elsewhere.
    over_all = out / "nights.html" if out else beside / NIGHTS_FOLDER / "index.html"
    try:
        paths = findings.write_report(found, folder, os.path.relpath(over_all, folder))
        with open_store(place, read_only=True) as opened:
            held = nights(opened)
        write_text(over_all, nights_page(held, links_from(over_all, beside, held)))
    except OSError as error:
        advice = "The night itself is stored. Name another folder with --out."
        raise WorkFailedError(
            f"cannot write {error.filename or folder}", f"{error.strerror}.", advice
        ) from error
    print(f"\nReport: {paths[0]}\nAll nights: {over_all}")
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


def freeze(
    name: str,
    reason: str,
    by: str | None,
    config: Path | None,
    store: str | None,
    settings: Settings,
    *,
    run: bool,
) -> None:
    """Freeze the canary's scores, fingerprints and timings; with `run`, what is missing is made."""
    name, words = _required("NAME", name), _required("--reason", reason)
    file = load_nightly(config)
    place = store or file.settings.store
    _require_new(name, place)
    work = _work_of(settings, place)
    cells, gathered = _gathered(file, work, place)
    if run and gathered.left:
        if work.run(file.cells, baseline_seeds(file)).left:
            print("Interrupted; the state is saved. The same command goes on.")
            raise SystemExit(INTERRUPTED)
        cells, gathered = _gathered(file, work, place)
    require_complete(gathered, file, place)
    author, fingerprints = by or _author(), take_fingerprints(file, work)
    pace = take_pace(file, work, load_catalog())
    baseline = frozen(name, words, author, file, gathered, fingerprints, pace)
    with _writing(place) as writer:
        writer.freeze(baseline)
    speed = f", {len(baseline.pace)} timings" if baseline.pace else ""
    print(
        f"Frozen {name!r}: {len(cells)} cells, {len(baseline.scores)} scores, exact layers{speed}. "
        "From now on: bench nightly"
    )
    seeds = sorted({score.trial.seed for score in baseline.scores})
    with open_store(place, read_only=True) as opened:
        other = of_other_code(opened, baseline.cells, seeds)
    if other:
        print(f"Note: {findings.of_other_code(other)}; nights compare theirs with the scores as they are.")


def annotate(
    name: str, text: str, by: str | None, config: Path | None, store: str | None, *, accept: bool
) -> None:
    """Write a note on a baseline; with `accept`, one that excuses the exact differences as they are now."""
    words = _required("TEXT", text)
    file = load_nightly(config)
    place = store or file.settings.store
    with open_store(place, read_only=True) as opened:
        find_baseline(opened, name)
    work = _work_of(Settings(executor="local", device="cpu"), place)
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
    cells = canary_cells(file, work.obtain)
    with opened_if_made(store) as opened:
        return cells, gather(opened, cells, baseline_seeds(file))


@contextmanager
def _writing(store: str) -> Iterator[Writer]:
    """The store's writer, with the run of this command."""
    with open_store(store, create=False) as opened, Writer(opened) as writer, recorded_run(writer):
        yield writer


# The work of both


def _work_of(settings: Settings, store: str, *, retry: bool = False) -> Work:
    """Work by `bench run`'s means; with `retry` trials that failed get a further attempt."""
    datasets = Datasets(obtained)

    def run(cells: Sequence[Cell], seeds: Sequence[int]) -> Summary:
        summary = work_off(cells, seeds, settings, store, datasets)
        if retry and summary.failed_before and not summary.left:
            summary = work_off(cells, seeds, replace(settings, retry_failed=True), store, datasets)
        return summary

    device, _ = device_of(settings)
    return Work(run, obtained, device, lambda text: print(text, flush=True), keep_traceback)
