"""`bench run` through Ray Tune: the numbers of the local executor, and workers that are killed."""

import json
import os
import signal
import time

import pytest

from bench.errors import BenchError
from bench.execute.ray_tune import Shares, callback_maker, concurrency
from bench.hardware import usable_cores
from tests.cli.test_run import results, rows
from tests.documents.pages import blocks, text_of
from tests.execute.processes import titled, workers
from tests.execute.tiny import (
    EVALUATIONS,
    PRETRAINING,
    TASK,
    TRAINING,
    completed,
    ended,
    started,
    typed,
)

STACKS = ("--seeds", "0-1", "--seeds-per-stack", "1")


@pytest.mark.parametrize(
    ("shares", "nodes", "stacks", "expected"),
    [
        (Shares(1, 0.0), [{"CPU": 4.0}], 10, 4),
        (Shares(3, 0.0), [{"CPU": 4.0}], 10, 1),
        (Shares(1, 0.0), [{"CPU": 4.0}], 2, 2),
        (Shares(1, 0.5), [{"CPU": 64.0, "GPU": 2.0}], 100, 4),
        (Shares(1, 0.4), [{"CPU": 64.0, "GPU": 3.0}], 100, 6),  # a share does not cross GPUs
        (Shares(1, 0.1), [{"CPU": 64.0, "GPU": 1.0}], 100, 10),
        (Shares(1, 2.0), [{"CPU": 64.0, "GPU": 3.0}], 100, 1),
        (Shares(2, 0.0), [{"CPU": 3.0}, {"CPU": 3.0}], 100, 2),  # nor a stack machines
        (Shares(1, 0.5), [{"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}], 100, 1),
        (Shares(8, 0.0), [{"CPU": 4.0}], 2, 1),
    ],
)
def test_as_many_stacks_at_once_as_their_shares_allow(shares, nodes, stacks, expected):
    assert concurrency(shares, nodes, stacks) == expected


CALLBACKS = """
import json, os
from ray import tune

class Kept(tune.Callback):
    def __init__(self):
        self.told = []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.told.append((trial.trial_id, result))

    def on_experiment_end(self, trials, **info):
        with open(os.environ["TOLD"], "w") as file:
            last = [trial.last_result for trial in trials]
            json.dump({"results": self.told, "last": last}, file, default=str)

class Raising(tune.Callback):
    def on_trial_result(self, **info):
        raise ValueError("by design")

nothing = 3
"""


@pytest.fixture(scope="module")
def callbacks(tmp_path_factory):
    """A folder with a module of callbacks, which is found; what they were told lies there."""
    folder = tmp_path_factory.mktemp("callbacks")
    (folder / "my_callbacks.py").write_text(CALLBACKS)
    (of_page,) = blocks(text_of("docs/tensorboard.md"), "python my_callbacks.py")
    (folder / "callbacks_of_page.py").write_text(
        of_page.replace('"scores.txt"', 'os.environ["SCORES"]').replace(
            "from pathlib", "import os\nfrom pathlib", 1
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", ""))))
        patch.setenv("TOLD", str(folder / "told.json"))
        patch.setenv("SCORES", str(folder / "scores.txt"))
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="module")
def ray_store(tiny_data, callbacks, tmp_path_factory):
    """Two stacks, a process each."""
    store = tmp_path_factory.mktemp("ray") / "bench.sqlite"
    added = ("--tune-callback", "my_callbacks:Kept", "--tune-callback", "callbacks_of_page:Scores")
    code, output = completed(typed("--executor", "ray", "--store", store, *added, *STACKS), tiny_data)
    assert code == 0, output
    assert "2 trials: 2 finished" in output
    return store


def test_tune_is_told_of_progress_and_scores(ray_store, callbacks):
    told = json.loads((callbacks / "told.json").read_text())
    evaluated = dict(rows(ray_store, "SELECT t.seed, t.score FROM trials t"))
    # What a ResultGrid is made of, and what callbacks are given.
    last = {result["stack"]: result for result in told["last"] if "stack" in result}
    assert len(last) == 2
    for seed, score in evaluated.items():
        result = last[f"dtql {TASK} seed {seed}"]
        assert result["score"] == result[f"score_seed_{seed}"] == result[f"final_score_seed_{seed}"]
        assert result["score"] == pytest.approx(score)
        assert (result["evaluation"], result["step"]) == (EVALUATIONS, TRAINING)
        assert result["iterations_done"] == result["iterations_total"] == PRETRAINING + TRAINING
        steps = [
            one["step"] for _, one in told["results"] if one["stack"] == result["stack"] and "step" in one
        ]
        assert steps == sorted(steps)
        assert set(steps) >= {TRAINING}


def test_the_callback_of_the_page_is_called(ray_store, callbacks):
    told = (callbacks / "scores.txt").read_text().splitlines()
    assert {line.partition(" seed ")[0] for line in told} == {f"dtql {TASK}"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("my_callbacks", "MODULE:NAME"),
        ("my_callbacks:", "MODULE:NAME"),
        ("my_callbacks:Other", "has no attribute 'Other'"),
        ("no_such_module:Kept", "No module named 'no_such_module'"),
        ("my_callbacks:nothing", "neither a class nor a function"),
    ],
)
def test_a_callback_that_cannot_be_had_is_told(callbacks, name, reason):
    with pytest.raises(BenchError) as error:
        callback_maker(name)
    assert repr(name) in str(error.value)
    assert reason in str(error.value)


@pytest.mark.slow
def test_a_callback_that_raises_ends_the_run_in_one_message(tiny_data, callbacks, tmp_path):
    added = ("--executor", "ray", "--tune-callback", "my_callbacks:Raising", "--store", tmp_path / "b.sqlite")
    code, output = completed(typed(*added, *STACKS), tiny_data)
    assert code == 1, output
    assert "Traceback" not in output
    assert "by design" in output
    assert "--tune-callback" in output
    code, output = completed(
        typed("--executor", "local", "--store", tmp_path / "b.sqlite", *STACKS), tiny_data
    )
    assert code == 0, output


def test_ray_gives_the_numbers_of_the_local_executor(ray_store, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    code, output = completed(typed("--executor", "local", "--store", store, *STACKS), tiny_data)
    assert code == 0, output
    assert results(ray_store) == results(store)
    hashes = "SELECT sha256 FROM weights ORDER BY sha256"
    assert rows(ray_store, hashes) == rows(store, hashes)


def test_timings_say_how_many_stacks_ran_at_once(ray_store):
    cores = usable_cores()
    assert rows(ray_store, "SELECT DISTINCT concurrent_stacks FROM timings") == [(min(2, cores),)]


def test_asked_again_ray_is_not_even_started(ray_store, tiny_data):
    code, output = completed(typed("--executor", "ray", "--store", ray_store, *STACKS), tiny_data)
    assert code == 0
    assert "2 were there already" in output


LONG = {"train_iterations": 800}


def killed_once(command, data, folder):
    """Exit code and output of a run, one of whose workers was killed once it had saved a checkpoint."""
    process = started(command, data)
    while not any(folder.glob("checkpoints/*/checkpoint.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    _, output = ended(process)
    return process.returncode, output


@pytest.mark.slow
def test_a_killed_worker_is_taken_up_again_with_the_same_numbers(tiny_data, tmp_path):
    whole, cut = tmp_path / "whole" / "bench.sqlite", tmp_path / "cut" / "bench.sqlite"
    assert completed(typed("--executor", "local", "--store", whole, *STACKS, **LONG), tiny_data)[0] == 0
    command = typed("--executor", "ray", "--store", cut, "--checkpoint-seconds", "0", *STACKS, **LONG)
    code, output = killed_once(command, tiny_data, cut.parent)
    assert code == 0, output
    assert "retry 1 of 3" in output
    assert "continues from" in output
    assert results(cut) == results(whole)
    outcomes = rows(cut, "SELECT outcome FROM executions ORDER BY id")
    assert sorted(outcomes, key=str) == [("finished",), ("finished",), (None,)]


@pytest.mark.slow
def test_a_killed_mailbox_is_started_anew_and_nothing_is_lost(tiny_data, tmp_path):
    """The process that passes on what workers say; what they were saying is said again."""
    whole, store = tmp_path / "whole" / "bench.sqlite", tmp_path / "cut" / "bench.sqlite"
    assert completed(typed("--executor", "local", "--store", whole, *STACKS, **LONG), tiny_data)[0] == 0
    process = started(
        typed("--executor", "ray", "--store", store, "--checkpoint-seconds", "0", *STACKS, **LONG), tiny_data
    )
    for _ in range(3):
        before = len(rows(store, "SELECT * FROM evaluations")) if store.exists() else 0
        while not any(store.parent.glob("checkpoints/*/checkpoint.json")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        for mailbox in titled(process.pid, "mailbox"):
            os.kill(mailbox, signal.SIGKILL)
        while process.poll() is None and len(rows(store, "SELECT * FROM evaluations")) == before:
            time.sleep(0.1)
    _, output = ended(process)
    assert process.returncode == 0, output
    assert "lost" not in output
    assert results(store) == results(whole)


@pytest.mark.slow
def test_a_worker_killed_too_often_fails_its_trials_and_no_others(tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    command = typed("--executor", "ray", "--store", store, "--checkpoint-seconds", "0", "--max-retries", "0",
                    *STACKS, **LONG)  # fmt: skip
    code, output = killed_once(command, tiny_data, tmp_path)
    assert code == 1, output
    assert "1 finished, 1 FAILED" in output
    assert sorted(state for state, _, _ in results(store).values()) == ["failed", "finished"]
    ((error, message),) = rows(store, "SELECT error, message FROM failures")
    assert error == "WorkerDiedError"
    assert message.strip()
    code, output = completed([*command, "--retry", "failed", "--executor", "local"], tiny_data)
    assert code == 0, output
    assert "continues from" in output
    assert "1 trial: 1 finished" in output


@pytest.mark.slow
@pytest.mark.parametrize("whom", [os.kill, os.killpg])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_run_that_is_told_to_end_saves_every_stack(number, whom, tiny_data, tmp_path):
    """Also where the signal goes to all its processes, as a terminal and `timeout` send it."""
    store = tmp_path / "bench.sqlite"
    command = typed("--executor", "ray", "--store", store, "--checkpoint-seconds", "0", *STACKS,
                    train_iterations=2500)  # fmt: skip
    process = started(command, tiny_data)
    while not any(tmp_path.glob("checkpoints/*/checkpoint.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    whom(process.pid, number)
    _, output = ended(process)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    assert rows(store, "SELECT DISTINCT outcome FROM executions") == [("stopped",)]
    code, output = completed(command, tiny_data)
    assert code == 0, output
    assert [state for state, _, _ in results(store).values()] == ["finished"] * 2
