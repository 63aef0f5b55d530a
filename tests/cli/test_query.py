"""`bench query`, and what `bench status` and `bench db info` say of the same store."""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path

import pytest

from bench.cli import main
from bench.store.database import head_revision, open_store
from bench.store.writer import Writer
from tests.cli.terminals import narrow_terminal
from tests.store import samples


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "bench.sqlite"
    trials = [samples.trial_record(seed) for seed in range(3)]
    with open_store(path) as opened, Writer(opened) as writer:
        writer.begin_run(samples.run_record())
        writer.plan(trials)
        writer.record(samples.finished_record(trials[0].key, 100 / 3))
        writer.record(samples.failure_record(trials[1].key))
    return path


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]):
    """Run a command; return exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        return (exit_.value.code, *capsys.readouterr())

    return run


def test_status_says_what_is_done_what_failed_and_which_commands_go_on(bench, store: Path) -> None:
    code, out, _ = bench("status", "--store", store)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("1/3 trials, about ")
    assert lines[1] == "The cell: variant released, physics d4rl, budget 0.001."
    assert lines[3].split() == ["task", "dtql"]
    assert lines[4].split() == ["hopper-medium-v2", "1/3", "1", "failed"]
    why = "attempt 1, step 700: diverged: critic_loss is NaN"
    assert f"  trial 2: dtql hopper-medium-v2 seed 1, {why}\n    last metrics: critic_loss inf\n" in out
    assert "\nTo try just those again:\n  bench run --suite quickstart --retry failed\n" in out
    assert "\n3 trials: 1 finished, 1 planned, 1 failed.\n" in out
    assert out.endswith("\n  bench run --suite quickstart\n")


def test_status_of_a_new_store_says_how_to_begin(bench, tmp_path: Path) -> None:
    open_store(tmp_path / "new.sqlite").close()
    code, out, _ = bench("status", "--store", tmp_path / "new.sqlite")
    assert (code, "`bench run`" in out) == (0, True)


@pytest.mark.parametrize("command", [("status",), ("db", "info"), ("db", "upgrade"), ("query", "SELECT 1")])
def test_a_missing_store_is_a_wrong_request_and_none_is_made(bench, tmp_path: Path, command) -> None:
    code, out, err = bench(*command, "--store", tmp_path / "absent.sqlite")
    assert (code, out) == (2, "")
    assert "no results database at" in err
    assert list(tmp_path.iterdir()) == []


def test_csv_keeps_every_digit_and_leaves_missing_numbers_empty(bench, store: Path) -> None:
    sql = "SELECT seed, state, score FROM scores ORDER BY seed"
    code, out, _ = bench("query", sql, "--format", "csv", "--store", store)
    rows = list(csv.reader(out.splitlines()))
    assert code == 0
    assert rows == [
        ["seed", "state", "score"],
        ["0", "finished", repr(100 / 3)],
        ["1", "failed", ""],
        ["2", "planned", ""],
    ]


def test_a_table_is_aligned(bench, store: Path) -> None:
    sql = "SELECT task, score FROM scores WHERE score IS NOT NULL"
    assert bench("query", sql, "--store", store)[:2] == (
        0,
        "task                score\nhopper-medium-v2  33.3333\n",
    )


def test_a_query_without_rows_prints_its_columns(bench, store: Path) -> None:
    sql = "SELECT task, score FROM scores WHERE score > 1000"
    assert bench("query", sql, "--store", store)[:2] == (0, "task  score\n")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM trials",
        "WITH one AS (SELECT 1) DELETE FROM trials",
        "PRAGMA journal_mode=DELETE",
        "SELECT 1; DELETE FROM trials",
        "SELECT nothing FROM scores",
        "select count(*) from",
        "PRAGMA query_only=OFF",
        "",
    ],
)
def test_sql_that_writes_or_errs_is_a_wrong_request_and_changes_nothing(bench, store: Path, sql: str) -> None:
    before = store.read_bytes()
    code, out, err = bench("query", sql, "--store", store)
    assert (code, out) == (2, "")
    assert err.startswith("bench: ")
    assert repr(sql) in err
    assert store.read_bytes() == before


def test_db_info_shows_schema_tables_and_views(bench, store: Path) -> None:
    code, out, _ = bench("db", "info", "--store", store)
    assert code == 0
    assert f"schema {head_revision()}" in out
    names = {line.split()[0]: line.split()[1] for line in out.splitlines()[3:]}
    assert names["scores"] == names["trials"] == "3"
    assert names["weights"] == "0"


def test_db_upgrade_says_that_nothing_was_to_be_done(bench, store: Path) -> None:
    code, out, _ = bench("db", "upgrade", "--store", store)
    assert (code, f"already has schema {head_revision()}" in out) == (0, True)


def test_a_store_of_a_newer_bench_is_a_wrong_request(bench, store: Path) -> None:
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    code, _, err = bench("status", "--store", store)
    assert code == 2
    assert "'0999', newer than" in err


def test_a_table_cuts_what_is_wide_and_rounds_times_and_csv_keeps_both(bench, store: Path) -> None:
    wide, time = "x" * 200, "2025-03-01 12:00:00.123456"
    sql = f"SELECT '{wide}' AS wide, '{time}' AS time, 'two\nlines' AS text, '{'a' * 64}' AS hash"
    _, out, _ = bench("query", sql, "--store", store)
    assert out.splitlines()[1].split() == ["x" * 63 + "…", "2025-03-01", "12:00:00", "two…", "a" * 64]
    _, out, _ = bench("query", sql, "--format", "csv", "--store", store)
    assert list(csv.reader(out.splitlines(keepends=True)))[1] == [wide, time, "two\nlines", "a" * 64]


def test_numbers_are_aligned_to_the_right_where_the_first_is_missing_too(bench, store: Path) -> None:
    sql = "SELECT score FROM scores ORDER BY score IS NOT NULL, seed"
    _, out, _ = bench("query", sql, "--store", store)
    assert out == "  score\n\n\n33.3333\n"


def test_a_limit_keeps_the_first_rows(bench, store: Path) -> None:
    sql = "SELECT seed FROM scores ORDER BY seed DESC"
    assert bench("query", sql, "--limit", 2, "--store", store)[1].split() == ["seed", "2", "1"]


def test_on_a_terminal_columns_that_do_not_fit_make_a_block_of_every_row(
    bench, store: Path, monkeypatch
) -> None:
    narrow_terminal(monkeypatch, 80)
    _, out, _ = bench("query", "SELECT * FROM scores ORDER BY seed", "--store", store)
    lines = [line.rstrip() for line in out.splitlines()]
    assert [line.split()[:2] for line in lines if line.startswith("row ")] == [
        ["row", f"{n}"] for n in (1, 2, 3)
    ]
    assert "score               33.3333" in lines
    assert max(map(len, lines)) <= 80
    _, out, _ = bench("query", "SELECT task, seed FROM scores", "--store", store)
    assert out.startswith("task              seed")
