"""A store in one file: everything of it, or a table for data frames."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.store.database import Store, open_store
from bench.store.export import export_sqlite
from bench.store.models import Base, Claim
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import everything, fetched
from tests.store.full_disk import fill, small_disk

TRIALS = [samples.trial_record(seed) for seed in range(4)]


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str]):
    """Run `bench db export`; return exit code, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(["db", "export", *map(str, arguments)])
        return (exit_.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def url(store_url: str, store: Store, writer: Writer) -> str:
    """A store with every kind of row: finished, finished with NaN, failed, running."""
    writer.plan(TRIALS)
    finished, diverged, failed, running = (trial.key for trial in TRIALS)
    writer.record(samples.evaluation_record(finished, 1))
    writer.record(samples.evaluation_record(finished, 2, (math.nan, math.inf)))
    writer.record(samples.weights_record(finished))
    writer.record(samples.timing_record(finished))
    writer.record(samples.timing_record(None))
    writer.record(samples.finished_record(finished, 100 / 3))
    writer.record(samples.finished_record(diverged, math.nan))
    writer.record(samples.failure_record(failed))
    writer.claim(running.cell, {running.seed}, 1)
    writer.begin_execution([running], samples.execution_record())
    writer.freeze(samples.baseline_record())
    writer.annotate(samples.note_record())
    writer.begin_night(samples.begun(samples.night_record()))
    writer.end_night(samples.night_record())
    return store_url


def test_a_store_of_any_kind_becomes_a_file_with_the_same_rows(url: str, tmp_path: Path, export) -> None:
    out = tmp_path / "new" / "out.sqlite"
    before = everything(url)
    code, said, _ = export(out, "--store", url)
    assert (code, said.startswith(f"Wrote {out}: 4 trials, 2 evaluations, 5 episodes; 0.2 MB.")) == (0, True)
    if url.startswith("postgresql"):  # which has other words for truth, JSON and times
        with open_store(out, read_only=True) as copy, open_store(url, read_only=True) as original:
            assert rows_of(copy) == rows_of(original)
    else:
        assert everything(str(out)) == before | {"claims": []}
    assert fetched(out, "SELECT COUNT(*) FROM claims") == [(0,)]
    assert len(before["claims"]) == 1
    assert everything(url) == before
    assert [path.name for path in out.parent.iterdir()] == ["out.sqlite"]
    # It can be gone on with, and further rows get numbers of their own.
    with open_store(out) as copy, Writer(copy) as writer:
        writer.begin_run(samples.run_record("run-2"))
        writer.plan([samples.trial_record(9)])
        assert writer.claim(TRIALS[3].key.cell, {3}, 1).seeds == (3,)
    assert fetched(out, "SELECT id FROM trials ORDER BY id") == [(1,), (2,), (3,), (4,), (5,)]


def rows_of(store: Store) -> dict[str, list[dict]]:
    with store.connect() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(table.select().order_by(*table.primary_key)).mappings()
            ]
            for table in Base.metadata.sorted_tables
            if table is not Claim.__table__
        }


def test_every_command_that_reads_opens_the_file(url: str, tmp_path: Path, export, capsys) -> None:
    out = tmp_path / "out.sqlite"
    export(out, "--store", url)
    for command in (["status"], ["report"], ["query", "SELECT 1"], ["db", "info"]):
        with pytest.raises(SystemExit) as exit_:
            main([*command, "--store", str(out)])
        assert exit_.value.code == 0, capsys.readouterr()


def frame(export, url: str, folder: Path, what: str) -> pd.DataFrame:
    path = folder / f"{what}.parquet"
    assert export(path, "--what", what, "--store", url)[0] == 0
    return pd.read_parquet(path)


