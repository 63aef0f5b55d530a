"""The schema: migrations give what the models say, and other versions are told apart."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from bench.errors import BenchError
from bench.records import PhaseRecord
from bench.store.claims import EXPIRY, Nothing
from bench.store.database import MIGRATIONS, Store, head_revision, open_store, revisions, upgrade_store
from bench.store.location import locate
from bench.store.models import Base
from bench.store.nights import find_baseline, nights, notes
from bench.store.queries import evaluations, scores_frame, trials
from bench.store.views import NIGHTLY, PROVENANCE, SCORES, TIMINGS
from bench.store.writer import Writer
from tests.store import samples
from tests.store.clocks import Clock
from tests.store.databases import change, columns, copy_to_server, everything, fetched

RELEASED = sorted((Path(__file__).parents[1] / "fixtures").glob("store_*.sqlite"))
FIRST = Path(__file__).parents[1] / "fixtures" / "store_0001.sqlite"

# What people's SQL relies on. Columns may be added at the end of these lists; nothing may leave them.
SCORES_COLUMNS = """
    trial_id algorithm variant task task_version physics seed state protocol score score_is_nan budget
    episodes reduced dataset dataset_sha256 verification replay config_hash attempt training_seconds
    evaluation_seconds peak_memory_bytes started_at finished_at run_id code_version code_commit code_dirty
    hostname device threads stack
"""
PROVENANCE_COLUMNS = """
    trial_id algorithm variant task seed state attempt config_hash config dataset dataset_sha256 dataset_rows
    verification replay task_version physics simulator run_id command code_version code_commit code_dirty
    code_diff_sha256 code_sha256 packages hostname cpu device gpu_driver threads runner precision stack
    executions started_at finished_at training_seconds evaluation_seconds peak_memory_bytes
"""
TIMINGS_COLUMNS = """
    trial_id algorithm variant task seed quantity value stack_size concurrent_stacks device threads runner
    exclusive measured_at run_id code_version code_commit code_dirty
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
