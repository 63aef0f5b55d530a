"""What the documents say about the database holds: each query runs, each column is there."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from bench.store.database import Store, open_store
from bench.store.sql import run_query
from bench.store.writer import Writer
from tests.documents.pages import blocks, text_of
from tests.store import samples

DATABASE = text_of("docs/database.md")
ASKED = re.findall(r'^bench query "([^"]+)"', DATABASE, re.MULTILINE)
SQL = blocks(DATABASE, "sql")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: two finished trials and a failed one in `results/bench.sqlite`.

    The second finished in two stretches, on two machines and with two versions of the code.
    """
    folder = tmp_path_factory.mktemp("documents")
    with open_store(folder / "results" / "bench.sqlite") as store, Writer(store) as writer:
        fill(writer)
    return folder


def fill(writer: Writer) -> None:
    writer.begin_run(samples.run_record())
    trials = [samples.trial_record(seed) for seed in range(3)]
    writer.plan(trials)
    for trial, score in zip(trials[:2], (40.0, 60.0), strict=True):
        seed = trial.key.seed
        writer.claim(trial.key.cell, {seed}, 1)
        writer.begin_execution([trial.key], samples.execution_record((seed,)))
        if seed == 1:
            second = {"hostname": "node-2", "code_sha256": "b" * 64}
            writer.begin_execution([trial.key], samples.execution_record((seed,), 300, **second))
        writer.record(samples.evaluation_record(trial.key))
        writer.record(samples.finished_record(trial.key, score))
    writer.claim(trials[2].key.cell, {2}, 1)
    writer.record(samples.failure_record(trials[2].key))


@pytest.fixture
def store(folder: Path) -> Store:
    with open_store(folder / "results" / "bench.sqlite", read_only=True) as opened:
        yield opened


def answers(store: Store, sql: str) -> list[dict[str, object]]:
    answer = run_query(store, sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def test_the_three_queries_answer_what_the_page_says(store: Store) -> None:
    means, slowest, makers = (answers(store, sql) for sql in ASKED)
    assert means == [{"task": "hopper-medium-v2", "algorithm": "dtql", "mean": 50.0, "n": 2}]
    assert [(row["hours"], row["trials"]) for row in slowest] == [(15 / 3600, 2)]
    assert {(row["hostname"], row["simulator"], row["trials"]) for row in makers} == {
        ("node-1", "mujoco 3.4.0", 1),
        ("node-2", "mujoco 3.4.0", 1),
    }


def test_the_python_about_the_scores_reads_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = blocks(text_of("docs/pandas.md"), "python")[0]
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(program, names)
    assert sorted(names["scores"]["score"].dropna()) == [40.0, 60.0]


def test_the_queries_about_the_database_answer(store: Store) -> None:
    code, failures, returns, phases, cells = (answers(store, sql) for sql in SQL)
    assert code == [{"trial_id": 2, "versions": 2, "machines": 2}]
    assert [row["error"] for row in failures] == ["diverged"]
    assert [row["return_"] for row in returns] == [300.0, 250.5, 275.25]
    assert phases == cells == []


@pytest.mark.slow
def test_all_queries_run_on_a_server_too(postgres_url: str) -> None:
    with open_store(postgres_url) as store, Writer(store) as writer:
        fill(writer)
    with open_store(postgres_url, read_only=True) as store:
        assert len(answers(store, ASKED[0])) == 1
        for sql in (*ASKED, *SQL):
            run_query(store, sql)


def rows_of(section: str) -> dict[str, list[str]]:
    """Rows of the table in a section: name -> the comma-separated words of its last column."""
    text = DATABASE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")
    ]
    return {row[0].strip("`"): row[-1].split(", ") for row in cells[2:]}


def test_views_and_their_columns_are_listed(folder: Path) -> None:
    with sqlite3.connect(folder / "results" / "bench.sqlite") as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'view'")]
        there = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    assert rows_of("Views") == there


def test_tables_and_their_natural_keys_are_listed(folder: Path) -> None:
    with sqlite3.connect(folder / "results" / "bench.sqlite") as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        unique = {name: unique_columns(connection, name) for name in names if name != "alembic_version"}
    told = rows_of("Tables")
    assert told.keys() == unique.keys()
    for name, key in told.items():
        assert sorted(key) in unique[name], name


def unique_columns(connection: sqlite3.Connection, table: str) -> list[list[str]]:
    """Sets of columns that are unique in a table, its primary key among them."""
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    indexes = [row[1] for row in connection.execute(f"PRAGMA index_list({table})").fetchall() if row[2]]
    inside = [connection.execute(f"PRAGMA index_info({index})").fetchall() for index in indexes]
    primary = sorted(column[1] for column in columns if column[5])
    return [primary, *(sorted(row[2] for row in rows) for rows in inside)]
