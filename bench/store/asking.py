"""SQL that a person typed: it reads, whatever it says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from bench.errors import BenchError
from bench.store.database import Store

_ADVICE = "`bench query` only reads; `bench db info` shows all tables and columns."


@dataclass(frozen=True)
class Answer:
    """What a database answered; JSON as text."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


def ask(store: Store, sql: str, limit: int | None = None) -> Answer:
    """Run SQL on a store that was opened read-only, for all its rows or the first `limit`.

    Raises
    ------
    BenchError : it writes, it is several statements, it gives no rows, or it is wrong; nothing has changed.
    """
    with store.connect() as connection:
        try:
            if connection.dialect.name == "postgresql":
                _one_statement_only(connection)
            # A statement without parameters may hold percent signs, as in LIKE 'hopper%'.
            result = connection.execution_options(no_parameters=True).exec_driver_sql(sql)
            if not result.returns_rows:
                raise BenchError(f"{sql!r} gives no rows", "", _ADVICE)
            rows = [tuple(_as_text(cell) for cell in row) for row in islice(result, limit)]
        except DBAPIError as error:
            if error.connection_invalidated:  # the server went away, whatever the SQL was
                raise
            said = str(error.orig).partition("\n")[0].removesuffix(".")
            raise BenchError(f"the database refuses {sql!r}", f"It says: {said}.", _ADVICE) from error
        return Answer(tuple(result.keys()), rows)


def _one_statement_only(connection: Connection) -> None:
    # PostgreSQL's simple protocol runs whatever a string holds, such as "COMMIT; DELETE ..."; prepared
    # statements are single ones, and the transaction that they run in reads only and is rolled back.
    connection.connection.driver_connection.prepare_threshold = 0


def _as_text(cell: object) -> object:
    return json.dumps(cell) if isinstance(cell, dict | list) else cell
