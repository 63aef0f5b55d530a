"""SQL that people type: answers that are alike on both databases, and no way to write."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.store import postgresql
from bench.store.database import Store, open_store
from bench.store.sql import run_query
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import everything
from tests.store.postgres import Server

ONLY_POSTGRESQL = pytest.mark.parametrize(
    "store_url", [pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture
def asked(store: Store, writer: Writer):
    """Ask the store, opened for reading, something; it holds a finished trial, a NaN and a planned one."""
    trials = [samples.trial_record(seed) for seed in range(3)]
    writer.plan(trials)
    writer.record(samples.finished_record(trials[0].key, 100 / 3))
    writer.record(samples.finished_record(trials[1].key, math.nan))

    def ask_(sql: str) -> list[tuple]:
        with open_store(store.location.url, read_only=True) as reader:
            return run_query(reader, sql).rows

    return ask_


def test_numbers_come_whole(asked) -> None:
    sql = "SELECT seed, score FROM scores WHERE state = 'finished' ORDER BY seed"
    assert asked(sql) == [(0, 100 / 3), (1, -math.inf)]


def test_what_is_missing_is_none(asked) -> None:
    assert asked("SELECT score FROM scores WHERE seed = 2") == [(None,)]


def test_flags_are_conditions(asked) -> None:
    assert asked("SELECT seed FROM scores WHERE score_is_nan") == [(1,)]


def test_json_comes_as_text(asked) -> None:
    (((text),),) = asked("SELECT config FROM trials WHERE seed = 0")
    assert json.loads(text) == samples.trial_record().config
    assert asked("SELECT reduced FROM scores WHERE seed = 0") == [('["budget 0.001", "episodes 3"]',)]


def test_times_are_shown_in_utc(asked) -> None:
    (((text),),) = asked("SELECT CAST(finished_at AS VARCHAR) FROM scores WHERE seed = 0")
    assert text.startswith("2025-03-01 14:00:00")


def test_percent_signs_and_colons_stand_for_themselves(asked) -> None:
    assert asked("SELECT COUNT(*), '%s :name 100%' FROM scores WHERE task LIKE 'hopper%'") == [
        (3, "%s :name 100%")
    ]


def test_columns_are_named(asked, store: Store) -> None:
    assert run_query(store, "SELECT seed AS s, task FROM scores WHERE seed > 99").columns == ("s", "task")


WRITING = [
    "DELETE FROM trials",
    "INSERT INTO alembic_version VALUES ('1')",
    "UPDATE trials SET score = 1 RETURNING score",
    "CREATE TABLE new (a INTEGER)",
    "CREATE TEMP TABLE new AS SELECT 1",
    "DROP VIEW scores",
    "SELECT 1; DELETE FROM claims",
    "COMMIT; DELETE FROM claims",
    "",
]
WRITING_ON_A_SERVER = [
    "SET TRANSACTION READ WRITE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET TRANSACTION READ WRITE; DELETE FROM trials; COMMIT",
    "COMMIT; BEGIN READ WRITE; DELETE FROM trials; COMMIT",
    "WITH gone AS (DELETE FROM claims RETURNING 1) SELECT * FROM gone",
    "EXPLAIN ANALYZE DELETE FROM claims",
    "SELECT set_config('transaction_read_only', 'off', true), nextval('trials_id_seq')",
    "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM trials; END $$",
    "DO $$ BEGIN COMMIT; DELETE FROM trials; COMMIT; END $$",
    "SELECT setval('trials_id_seq', 99)",
    "TRUNCATE episodes",
    "COMMIT",
    "COPY trials TO STDOUT",
    "COPY trials TO PROGRAM 'touch {file}'",
    "COPY trials TO '{file}'",
    "COPY (SELECT 1) TO '{file}'",
    "SELECT 1 INTO new",
    "SELECT seed FROM trials FOR UPDATE",
    "EXPLAIN ANALYZE SELECT 1",
    "SHOW server_version",
    "FETCH ALL FROM answer",
    "CLOSE answer",
    "DECLARE mine CURSOR FOR SELECT 1",
    "PREPARE mine AS DELETE FROM trials",
    "CALL mine()",
    "LOCK TABLE trials",
    "NOTIFY mine",
    "LISTEN mine",
    "RESET ROLE",
    "SET ROLE bench",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SELECT 1; RESET ROLE; COPY trials TO PROGRAM 'touch {file}'",
    "VACUUM",
    "CHECKPOINT",
]
FILES = "query_to_xml('SELECT pg_read_file(''/etc/passwd'')', true, true, '')"
POWERS = [
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT (pg_stat_file('/etc/passwd')).size",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(lo_from_bytea(0, 'x'), '{file}')",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_switch_wal()",
    "SELECT pg_promote()",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bench' LIMIT 1",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'bench' LIMIT 1",
    "SELECT set_config('role', 'bench', true)",
    "SELECT set_config('role', 'none', false)",
    "SELECT set_config('session_authorization', 'bench', true)",
    "SELECT set_config('transaction_read_only', 'off', true)",
    f"SELECT {FILES}",
    f"SELECT set_config('role', 'none', true), {FILES}",
    f"SELECT set_config('ro' || 'le', 'none', true), {FILES}",
    f"WITH first AS MATERIALIZED (SELECT set_config('role', 'none', true)) SELECT {FILES} FROM first",
    "SELECT query_to_xml('SELECT set_config(''role'', ''none'', true)', true, true, '')",
    "SELECT query_to_xml('SET ROLE bench', true, true, '')",
    "SELECT query_to_xml('COPY trials TO PROGRAM ''touch {file}'' ', true, true, '')",
    "SELECT query_to_xml('DELETE FROM trials', true, true, '')",
    "SELECT pg_temp.bench_rows('SELECT set_config(''role'', ''none'', true)', NULL)",
    "SELECT nextval('trials_id_seq')",
]
"""What a superuser could do in a transaction that only reads."""


@pytest.mark.parametrize("sql", WRITING)
def test_nothing_can_be_written(asked, store: Store, sql: str) -> None:
    before = everything(store.location.url)
    with pytest.raises(BenchError) as error:
        asked(sql)
    assert repr(sql) in error.value.what
    assert "\n" not in error.value.why
    assert everything(store.location.url) == before


@ONLY_POSTGRESQL
def test_a_server_offers_no_other_way(asked, store: Store, server_file: Path) -> None:
    before = (everything(store.location.url), sequences(store))
    for sql in WRITING_ON_A_SERVER:
        with pytest.raises(BenchError):
            pytest.fail(f"{sql} gave {asked(sql.replace('{file}', str(server_file)))}")
    assert (everything(store.location.url), sequences(store)) == before
    assert not server_file.exists()


@pytest.fixture
def server_file(postgres: Server) -> Path:
    """Where the server could write a file."""
    return postgres.folder / "planted"


@pytest.fixture
def plain_role(postgres: Server) -> str:
    """A role without rights but those to read."""
    postgres.execute("DROP ROLE IF EXISTS plain")
    postgres.execute("CREATE ROLE plain LOGIN PASSWORD 'x' IN ROLE pg_read_all_data")
    return "plain"


@ONLY_POSTGRESQL
@pytest.mark.parametrize("role", [False, True])
def test_a_superuser_can_do_no_more_than_read(
    asked, store: Store, server_file: Path, plain_role: str, role: bool
) -> None:
    # It may have taken another role, and could go back.
    url = store.location.url + (f"?options=-crole%3D{plain_role}" if role else "")
    before = (everything(store.location.url), sequences(store))
    for sql in POWERS:
        with open_store(url, read_only=True) as reader, pytest.raises(BenchError, match="refuses") as error:
            pytest.fail(f"{sql} gave {run_query(reader, sql.replace('{file}', str(server_file)))}")
        assert "cannot be kept to reading" not in str(error.value)
    assert (everything(store.location.url), sequences(store)) == before
    assert not server_file.exists()


@ONLY_POSTGRESQL
def test_who_may_become_a_superuser_can_do_no_more_either(asked, store: Store, postgres: Server) -> None:
    postgres.execute("DROP ROLE IF EXISTS member")
    postgres.execute("CREATE ROLE member LOGIN PASSWORD 'x' NOINHERIT IN ROLE bench, pg_read_all_data")
    url = postgres.url(store.location.url.rpartition("/")[2], login="member:x")
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO member", url.rpartition("/")[2])
    with open_store(url, read_only=True) as reader:
        assert run_query(reader, "SELECT COUNT(*) FROM scores").rows == [(3,)]
        with pytest.raises(BenchError, match="refuses"):
            run_query(reader, f"SELECT set_config('role', 'bench', true), {FILES}")
    postgres.execute("REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM member", url.rpartition("/")[2])


@ONLY_POSTGRESQL
def test_a_plain_user_asks_with_its_own_rights(
    asked, store: Store, postgres: Server, plain_role: str
) -> None:
    url = postgres.url(store.location.url.rpartition("/")[2], login=f"{plain_role}:x")
    with open_store(url, read_only=True) as reader:
        assert run_query(reader, "SELECT COUNT(*) FROM scores").rows == [(3,)]
        assert run_query(reader, "SELECT seed FROM scores ORDER BY seed", limit=2).rows == [(0,), (1,)]
        for sql in ("SELECT pg_read_file('/etc/passwd')", "DELETE FROM trials", "COPY trials TO STDOUT"):
            with pytest.raises(BenchError, match="refuses"):
                run_query(reader, sql)


@ONLY_POSTGRESQL
def test_where_a_superuser_cannot_be_kept_to_reading_nothing_is_asked(asked, monkeypatch) -> None:
    """As on a server before version 14, which has no role for it, or on one that only follows another."""
    monkeypatch.setattr(postgresql, "MAKE_READER", ("ALTER FUNCTION now OWNER TO pg_no_such_role",))
    with pytest.raises(BenchError, match="cannot be kept to reading") as error:
        asked("SELECT 1")
    assert "pg_no_such_role" in error.value.why
    assert "CREATE ROLE reader" in error.value.do_this


@ONLY_POSTGRESQL
def test_a_superuser_gets_every_type_of_column_and_names_that_are_there_twice(asked, store: Store) -> None:
    sql = """
        SELECT 1 AS a, 2 AS a, 'x' AS "B c", 1.50::numeric(5, 2), '{1,2}'::int[], '2025-01-02'::date,
               NULL, NULL::float8, '{"k": [1]}'::jsonb, 'NaN'::float8, '20% of %s', interval '1 day'
    """
    answer = run_query(store, sql)
    assert answer.columns[:3] == ("a", "a", "B c")
    (row,) = answer.rows
    assert row[:3] == (1, 2, "x")
    assert (str(row[3]), row[4], str(row[5])) == ("1.50", "[1, 2]", "2025-01-02")
    assert (row[6], row[7], row[8], row[10]) == (None, None, '{"k": [1]}', "20% of %s")
    assert math.isnan(row[9])


@ONLY_POSTGRESQL
def test_a_limit_is_what_the_server_sends(asked, store: Store) -> None:
    sql = "SELECT n FROM generate_series(1, 3000000) AS n"
    assert run_query(store, sql, limit=3).rows == [(1,), (2,), (3,)]


@ONLY_POSTGRESQL
def test_whatever_the_server_takes_for_one_select_is_asked(asked) -> None:
    assert len(asked("TABLE trials")) == 3
    assert asked("VALUES (1)") == asked("(SELECT 1)") == asked("SELECT 1;") == [(1,)]
    assert asked("WITH one AS (SELECT 1) TABLE one") == [(1,)]
    assert asked("-- a remark\nSELECT 1 -- another") == [(1,)]
    assert asked("SELECT 1 UNION SELECT 2 ORDER BY 1") == [(1,), (2,)]
    assert asked("SELECT 1 WHERE false") == []


@ONLY_POSTGRESQL
def test_a_select_of_nothing_gives_no_rows(asked) -> None:
    with pytest.raises(BenchError, match="gives no rows"):
        asked("SELECT")


@pytest.fixture
def ctrl_c_raises() -> Iterator[None]:
    """SIGINT raises, also where the tests were started in the background, with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_a_query_without_end_is_ended_by_ctrl_c(asked) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000000)"
    pressing = threading.Timer(1.0, signal.raise_signal, [signal.SIGINT])
    pressing.start()
    with pytest.raises(KeyboardInterrupt):
        asked(f"{numbers} SELECT MAX(i) FROM n")
    pressing.join()


@pytest.mark.parametrize("sql", ["SELECT '\udcff'", "\ud800"])
def test_what_is_no_text_is_told(asked, sql: str) -> None:
    with pytest.raises(BenchError, match="is no text"):
        asked(sql)


def test_a_statement_of_great_length_is_quoted_in_part(asked) -> None:
    with pytest.raises(BenchError) as error:
        asked(f"SELECT {'no_such_column, ' * 10_000} 1 FROM trials")
    assert len(error.value.what) < 300


def sequences(store: Store) -> list[tuple]:
    """Where the numbering of rows stands."""
    return run_query(store, "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1").rows
