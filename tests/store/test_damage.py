"""A store with a wrong cell: said with its table, column and row by whatever reads it, never believed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

import bench.cli
from bench.errors import BenchError
from bench.records import StackProgress
from bench.store.damage import DamagedStoreError
from bench.store.database import Store, open_store
from bench.store.models import Base
from bench.store.queries import evaluation_means, evaluations, find_trial, learning_curves
from bench.store.writer import Writer
from tests.store.samples import (
    baseline_record,
    begun,
    evaluation_record,
    execution_record,
    failure_record,
    finished_record,
    night_record,
    note_record,
    run_record,
    timing_record,
    trial_record,
    weights_record,
)

NOT_UTF8 = object()
EVERYWHERE = (b"\xff\x00", NOT_UTF8, b"")
TABLES = [table.name for table in Base.metadata.sorted_tables]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with rows in every table."""
    path = tmp_path_factory.mktemp("whole") / "bench.sqlite"
    trials = [trial_record(seed) for seed in range(3)]
    first, failed, running = (trial.key for trial in trials)
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(run_record())
        writer.plan(trials)
        writer.claim(first.cell, {0, 1, 2}, 3)
        writer.begin_execution([first, failed, running], execution_record((0, 1, 2)))
        for number in (1, 2):
            writer.record(evaluation_record(first, number))
        writer.record(timing_record(first))
        writer.record(weights_record(first))
        writer.record(finished_record(first))
        writer.record(failure_record(failed))
        writer.heartbeat({running: StackProgress("train", 10, 100, 2.5, 36.0)})
        writer.freeze(baseline_record())
        writer.annotate(note_record(fingerprints={"losses": {}}))
        writer.begin_night(begun(night_record()))
        writer.end_night(night_record())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "bench.sqlite"))


def put(path: Path, table: str, column: str, value: object, where: str = "1") -> None:
    """Write into a column whatever its type and its constraints say."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        cell = "CAST(x'41ff' AS TEXT)" if value is NOT_UTF8 else "?"
        values = () if value is NOT_UTF8 else (value,)
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = {cell} WHERE {where}", values)
        connection.commit()


def wrong_values(kind: str) -> Iterator[object]:
    """What no column of that kind holds."""
    yield from EVERYWHERE
    if kind in ("Whole", "LargeWhole"):
        yield from ("many", 0.5)
    elif kind == "Number":
        yield from ("high", "")
    elif kind == "Flag":
        yield from (7, -1, 0.5, "yes", "")
    elif kind in ("Day", "UtcDateTime"):
        yield from ("soon", 20_250_301, "2025-02-30", "2025-02-30 12:00:00.000000", 1.5)
    elif kind == "Json":
        yield from ("{", "7", "null", "NaN", '{"a": NaN}', '"text"', 7, "[" * 3000, '{"a": "\\ud800"}')
        yield '[{"a": [}]'


@pytest.mark.parametrize("table", TABLES)
def test_every_wrong_cell_is_said_with_its_table_column_and_row(whole: Path, copy: Path, table: str):
    tried = 0
    with open_store(copy, read_only=True) as store:
        assert rows_of(store, table), "the fixture fills every table"
        for column in Base.metadata.tables[table].columns:
            for value in wrong_values(type(column.type).__name__):
                shutil.copy(whole, copy)
                store.engine.dispose()  # what it has read of the file before is gone with its connections
                try:
                    put(copy, table, column.name, value)
                except sqlite3.IntegrityError:
                    continue  # the number of a row, which SQLite itself keeps a whole number
                with pytest.raises(DamagedStoreError) as raised:
                    pytest.fail(f"{table}.{column.name} = {value!r} is read as {rows_of(store, table)}")
                assert f"Column {column.name!r} of table {table!r}, row " in raised.value.why, value
                assert len(raised.value.why) < 300
                tried += 1
    assert tried >= 3 * (len(Base.metadata.tables[table].columns) - 1)


def rows_of(store: Store, table: str) -> list[object]:
    with store.connect() as connection:
        return list(connection.execute(select(Base.metadata.tables[table])).all())


RANGES = (
    ("trials", "state", "resting"),
    ("trials", "budget", -0.5),
    ("trials", "budget", float("inf")),
    ("trials", "episodes", -1),
    ("trials", "attempt", 0),
    ("trials", "training_seconds", -1.0),
    ("trials", "peak_memory_bytes", -1),
    ("trials", "stack", "[0, 0]"),
    ("trials", "stack", '["0"]'),
    ("trials", "reduced", "[7]"),
    ("datasets", "verification", "surely"),
    ("datasets", "replay", "both"),
    ("datasets", "rows", -5),
    ("episodes", "length", -1),
    ("episodes", "number", 0),
    ("evaluations", "seconds", -0.5),
    ("evaluations", "metrics", '{"loss": "high"}'),
    ("durations", "value", float("inf")),
    ("durations", "stack_size", 0),
    ("executions", "from_iteration", -1),
    ("executions", "packages", '{"torch": null}'),
    ("runs", "hardware", '{"hostname": 7}'),
    ("runs", "hardware", '{"gpus": "none"}'),
    ("runs", "hardware", '{"memory_gib": "8"}'),
    ("claims", "seconds_left", -5.0),
    ("claims", "iterations_per_second", float("inf")),
    ("night_cells", "n", -1),
    ("night_cells", "p_below", -0.5),
    ("nights", "outcome", "amber"),
    ("baselines", "pace", "[7]"),
)


@pytest.mark.parametrize(("table", "column", "value"), RANGES)
def test_a_value_outside_its_range_is_said(copy: Path, table: str, column: str, value: object):
    put(copy, table, column, value)
    with open_store(copy, read_only=True) as store, pytest.raises(DamagedStoreError) as raised:
        rows_of(store, table)
    assert f"Column {column!r} of table {table!r}" in raised.value.why


def test_no_episodes_are_damage_where_scores_are_not_imported(copy: Path):
    put(copy, "trials", "episodes", 0)
    with open_store(copy, read_only=True) as store, pytest.raises(DamagedStoreError, match="is damaged"):
        find_trial(store, 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("return_", "12abc"),
        ("score", b"9"),
        ("score", "9.5x"),
        ("score_is_nan", 7),
        ("score_is_nan", "no"),
        ("return_is_nan", 1),
        ("number", 9),
    ],
)
def test_no_mean_is_made_of_what_is_no_episode(copy: Path, column: str, value: object):
    """SQLite's average takes text for a number, and a row that is gone is in no mean."""
    put(copy, "episodes", column, value, "evaluation_id = 1 AND number = 2")
    with open_store(copy, read_only=True) as store:
        for read in (evaluation_means, learning_curves):
            with pytest.raises(DamagedStoreError, match="is damaged"):
                read(store)


