"""Turns what a database says when it cannot go on into errors that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from bench.errors import BenchError, WorkFailedError

# Beginning of SQLite's error name -> (what went wrong, what to do).
_REQUESTS = {
    "SQLITE_READONLY": ("cannot be written", "Name another store with --store."),
    "SQLITE_NOTADB": ("is no results database", "Name another store with --store."),
    "SQLITE_CORRUPT": ("is damaged", "Restore it from a copy, or name another store with --store."),
    "SQLITE_CANTOPEN": ("cannot be opened", "Look at the rights of the file and of its folder."),
}
# What may pass by itself or with somebody's help, while the process that met it waits.
_DISK = ("sits on a disk that fails or is full", "See to that disk.")
_PASSING = {
    "SQLITE_FULL": ("has no room left on its disk", "Make room on that disk."),
    "SQLITE_BUSY": ("is held by another process", "Let that process end."),
    # SQLite cannot always tell that a disk is full; with quotas, for one, it does not.
    "SQLITE_IOERR_WRITE": _DISK,
    "SQLITE_IOERR_FSYNC": _DISK,
    "SQLITE_IOERR_DIR_FSYNC": _DISK,
    "SQLITE_IOERR_TRUNCATE": _DISK,
    "SQLITE_IOERR_SHM": _DISK,
}
_TROUBLES = {
    "SQLITE_IOERR": ("sits on a disk that fails", "See to the disk, then give the same command again."),
}


class PassingTroubleError(WorkFailedError):
    """The store cannot take anything in at the moment; the same may work later.

    The transaction in hand was rolled back; `bench.store.patience` repeats it.
    """


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Raise a `BenchError` for the known troubles of the store at `place`; others pass unchanged.

    What had been acknowledged before is safe; the transaction in hand is rolled back whole.
    """
    try:
        yield
    except DBAPIError as error:
        known = _explain(error, place)
        if known is None:
            raise
        raise known from error


def _explain(error: DBAPIError, place: str) -> BenchError | None:
    name = getattr(error.orig, "sqlite_errorname", None)
    said = str(error.orig).strip().partition("\n")[0]
    if name is None:
        if error.statement is not None and not error.connection_invalidated:
            return None
        what, do_this = "does not answer", "Look whether the server runs and whether the URL is right."
        return BenchError(f"store {place} {what}", said, do_this)
    tables = ((BenchError, _REQUESTS), (PassingTroubleError, _PASSING), (WorkFailedError, _TROUBLES))
    for kind, table in tables:
        for beginning, (what, do_this) in table.items():
            if name.startswith(beginning):
                return kind(f"store {place} {what}", f"SQLite says: {said}.", do_this)
    return None
