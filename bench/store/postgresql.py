"""PostgreSQL as this project uses it: transactions that mean there what they mean on SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from bench.errors import BenchError
from bench.store.location import SERVER_EXAMPLE, Location

# Without them a server that vanished (no power, no network) would be waited for for many minutes.
_TIMEOUTS = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "30"}

# A number that other applications in the same database hardly use: "bench" in ASCII.
_WRITERS_LOCK = int.from_bytes(b"bench")
BEGIN_WRITING = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SELECT set_config('TimeZone', 'UTC', true), set_config('lock_timeout', '30s', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true)",
    f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})",
)
"""One writer at a time, as on SQLite. What is read after the lock was waited for is up to date; a writer that
hangs in the middle is thrown out by the server."""

_BEGIN_READING = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL TIME ZONE 'UTC'",
)
"""One state of the database throughout, as on SQLite."""

_READER = "pg_read_all_data"
"""A role that each server has from version 14 on: it reads all tables and views, and can do nothing else."""
_POWERFUL = """
    SELECT rolname FROM pg_roles WHERE rolsuper AND pg_has_role(session_user, oid, 'MEMBER')
    ORDER BY rolname <> session_user LIMIT 1
"""
# A cursor alone would not do: set_config() gives the role back, and query_to_xml() then runs text as SQL.
# While a function of another owner runs, the server lets nobody change the role.
MAKE_READER = (
    """
    CREATE FUNCTION pg_temp.bench_rows(statement text, most bigint) RETURNS SETOF record
    LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        answer record;
        found bigint := 0;
    BEGIN
        FOR answer IN EXECUTE statement LOOP
            RETURN NEXT answer;
            found := found + 1;
            EXIT WHEN found = most;
        END LOOP;
    END $$
    """,
    f"ALTER FUNCTION pg_temp.bench_rows OWNER TO {_READER}",
)
# Names of tables mean for the reader what they mean for the session's own user.
_KEEP_SEARCH_PATH = """
    SELECT set_config('search_path', coalesce(string_agg(quote_ident(name), ', '), ''), true)
    FROM unnest(current_schemas(false)) AS name
"""
_TYPE_NAMES = """
    SELECT format_type(type, NULL) FROM unnest(%s::oid[]) WITH ORDINALITY AS types(type, number)
    ORDER BY number
"""


def engine_for(location: Location, *, read_only: bool) -> Engine:
    """An engine on a server's database, which has answered once.

    Its connections only read, unless their execution option `writing` is set.

    Raises
    ------
    BenchError : no URL, driver not installed, no such server, user, password or database.
    """
    try:
        url = make_url(location.url)
        wanted = {name: value for name, value in _TIMEOUTS.items() if name not in url.query}
        engine = create_engine(url.update_query_dict(wanted), pool_pre_ping=True)
    except (ArgumentError, ValueError) as error:
        why = "The port is no number." if isinstance(error, ValueError) else ""
        raise BenchError(f"{str(location)!r} is no database URL", why, SERVER_EXAMPLE) from None
    except ImportError as error:
        what = f"store {location} needs the package psycopg, which is not installed"
        raise BenchError(what, f"{error}.", 'Type: pip install "psycopg[binary]"') from error
    event.listen(engine, "begin", _begin_reading if read_only else _begin)
    try:
        engine.connect().close()
    except OperationalError as error:
        raise _unreachable(location, url, str(error.orig)) from error
    return engine


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("writing", False):
        # In one message, which takes no parameters: while the lock is held, all other drivers wait.
        connection.exec_driver_sql("; ".join(BEGIN_WRITING), execution_options={"no_parameters": True})
    else:
        _begin_reading(connection)


def _begin_reading(connection: Connection) -> None:
    for statement in _BEGIN_READING:
        connection.exec_driver_sql(statement)


def _unreachable(location: Location, url: URL, said: str) -> BenchError:
    # No error codes come with a refused connection; words that were not understood get the general advice.
    if "password" in said:
        advice = "Give the password in the URL, in the environment variable PGPASSWORD or in ~/.pgpass."
    elif f'database "{url.database}" does not exist' in said:
        advice = f"Name another database, or make this one on the server: createdb {url.database}"
    else:
        advice = (
            "Look whether the server runs, and whether user, host, port and database in the URL are right."
        )
    why = " ".join(line.strip() for line in said.splitlines())
    return BenchError(
        f"store {location} cannot be opened", f"PostgreSQL says: {why.removesuffix('.')}.", advice
    )


def powerful_role(connection: Connection) -> str | None:
    """The superuser that the session's user is, or can become; None where it is and can become none.

    A superuser's functions read and write the server's files, run programs and end other sessions, also in
    a transaction that only reads.
    """
    return connection.exec_driver_sql(_POWERFUL).scalar()


def select_rows(
    connection: Connection, sql: str, limit: int | None, powerful: str | None
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Column names and rows, all or the first `limit`, of what the server takes for one SELECT.

    Parameters
    ----------
    connection : for reading; nothing was asked in its transaction yet.
    powerful : as of `powerful_role`; the statement is run without any of its rights but those to read.

    Raises
    ------
    BenchError : those rights cannot be put aside.
    DBAPIError : the server refuses the statement.
    """
    if powerful is not None:
        _become_reader(connection, powerful)
    # The simple protocol runs whatever a string holds, such as "COMMIT; DELETE ..."; what is prepared is one
    # statement, and only what gives rows and changes nothing can be declared as a cursor.
    driver: Any = connection.connection.driver_connection
    driver.prepare_threshold = 0
    literally = connection.execution_options(no_parameters=True)  # percent signs stand for themselves
    literally.exec_driver_sql(f"DECLARE answer NO SCROLL CURSOR FOR {sql}")
    count = 0 if powerful is not None else "ALL" if limit is None else limit
    result = literally.exec_driver_sql(f"FETCH {count} FROM answer")
    columns = tuple(result.keys()) if result.returns_rows else ()
    if powerful is None or not columns:
        return columns, [tuple(row) for row in result] if columns else []
    types: list[Any] = [type_code for _, type_code, *_ in result.cursor.description]
    literally.exec_driver_sql("CLOSE answer")
    return columns, _read_rows(connection, sql, limit, types)


def _become_reader(connection: Connection, powerful: str) -> None:
    """Put aside all rights but those to read, for the transaction, and make the function that runs SQL so."""
    role = connection.dialect.identifier_preparer.quote_identifier(powerful)
    try:
        for statement in (
            "SET TRANSACTION READ WRITE",
            _KEEP_SEARCH_PATH,
            f"SET LOCAL ROLE {role}",
            *MAKE_READER,
            "SET TRANSACTION READ ONLY",
            f"SET LOCAL ROLE {_READER}",
        ):
            connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise BenchError(
            "a superuser cannot be kept to reading on this server",
            f"It says: {str(error.orig).partition(chr(10))[0].removesuffix('.')}.",
            f"Name another user in --store, made with: CREATE ROLE reader LOGIN IN ROLE {_READER}",
        ) from error


def _read_rows(
    connection: Connection, sql: str, limit: int | None, types: Sequence[int]
) -> list[tuple[object, ...]]:
    names = connection.exec_driver_sql(_TYPE_NAMES, (list(types),)).scalars()
    columns = ", ".join(f"c{number} {name}" for number, name in enumerate(names))
    call = f"SELECT * FROM pg_temp.bench_rows(%s, %s::bigint) AS answer({columns})"
    return [tuple(row) for row in connection.exec_driver_sql(call, (sql, limit))]
