"""The Python interface: what it gives is what the commands say, and asking for it is light."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import bench
from bench.catalog import load_catalog
from bench.report.margins import load_margins
from bench.report.paper import load_paper_tables
from bench.store.database import open_store
from bench.store.queries import evaluations
from bench.store.views import SCORES
from benchmarks.synthetic_study import Design, draw_study, study_cells
from tests.cli.stores import store as store_of_one_trial
from tests.report.synthetic import write_store
from tests.store.databases import change


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """SRPO's locomotion scores as its paper prints them, but for one task that is worse in truth."""
    catalog, path = load_catalog(), tmp_path_factory.mktemp("study") / "bench.sqlite"
    wanted = ("SRPO", "locomotion")
    cells = [cell for cell in study_cells(catalog) if (cell.printed.paper, cell.printed.domain) == wanted]
    design = Design(printed_anew=False, planted={("SRPO", "srpo", "hopper-medium-v2", "last"): -15.0})
    drawn = draw_study(tuple(cells), design, load_margins(), catalog, np.random.default_rng(1))
    return write_store(path, drawn, catalog)


def test_nothing_is_imported_before_it_is_asked_for_and_tables_need_no_torch():
    code = (
        "import sys, bench\n"
        "assert not {'numpy', 'pandas', 'torch', 'sqlalchemy', 'pydantic'} & set(sys.modules)\n"
        "assert {'scores', 'verdicts', 'paper_tables', 'load_policy', 'Policy'} <= set(dir(bench))\n"
        "bench.paper_tables(), bench.verdicts, bench.BenchError\n"
        "assert not {'torch', 'ray', 'mujoco'} & set(sys.modules)\n"
        "try:\n    bench.anything\n"
        "except AttributeError as error:\n    assert 'anything' in str(error)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_scores_are_the_view(tmp_path, monkeypatch):
    path = store_of_one_trial(tmp_path)
    frame = bench.scores(path)
    assert frame.columns.tolist() == [column.name for column in SCORES.columns]
    assert frame[["trial_id", "algorithm", "task", "seed", "state"]].values.tolist() == [
        [1, "dtql", "hopper-medium-v2", 0, "finished"]
    ]
    assert frame.reduced[0] == ["budget 0.001", "episodes 3"]
    # Where no store is named it is that of the commands.
    monkeypatch.setenv("BENCH_STORE", str(path))
    pd.testing.assert_frame_equal(bench.scores(), frame)
    monkeypatch.delenv("BENCH_STORE")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bench.BenchError, match=r"results/bench\.sqlite"):
        bench.scores()


def test_columns_have_the_same_types_whatever_rows_there_are(trained_store, tmp_path):
    open_store(tmp_path / "empty.sqlite").close()
    empty, one = bench.scores(tmp_path / "empty.sqlite"), bench.scores(store_of_one_trial(tmp_path))
    full = bench.scores(trained_store)
    numbers = ["trial_id", "seed", "score", "score_is_nan", "training_seconds", "threads", "finished_at"]
    kinds = ["Int64", "Int64", "float64", "boolean", "float64", "Int64", "datetime64[us, UTC]"]
    for frame in (empty, one, full):
        assert [str(frame[name].dtype) for name in numbers] == kinds
    assert len(empty) == 0


def test_a_diverged_seed_is_told_from_a_score_that_is_missing(tmp_path):
    path = store_of_one_trial(tmp_path)
    change(str(path), "UPDATE trials SET score = -9e999, score_is_nan = 1")
    frame = bench.scores(path)
    assert np.isnan(frame.score[0])
    assert frame.score_is_nan[0]


def test_verdicts_are_those_of_bench_check(study, capsys):
    import json

    from bench.cli import main

    frame = bench.verdicts(study, suites=["d4rl-locomotion"])
    assert bench.verdicts(study, suites="d4rl-locomotion").equals(frame)
    with pytest.raises(SystemExit):
        main(["check", "--suite", "d4rl-locomotion", "--format", "json", "--store", str(study)])
    told = json.loads(capsys.readouterr().out)
    assert frame.id.tolist() == [one["id"] for one in (*told["cells"], *told["suites"])]
    assert frame.outcome.tolist() == [one["outcome"] for one in (*told["cells"], *told["suites"])]
    assert frame["of"].value_counts().to_dict() == {"task": 9, "suite": 1}
    below = frame[frame.outcome == "below"]
    assert "srpo/hopper-medium-v2/last" in below.id.tolist()
    assert below.words.unique().tolist() == ["not reproduced, below"]
    cells = frame[frame["of"] == "task"]
    assert np.allclose(cells.difference, cells.measured - cells.printed)
    assert ((frame.low < frame.difference) & (frame.difference < frame.high)).all()
    assert frame.attrs["statements"] == told["statements"]
    assert cells.n.dtype == "Int64"


def test_what_was_not_tested_has_no_numbers_and_an_empty_store_no_rows(tmp_path):
    frame = bench.verdicts(store_of_one_trial(tmp_path))
    assert set(frame.outcome) == {"not comparable"}
    assert frame.reasons[0]
    assert np.isnan(frame.difference[0])
    open_store(tmp_path / "empty.sqlite").close()
    empty = bench.verdicts(tmp_path / "empty.sqlite")
    assert (len(empty), empty.columns.tolist()) == (0, frame.columns.tolist())
    with pytest.raises(bench.BenchError, match="unknown suite 'd4rl-locomotoin'"):
        bench.verdicts(tmp_path / "empty.sqlite", suites=["d4rl-locomotoin"])


def test_printed_numbers_are_all_there_in_the_order_of_print():
    frame = bench.paper_tables()
    tables = load_paper_tables()
    assert frame.table.drop_duplicates().tolist() == list(tables)
    assert frame.digits.tolist() == [cell.text for table in tables.values() for cell in table.rows]
    one = frame[(frame.table == "dtql-1") & (frame.algorithm == "dtql") & (frame.task == "hopper-medium-v2")]
    assert (one["mean"].item(), one.spread.item(), one.digits.item()) == (99.6, 0.87, "99.6 ± 0.87")
    assert any("should be" in text for texts in frame.errata for text in texts)


def test_a_policy_of_a_store_acts(trained_store):
    policy = bench.load_policy(trained_store, np.int64(bench.scores(trained_store).trial_id[0]))
    assert repr(policy) == "<Policy of trial 1: dtql collected-hopper-quickstart seed 0>"
    assert (policy.observation_size, policy.action_size, policy.action_bound) == (11, 3, 1.0)
    with open_store(trained_store, read_only=True) as opened:
        last = max(evaluations(opened, 1), key=lambda record: record.number)
    assert policy.score == pytest.approx(np.mean(last.scores))
    actions = policy.act(np.zeros((4, 11)), seed=1)
    assert np.array_equal(bench.load_policy(trained_store, 1).act(np.zeros((4, 11)), seed=1), actions)
    assert isinstance(policy, bench.Policy)


def test_a_number_is_wanted(trained_store):
    with pytest.raises(TypeError):
        bench.load_policy(trained_store, "dtql")