@pytest.mark.parametrize("which", ["evaluation_id = 2", "evaluation_id = 2 AND number = 1"])
def test_an_evaluation_without_all_of_its_episodes_is_in_no_curve(copy: Path, which: str):
    rebuilt(copy, f"DELETE FROM episodes WHERE {which}")
    with open_store(copy, read_only=True) as store:
        for read in (evaluation_means, lambda store: evaluations(store, 1)):
            with pytest.raises(DamagedStoreError, match=r"Table 'evaluations', row 2, holds \d, not all of"):
                read(store)


def test_a_nan_whose_number_is_another_is_said(copy: Path):
    put(copy, "trials", "score_is_nan", 1, "id = 1")
    with open_store(copy, read_only=True) as store, pytest.raises(DamagedStoreError, match=r"holds 9.2, not"):
        find_trial(store, 1)


def test_a_configuration_that_is_not_that_of_its_hash_is_said(copy: Path):
    with open_store(copy, read_only=True) as store:
        config = find_trial(store, 1).record.config
    changed = json.loads(json.dumps(config))
    changed["discount"]["value"] = 0.98
    put(copy, "trials", "config", json.dumps(changed), "id = 1")
    with open_store(copy, read_only=True) as store:
        with pytest.raises(DamagedStoreError, match="not the configuration with the hash"):
            find_trial(store, 1)
        assert find_trial(store, 2).record.config == config


@pytest.mark.parametrize(
    ("column", "value"),
    [("budget", 1.0), ("physics", "modern"), ("episodes", 100), ("task_version", 2), ("protocol", "oms")],
)
def test_a_column_that_contradicts_the_configuration_is_said(tmp_path: Path, column: str, value: object):
    path = tmp_path / "bench.sqlite"
    told = {"budget": 0.001, "physics": "d4rl", "task_version": 1}
    trial = trial_record(0, **told, evaluation={"episodes": 3, "protocol": "last"})
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(run_record())
        writer.plan([trial])
    put(path, "trials", column, value)
    with open_store(path, read_only=True) as store, pytest.raises(DamagedStoreError) as raised:
        find_trial(store, 1)
    assert f"holds {value!r}, not" in raised.value.why


def test_a_dataset_that_is_not_that_of_a_trial_s_configuration_is_said(tmp_path: Path, capsys):
    path = tmp_path / "bench.sqlite"
    data = trial_record().dataset
    trial = trial_record(0, dataset={"name": data.name, "sha256": data.sha256, "rows": data.rows})
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(run_record())
        writer.plan([trial])
    put(path, "datasets", "rows", 7)
    for command in (["check"], ["explain", "1"]):
        with pytest.raises(SystemExit) as ended:
            bench.cli.main([*command, "--store", str(path)])
        assert ended.value.code == 2
        said = "Dataset rows of trial 1 holds 7, not 1000000, as its configuration says."
        assert said in capsys.readouterr().err


def test_a_row_that_belongs_to_nothing_is_said_and_not_left_out(copy: Path):
    put(copy, "trials", "dataset_id", 99, "id = 1")
    with pytest.raises(
        BenchError, match="Row 1 of 'trials' belongs to a row of 'datasets' that is not there"
    ):
        open_store(copy, read_only=True)