def test_scores_become_a_frame_with_real_types(url: str, tmp_path: Path, export) -> None:
    scores = frame(export, url, tmp_path, "scores")
    assert list(scores["seed"]) == [0, 1, 2, 3]
    assert list(scores["state"]) == ["finished", "finished", "failed", "running"]
    assert scores["score"][0] == 100 / 3
    assert str(scores["finished_at"].dtype) == "datetime64[us, UTC]"
    assert scores["finished_at"][0].to_pydatetime() == samples.finished_record(TRIALS[0].key).finished_at
    assert json.loads(scores["reduced"][0]) == ["budget 0.001", "episodes 3"]
    # A NaN is a number, a score that is missing is none.
    column = pq.read_table(tmp_path / "scores.parquet")["score"]
    assert [value.as_py() for value in column][2:] == [None, None]
    assert math.isnan(column[1].as_py())
    assert list(scores["score_is_nan"]) == [False, True, False, False]
    assert pq.read_schema(tmp_path / "scores.parquet").field("score").type == "double"


def test_the_default_frame_is_the_scores(url: str, tmp_path: Path, export) -> None:
    export(tmp_path / "a.parquet", "--store", url)
    export(tmp_path / "b.parquet", "--what", "scores", "--store", url)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_episodes_and_evaluations_say_of_which_trial_they_are(url: str, tmp_path: Path, export) -> None:
    episodes = frame(export, url, tmp_path, "episodes")
    assert list(episodes["task"].unique()) == ["hopper-medium-v2"]
    assert list(zip(episodes["number"], episodes["episode"], strict=True)) == [
        (1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]  # fmt: skip
    assert list(episodes["return"][:3]) == [300.0, 250.5, 275.25]
    assert math.isnan(episodes["return"][3])
    assert episodes["return"][4] == math.inf
    assert list(episodes["length"]) == [100, 101, 102, 100, 101]
    evaluations = frame(export, url, tmp_path, "evaluations")
    assert list(evaluations["step"]) == [1000, 2000]
    assert json.loads(evaluations["metrics"][0]) == {"actor_loss": "NaN", "critic_loss": 0.25}
    first = evaluations["evaluated_at"][0].to_pydatetime()
    assert first == samples.evaluation_record(TRIALS[0].key, 1).evaluated_at
    assert first.tzinfo is not None
    assert first.utcoffset() == UTC.utcoffset(None)


def test_timings_without_a_trial_and_provenance_become_frames(url: str, tmp_path: Path, export) -> None:
    timings = frame(export, url, tmp_path, "timings")
    assert sorted(timings["trial_id"].isna()) == [False, True]
    provenance = frame(export, url, tmp_path, "provenance")
    assert list(provenance["simulator"].fillna("")) == ["", "", "", "mujoco 3.4.0"]
    assert json.loads(provenance["config"][0]) == TRIALS[0].config


def test_an_empty_table_becomes_an_empty_file_of_the_same_columns(url: str, tmp_path: Path, export) -> None:
    with open_store(tmp_path / "empty.sqlite"):
        pass
    empty = frame(export, str(tmp_path / "empty.sqlite"), tmp_path, "scores")
    assert len(empty) == 0
    (tmp_path / "full").mkdir()
    assert list(empty.columns) == list(frame(export, url, tmp_path / "full", "scores").columns)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A store with a finished trial and its weights."""
    path = tmp_path / "store" / "bench.sqlite"
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan(TRIALS[:2])
        for trial, content in zip(TRIALS, (b"good", b"bad"), strict=False):
            file = path.parent / "weights" / f"{trial.key.seed}.safetensors"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            # SHA-256 of b"good"
            digest = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"
            writer.record(samples.weights_record(trial.key, digest))
    return path


def test_what_2d_problems_show_goes_along_and_trained_networks_do_not(tmp_path: Path, export) -> None:
    path, content = tmp_path / "from" / "bench.sqlite", b"points"
    key = samples.trial_record().key
    with open_store(path) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan([samples.trial_record()])
        writer.record(samples.weights_record(key))
        shown = replace(samples.weights_record(key), role="illustration", path="weights/shown.safetensors")
        writer.record(replace(shown, sha256=hashlib.sha256(content).hexdigest()))
    (path.parent / "weights").mkdir()
    (path.parent / "weights" / "shown.safetensors").write_bytes(content)
    code, said, _ = export(tmp_path / "out.sqlite", "--store", path)
    assert (code, f"1 file of what 2D problems show in {tmp_path}/weights" in said) == (0, True)
    assert [file.name for file in (tmp_path / "weights").iterdir()] == ["shown.safetensors"]
    assert (tmp_path / "weights" / "shown.safetensors").read_bytes() == content
    (path.parent / "weights" / "shown.safetensors").unlink()
    code, _, error = export(tmp_path / "other" / "out.sqlite", "--store", path)
    assert (code, "shown.safetensors is missing" in error) == (1, True)


def test_weights_are_copied_and_one_that_has_changed_is_named(small: Path, tmp_path: Path, export) -> None:
    code, said, error = export(tmp_path / "out.sqlite", "--weights", "--store", small)
    assert code == 1
    assert f"1 file of weights in {tmp_path}/weights" in said
    assert f"{small.parent}/weights/1.safetensors is not what was stored: its SHA-256 differs" in error
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["0.safetensors"]
    assert (tmp_path / "weights" / "0.safetensors").read_bytes() == b"good"
    (small.parent / "weights" / "1.safetensors").unlink()
    code, _, error = export(tmp_path / "out.sqlite", "--weights", "--force", "--store", small)
    assert (code, "1.safetensors is missing" in error) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["out.csv"], "ends neither in .sqlite nor in .parquet"),
        (["out"], "ends neither in .sqlite nor in .parquet"),
        (["out.parquet", "--what", "score"], "Did you mean scores"),
        (["out.sqlite", "--what", "scores"], "Leave --what out"),
        (["out.parquet", "--weights"], "--weights with a .parquet file"),
        (["there.sqlite"], "--force"),
        (["store/bench.sqlite"], "is the store itself"),
        (["store/bench.sqlite", "--force"], "is the store itself"),
        (["store/../store/bench.sqlite", "--force"], "is the store itself"),
        (["folder.sqlite"], "is a folder"),
        (["used.sqlite"], "in use"),
        (["used.sqlite", "--force"], "in use"),
    ],
)
def test_where_something_would_be_lost_nothing_is_written(
    small: Path, tmp_path: Path, export, monkeypatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.sqlite").write_text("mine")
    Path("used.sqlite-wal").touch()
    Path("folder.sqlite").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    code, _, error = export(*arguments, "--store", small)
    assert (code, told in error) == (2, True), error
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_file_is_replaced_when_asked(small: Path, tmp_path: Path, export) -> None:
    out = tmp_path / "out.sqlite"
    out.write_text("old")
    assert export(out, "--force", "--store", small)[0] == 0
    assert fetched(out, "SELECT COUNT(*) FROM trials") == [(2,)]


def test_what_cannot_be_written_leaves_nothing(small: Path, tmp_path: Path, export) -> None:
    (tmp_path / "file").touch()
    code, _, error = export(tmp_path / "file" / "out.sqlite", "--store", small)
    assert (code, "cannot write" in error) == (2, True)
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_is_named_and_keeps_no_half_a_file(small: Path, tmp_path: Path, export) -> None:
    with small_disk(tmp_path / "disk", "400k") as disk:
        out = disk / "out.sqlite"
        ballast = fill(disk)
        code, _, error = export(out, "--store", small)
        assert (code, error.startswith(f"bench: store {out} has no room left on its disk")) == (1, True), (
            error
        )
        assert list(disk.iterdir()) == [ballast]
        ballast.unlink()
        assert export(out, "--store", small)[0] == 0


def test_what_is_written_meanwhile_is_not_in_the_file(
    store_url: str, store: Store, writer: Writer, tmp_path: Path
) -> None:
    first, *later = TRIALS
    writer.plan([first])

    def show(done: int, total: int) -> None:
        if later:
            trial = later.pop()
            writer.plan([trial])
            writer.record(samples.evaluation_record(trial.key))

    with open_store(store_url, read_only=True) as source:
        export_sqlite(source, tmp_path / "out.sqlite", show)
    assert len(later) < 3
    assert fetched(store_url, "SELECT COUNT(*) FROM episodes") != [(0,)]
    assert fetched(tmp_path / "out.sqlite", "SELECT seed FROM trials") == [(0,)]
    assert fetched(tmp_path / "out.sqlite", "SELECT COUNT(*) FROM evaluations, episodes") == [(0,)]
