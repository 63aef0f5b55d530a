"""A whole store in one file that can be carried anywhere: an SQLite store again, of any store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select

from bench.errors import BenchError
from bench.files import written_whole
from bench.store import schema, sqlite
from bench.store.database import Store, transaction
from bench.store.faults import explained
from bench.store.kept_files import bring, require_kept_names, require_no_links
from bench.store.models import Base, Claim, Weights

Show = Callable[[int, int], None]
"""Is told how many rows are written, and of how many."""

ROWS_AT_A_TIME = 20_000


def check_target(target: Path, store: Store, *, force: bool) -> None:
    """Refuse to write where something would be lost.

    Raises
    ------
    BenchError : the store itself, a folder, a file without `force`, a store that is in use.
    """
    other = "Name another file."
    source = store.location.path
    if source is not None and source.resolve() == target.resolve():
        raise BenchError(f"{str(target)!r} is the store itself", "", other)
    if target.is_dir():
        raise BenchError(f"{str(target)!r} is a folder", "", f"Name a file in it: {target}/bench.sqlite")
    if target.exists() and not force:
        raise BenchError(f"{str(target)!r} exists", "", "Name another file, or replace it with --force.")
    # SQLite would take what lies beside the file for changes of it that are not finished.
    for beside in ("-wal", "-journal"):
        if os.path.lexists(f"{target}{beside}"):
            raise BenchError(
                f"{str(target)!r} is a store that is in use, or was when it was cut off", "", other
            )


def export_sqlite(store: Store, target: Path, show: Show) -> dict[str, int]:
    """Write everything, as it is at one moment, into a store at `target`; return the rows of each table.

    Rows keep their numbers. Who works on a trial at present is left out: nobody does in the copy.
    """
    tables = [table for table in Base.metadata.sorted_tables if table is not Claim.__table__]
    with written_whole(target) as temporary, store.connect() as source:
        # The copy refuses rows that belong to nothing, which an opened store may have among its episodes.
        schema.require_relations(source, str(store.location), tables)
        rows = {table.name: source.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
        engine = sqlite.engine_for(temporary, create=True, read_only=False)
        try:
            with explained(str(target)), transaction(engine) as copy:
                schema.upgrade(copy, str(target))
                done = 0
                for table in tables:
                    for part in _read(table, source, str(store.location)):
                        copy.execute(insert(table), part)
                        done += len(part)
                        show(done, sum(rows.values()))
        finally:
            engine.dispose()
    return rows


def require_weights(store: Store, folder: Path) -> None:
    """Refuse to copy the files of weights of a store where one would leave the folder of either.

    Raises
    ------
    BenchError : the store names a file that is none of its own, or there is a link.
    """
    names = [name for name, _ in _weights(store)]
    require_kept_names(names, str(store.location))
    require_no_links(store.folder, names)
    require_no_links(folder)


def export_weights(store: Store, folder: Path) -> tuple[int, dict[str, str]]:
    """Copy the files of weights to the same places below `folder`, each verified by its hash.

    Returns
    -------
    How many are there now, and what is wrong with each of the others.
    """
    faults = {name: bring(name, sha256, store.folder, folder) for name, sha256 in _weights(store)}
    wrong = {str(store.folder / name): fault for name, fault in faults.items() if fault}
    return len(faults) - len(wrong), wrong


def _weights(store: Store) -> list[tuple[str, str]]:
    """Name and hash of every file of weights."""
    with store.connect() as connection:
        return [tuple(row) for row in connection.execute(select(Weights.path, Weights.sha256).distinct())]


def _read(table: Table, source: Connection, place: str) -> Iterator[list[dict[str, Any]]]:
    """The table's rows, some at a time."""
    # Trouble with this store must not be told as one of the copy.
    with explained(place, source.engine):
        result = source.execution_options(yield_per=ROWS_AT_A_TIME).execute(select(table))
        names = list(result.keys())
        for rows in result.partitions():
            yield [dict(zip(names, row, strict=True)) for row in rows]
