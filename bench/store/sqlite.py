"""SQLite as this project uses it: crash-safe, readable while it is written, explicit transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
from pathlib import Path
from urllib.parse import quote

import psutil
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import OperationalError

from bench.errors import BenchError
from bench.store.location import DEFAULT_STORE

_LOG = logging.getLogger(__name__)
# Kinds of file systems that several machines may hold at once; through FUSE they are `fuse.<kind>`.
NETWORK = frozenset(
    """
    9p afs beegfs beegfs_nodev ceph ceph-fuse cifs coda davfs gcsfuse gfs2 glusterfs goofys gpfs juicefs
    lustre moosefs nfs nfs4 ocfs2 orangefs panfs pvfs2 rclone s3fs smb2 smb3 smbfs sshfs virtiofs wekafs
    """.split()  # noqa: SIM905 (a list of so many strings would take a screen)
)
_BUSY_TIMEOUT_SECONDS = 30
_LOOK_SECONDS = 0.02
_HELPER_BYTES = 1 << 16
"""Twice what the first of WAL's shared memory takes."""
_READING = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
)
_READING_PRAGMAS = ("table_", "index_", "foreign_key_", "read_uncommitted")
"""Beginnings of the names of those that SQLAlchemy asks."""
_OTHER_STORE = f"Name another store, for example --store {DEFAULT_STORE}"


class MissingStoreError(BenchError):
    """There is no file where the store should be."""


def engine_for(path: Path, *, create: bool, read_only: bool) -> Engine:
    """An engine on the file at `path`; `create` allows that it is missing.

    Raises
    ------
    BenchError : no such file, a folder, no SQLite database, a folder that cannot be written.
    """
    _check(path, create=create)
    if not read_only:
        _check_folder(path.parent)
        if path.exists() and not os.access(path, os.W_OK):
            raise BenchError(f"store {str(path)!r} cannot be written", "It is read-only.", _OTHER_STORE)
        warn_of_network(path)
    path = path.resolve()  # the process may change its folder later; helper files lie beside the file itself
    uri = _uri(path, create=create, read_only=read_only)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _configure(connection, read_only=read_only)
        except (sqlite3.Error, UnicodeDecodeError):
            connection.close()  # else WAL's helper files stay behind
            raise
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)
    event.listen(engine, "begin", _begin)
    return engine


def tables_without_log(path: Path) -> set[str]:
    """Names of the tables in the file at `path` where a log was left beside it, without opening that log.

    To open it is to write it into the file. Empty where there is no log, or nothing can be told without it.
    """
    path = path.resolve()  # the log lies beside the file itself
    if not path.with_name(path.name + "-wal").exists():
        return set()
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return set()
    finally:
        connection.close()


def allow_readers_while_writing(engine: Engine) -> None:
    """Switch the file to a write-ahead log for good; only for a file known to be ours: its header changes."""
    until = time.monotonic() + _BUSY_TIMEOUT_SECONDS
    with engine.connect().execution_options(sqlite_begins=False) as connection:
        while True:
            try:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                return
            except OperationalError as error:
                # SQLite does not wait for others that are about to write, as drivers are that start together.
                is_held = getattr(error.orig, "sqlite_errorname", "") == "SQLITE_BUSY"
                if not is_held or time.monotonic() > until:
                    raise
            time.sleep(_LOOK_SECONDS)


def _check(path: Path, *, create: bool) -> None:
    # The file is not opened here: closing it would take away the locks that SQLite holds on it for another
    # store of this process.
    mode = _mode_of(path)
    if mode is None:
        if path.is_symlink():
            raise BenchError(
                f"store {str(path)!r} is a link to {str(path.readlink())!r}, which is not there",
                "",
                _OTHER_STORE,
            )
        if not create:
            raise MissingStoreError(f"there is no results database at {str(path)!r}", "",
                                    "`bench run` makes one; --store names another.")  # fmt: skip
    elif stat.S_ISDIR(mode):
        raise BenchError(
            f"store {str(path)!r} is a folder", "", f"Name a file in it: --store {path}/bench.sqlite"
        )
    elif not stat.S_ISREG(mode):
        raise BenchError(f"store {str(path)!r} is no file", "It is a device or a pipe.", _OTHER_STORE)
    elif not os.access(path, os.R_OK):
        raise BenchError(f"store {str(path)!r} cannot be read", "Its rights do not allow it.", _OTHER_STORE)


def _mode_of(path: Path) -> int | None:
    """Kind and rights of the file; None where nothing is there."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BenchError(
            f"store {str(path)!r} cannot be opened", f"{error.strerror}.", _OTHER_STORE
        ) from error


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
    if read_only and not _has_room_for_helpers(path):
        # Where nothing can be written nothing changes.
        mode = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    return f"file:{quote(os.fsencode(path))}?{mode}"


def _has_room_for_helpers(path: Path) -> bool:
    """Whether WAL's helper files can be made beside `path`, and removed again."""
    if not (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)):
        return False
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize >= _HELPER_BYTES


def _configure(connection: sqlite3.Connection, *, read_only: bool) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    if read_only:
        # Not mode=ro: a reader that may not write leaves WAL's helper files behind.
        connection.execute("PRAGMA query_only=ON")
        connection.set_authorizer(_only_reading)
    else:
        connection.execute("PRAGMA synchronous=FULL")


def _only_reading(action: int, what: str | None, *_: str | None) -> int:
    # Beside the tables there is more that a statement could write: ATTACH, VACUUM INTO and some PRAGMAs do.
    if action == sqlite3.SQLITE_PRAGMA:
        allowed = str(what).startswith(_READING_PRAGMAS)
    elif action == sqlite3.SQLITE_UPDATE:
        # How SQLite announces functions that give rows, such as json_each; query_only keeps out real ones.
        allowed = what == "sqlite_master"
    else:
        allowed = action in _READING
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _begin(connection: Connection) -> None:
    # Python's sqlite3 would begin late and leave schema changes outside the transaction.
    options = connection.get_execution_options()
    if options.get("sqlite_begins", True):
        # A writer that took its lock half-way could find that another had written in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writing", False) else "BEGIN DEFERRED")


def warn_of_network(path: Path) -> None:
    """Log a warning where the file at `path` is to be written on a network file system."""
    real = path.resolve()
    above = [mount for mount in psutil.disk_partitions(all=True) if real.is_relative_to(mount.mountpoint)]
    if not above:
        return
    # The deepest; of several at one place the last hides the others.
    mount = max(reversed(above), key=lambda mount: len(Path(mount.mountpoint).parts))
    if mount.fstype.removeprefix("fuse.") in NETWORK:
        _LOG.warning(
            "bench: store %s lies on a network file system (%s, mounted at %s)\n"
            "  SQLite's locks are not reliable between machines there, and its write-ahead log cannot be\n"
            "  shared by them: two machines that write this file may damage it.\n"
            "  Let one machine alone use it, or name a local disk or a server:\n"
            "  --store postgresql+psycopg://user@host/name",
            path,
            mount.fstype,
            mount.mountpoint,
        )
