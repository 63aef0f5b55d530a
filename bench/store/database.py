"""Opening a store: SQLite by default, PostgreSQL for several machines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, inspect, select

from bench.errors import BenchError
from bench.store import postgresql, schema, sqlite
from bench.store.claims import database_now, seems_held
from bench.store.faults import explained
from bench.store.location import DEFAULT_STORE, Location, locate
from bench.store.models import Claim
from bench.store.process_lock import WAIT_SECONDS, LockHeldError, upgrading

_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Store:
    """An open results database. Readers use `connect`; only `bench.store.writer.Writer` writes."""

    location: Location
    engine: Engine
    read_only: bool

    @property
    def folder(self) -> Path:
        """Folder that the paths of weights are relative to."""
        return self.location.folder

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection for reading, closed at the end; sees one state of the database throughout."""
        with explained(str(self.location), self.engine), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(
    url_or_path: str | Path = DEFAULT_STORE, *, create: bool = True, read_only: bool = False
) -> Store:
    """Open a results database, and make it first where there is none.

    Parameters
    ----------
    url_or_path : a path, or the URL of an SQLite file or of a PostgreSQL database.
    create : make a missing SQLite file, or the tables in an empty database.
    read_only : no statement can change anything; implies `create=False`.

    Raises
    ------
    BenchError : no database there, one of another application, an older or newer schema, no right to write.
    """
    location = locate(url_or_path)
    create = create and not read_only
    engine = _engine(location, create=create, read_only=read_only)
    try:
        with explained(str(location), engine):
            if create and _revision_of(location, engine) is None:
                _make(location, engine)
            with engine.connect() as connection:
                schema.require_current(connection, str(location))
            if location.path is not None and not read_only:
                sqlite.allow_readers_while_writing(engine)
    except BenchError:
        engine.dispose()
        raise
    return Store(location, engine, read_only)


@contextmanager
def opened_if_made(url_or_path: str | Path) -> Iterator[Store | None]:
    """The store, opened for reading; None where nobody has made it yet.

    Raises
    ------
    BenchError : as `open_store`.
    """
    try:
        store = open_store(url_or_path, read_only=True)
    except (sqlite.MissingStoreError, schema.EmptyStoreError):
        store = None
    try:
        yield store
    finally:
        if store is not None:
            store.close()


def upgrade_store(url_or_path: str | Path = DEFAULT_STORE) -> tuple[str | None, str]:
    """Bring an older database to the newest schema; return the revisions before and after.

    It happens whole or not at all.

    Raises
    ------
    BenchError : no database there, or an empty one; one that is being written; one from a newer version (left
        untouched).
    """
    location = locate(url_or_path)
    engine = _engine(location, create=False, read_only=False)
    try:
        with explained(str(location)):
            # Looked at first, because the lock leaves a file behind.
            schema.require_upgradable(_revision_of(location, engine), str(location))
            with upgrading(location):
                return _upgrade(location, engine)
    finally:
        engine.dispose()


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write; one at a time on both databases, from its beginning to its end.

    So what it has read stays true until it has written: no two claim, plan or number the same.
    """
    with engine.connect().execution_options(writing=True) as connection, connection.begin():
        yield connection


def _engine(location: Location, *, create: bool, read_only: bool) -> Engine:
    if location.path is not None:
        engine = sqlite.engine_for(location.path, create=create, read_only=read_only)
        schema.refuse_foreign(sqlite.tables_without_log(location.path), str(location))
        return engine
    return postgresql.engine_for(location, read_only=read_only)


def _revision_of(location: Location, engine: Engine) -> str | None:
    with engine.connect() as connection:
        return schema.revision_of(connection, str(location))


def _make(location: Location, engine: Engine) -> None:
    # Drivers that start together all find it empty. Whoever comes second must not wait for the lock alone:
    # the first keeps it, as one of the store's writers, for as long as it trains.
    until = time.monotonic() + WAIT_SECONDS
    while _revision_of(location, engine) is None:
        try:
            with upgrading(location):
                _upgrade(location, engine)
        except LockHeldError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOOK_SECONDS)


def _upgrade(location: Location, engine: Engine) -> tuple[str | None, str]:
    with transaction(engine) as connection:
        if location.path is None:
            _refuse_while_worked_on(connection, location)
        before = schema.revision_of(connection, str(location))
        schema.refuse_newer(before, str(location))
        schema.upgrade(connection, str(location))
    return before, schema.head_revision()


def _refuse_while_worked_on(connection: Connection, location: Location) -> None:
    # A server knows no lock that a driver holds for as long as it lives; living claims say that it does.
    if not inspect(connection).has_table(Claim.__tablename__):
        return
    now = database_now(connection)
    claims = connection.execute(select(Claim.run_id, Claim.heartbeat_at).order_by(Claim.run_id))
    run_id = next((claim.run_id for claim in claims if seems_held(claim, location.folder, now)), None)
    if run_id is not None:
        advice = "Wait until it has ended (`bench status`), then give the same command again."
        raise BenchError(f"store {location} is being written by run {run_id}", "", advice)
