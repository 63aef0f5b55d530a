"""An upgrade killed at any moment leaves the old schema or the new one, whole, and all that was there."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.store.database import open_store, upgrade_store

FIRST = Path(__file__).parents[1] / "fixtures" / "store_0001.sqlite"
MOMENTS = 6
UPGRADE = """
import sys
from bench.store.database import upgrade_store

print("begun", flush=True)
upgrade_store(sys.argv[1])
print("done", flush=True)
"""


def upgrading(path: Path) -> subprocess.Popen[str]:
    """A process that is about to upgrade the store."""
    process = subprocess.Popen(
        [sys.executable, "-c", UPGRADE, path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout.readline() == "begun\n"
    return process


def schema_of(path: Path) -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return set(connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def contents_of(path: Path) -> list[list[tuple]]:
    """The columns of the first schema."""
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(FIRST)) as first:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = first.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name != 'alembic_version'"
        )
        found = []
        for (table,) in tables.fetchall():
            columns = ", ".join(row[1] for row in first.execute(f"PRAGMA table_info({table})"))
            found.append(connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall())
        return found


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_an_upgrade_killed_at_any_moment_is_whole_or_has_not_happened(tmp_path: Path, journal_mode) -> None:
    old = tmp_path / "old.sqlite"
    shutil.copy(FIRST, old)
    with closing(sqlite3.connect(old)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
    new = Path(shutil.copy(old, tmp_path / "new.sqlite"))
    process, begun = upgrading(new), time.monotonic()
    assert process.stdout.readline() == "done\n"
    duration = time.monotonic() - begun
    process.communicate()
    schemas = {"old": schema_of(old), "new": schema_of(new)}
    assert schemas["old"] != schemas["new"]
    contents = contents_of(old)

    killed_midway = 0
    for moment in range(MOMENTS):
        path = Path(shutil.copy(old, tmp_path / f"{moment}.sqlite"))
        process = upgrading(path)
        time.sleep(duration * moment / MOMENTS)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
        killed_midway += said == ""
        # Readers are told to upgrade, or find it done; then the upgrade goes through, or has nothing to do.
        try:
            open_store(path, read_only=True).close()
            found = "new"
        except BenchError as error:
            assert "bench db upgrade" in error.do_this
            found = "old"
        assert schema_of(path) == schemas[found]
        assert contents_of(path) == contents
        upgrade_store(path)
        assert schema_of(path) == schemas["new"]
        assert contents_of(path) == contents
    assert killed_midway > 1
