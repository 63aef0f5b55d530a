"""Every command against every kind of bad store: one message, exit code 2, nothing touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import stores
from tests.cli.stores import ALL, ASKING_MORE, MAKING, NIGHTS, PLANNING, aimed

NOT_OURS = "was not made by bench"
HALF = "is not whole"
DAMAGED = "is damaged"
NO_DATABASE = "is no results database"

EVERY = ALL | ASKING_MORE | NIGHTS
NOT_MAKING = {name: command for name, command in EVERY.items() if name not in MAKING | PLANNING | NIGHTS}

# name -> (how it comes to be, words of the message, the commands that refuse it)
CASES = {
    "a folder": (lambda folder: folder, "is a folder", EVERY),
    "a text file": (lambda folder: stores.written(folder / "x", b"notes\n" * 9), NO_DATABASE, EVERY),
    "a text file shorter than a header": (lambda f: stores.written(f / "x", b"hi"), NO_DATABASE, EVERY),
    "an archive": (lambda folder: stores.written(folder / "x.zip", b"PK\x03\x04" * 99), NO_DATABASE, EVERY),
    "another application's": (
        lambda folder: stores.changed(folder / "x", "CREATE TABLE contacts (name)"),
        NOT_OURS,
        EVERY,
    ),
    "another application's with Alembic": (
        lambda f: stores.changed(f / "x", "CREATE TABLE alembic_version (version_num)", "CREATE TABLE a (b)"),
        NOT_OURS,
        EVERY,
    ),
    "another application's after a crash": (
        lambda folder: stores.left_over_log(folder / "x"),
        NOT_OURS,
        EVERY,
    ),
    "half of one": (lambda folder: stores.cut(stores.store(folder), 40_960), DAMAGED, EVERY),
    "the first page of one": (lambda folder: stores.cut(stores.store(folder), 4096), DAMAGED, EVERY),
    "less than a page of one": (lambda f: stores.cut(stores.store(f), 60), DAMAGED, EVERY),
    "nonsense behind a header": (
        lambda folder: stores.written(folder / "x", b"SQLite format 3\x00" + b"nonsense" * 1000),
        "results database",
        EVERY,
    ),
    "a table missing": (
        lambda folder: stores.changed(stores.store(folder), "DROP TABLE claims"),
        HALF,
        EVERY,
    ),
    # An upgrade makes the views anew, which hold nothing of their own.
    "a view missing": (
        lambda folder: stores.changed(stores.store(folder), "DROP VIEW scores"),
        HALF,
        [command for command in EVERY if command != "upgrade"],
    ),
    "a column missing": (
        lambda folder: stores.changed(
            stores.store(folder),
            *("DROP VIEW scores", "DROP VIEW provenance", "ALTER TABLE runs DROP COLUMN hardware"),
            *("CREATE VIEW scores AS SELECT 1 AS one", "CREATE VIEW provenance AS SELECT 1 AS one"),
        ),
        HALF,
        EVERY,
    ),
    "a first table made by an upgrade, the rest not": (
        lambda f: stores.changed(stores.first_schema(f), "CREATE TABLE claims (trial_id INTEGER)"),
        HALF,
        {"upgrade": EVERY["upgrade"]},
    ),
    "a first column made by an upgrade, the rest not": (
        lambda f: stores.changed(stores.first_schema(f), "ALTER TABLE trials ADD COLUMN stack JSON"),
        HALF,
        {"upgrade": EVERY["upgrade"]},
    ),
    "an old one that lacks what no upgrade makes": (
        lambda f: stores.changed(stores.first_schema(f), "DROP TABLE failures"),
        HALF,
        {"upgrade": EVERY["upgrade"]},
    ),
    "without a revision": (
        lambda folder: stores.changed(stores.store(folder), "DELETE FROM alembic_version"),
        HALF,
        EVERY,
    ),
    "of the first schema": (
        stores.first_schema,
        "bench db upgrade --store",
        {name: command for name, command in EVERY.items() if name != "upgrade"},
    ),
    "of a newer bench": (
        lambda f: stores.changed(stores.store(f), "UPDATE alembic_version SET version_num = '0999'"),
        "'0999', newer than",
        EVERY,
    ),
    "a link to nowhere": (lambda folder: stores.link(folder / "x", "nowhere/x"), "is a link to", EVERY),
    "a link to nothing in a folder": (lambda folder: stores.link(folder / "x", "y"), "is a link to", EVERY),
    "a link to itself": (lambda folder: stores.link(folder / "x", "x"), "symbolic links", EVERY),
    "below a file": (lambda folder: stores.written(folder / "x", b"") / "bench.sqlite", "results", EVERY),
    "a named pipe": (lambda folder: stores.pipe(folder / "x"), "is no file", EVERY),
    "a device": (lambda _: Path("/dev/null"), "is no file", EVERY),
    "a name too long": (lambda folder: folder / ("x" * 300), "File name too long", EVERY),
    "nothing": (
        lambda folder: folder / "x" / "bench.sqlite",
        "there is no results database",
        NOT_MAKING,
    ),
    "zero bytes": (
        lambda folder: stores.written(folder / "x", b""),
        "is empty",
        NOT_MAKING,
    ),
    "a database without tables": (
        lambda folder: stores.changed(folder / "x", "CREATE TABLE a (b)", "DROP TABLE a"),
        "is empty",
        NOT_MAKING,
    ),
}


@pytest.fixture
def bench(bench, tiny_data, tmp_path, monkeypatch):
    """Runs a command in an empty folder that knows the tiny dataset."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    (tmp_path / "cwd").mkdir()
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return bench


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A good store. Only read."""
    return stores.store(tmp_path_factory.mktemp("other"), run_id="run-2", seed=1)


@pytest.mark.parametrize(
    ("case", "command"), [(case, command) for case, (_, _, refusing) in CASES.items() for command in refusing]
)
def test_a_bad_store_is_refused_untouched(bench, tmp_path, other, case, command) -> None:
    make, words, _ = CASES[case]
    store = make(tmp_path / "folder")
    before = stores.everything_in(tmp_path)
    code, out, err = bench(*aimed(EVERY[command], store, other))
    assert (code, out) == (2, "")
    assert err.startswith("bench: ")
    assert err.count("bench: ") == 1
    assert words in err
    after = stores.everything_in(tmp_path)
    if command == "upgrade":
        # Beside a store of ours its lock may lie.
        after.pop("folder/bench.sqlite.lock", None)
        before.pop("folder/bench.sqlite.lock", None)
    assert after == before


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM trials",
        "INSERT INTO runs SELECT * FROM runs",
        "UPDATE trials SET score = 100",
        "UPDATE sqlite_master SET name = 'x'",
        "REPLACE INTO alembic_version VALUES ('0001')",
        "WITH one AS (SELECT 1) DELETE FROM trials",
        "DELETE FROM trials RETURNING score",
        "SELECT 1; DELETE FROM trials",
        "CREATE TABLE mine (x)",
        "CREATE TEMP TABLE mine AS SELECT * FROM scores",
        "DROP VIEW scores",
        "ALTER TABLE trials ADD COLUMN mine",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "VACUUM",
        "VACUUM INTO 'copy.sqlite'",
        "ATTACH 'other.sqlite' AS other",
        "REINDEX",
        "ANALYZE",
        "PRAGMA query_only=OFF",
        "PRAGMA journal_mode=DELETE",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA user_version=7",
        "PRAGMA application_id=7",
        "PRAGMA writable_schema=ON",
        "PRAGMA optimize",
        "SELECT load_extension('x')",
        "SELECT writefile('x', 'y')",
    ],
)
def test_a_query_that_writes_is_refused_and_nothing_is_touched(bench, tmp_path, sql: str) -> None:
    store = stores.store(tmp_path / "folder")
    before = stores.everything_in(tmp_path)
    code, out, err = bench("query", sql, "--store", store)
    assert (code, out) == (2, "")
    assert err.startswith("bench: ")
    assert repr(sql) in err
    assert "only reads" in err
    assert stores.everything_in(tmp_path) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM scores",
        "VALUES (1)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT 1 FROM n) SELECT i FROM n",
        "SELECT COUNT(DISTINCT name) FROM pragma_table_info('trials') WHERE name = 'score'",
        "SELECT CAST(json_extract('[1]', '$[0]') AS INTEGER)",
        "SELECT value FROM json_each('[1]')",
        "SELECT round(1.2) > 0",
    ],
)
def test_a_query_that_reads_is_answered(bench, tmp_path, sql: str) -> None:
    store = stores.store(tmp_path / "folder")
    before = stores.everything_in(tmp_path)
    code, out, _ = bench("query", sql, "--format", "csv", "--store", store)
    assert (code, out.splitlines()[1:]) == (0, ["1"])
    assert stores.everything_in(tmp_path) == before
