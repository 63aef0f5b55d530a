"""SQL that a person typed: it reads, whatever it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy.exc import DBAPIError

from bench.errors import BenchError
from bench.store import postgresql
from bench.store.database import Store
from bench.visible_text import shortened

_ADVICE = (
    "`bench query` runs one SELECT (WITH, VALUES, TABLE) and only reads; `bench db info` shows all tables"
    " and columns."
)
_SHOWN = 200
"""Characters of a statement that a message quotes."""
_STEPS = 1_000_000
"""Instructions of SQLite's machine between two looks for signals: some milliseconds."""


@dataclass(frozen=True)
class Answer:
    """What a database answered; JSON as text."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


def run_query(store: Store, sql: str, limit: int | None = None) -> Answer:
    """Run SQL on a store that was opened read-only, for all its rows or the first `limit`.

    Raises
    ------
    BenchError : it writes, it is several statements, it gives no rows, or it is wrong; nothing has changed.
    """
    quoted = repr(shortened(sql, _SHOWN))
    powerful = None
    if store.location.path is None:
        # Not in the same transaction: what keeps a powerful role to reading has to come first in its own.
        with store.connect() as connection:
            powerful = postgresql.powerful_role(connection)
    with store.connect() as connection, _refusal_told(quoted):
        if store.location.path is None:
            columns, rows = postgresql.select_rows(connection, sql, limit, powerful)
        else:
            # SQLite does not look for signals itself: a query without end would not be ended by Ctrl-C.
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(_go_on, _STEPS)
            # A statement without parameters may hold percent signs, as in LIKE 'hopper%'.
            result = connection.execution_options(no_parameters=True).exec_driver_sql(sql)
            columns = tuple(result.keys()) if result.returns_rows else ()
            rows = list(islice(result, limit)) if columns else []
    if not columns:
        raise BenchError(f"{quoted} gives no rows", "", _ADVICE)
    return Answer(columns, [tuple(map(_as_text, row)) for row in rows])


@contextmanager
def _refusal_told(quoted: str) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        encoding = sys.getfilesystemencoding()
        why = f"It holds bytes that are no character in this terminal's encoding, {encoding}."
        advice = "Begin the command with PYTHONUTF8=1, and write the SQL in UTF-8."
        raise BenchError(f"{quoted} is no text", why, advice) from error
    except DBAPIError as error:
        if error.connection_invalidated:  # the server went away, whatever the SQL was
            raise
        if getattr(error.orig, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            raise KeyboardInterrupt from error
        said = str(error.orig).partition("\n")[0].removesuffix(".")
        raise BenchError(f"the database refuses {quoted}", f"It says: {said}.", _ADVICE) from error


def _go_on() -> bool:
    """Is called from time to time; what a signal's handler raises in it ends the query."""
    return False


def _as_text(cell: object) -> object:
    return json.dumps(cell) if isinstance(cell, dict | list) else cell
