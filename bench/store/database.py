"""Opening a store (SQLite by default, PostgreSQL for several machines), and bringing it up to date."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, Table, column, inspect, select, table
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import DBAPIError

from bench.errors import BenchError
from bench.store import postgresql, sqlite
from bench.store.claims import database_now, seems_held
from bench.store.damage import RESTORE
from bench.store.faults import explained
from bench.store.location import DEFAULT_STORE, Location, locate
from bench.store.models import Base, Claim, Episode
from bench.store.process_lock import WAIT_SECONDS, LockHeldError, upgrading
from bench.store.views import VIEWS, drop_views, make_views

MIGRATIONS = Path(__file__).parent / "migrations"
_OURS = {"runs", "datasets", "trials", "evaluations", "episodes"}
_VERSION = table("alembic_version", column("version_num"))
_LOOK_SECONDS = 0.05


class EmptyStoreError(BenchError):
    """There is a database, but no store has been made in it yet."""


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
                _require_current(connection, str(location))
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
    except (sqlite.MissingStoreError, EmptyStoreError):
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
            revision = _revision_of(location, engine)
            if revision is None:
                raise _empty(str(location))
            _refuse_newer(revision, str(location))
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
        tables = sqlite.tables_without_log(location.path)
        if tables and tables.isdisjoint(_OURS):
            raise _foreign(tables, str(location))
        return engine
    return postgresql.engine_for(location, read_only=read_only)


def _revision_of(location: Location, engine: Engine) -> str | None:
    with engine.connect() as connection:
        return revision_of(connection, str(location))


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
        before = revision_of(connection, str(location))
        _refuse_newer(before, str(location))
        upgrade(connection, str(location))
    return before, head_revision()


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


def revision_of(connection: Connection, place: str) -> str | None:
    """The revision of the database at `place`; None where it is empty.

    Raises
    ------
    BenchError : the database belongs to another application, or is half a store.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    stored = list(connection.scalars(select(_VERSION))) if _VERSION.name in tables else []
    if not tables >= _OURS and not (stored and set(revisions()) >= set(stored)):
        raise _foreign(tables, place)
    if len(stored) != 1:
        raise _not_whole(place, "It does not say which schema it has")
    return stored[0]


def head_revision() -> str:
    """The newest revision that this version of bench knows."""
    return revisions()[-1]


def revisions() -> list[str]:
    """Those that this version of bench knows, oldest first; a migration's file is named after its revision.

    Read off the names, because every command that opens a store would wait a quarter of a second for Alembic.
    """
    return sorted(file.name.split("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _refuse_newer(revision: str | None, place: str) -> None:
    """Refuse a schema that this version of bench does not know, and change nothing."""
    if revision is not None and revision not in revisions():
        raise BenchError(
            f"store {place} has schema {revision!r}, newer than {head_revision()!r} of this version of bench",
            "It was left untouched.",
            "Install the newer bench, or name another store with --store.",
        )


def _require_current(connection: Connection, place: str) -> None:
    """Refuse a database whose schema is older or newer than this version of bench, or not whole."""
    revision = revision_of(connection, place)
    if revision == head_revision():
        _require_whole(connection, place)
        return
    _refuse_newer(revision, place)
    if revision is None:
        raise _empty(place)
    raise BenchError(
        f"store {place} has schema {revision!r}, older than {head_revision()!r} of this version of bench",
        "It was left untouched.",
        f"Type: bench db upgrade --store {place}",
    )


def upgrade(connection: Connection, place: str) -> None:
    """Bring the database to the newest schema within the caller's transaction.

    Raises
    ------
    BenchError : what the database holds is not what its revision says; the caller's transaction is void.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        with explained(place):
            drop_views(connection)
            command.upgrade(config, "head")
            make_views(connection)
    except DBAPIError as error:
        # No trouble of a disk or a server: a table that is there already, or is not.
        raise _not_whole(place, f"Its upgrade fails: {error.orig}") from error
    _require_whole(connection, place)


def require_relations(connection: Connection, place: str, tables: Iterable[Table]) -> None:
    """Refuse tables with rows that belong to nothing: they would be in no answer, and nobody would know.

    Raises
    ------
    BenchError : names the first of them.
    """
    if connection.dialect.name != "sqlite":
        return  # a server does not let it happen; of an SQLite file any program does
    for checked in tables:
        name = checked.name
        for _, row, of, _ in connection.exec_driver_sql(f"PRAGMA foreign_key_check({name})"):
            which = f"Row {row} of {name!r}" if row is not None else f"A row of {name!r}"
            raise _not_whole(place, f"{which} belongs to a row of {of!r} that is not there")


def _not_whole(place: str, why: str) -> BenchError:
    """The error for a store of which a part is missing, or that something else has changed."""
    return BenchError(f"store {place} is not whole", f"{why}. It was left untouched.", RESTORE)


def _foreign(tables: set[str], place: str) -> BenchError:
    listed = ", ".join(sorted(tables)[:5])
    return BenchError(f"the database at {place} was not made by bench", f"It holds the tables {listed}.",
                      "Name another with --store.")  # fmt: skip


def _empty(place: str) -> EmptyStoreError:
    return EmptyStoreError(f"store {place} is empty", "", f"Type: bench run --store {place} ...")


def _require_whole(connection: Connection, place: str) -> None:
    """Refuse what lacks a table, a view or a column, or has a row without what it belongs to.

    Further columns are nobody's business, as long as rows can be written without them.
    """
    found = {
        name: {column["name"]: column for column in columns}
        for (_, name), columns in inspect(connection).get_multi_columns(kind=ObjectKind.ANY).items()
    }
    for expected in (*Base.metadata.tables.values(), *VIEWS):
        if expected.name not in found:
            raise _not_whole(place, f"It lacks {expected.name!r}")
        for name in expected.columns.keys() - found[expected.name].keys():
            raise _not_whole(place, f"It lacks the column {name!r} of {expected.name!r}")
    for expected in Base.metadata.tables.values():
        _require_filled(expected, found[expected.name], place)
    # Episodes are too many to be asked at every start: their evaluations count them.
    few = [table for table in Base.metadata.tables.values() if table is not Episode.__table__]
    require_relations(connection, place, few)


def _require_filled(expected: Table, found: Mapping[str, ReflectedColumn], place: str) -> None:
    for name, facts in found.items():
        which = f"Its column {name!r} of {expected.name!r}"
        if name not in expected.columns and not facts["nullable"] and facts["default"] is None:
            raise _not_whole(place, f"{which} is not known, but must be filled")
        if name in expected.columns and facts["nullable"] and not expected.columns[name].nullable:
            raise _not_whole(place, f"{which} may be empty")
