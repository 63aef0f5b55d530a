"""Turns what a database says when it cannot go on into errors that a person can act on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from bench.errors import BenchError, WorkFailedError
from bench.store.columns import DamagedCellError
from bench.store.damage import RESTORE, damage
from bench.visible_text import visible


class StoreUnavailableError(WorkFailedError):
    """The store cannot take anything in at the moment; the same may work later.

    The transaction in hand was rolled back; `bench.store.retry` repeats it.

    Parameters
    ----------
    remedy : what a person can do about it, a sentence; may be empty.
    """

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        again = "give the same command again: what was stored before is safe."
        super().__init__(what, why, f"{remedy} Then {again}" if remedy else again.capitalize())
        self.remedy = remedy

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.what, self.why, self.remedy)


@dataclass(frozen=True)
class _Fault:
    """One kind of trouble: what the reader is told and whether it is his, passes, or ends the work."""

    kind: type[BenchError]
    what: str
    do_this: str


_OTHER_STORE = "Name another store with --store."
_DISK_FULL = _Fault(StoreUnavailableError, "has no room left on its disk", "Make room on that disk.")
_DISK = _Fault(StoreUnavailableError, "sits on a disk that fails or is full", "See to that disk.")
_HELD = _Fault(StoreUnavailableError, "is held by another process", "Let that process end.")

_NOT_UTF8 = "Could not decode to UTF-8"
"""How Python's module for SQLite begins what it says of such text."""
# Beginning of SQLite's error name -> fault.
_SQLITE = {
    # Our statements fit a whole store's schema: a view of this one names what is not there.
    "SQLITE_ERROR": _Fault(BenchError, "is not whole", RESTORE),
    "SQLITE_READONLY": _Fault(BenchError, "cannot be written", _OTHER_STORE),
    "SQLITE_NOTADB": _Fault(BenchError, "is no results database", _OTHER_STORE),
    "SQLITE_CORRUPT": _Fault(BenchError, "is damaged", RESTORE),
    "SQLITE_CANTOPEN": _Fault(
        BenchError, "cannot be opened", "Look at the rights of the file and of its folder."
    ),
    "SQLITE_FULL": _DISK_FULL,
    "SQLITE_BUSY": _HELD,
    # SQLite cannot always tell that a disk is full; with quotas, for one, it does not.
    "SQLITE_IOERR_WRITE": _DISK,
    "SQLITE_IOERR_FSYNC": _DISK,
    "SQLITE_IOERR_DIR_FSYNC": _DISK,
    "SQLITE_IOERR_TRUNCATE": _DISK,
    "SQLITE_IOERR_SHM": _DISK,
    "SQLITE_IOERR": _Fault(
        WorkFailedError, "sits on a disk that fails", "See to the disk, then give the same command again."
    ),
}

_AWAY = _Fault(StoreUnavailableError, "does not answer", "Look whether the server runs.")
_RIGHTS = _Fault(
    BenchError, "refuses its user", "Let the owner of the database grant the right, or name another store."
)
# Beginning of PostgreSQL's error code (SQLSTATE, appendix A of its manual) -> fault.
_POSTGRESQL = {
    "08": _AWAY,
    "57P": _AWAY,
    "25P03": _AWAY,  # thrown out for being idle in the middle of a transaction
    "53100": _DISK_FULL,
    "53": _Fault(StoreUnavailableError, "has too little memory, or too many clients", "See to the server."),
    "55P03": _HELD,
    "40": _Fault(StoreUnavailableError, "was changed by others at the same moment", ""),
    "25006": _Fault(BenchError, "cannot be written", _OTHER_STORE),
    "42501": _RIGHTS,
    "3F000": _Fault(BenchError, "has no schema to make tables in", "Set the user's search_path."),
}


@contextmanager
def explained(place: str, engine: Engine | None = None) -> Iterator[None]:
    """Raise a `BenchError` for the known troubles of the store at `place`; others pass unchanged.

    What had been acknowledged before is safe; the transaction in hand is rolled back whole.

    Parameters
    ----------
    engine : the store's, to look where a cell is damaged.
    """
    try:
        yield
    except DamagedCellError as error:
        raise damage(place, error, engine) from error
    except UnicodeDecodeError as error:
        # SQLite quotes names of a damaged schema, and Python cannot even read what it says.
        said = visible(error.object.decode("utf-8", "backslashreplace"))
        fault = _SQLITE["SQLITE_CORRUPT"]
        raise fault.kind(f"store {place} {fault.what}", f"SQLite says: {said}.", fault.do_this) from error
    except DBAPIError as error:
        if _NOT_UTF8 in str(error.orig):
            said = str(error.orig).partition("with text")[0].strip()
            raise damage(place, DamagedCellError(said, "text"), engine) from error
        known = _explain(error, place)
        if known is None:
            raise
        raise known from error


def _explain(error: DBAPIError, place: str) -> BenchError | None:
    fault, database = _fault_of(error)
    if fault is None:
        return None
    said = str(error.orig).strip().partition("\n")[0].removesuffix(".")
    return fault.kind(f"store {place} {fault.what}", f"{database} says: {said}.", fault.do_this)


def _fault_of(error: DBAPIError) -> tuple[_Fault | None, str]:
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return _first(_SQLITE, name), "SQLite"
    code = getattr(error.orig, "sqlstate", None)
    if code is not None:
        return _first(_POSTGRESQL, code), "PostgreSQL"
    if isinstance(error.orig, sqlite3.Error):
        return None, "SQLite"  # of Python's module, not of the database: a mistake of ours
    # A connection that is refused or breaks has no code.
    return _AWAY if isinstance(error, OperationalError) else None, "PostgreSQL"


def _first(faults: Mapping[str, _Fault], name: str) -> _Fault | None:
    return next((fault for beginning, fault in faults.items() if name.startswith(beginning)), None)
