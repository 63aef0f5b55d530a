"""Which schema a database has, and how it comes to the newest one."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from bench.errors import BenchError

MIGRATIONS = Path(__file__).parent / "migrations"
_OURS = {"runs", "datasets", "trials", "evaluations", "episodes"}


def revision_of(connection: Connection) -> str | None:
    """The database's revision; None where it is empty.

    Raises
    ------
    BenchError : the database belongs to another application.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if "alembic_version" not in tables or not tables >= _OURS:
        listed = ", ".join(sorted(tables)[:5])
        raise BenchError("the database was not made by bench", f"It holds the tables {listed}.",
                         "Name another file with --store.")  # fmt: skip
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


def head_revision() -> str:
    """The newest revision that this version of bench knows."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert head is not None, "the installation holds no migrations"
    return head


def refuse_newer(revision: str | None, place: str) -> None:
    """Refuse a schema that this version of bench does not know.

    Raises
    ------
    BenchError : names both revisions; nothing is changed.
    """
    known = {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    if revision is not None and revision not in known:
        raise BenchError(
            f"store {place} has schema {revision!r}, newer than {head_revision()!r} of this version of bench",
            "It was left untouched.",
            "Install the newer bench, or name another store with --store.",
        )


def require_current(connection: Connection, place: str) -> None:
    """Refuse a database whose schema is older or newer than this version of bench.

    Raises
    ------
    BenchError : says how to go on; nothing is changed.
    """
    revision = revision_of(connection)
    if revision == head_revision():
        return
    refuse_newer(revision, place)
    if revision is None:
        raise BenchError(f"store {place} is empty", "", "`bench run --store ...` fills it.")
    raise BenchError(
        f"store {place} has schema {revision!r}, older than {head_revision()!r} of this version of bench",
        "It was left untouched.",
        f"Type: bench db upgrade --store {place}",
    )


def upgrade(connection: Connection) -> None:
    """Bring the database to the newest schema within the caller's transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
