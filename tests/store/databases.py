"""The databases that a store can live in, looked at and changed without going through bench."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, create_engine, insert, inspect, select, text

from bench.store import database
from bench.store.location import locate

only_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what is SQLite's own: pragmas, files, its lock."""


def fetched(url: str, sql: str) -> list[tuple]:
    """Rows as plain SQL gives them, over a connection of its own."""
    with create_engine(locate(url).url).connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def change(url: str, sql: str) -> None:
    """Change the database behind bench's back."""
    with create_engine(locate(url).url).begin() as connection:
        connection.execute(text(sql))


def everything(url: str) -> dict[str, list[tuple]]:
    """Every row of every table, in an order that does not depend on how they lie."""
    engine = create_engine(locate(url).url)
    tables = inspect(engine).get_table_names()
    return {table: sorted(fetched(url, f"SELECT * FROM {table}"), key=repr) for table in tables}


def columns(url: str, table: str) -> list[str]:
    """Names of a table's columns."""
    return [column["name"] for column in inspect(create_engine(locate(url).url)).get_columns(table)]


def copy_to_server(path: Path, url: str) -> None:
    """Make a server's database of the schema that the SQLite file has, with the same rows."""
    ((revision,),) = fetched(str(path), "SELECT version_num FROM alembic_version")
    tables = MetaData()
    source = create_engine(f"sqlite:///{path}")
    tables.reflect(source)
    tables.remove(tables.tables["alembic_version"])
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with source.connect() as old, create_engine(url).begin() as new:
        new.execute(text("SET TIME ZONE 'UTC'"))
        config.attributes["connection"] = new
        command.upgrade(config, revision)
        for table in tables.sorted_tables:
            rows = [dict(row) for row in old.execute(select(table)).mappings()]
            if rows:
                new.execute(insert(table), rows)
            if "id" in table.columns:
                following = f"SELECT COALESCE(MAX(id), 0) + 1 FROM {table.name}"
                sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
                new.execute(text(f"SELECT setval({sequence}, ({following}), false)"))
