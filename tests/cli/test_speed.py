"""`bench speed`: rows for the papers' timing tables, only from an idle machine."""

import json
import sqlite3

import pytest

from bench.execute import speed
from bench.training.speed import PhaseSpeed

TASK = "antmaze-umaze-v0"
TRAINING = "training_seconds_per_1k_iterations"
COLUMNS = "quantity, value, stack_size, threads, runner, exclusive, trial_id"


@pytest.fixture
def bench(bench, tmp_path, monkeypatch):
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return bench


@pytest.fixture
def tiny_training(monkeypatch):
    """The real batch of 2,048 takes a minute: the training times are made up, all else is real."""
    made = [PhaseSpeed("pretrain", 20.0, False), PhaseSpeed("train", 50.0, True)]
    monkeypatch.setattr(speed, "time_training", lambda *_, **__: made)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """What acts is small: an action of the real sizes takes a hundred times as long, and all else is real."""
    made, small = speed.method_for, {"hidden_width": 16, "diffusion_width": 16, "candidates": 4}
    monkeypatch.setattr(
        speed,
        "method_for",
        lambda task, name, values, *more: made(task, name, {**values, **small}, *more),
    )


def measured(store):
    with sqlite3.connect(store) as connection:
        rows = connection.execute(f"SELECT {COLUMNS} FROM timings").fetchall()
    return {row[0]: row[1:] for row in rows}


def table_cells(bench):
    code, out, _ = bench("report", "--tables", "dtql-2", "--format", "json")
    assert code == 0
    (table,) = json.loads(out)["tables"]
    return json.dumps(table), table["measured"]


def test_rows_of_an_idle_machine_enter_the_papers_table(bench, tmp_path, monkeypatch, tiny_training):
    monkeypatch.setattr(speed, "machine_is_idle", lambda: True)
    code, out, _ = bench("speed", "--algos", "dtql", "--device", "cpu", "--threads", 1)
    assert (code, TASK in out) == (0, True)
    rows = measured(tmp_path / "results" / "bench.sqlite")
    assert rows[TRAINING] == (50.0, 1, 1, "eager", 1, None)
    assert rows[f"{TRAINING}:pretrain"] == (20.0, 1, 1, "eager", 1, None)
    median, slow = (rows[f"action_latency_{kind}_seconds"] for kind in ("median", "p95"))
    assert 0 < median[0] <= slow[0] < 10
    assert median[1:] == slow[1:] == (1, 1, "eager", 1, None)
    seconds, *circumstances = rows["trajectory_seconds"]
    # 700 actions, and the physics on top; a single one may be slow, half of them not.
    assert seconds > 700 * median[0] / 2
    assert circumstances == [1, 1, "eager", 1, None]
    content, count = table_cells(bench)
    assert count > 0
    assert f"{seconds:.2f}" in content
    # Umaze is trained for 500 epochs after 50 of pretraining: 550 thousand iterations at 50 s each.
    assert str(round(550 * 50 / 3600, 2)) in content


def test_rows_of_a_busy_machine_do_not(bench, tmp_path, monkeypatch, tiny_training):
    answers = iter([True, False])
    monkeypatch.setattr(speed, "machine_is_idle", lambda: next(answers))
    code, out, _ = bench("speed", "--algos", "dtql", "--device", "cpu", "--threads", 1)
    assert (code, "do not enter" in out) == (0, True)
    assert {row[-2] for row in measured(tmp_path / "results" / "bench.sqlite").values()} == {0}
    assert table_cells(bench)[1] == 0


def test_training_is_really_timed(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "machine_is_idle", lambda: False)
    task = "hopper-medium-v2"
    arguments = ("--device", "cpu", "--threads", 1, "--iterations", 10, "--seeds-per-stack", 2)
    assert bench("speed", "--algos", "dtql", "--task", task, *arguments)[0] == 0
    rows = measured(tmp_path / "results" / "bench.sqlite")
    assert rows[TRAINING][0] > rows[f"{TRAINING}:pretrain"][0] > 0  # the actor comes on top
    assert rows[TRAINING][1] == 2
    assert rows["action_latency_median_seconds"][1] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--algos", "dtlq"), "Did you mean dtql"),
        (("--algos", "dtql", "--task", "antmaze-umaze-v9"), "antmaze-umaze-v"),
        (("--algos", "dtql", "--device", "tpu"), "device 'tpu'"),
        (("--algos", "dtql", "--variant", "papper"), "unknown variant"),
        (("--algos", "dtql", "--runner", "graf"), "unknown runner 'graf'"),
        (("--algos", "dtql", "--device", "cpu", "--runner", "graph"), "needs a CUDA device"),
        (("--algos", "dtql", "--iterations", "1"), "--iterations"),
        ((), "--algos"),
    ],
)
def test_wrong_requests_leave_nothing_behind(bench, tmp_path, monkeypatch, arguments, told):
    monkeypatch.setattr(speed, "machine_is_idle", lambda: True)
    code, out, err = bench("speed", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
