"""SQLite as this project uses it: crash-safe, readable while it is written, explicit transactions."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

from bench.errors import BenchError
from bench.store.filesystem import warn_of_network
from bench.store.location import DEFAULT_STORE

_HEADER = b"SQLite format 3\x00"
_BUSY_TIMEOUT_SECONDS = 30
_OTHER_STORE = f"Name another store, for example --store {DEFAULT_STORE}"


def engine_for(path: Path, *, create: bool, read_only: bool) -> Engine:
    """An engine on the file at `path`; `create` allows that it is missing.

    Raises
    ------
    BenchError : no such file, a folder, no SQLite database, a folder that cannot be written.
    """
    _check(path, create=create)
    if not read_only:
        _check_folder(path.parent)
        warn_of_network(path)
    path = path.absolute()  # the process may change its folder later
    uri = _uri(path, create=create, read_only=read_only)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        _configure(connection, read_only=read_only)
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)
    event.listen(engine, "begin", _begin)
    return engine


def allow_readers_while_writing(engine: Engine) -> None:
    """Switch the file to a write-ahead log for good; only for a file known to be ours: its header changes."""
    with engine.connect().execution_options(sqlite_begins=False) as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _check(path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise BenchError(
            f"store {str(path)!r} is a folder", "", f"Name a file in it: --store {path}/bench.sqlite"
        )
    if path.exists():
        with path.open("rb") as file:
            header = file.read(len(_HEADER))
        if header not in (_HEADER, b""):
            raise BenchError(
                f"{str(path)!r} is no results database", "It is not an SQLite file.", _OTHER_STORE
            )
    elif not create:
        raise BenchError(f"there is no results database at {str(path)!r}", "",
                         "`bench run` makes one; --store names another.")  # fmt: skip


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
        why = "The folder is read-only."
    except OSError as error:
        writable, why = False, f"{error.strerror}."
    if not writable:
        raise BenchError(f"results cannot be written into {str(folder)!r}", why, _OTHER_STORE)


def _uri(path: Path, *, create: bool, read_only: bool) -> str:
    mode = "mode=rwc" if create else "mode=rw"
    if read_only and not os.access(path.parent, os.W_OK):
        # Where nothing can be written nothing changes, and WAL's helper files cannot be made either.
        mode = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    return f"file:{quote(str(path))}?{mode}"


def _configure(connection: sqlite3.Connection, *, read_only: bool) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    if read_only:
        # Not mode=ro: a reader that may not write leaves WAL's helper files behind.
        connection.execute("PRAGMA query_only=ON")
    else:
        connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: Connection) -> None:
    # Python's sqlite3 would begin late and leave schema changes outside the transaction.
    options = connection.get_execution_options()
    if options.get("sqlite_begins", True):
        # A writer that took its lock half-way could find that another had written in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writing", False) else "BEGIN DEFERRED")
