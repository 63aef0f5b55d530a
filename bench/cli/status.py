"""`bench status`: what ran, what is left, what failed and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from bench.cli.common import StoreOption
from bench.cli.tables import print_table
from bench.store.location import DEFAULT_STORE, locate

if TYPE_CHECKING:
    from bench.store.progress import Cell, StoredFailure


def status(store: StoreOption = DEFAULT_STORE) -> None:
    """Show how far every cell is, what failed and why, and which commands go on."""
    from bench.store.database import open_store
    from bench.store.progress import cells, commands_left, failures

    with open_store(store, read_only=True) as opened:
        counted = cells(opened)
        failed = [failure for failure in failures(opened) if failure.current]
        left = commands_left(opened)
    if not counted:
        typer.echo(f"The store {locate(store)} holds no trials yet; `bench run` makes them.")
        return
    _show_cells(counted)
    _show_failures(failed)
    _show_left(counted, left)


def _show_cells(cells: Sequence[Cell]) -> None:
    counts = ("finished", "running", "planned", "failed")
    print_table(
        ("task", "algorithm", "variant", "physics", "budget", *counts),
        [
            (
                cell.task,
                cell.algorithm,
                cell.variant,
                cell.physics,
                f"{cell.budget:g}",
                *(str(getattr(cell, name) or "") for name in counts),
            )
            for cell in cells
        ],
        right=("budget", *counts),
    )


def _show_failures(failures: Sequence[StoredFailure]) -> None:
    if not failures:
        return
    typer.echo(f"\nFailed ({len(failures)}):")
    print_table(
        ("trial", "task", "algorithm", "seed", "step", "attempt", "why"),
        [
            (
                str(failure.trial_id),
                failure.record.trial.task,
                failure.record.trial.algorithm,
                str(failure.record.trial.seed),
                f"{failure.record.step:,}",
                str(failure.attempt),
                f"{failure.record.error}: {failure.record.message}".partition("\n")[0],
            )
            for failure in failures
        ],
        right=("trial", "seed", "step", "attempt"),
    )
    typer.echo("\nTo try them again:")
    for command in dict.fromkeys(failure.command for failure in failures):
        typer.echo(f"  {_with_retry(command)}")


def _show_left(cells: Sequence[Cell], commands: Sequence[str]) -> None:
    total = {
        name: sum(getattr(cell, name) for cell in cells)
        for name in ("finished", "failed", "running", "planned")
    }
    left = total["running"] + total["planned"]
    typer.echo(f"\n{total['finished']} finished, {total['failed']} failed, {left} left.")
    if left:
        typer.echo("Where nothing runs any more, this goes on:")
    for command in commands:
        typer.echo(f"  {command}")


def _with_retry(command: str) -> str:
    return command if "--retry" in command else f"{command} --retry failed"
