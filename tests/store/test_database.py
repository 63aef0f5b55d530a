"""Opening a store and what is refused; its schema and its upgrades, also those that are killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from bench.errors import BenchError
from bench.records import PhaseRecord
from bench.store import database
from bench.store.claims import EXPIRY, Nothing
from bench.store.database import (
    MIGRATIONS,
    Store,
    head_revision,
    open_store,
    revisions,
    transaction,
    upgrade_store,
)
from bench.store.location import locate
from bench.store.models import Base
from bench.store.nights import find_baseline, nights, notes
from bench.store.process_lock import LockHeldError, upgrading
from bench.store.queries import evaluations, precisions, scores_frame, trials
from bench.store.sqlite import engine_for
from bench.store.views import NIGHTLY, PROVENANCE, SCORES, TIMINGS
from bench.store.writer import Writer
from tests.store import samples
from tests.store.clocks import Clock
from tests.store.databases import change, columns, copy_to_server, everything, fetched, only_sqlite


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


# The schema: migrations give what the models say, and other versions are told apart.


RELEASED = sorted((Path(__file__).parents[1] / "fixtures").glob("store_*.sqlite"))
FIRST = Path(__file__).parents[1] / "fixtures" / "store_0001.sqlite"

# What people's SQL relies on. Columns may be added at the end of these lists; nothing may leave them.
SCORES_COLUMNS = """
    trial_id algorithm variant task task_version physics seed state protocol score score_is_nan budget
    episodes reduced dataset dataset_sha256 verification replay config_hash attempt training_seconds
    evaluation_seconds peak_memory_bytes started_at finished_at run_id code_version code_commit code_dirty
    hostname device threads stack matmul_precision
"""
PROVENANCE_COLUMNS = """
    trial_id algorithm variant task seed state attempt config_hash config dataset dataset_sha256 dataset_rows
    verification replay task_version physics simulator run_id command code_version code_commit code_dirty
    code_diff_sha256 code_sha256 packages hostname cpu device gpu_driver threads runner precision stack
    executions started_at finished_at training_seconds evaluation_seconds peak_memory_bytes matmul_precision
"""
TIMINGS_COLUMNS = """
    trial_id algorithm variant task seed quantity value stack_size concurrent_stacks device threads runner
    exclusive measured_at run_id code_version code_commit code_dirty matmul_precision
"""
NIGHTLY_COLUMNS = """
    night_id date baseline outcome algorithm variant task config_hash status n lost mean baseline_n
    baseline_mean baseline_deviation alarm_below p_below confirmation_n confirmation_mean confirmed drift
    drifting remark started_at ended_at run_id code_version code_commit code_dirty
