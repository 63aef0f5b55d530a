"""`bench db`: the results database itself."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from bench.cli import db_export, db_merge
from bench.cli.common import StoreOption
from bench.cli.tables import print_table
from bench.errors import WorkFailedError
from bench.store.location import DEFAULT_STORE, locate

_MOST_DAMAGED = 20
"""Damaged cells that are told."""

app = typer.Typer(
    help="Look at the results database, bring it to the newest schema, carry it to other machines.",
    no_args_is_help=True,
)


@app.command()
def upgrade(store: StoreOption = DEFAULT_STORE) -> None:
    """Bring an older results database to the newest schema."""
    from bench.store.database import upgrade_store

    before, after = upgrade_store(store)
    done = "already has" if before == after else f"came from schema {before} to"
    typer.echo(f"The store {locate(store)} {done} schema {after}.")


@app.command()
def info(
    check: Annotated[
        bool, typer.Option("--check", help="Read every cell too, and say which are damaged.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show the schema, the size, and the rows and columns of every table and view."""
    from bench.store.damage import damaged_cells
    from bench.store.database import open_store
    from bench.store.faults import explained
    from bench.store.queries import describe

    with open_store(store, read_only=True) as opened:
        contents = describe(opened)
        with explained(str(opened.location)):
            damaged = list(islice(damaged_cells(opened.engine), _MOST_DAMAGED + 1)) if check else []
        typer.echo(
            f"{opened.location}: {contents.dialect}, schema {contents.revision}{_size(contents.size_bytes)}\n"
        )
    print_table(
        ("name", "rows", "columns"),
        [(table.name, f"{table.rows:,}", ", ".join(table.columns)) for table in contents.tables],
        right=("rows",),
    )
    if damaged:
        more = ["..."] if len(damaged) > _MOST_DAMAGED else []
        raise WorkFailedError(
            f"store {store} is damaged",
            "\n  ".join([*damaged[:_MOST_DAMAGED], *more]),
            "Restore it from a copy, or correct these cells by hand.",
        )
    if check:
        typer.echo("\nEvery cell holds what bench writes there.")


app.command()(db_export.export)
app.command()(db_merge.merge)


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f", {size_bytes / 1e6:.1f} MB"
