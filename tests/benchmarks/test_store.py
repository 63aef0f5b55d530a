"""The benchmark of the store: it makes a whole one, commits the same rows both ways, tells every figure."""

import json
import sqlite3

import pytest

from bench.store.database import open_store
from bench.store.queries import learning_curves, trials
from benchmarks import commits, planning, store
from benchmarks.full_store import ALGORITHMS, Size, make_store

SMALL = Size(tasks=2, seeds=5, evaluations=3, episodes=2)
"""40 trials: the last one has failed."""


@pytest.fixture
def path(tmp_path):
    make_store(tmp_path / "bench.sqlite", SMALL)
    return tmp_path / "bench.sqlite"


def test_a_made_store_holds_every_trial_with_all_its_evaluations(path):
    with open_store(path, read_only=True) as opened:
        stored, curves = trials(opened), learning_curves(opened)
    assert len(stored) == len(ALGORITHMS) * 2 * 5 == SMALL.trials
    assert [trial.state for trial in stored].count("failed") == 1
    assert {trial.record.key.seed for trial in stored} == set(range(5))
    assert len(curves) == 3 * len(stored)
    # The score is that of the protocol: `last` is the mean of the last evaluation.
    last = curves[curves["number"] == 3].set_index("trial_id")["mean_score"]
    for trial in stored:
        if trial.state == "finished" and trial.record.protocol == "last":
            assert trial.score == pytest.approx(last[trial.trial_id])


def test_both_ways_of_committing_leave_the_same_rows(path):
    evaluation, end = commits.compare_commits(path, SMALL, turns=1)
    assert evaluation.ratio > 0 and end.ratio > 0
    for table, but in {
        "evaluations": (),
        "episodes": (),
        "weights": ("path", "sha256"),
        "durations": (),
        "claims": (),
        "executions": ("ended_at",),
        "trials": (),
    }.items():
        ours, bare = (_rows(file, table, but) for file in (path, path.with_name("bare.sqlite")))
        assert len(ours) == len(bare), table
        assert ours == bare, table


def test_planning_stores_what_is_new_and_prints_its_seconds(path, capsys):
    numbers = (SMALL.tasks, SMALL.seeds + 1, SMALL.evaluations, SMALL.episodes)
    planning.main([str(path), *map(str, numbers)])
    assert json.loads(capsys.readouterr().out).keys() == {"cells", "trials", "plan"}
    with open_store(path, read_only=True) as opened:
        states = [trial.state for trial in trials(opened)]
    assert (len(states), states.count("planned")) == (SMALL.trials + 8, 8)


def _rows(path, table, but):
    connection = commits.connected(path)
    connection.row_factory = sqlite3.Row
    rows = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
    connection.close()
    # JSON is the same with and without spaces.
    texts = {"metrics", "config", "stack"}
    return [
        {
            name: json.loads(row[name]) if name in texts and row[name] else row[name]
            for name in dict(row)
            if name not in but
        }
        for row in rows
    ]


@pytest.mark.slow
def test_every_figure_is_printed_and_recorded(tmp_path, capsys):
    sizes = ["--tasks", "1", "--seeds", "2", "--evaluations", "2", "--episodes", "2", "--planned-seeds", "3"]
    once = ["--repeats", "1", "--turns", "2", "--folder", str(tmp_path)]
    store.main([*sizes, *once, "--json", str(tmp_path / "record.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Store: 8 trials, 32 episodes"
    record = json.loads((tmp_path / "record.json").read_text())
    assert [figure["limit"] for figure in record["figures"]] == [200, 5, None, 1, None, None, 2, 2]
    assert all(figure["median"] > 0 for figure in record["figures"])
    assert record["figures"][6]["name"] == "planning 12 trials, 4 new"
    assert [comparison["target"] for comparison in record["comparisons"]] == [0.5, 0.5]
    assert len(lines) == 1 + 8 + 2
    assert all("ratio" in line for line in lines[-2:])
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
