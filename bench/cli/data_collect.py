"""`bench data collect`: rolls behaviour policies out into datasets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.catalog import Task


def collect(
    name: Annotated[str, typer.Argument(metavar="TASK|SUITE", help="A collected task, or a suite of them.")],
    transitions: Annotated[
        int | None, typer.Option(min=1, help="Rows of each file; by default the task's, which are D4RL's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="By default the task's.")] = None,
    physics: Annotated[
        str | None, typer.Option(help="d4rl or modern; by default the task's.", metavar="PHYSICS")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default the data folder's, where runs find it.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="By default all cores. The bytes do not depend on it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Collect again what is there.")] = False,
) -> None:
    """Collect a dataset in D4RL's layout by rolling out the shipped behaviour policies.

    Same seed, same machine: same bytes. The file's SHA-256 is printed and recorded.
    """
    from bench.catalog import load_catalog
    from bench.cli.progress import shown_progress
    from bench.data import collect as collection
    from bench.data.ledger import Ledger
    from bench.data.paths import data_folder, dataset_path

    catalog = load_catalog()
    tasks = catalog.suites[name].tasks if name in catalog.suites else (catalog.task(name),)
    if out and len(tasks) > 1:
        raise BenchError(f"--out {out}", f"{name} is a suite of {len(tasks)} files.", "Leave --out away.")
    for task in tasks:
        path = out or dataset_path(task)
        if task.collected and path.exists() and not overwrite:
            print(f"{path} is there already; --overwrite collects it again.")
            continue
        started = time.monotonic()
        with shown_progress(f"collecting {task.name}", "transitions") as progress:
            digest = collection.collect(task, path, transitions, seed, progress, physics, threads)
        rate = _rows(task, transitions) / (time.monotonic() - started)
        print(f"{path}\n  {_rows(task, transitions):,} rows, {rate:,.0f} per second, SHA-256 {digest}")
        if path.resolve().is_relative_to(data_folder()):
            Ledger().look_up(path, accept=True)


def _rows(task: Task, transitions: int | None) -> int:
    return transitions or task.rows or 0
