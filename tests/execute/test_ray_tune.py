"""`bench run` through Ray Tune: the numbers of the local executor, and workers that are killed."""

import os
import signal
import time

import pytest

from bench.execute.ray_tune import Shares, concurrency
from bench.hardware import usable_cores
from tests.cli.test_run import results, rows
from tests.execute.processes import titled, workers
from tests.execute.tiny import completed, ended, started, typed

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


@pytest.fixture(scope="module")
def ray_store(tiny_data, tmp_path_factory):
    """Two stacks, a process each."""
    store = tmp_path_factory.mktemp("ray") / "bench.sqlite"
    code, output = completed(typed("--executor", "ray", "--store", store, *STACKS), tiny_data)
    assert code == 0, output
    assert "2 trials: 2 finished" in output
    return store


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
    assert "1 trials: 1 finished" in output


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