"""


@pytest.fixture
def first(store_url: str) -> str:
    """URL of a copy of the database that the first schema left behind."""
    path = locate(store_url).path
    if path is None:
        copy_to_server(FIRST, store_url)
    else:
        path.parent.mkdir()
        shutil.copy(FIRST, path)
    return store_url


def test_migrations_give_what_the_models_say(store: Store) -> None:
    with store.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_comparison_sees_a_missing_column(store: Store) -> None:
    change(store.location.url, "ALTER TABLE runs ADD COLUMN colour TEXT")
    with store.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) != []


@pytest.mark.parametrize(
    ("view", "typed", "columns"),
    [
        ("scores", SCORES, SCORES_COLUMNS),
        ("timings", TIMINGS, TIMINGS_COLUMNS),
        ("provenance", PROVENANCE, PROVENANCE_COLUMNS),
        ("nightly", NIGHTLY, NIGHTLY_COLUMNS),
    ],
)
def test_the_views_keep_their_columns(store: Store, view: str, typed: object, columns: str) -> None:
    with store.connect() as connection:
        assert [column["name"] for column in inspect(connection).get_columns(view)] == columns.split()
    assert [column.name for column in typed.columns] == columns.split()


def test_files_of_migrations_are_named_after_their_revisions() -> None:
    scripts = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    assert revisions() == scripts[::-1]
    assert revisions()[:3] == ["0001", "0002", "0003"]


def test_a_database_of_the_first_schema_still_reads(first: str) -> None:
    upgrade_store(first)
    with open_store(first, create=False) as store:
        frame = scores_frame(store).set_index("seed")
        assert frame.loc[0, "score"] == 9.2
        assert frame.loc[1, "score_is_nan"]
        assert list(frame["state"]) == ["finished", "finished", "failed", "planned"]
        assert [len(evaluation.returns) for evaluation in evaluations(store, 1)] == [3, 3]
    assert fetched(first, "SELECT version_num FROM alembic_version") == [(head_revision(),)]


@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.stem)
def test_a_store_of_every_released_schema_is_upgraded_and_worked_on(released: Path, tmp_path: Path) -> None:
    path = shutil.copy(released, tmp_path / "old.sqlite")
    with sqlite3.connect(path) as connection:
        before = connection.execute("SELECT id, state, score FROM trials ORDER BY id").fetchall()
        episodes = connection.execute("SELECT * FROM episodes ORDER BY 1, 2").fetchall()
    upgrade_store(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT id, state, score FROM trials ORDER BY id").fetchall() == before
        assert connection.execute("SELECT * FROM episodes ORDER BY 1, 2").fetchall() == episodes
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    cell, seeds = samples.trial_record().key.cell, {0, 1, 2, 3, 4}
    clock = Clock()
    with open_store(path) as store, Writer(store, clock=clock) as writer:
        writer.begin_run(samples.run_record("later"))
        while (claimed := writer.claim(cell, seeds, 2)) is not Nothing.DONE:
            if claimed is Nothing.HELD:
                # Of a driver on a machine that nobody knows any more; it has been seen to stand still now.
                assert clock.seconds == 0
                clock.seconds += EXPIRY.total_seconds() + 1
                continue
            writer.begin_execution(claimed.claimed, samples.execution_record(claimed.seeds))
            for key in claimed.claimed:
                writer.record(samples.evaluation_record(key, 7))
                writer.record(samples.finished_record(key))
        ended = {"finished", "failed"}
        assert {trial.state for trial in trials(store)} <= ended
        assert sum(state not in ended for _, state, _ in before) == sum(
            trial.run_id == "later" for trial in trials(store)
        )


def test_an_older_schema_is_refused_with_the_command_that_upgrades(first: str, next_version) -> None:
    next_version()
    with pytest.raises(BenchError) as error:
        open_store(first)
    assert f"'0001', older than '{head_revision()}'" in error.value.what
    assert error.value.do_this == f"Type: bench db upgrade --store {first}"
    assert "colour" not in columns(first, "runs")


def test_an_upgrade_keeps_what_there_is(first: str, next_version) -> None:
    before = fetched(first, "SELECT run_id, command FROM runs")
    following = next_version()
    assert upgrade_store(first) == ("0001", following)
    assert upgrade_store(first) == (following, following)
    assert fetched(first, "SELECT run_id, command FROM runs") == before
    assert fetched(first, "SELECT colour FROM runs") == [(None,)]


def test_an_upgrade_that_fails_half_way_leaves_the_old_schema(first: str, next_version) -> None:
    next_version(then="raise InterruptedError")
    with pytest.raises(InterruptedError):
        upgrade_store(first)
    assert fetched(first, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert "colour" not in columns(first, "runs")


@pytest.mark.parametrize("opening", [open_store, upgrade_store])
def test_a_newer_schema_is_refused_and_left_alone(first: str, opening) -> None:
    change(first, "UPDATE alembic_version SET version_num = '0999'")
    before = everything(first)
    with pytest.raises(BenchError, match="schema '0999', newer than") as error:
        opening(first)
    assert "Install the newer bench" in error.value.do_this
    assert everything(first) == before


def test_nights_of_the_third_schema_still_read(tmp_path: Path) -> None:
    path = Path(shutil.copy(RELEASED[-1].with_name("store_0003.sqlite"), tmp_path / "old.sqlite"))
    upgrade_store(path)
    with open_store(path) as store:
        assert find_baseline(store).scores_of(samples.trial_record().key.cell)[:2] == (9.25, 10.5)
        assert [note.text for note in notes(store, "first")] == ["sums in another order", "a remark"]
        assert nights(store) == [samples.night_record()]


def test_a_trial_keeps_the_phases_of_its_method_and_an_older_one_has_none(first: str) -> None:
    upgrade_store(first)
    phases = (PhaseRecord("pretrain", 500, False), PhaseRecord("train", 1000, True))
    planned = replace(samples.trial_record(9), phases=phases)
    with open_store(first) as store, Writer(store) as writer:
        older = trials(store)
        assert {trial.record.phases for trial in older} == {None}
        writer.begin_run(samples.run_record("later"))
        writer.plan([planned, replace(older[0].record, phases=phases)])
        assert [trial.record.phases for trial in trials(store)] == [None] * len(older) + [phases]


def test_what_was_computed_on_a_cpu_was_in_fp32_and_of_a_gpu_nothing_is_known(tmp_path: Path) -> None:
    path = shutil.copy(FIRST.with_name("store_0004.sqlite"), tmp_path / "old.sqlite")
    upgrade_store(path)
    with sqlite3.connect(path) as connection:
        noted = {
            table: set(connection.execute(f"SELECT device, matmul_precision FROM {table}"))
            for table in ("executions", "durations")
        }
    assert noted == {"executions": {("cuda: a GPU", None)}, "durations": {("cpu: a processor", "fp32")}}


def test_a_trial_that_was_finished_before_precision_was_noted_stays_finished(tmp_path: Path) -> None:
    path = shutil.copy(FIRST.with_name("store_0004.sqlite"), tmp_path / "old.sqlite")
    upgrade_store(path)
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record("later"))
        (old, *_) = trials(store)
        again = replace(old.record, config=old.record.config | {"precision": "tf32"})
        assert writer.plan([again]) == {old.record.key: "finished"}
        writer.plan([replace(again, key=replace(again.key, seed=7))])
        assert precisions(store) == {}
        mates = [trial for trial in trials(store) if trial.record.key.cell == old.record.key.cell]
        assert {trial.record.key.seed for trial in mates} == {0, 1, 2, 3, 4, 7}
        execution = samples.execution_record(mates[-1].record.key.seed, matmul_precision="tf32", stack=(7,))
        writer.claim(old.record.key.cell, {7}, 1)
        writer.begin_execution([mates[-1].record.key], execution)
        assert precisions(store) == {mates[-1].trial_id: {"tf32"}}


# An upgrade killed at any moment leaves the old schema or the new one, whole, and all that was there.


MOMENTS = 6
UPGRADES = """
import os
import sys
import alembic.command
from bench.store.database import upgrade_store

