"""PostgreSQL as this project uses it: transactions that mean there what they mean on SQLite."""

from __future__ import annotations

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from bench.errors import BenchError
from bench.store.location import SERVER_EXAMPLE, Location

# Without them a server that vanished (no power, no network) would be waited for for many minutes.
_PATIENCE = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "30"}

# A number that other applications in the same database hardly use: "bench" in ASCII.
_WRITERS_LOCK = int.from_bytes(b"bench")
_BEGIN_WRITING = (
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


def engine_for(location: Location, *, read_only: bool) -> Engine:
    """An engine on a server's database, which has answered once.

    Its connections only read, unless their execution option `writing` is set.

    Raises
    ------
    BenchError : no URL, driver not installed, no such server, user, password or database.
    """
    try:
        url = make_url(location.url)
        wanted = {name: value for name, value in _PATIENCE.items() if name not in url.query}
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
        for statement in _BEGIN_WRITING:
            connection.exec_driver_sql(statement)
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
