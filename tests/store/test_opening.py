"""Opening a store: where it is, how SQLite is set, and what is refused with which words."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bench.errors import BenchError
from bench.store import database
from bench.store.database import Store, open_store, transaction, upgrade_store
from bench.store.location import locate
from bench.store.process_lock import LockHeldError, upgrading
from bench.store.sqlite import engine_for
from bench.store.writer import Writer
from tests.store.databases import only_sqlite


@pytest.mark.parametrize(
    ("typed", "folder", "shown"),
    [
        ("results/bench.sqlite", "results", "results/bench.sqlite"),
        ("sqlite:///some/where.db", "some", "some/where.db"),
        ("sqlite:////tmp/where.db", "/tmp", "/tmp/where.db"),
        ("postgresql+psycopg://me:secret@host/db", "results", "postgresql+psycopg://me@host/db"),
    ],
)
def test_paths_and_urls_say_where_the_weights_lie_and_hide_passwords(typed, folder, shown) -> None:
    location = locate(typed)
    assert (location.folder, str(location)) == (Path(folder), shown)


@pytest.mark.parametrize("typed", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_is_refused(typed: str) -> None:
    with pytest.raises(BenchError, match="memory"):
        open_store(typed)


@only_sqlite
def test_sqlite_is_set_to_survive_a_power_cut_and_to_be_read_while_written(store: Store) -> None:
    with store.connect() as connection:
        pragmas = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


@only_sqlite
def test_the_switch_to_a_log_waits_for_a_driver_that_is_about_to_switch_too(store: Store) -> None:
    path = store.location.path
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as driver, ThreadPoolExecutor(1) as thread:
        driver.execute("PRAGMA journal_mode=DELETE")
        driver.execute("BEGIN IMMEDIATE")
        opening = thread.submit(open_store, path)
        with pytest.raises(TimeoutError):
            opening.result(timeout=0.5)
        driver.rollback()
        opening.result(timeout=30).close()
    with contextlib.closing(sqlite3.connect(path)) as reader:
        assert reader.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_a_store_that_somebody_else_makes_and_then_works_on_for_hours_is_open_to_others(
    tmp_path: Path, monkeypatch
) -> None:
    """The maker holds the file's lock, as one of its writers, for as long as it trains."""
    monkeypatch.setattr(database, "WAIT_SECONDS", 5.0)
    location = locate(tmp_path / "bench.sqlite")
    with ThreadPoolExecutor() as thread, upgrading(location):
        opening = thread.submit(open_store, location.path)
        with pytest.raises(TimeoutError):
            opening.result(timeout=0.2)
        engine = engine_for(location.path, create=True, read_only=False)
        with transaction(engine) as connection:
            database.upgrade(connection, str(location))
        engine.dispose()
        opening.result(timeout=30).close()


def test_a_store_that_is_held_and_stays_empty_is_not_waited_for_in_vain(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.2)
    location = locate(tmp_path / "bench.sqlite")
    with upgrading(location), pytest.raises(LockHeldError, match="is being written by another process"):
        open_store(location.path)


def test_opening_again_finds_the_same_store_even_from_another_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("a folder?/100%.sqlite") as store:
        monkeypatch.chdir("/")
        with store.connect() as connection:
            assert connection.scalar(text("SELECT COUNT(*) FROM trials")) == 0
    assert sorted(path.name for path in (tmp_path / "a folder?").iterdir()) == [
        "100%.sqlite",
        "100%.sqlite.lock",
    ]


@pytest.mark.parametrize("opening", [lambda path: open_store(path, read_only=True), upgrade_store])
def test_reading_or_upgrading_makes_no_store(tmp_path: Path, opening) -> None:
    with pytest.raises(BenchError, match="no results database at") as error:
        opening(tmp_path / "absent" / "bench.sqlite")
    assert "bench run" in error.value.do_this
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_refused_with_a_file_in_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is a folder") as error:
        open_store(tmp_path)
    assert str(tmp_path / "bench.sqlite") in error.value.do_this


@pytest.mark.parametrize("content", [b"just some text, long enough for a header", b"PK\x03\x04", b"SQLite"])
def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(BenchError, match="no results database"):
        open_store(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bench.sqlite"
    path.write_bytes(b"SQLite format 3\x00" + b"nonsense" * 1000)
    with pytest.raises(BenchError, match=r"no results database|damaged"):
        open_store(path)


@pytest.mark.parametrize(
    "sql", ["CREATE TABLE contacts (name)", "CREATE TABLE alembic_version (version_num)"]
)
def test_the_database_of_another_application_is_refused_untouched(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(sql)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(BenchError, match="not made by bench"):
        open_store(path, read_only=True)
    assert path.read_bytes() == before
    with pytest.raises(BenchError, match="not made by bench"):
        open_store(path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store_but_not_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "bench.sqlite"
    path.touch()
    with pytest.raises(BenchError, match="is empty"):
        open_store(path, read_only=True)
    assert path.stat().st_size == 0
    open_store(path).close()
    assert path.stat().st_size > 0


def test_a_folder_that_cannot_be_written_is_said() -> None:
    # /proc refuses even root.
    with pytest.raises(BenchError, match="cannot be written into '/proc/results'"):
        open_store("/proc/results/bench.sqlite")


@pytest.mark.parametrize("url", ["postgres//x", "nonsense://host/db"])
def test_a_url_with_a_typo_is_explained(tmp_path: Path, monkeypatch, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    if "://" in url:
        with pytest.raises(BenchError, match="no database URL"):
            open_store(url)
    else:
        with pytest.raises(BenchError):
            open_store(url, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_store_opened_for_reading_cannot_be_written(store: Store) -> None:
    with open_store(store.location.url, read_only=True) as reader:
        with pytest.raises(DBAPIError, match=r"read-?only"), transaction(reader.engine) as connection:
            connection.execute(text("DELETE FROM runs"))
        with pytest.raises(BenchError, match="read-only"), Writer(reader):
            pass


@only_sqlite
def test_reading_leaves_no_files_behind(store: Store) -> None:
    path = store.location.path
    store.close()
    before = sorted(file.name for file in path.parent.iterdir())
    with open_store(path, read_only=True) as reader, reader.connect() as connection:
        connection.execute(text("SELECT * FROM scores")).all()
    assert sorted(file.name for file in path.parent.iterdir()) == before


@only_sqlite
def test_a_read_only_file_system_can_be_read_and_refuses_a_writer(store: Store, tmp_path: Path) -> None:
    path = store.location.path
    store.close()
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    program = """
import sys
from bench.errors import BenchError
from bench.store.database import open_store
from bench.store.status import cells
from bench.store.writer import Writer

with open_store(sys.argv[1], read_only=True) as store:
    print(cells(store, []))
try:
    Writer(open_store(sys.argv[1])).__enter__()
except BenchError as error:
    print(error.what)
"""
    script = f'mount --bind {path.parent} {mounted} && mount -o remount,bind,ro {mounted} && exec "$@"'
    python = [sys.executable, "-c", program, mounted / path.name]
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", *python]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no private mounts here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"[]\nresults cannot be written into '{mounted}'\n",
        "",
    )
