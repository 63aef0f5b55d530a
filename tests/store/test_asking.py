"""SQL that people type: answers that are alike on both databases, and no way to write."""

from __future__ import annotations

import json
import math

import pytest

from bench.errors import BenchError
from bench.store.asking import ask
from bench.store.database import Store, open_store
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import everything

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
            return ask(reader, sql).rows

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
    assert ask(store, "SELECT seed AS s, task FROM scores WHERE seed > 99").columns == ("s", "task")


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
]


@pytest.mark.parametrize("sql", WRITING)
def test_nothing_can_be_written(asked, store: Store, sql: str) -> None:
    before = everything(store.location.url)
    with pytest.raises(BenchError) as error:
        asked(sql)
    assert repr(sql) in error.value.what
    assert "\n" not in error.value.why
    assert everything(store.location.url) == before


@ONLY_POSTGRESQL
@pytest.mark.parametrize("sql", WRITING_ON_A_SERVER)
def test_a_server_offers_no_other_way(asked, store: Store, sql: str) -> None:
    before = (everything(store.location.url), sequences(store))
    with pytest.raises(BenchError):
        asked(sql)
    assert (everything(store.location.url), sequences(store)) == before


def sequences(store: Store) -> list[tuple]:
    """Where the numbering of rows stands."""
    return ask(store, "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1").rows
