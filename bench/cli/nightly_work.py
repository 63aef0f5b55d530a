"""What `bench nightly` and `bench baseline` share: options of the work they run, and how it gets done."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import typed_command
from bench.cli.run import obtained, settings_of
from bench.files import typed_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.execute.driver import Settings, Summary
    from bench.execute.grid import Cell
    from bench.nightly.config import NightlyFile
    from bench.nightly.night import Work

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", parser=typed_path, help="Instead of the shipped nightly.yaml."),
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Results database; by default the configuration's."),
]
ExecutorOption = Annotated[
    str, typer.Option("--executor", help="ray: a process per stack; local: one after the other.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def loaded(config: Path | None, store: str | None) -> tuple[NightlyFile, str]:
    """The configuration and the store.

    Raises
    ------
    BenchError : names file, line and key of a mistake, or the file that is not there.
    """
    from bench.nightly.config import load_nightly

    file = load_nightly(config)
    return file, store or file.settings.store


def work_settings(
    executor: str,
    seeds_per_stack: int | None,
    gpus_per_stack: float | None,
    cpus_per_stack: int,
    device: str,
    *,
    accept_mismatch: bool,
) -> Settings:
    """How the grid is worked off."""
    return settings_of(
        executor,
        retry=None,
        seeds_per_stack=seeds_per_stack,
        gpus_per_stack=gpus_per_stack,
        cpus_per_stack=cpus_per_stack,
        device=device,
        runner="auto",
        address=None,
        accept_mismatch=accept_mismatch,
    )


def work_of(settings: Settings, store: str, *, retry: bool = False) -> Work:
    """Work by `bench run`'s means; with `retry` trials that failed get a further attempt."""
    from dataclasses import replace

    from bench.cli.watching import watching
    from bench.execute.datasets import Datasets
    from bench.execute.driver import device_of, run_grid
    from bench.nightly.night import Work

    command, datasets = typed_command(), Datasets(obtained)

    def run(cells: Sequence[Cell], seeds: Sequence[int]) -> Summary:
        with watching() as watcher:
            summary = run_grid(cells, seeds, settings, store, command, watcher, datasets)
            if retry and summary.failed_before and not summary.left:
                again = replace(settings, retry_failed=True)
                summary = run_grid(cells, seeds, again, store, command, watcher, datasets)
        return summary

    return Work(run, obtained, device_of(settings)[0], lambda text: print(text, flush=True))


def today() -> date:
    """The date here: a night is named by the day on which it begins."""
    return date.today()
