"""`bench nightly`: run the canary grid, hold it against the baseline and the papers, say what fired."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import CpusPerStackOption, GpusPerStackOption, SeedsPerStackOption, typed_command
from bench.cli.nightly_work import (
    ConfigOption,
    DeviceOption,
    ExecutorOption,
    StoreOption,
    loaded,
    today,
    work_of,
    work_settings,
)
from bench.errors import BenchError, WorkFailedError
from bench.files import typed_path
from bench.store.location import locate, without_password

if TYPE_CHECKING:
    from datetime import date

    from bench.execute.driver import Settings
    from bench.nightly.config import NightlyFile


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
        str | None, typer.Option(help="failed: give that night's failed trials another attempt.")
    ] = None,
    executor: ExecutorOption = "ray",
    seeds_per_stack: SeedsPerStackOption = None,
    gpus_per_stack: GpusPerStackOption = None,
    cpus_per_stack: CpusPerStackOption = 1,
    device: DeviceOption = "auto",
    store: StoreOption = None,
) -> None:
    """Hold a night: exact checks, then the canary with fresh seeds, then speed, drift and the papers.

    Exit code 0: green. 1: red, and the summary says why and what to do. Interrupted, the same command goes
    on; the seeds follow from the date.
    """
    from bench.nightly.night import NightRequest, hold_night

    if retry not in (None, "failed"):
        raise BenchError(f"--retry {retry}", "", "The only choice is: --retry failed")
    file, place = loaded(config, store)
    # Whose data it is was decided when the baseline was frozen; the night tells of it.
    settings = work_settings(
        executor, seeds_per_stack, gpus_per_stack, cpus_per_stack, device, accept_mismatch=True
    )
    day = today() if night is None else _date(night)
    request = NightRequest(file, day, place, typed_command(), baseline, _again(config, store))
    if dry_run:
        _show(file, request.seeds, settings, place, baseline)
        return
    found = hold_night(request, work_of(settings, place, retry=retry is not None))
    if found is None:
        print(f"Interrupted; the state is saved. To go on: bench nightly --date {day}{request.options}")
        raise typer.Exit(130)

    from bench.nightly.report_files import write_report
    from bench.nightly.summary import summary

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
    from datetime import date

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BenchError(f"date {text!r}", "It is no day.", "For example: --date 2026-11-21") from error


def _show(
    file: NightlyFile, seeds: tuple[int, ...], settings: Settings, store: str, baseline: str | None
) -> None:
    from bench.cli.dry_run import show_grid
    from bench.nightly.papers import margins_of
    from bench.store.baselines import find_baseline, none_yet
    from bench.store.database import opened_if_made

    margins_of(file)
    with opened_if_made(store) as opened:
        if opened is None:
            raise none_yet(store)
        found = find_baseline(opened, baseline)
    frozen = f"frozen {found.frozen_at:%Y-%m-%d} by {found.author}"
    print(f"Against baseline {found.name!r}, {frozen}: {found.reason}")
    print("Exact layers and speed come first. Then:")
    show_grid(file.cells, seeds, settings, store)