def rebuilt(path: Path, change: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("CREATE TABLE x AS SELECT * FROM notes; DROP TABLE notes; ALTER TABLE x RENAME TO notes",
         "may be empty"),
        ("ALTER TABLE notes ADD COLUMN odd TEXT NOT NULL DEFAULT 'x'", None),
        ("ALTER TABLE notes ADD COLUMN odd", None),
        ("CREATE TABLE odd (a)", None),
        ("INSERT INTO alembic_version VALUES ('0001')", "does not say which schema"),
        ("DROP VIEW scores; CREATE VIEW scores AS SELECT * FROM scores", "is not whole"),
        ("UPDATE alembic_version SET version_num = CAST(x'ff' AS TEXT)", "is damaged"),
    ],
)  # fmt: skip
def test_a_schema_that_is_another_is_said(copy: Path, change: str, said: str | None):
    rebuilt(copy, change)
    if said is None:
        open_store(copy, read_only=True).close()
        return
    with pytest.raises(BenchError) as raised:
        open_store(copy, read_only=True)
    assert said in str(raised.value)


COMMANDS = {
    "status": ("trials", "stack", "7"),
    "status --format json": ("failures", "last_metrics", "[1]"),
    "check": ("trials", "score", "high"),
    "report": ("runs", "started_at", "soon"),
    "report --format html": ("durations", "exclusive", "no"),
    "explain 1": ("weights", "role", NOT_UTF8),
    "explain 1 --format json": ("executions", "precision", "{"),
    "baseline list": ("baselines", "frozen_at", 7),
    "db export out.sqlite": ("notes", "written_at", "soon"),
    "db export out.parquet --what episodes": ("episodes", "score", "x"),
    "db export out.parquet --what provenance": ("trials", "config", "[" * 3000),
    "evaluate 1": ("trials", "config", '{"evaluation": null}'),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_it_in_a_sentence(
    copy: Path,
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(copy.parent)
    table, column, value = COMMANDS[command]
    put(copy, table, column, value)
    with pytest.raises(SystemExit) as ended:
        bench.cli.main([*command.split(), "--store", str(copy)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"bench: store {copy} is damaged\n" in said
    assert table in said
    assert "PostgreSQL" not in said
    assert len(said.splitlines()) == 3
    assert not (copy.parent / "out.sqlite").exists()
    assert not (copy.parent / "out.parquet").exists()


def test_a_merge_says_which_of_several_stores_is_damaged(copy: Path, whole: Path, tmp_path: Path, capsys):
    put(copy, "episodes", "score", "x", "evaluation_id = 1 AND number = 2")
    into = tmp_path / "into.sqlite"
    with pytest.raises(SystemExit) as ended:
        bench.cli.main(["db", "merge", str(into), str(copy), str(whole)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"store {copy} is damaged" in said
    assert "Column 'score' of table 'episodes', row 1 2, holds 'x', not a number." in said


def test_a_writer_that_meets_a_damaged_cell_says_it(copy: Path):
    put(copy, "trials", "state", "resting", "seed = 2")
    with open_store(copy) as store, Writer(store) as writer:
        writer.begin_run(run_record("run-2"))
        with pytest.raises(DamagedStoreError, match="holds 'resting', not one of planned, running"):
            writer.plan([trial_record(seed) for seed in range(3)])


def test_all_damaged_cells_are_told_on_request(copy: Path, capsys: pytest.CaptureFixture[str]):
    command = ["db", "info", "--check", "--store", str(copy)]
    with pytest.raises(SystemExit) as ended:
        bench.cli.main(command)
    assert ended.value.code == 0
    assert "Every cell holds what bench writes there." in capsys.readouterr().out
    put(copy, "notes", "text", NOT_UTF8)
    put(copy, "episodes", "length", -1, "evaluation_id = 1")
    put(copy, "trials", "score_is_nan", 1, "id = 1")
    with pytest.raises(SystemExit) as ended:
        bench.cli.main(command)
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.count("Column 'length' of table 'episodes'") == 3
    assert "Column 'text' of table 'notes', row 1, holds 'A\\udcff', not text." in said
    assert "Table 'trials', row 1, holds 9.2, not -Infinity" in said


@pytest.mark.parametrize("command", [["status"], ["baseline", "annotate", "first", "a note"], ["db", "info"]])
def test_a_damaged_schema_whose_names_are_no_text_is_said(copy: Path, command, capsys):
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        name = "CAST(x'6ee974' AS TEXT)"
        connection.execute(
            f"UPDATE sqlite_schema SET name = {name}, sql = 'CREATE TABEL x' WHERE name = 'notes'"
        )
        connection.commit()
    with pytest.raises(SystemExit) as ended:
        bench.cli.main([*command, "--store", str(copy)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"store {copy} is damaged" in said
    assert "n\\xe9t" in said


def test_a_whole_store_is_read_whole(whole: Path):
    with open_store(whole, read_only=True) as store:
        assert sum(len(rows_of(store, table)) for table in TABLES) > 20