while path := sys.stdin.readline().rstrip():
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        upgrade_store(path)
        print("done", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
"""A process for each upgrade: of one that has imported all of this, because that takes ten times as long."""


@pytest.fixture(scope="module")
def upgrades() -> Iterator[subprocess.Popen[str]]:
    command, folder = [sys.executable, "-c", UPGRADES], Path(__file__).parents[2]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:
        yield process
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def begun(upgrades: subprocess.Popen[str], path: Path) -> int:
    """The number of a process that now upgrades the store."""
    upgrades.stdin.write(f"{path}\n")
    upgrades.stdin.flush()
    return int(upgrades.stdout.readline())


def ended(upgrades: subprocess.Popen[str]) -> bool:
    """Wait for its end; whether it had done all."""
    return list(iter(upgrades.stdout.readline, "ended\n")) == ["done\n"]


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
def test_an_upgrade_killed_at_any_moment_is_whole_or_has_not_happened(
    tmp_path: Path, upgrades, journal_mode
) -> None:
    old = tmp_path / "old.sqlite"
    shutil.copy(FIRST, old)
    with closing(sqlite3.connect(old)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
    new = Path(shutil.copy(old, tmp_path / "new.sqlite"))
    begun(upgrades, new)
    started = time.monotonic()
    assert ended(upgrades)
    duration = time.monotonic() - started
    schemas = {"old": schema_of(old), "new": schema_of(new)}
    assert schemas["old"] != schemas["new"]
    contents = contents_of(old)

    killed_midway = 0
    for moment in range(MOMENTS):
        path = Path(shutil.copy(old, tmp_path / f"{moment}.sqlite"))
        process = begun(upgrades, path)
        time.sleep(duration * moment / MOMENTS)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        killed_midway += not ended(upgrades)
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
