"""What a store holds: its schema, tables and views."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select, table

from bench.store.database import Store
from bench.store.schema import revision_of


@dataclass(frozen=True)
class TableContents:
    """One table or view."""

    name: str
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """A database at a glance; `size_bytes` is None for a server."""

    dialect: str
    revision: str | None
    size_bytes: int | None
    tables: tuple[TableContents, ...]


def describe(store: Store) -> Contents:
    """Look at every table and view, views first."""
    path = store.location.path
    with store.connect() as connection:
        inspector = inspect(connection)
        names = [*sorted(inspector.get_view_names()), *sorted(inspector.get_table_names())]
        tables = tuple(
            TableContents(
                name, _rows(connection, name), tuple(c["name"] for c in inspector.get_columns(name))
            )
            for name in names
            if name != "alembic_version"
        )
        size = path.stat().st_size if path else None
        return Contents(connection.dialect.name, revision_of(connection, str(store.location)), size, tables)


def _rows(connection: Connection, name: str) -> int:
    return connection.scalar(select(func.count()).select_from(table(name))) or 0
