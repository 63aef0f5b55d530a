"""`bench data collect`: rolls the shipped behaviour policies out into datasets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import LARGEST_NUMBER, MOST_ROWS, MOST_THREADS
from bench.cli.data import Names, tasks_named
from bench.cli.progress import shown_progress
from bench.errors import BenchError
from bench.files import typed_path


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
        str | None, typer.Option(metavar="NAME", help="d4rl or modern; by default the task's.")
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
    from bench.data.folder import Ledger, dataset_path
    from bench.data.generate import write_generated
    from bench.envs import physics_under

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
