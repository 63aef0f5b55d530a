"""`bench db`: the results database itself."""

from __future__ import annotations

import typer

from bench.cli import db_export, db_merge
from bench.cli.common import StoreOption
from bench.cli.tables import print_table
from bench.store.location import DEFAULT_STORE, locate

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
def info(store: StoreOption = DEFAULT_STORE) -> None:
    """Show the schema, the size, and the rows and columns of every table and view."""
    from bench.store.contents import describe
    from bench.store.database import open_store

    with open_store(store, read_only=True) as opened:
        contents = describe(opened)
        typer.echo(
            f"{opened.location}: {contents.dialect}, schema {contents.revision}{_size(contents.size_bytes)}\n"
        )
    print_table(
        ("name", "rows", "columns"),
        [(table.name, f"{table.rows:,}", ", ".join(table.columns)) for table in contents.tables],
        right=("rows",),
    )


app.command()(db_export.export)
app.command()(db_merge.merge)


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f", {size_bytes / 1e6:.1f} MB"
