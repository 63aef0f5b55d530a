"""`bench run` with the local executor: stored, skipped, failed, killed, interrupted, continued.

Then wrong requests: one clear message, the right exit code, nothing written.
"""

import json
import os
import shutil
import signal
import sqlite3
import time

import h5py
import pytest
import torch

from bench.cli.run import parse_seeds
from bench.execute import driver, ray_start
from bench.execute import stack as stack_module
from bench.execute.local import LocalChannel
from bench.records import EvaluationRecord
from bench.store.database import open_store
from bench.store.queries import evaluations, failures, trials
from tests.execute.tiny import CHANGES, SHARING, TASK, completed, started, typed


@pytest.fixture
def bench(bench, tiny_data, tmp_path, monkeypatch):
    """Runs a command in an empty folder that knows the tiny dataset."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    monkeypatch.chdir(tmp_path)
    return lambda arguments: bench(*arguments)


def local(*arguments, **changes):
    return typed("--executor", "local", *arguments, **changes)


def results(store):
    """Seed -> state, score and every episode of every evaluation."""
    with open_store(store, read_only=True) as opened:
        return {
            trial.record.key.seed: (
                trial.state,
                trial.score,
                [(e.number, e.step, e.returns, e.lengths) for e in evaluations(opened, trial.trial_id)],
            )
            for trial in trials(opened)
        }


def rows(store, sql):
    with sqlite3.connect(store) as connection:
        return connection.execute(sql).fetchall()


def test_a_grid_is_stored_once_and_asked_again_does_nothing(bench, tmp_path):
    code, out, _ = bench(local("--seeds", "0-1"))
    assert (code, "2 trials: 2 finished. Store: results/bench.sqlite" in out) == (0, True)
    store = tmp_path / "results" / "bench.sqlite"
    stored = results(store)
    assert [(state, len(made)) for state, _, made in stored.values()] == [("finished", 2)] * 2
    assert rows(store, "SELECT reduced FROM scores WHERE seed = 0")[0][0].count("set to") == len(CHANGES)
    weights = sorted((tmp_path / "results" / "weights").iterdir())
    assert len(weights) == 2
    assert list((tmp_path / "results").rglob("*.part")) == []
    code, out, _ = bench(local("--seeds", "0-1"))
    assert (code, "2 trials: 0 finished, 2 were there already." in out) == (0, True)
    assert results(store) == stored
    assert rows(store, "SELECT count(*) FROM trials") == [(2,)]


def test_two_stacks_at_once_store_what_they_store_in_turn(bench, tmp_path, monkeypatch):
    """As on a GPU; whichever ends first, nothing of one gets into the other."""
    assert bench(local("--seeds", "0-2"))[0] == 0
    in_turn = results(tmp_path / "results" / "bench.sqlite")
    monkeypatch.setattr(driver, "stacks_at_once", lambda *_: 2)
    code, out, _ = bench(local("--seeds", "0-2", "--store", "other/bench.sqlite"))
    assert (code, "3 trials: 3 finished." in out) == (0, True)
    other = tmp_path / "other" / "bench.sqlite"
    assert results(other) == in_turn
    assert rows(other, "SELECT DISTINCT concurrent_stacks FROM durations") == [(2,)]
    assert rows(other, "SELECT COUNT(*) FROM claims") == [(0,)]
    assert list((tmp_path / "other").glob("checkpoints/*")) == []


def test_seeds_added_later_leave_the_first_alone(bench, tmp_path):
    bench(local("--seeds", "0"))
    first = results(tmp_path / "results" / "bench.sqlite")[0]
    code, out, _ = bench(local("--seeds", "0-2"))
    assert (code, "3 trials: 2 finished, 1 were there already" in out) == (0, True)
    assert results(tmp_path / "results" / "bench.sqlite")[0] == first


def test_a_seed_that_diverges_is_stored_with_its_step_and_the_command_fails(bench, tmp_path):
    code, out, _ = bench(local("--seeds", "0", learning_rate=1e30))
    assert (code, "1 FAILED" in out) == (1, True)
    store = tmp_path / "results" / "bench.sqlite"
    with open_store(store, read_only=True) as opened:
        (failure,) = failures(opened)
    assert failure.record.error == "diverged"
    assert 0 <= failure.record.step < 20
    assert failure.current
    code, out, _ = bench(local("--seeds", "0", learning_rate=1e30))
    assert (code, "1 failed earlier (--retry failed" in out) == (0, True)
    code, out, _ = bench(local("--seeds", "0", "--retry", "failed", learning_rate=1e30))
    assert code == 1
    assert rows(store, "SELECT attempt FROM failures ORDER BY attempt") == [(1,), (2,)]


def test_one_broken_stack_leaves_the_rest_of_the_grid_and_can_be_retried(bench, tmp_path, monkeypatch):
    roll_out = stack_module.roll_out

    def breaks_for_seed_1(algorithm, *arguments, **options):
        if algorithm.seeds == (1,):
            raise RuntimeError("the simulator broke")
        return roll_out(algorithm, *arguments, **options)

    command = local("--seeds", "0-2", "--seeds-per-stack", "1")
    with monkeypatch.context() as patched:
        patched.setattr(stack_module, "roll_out", breaks_for_seed_1)
        code, out, _ = bench(command)
    assert (code, "3 trials: 2 finished, 1 FAILED" in out) == (1, True)
    store = tmp_path / "results" / "bench.sqlite"
    states = {seed: state for seed, (state, _, _) in results(store).items()}
    assert states == {0: "finished", 1: "failed", 2: "finished"}
    with open_store(store, read_only=True) as opened:
        (failure,) = failures(opened)
    assert "the simulator broke" in failure.record.message
    assert "breaks_for_seed_1" in failure.record.traceback
    code, _, _ = bench([*command, "--retry", "failed"])
    assert (code, results(store)[1][0]) == (0, "finished")
    assert bench(local("--seeds", "1", "--store", "other.sqlite"))[0] == 0
    assert results(tmp_path / "other.sqlite")[1] == results(store)[1]


def test_a_trial_that_asks_for_too_much_memory_fails_and_no_other(bench, tmp_path):
    of_dtql = [part.replace("--set=", "--set=dtql.") for part in local("--seeds", "0-1")]
    greedy = ("--set=bc.batch_size=1000000000000", "--set=bc.train_iterations=20")
    code, out, _ = bench([*of_dtql, "--algos", "bc,dtql", *greedy])
    assert code == 1
    assert "4 trials: 2 finished, 2 FAILED" in out
    with open_store(tmp_path / "results" / "bench.sqlite", read_only=True) as store:
        told = failures(store)
    assert {failure.record.trial.algorithm for failure in told} == {"bc"}
    assert all("memory" in failure.record.message for failure in told)
    assert all("--seeds-per-stack" in failure.record.message for failure in told)


def stop_at_first_evaluation(monkeypatch):
    """As if Ctrl-C were pressed in the middle of the first evaluation."""
    roll_out = stack_module.roll_out

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return roll_out(*arguments, **options)

    monkeypatch.setattr(stack_module, "roll_out", interrupted)


def test_a_cut_off_stack_continues_with_its_own_seeds(bench, tmp_path, monkeypatch):
    store = tmp_path / "results" / "bench.sqlite"
    with monkeypatch.context() as patched:
        stop_at_first_evaluation(patched)
        code, out, _ = bench(local("--seeds", "0-2", "--seeds-per-stack", "3"))
    assert (code, "The same command continues" in out) == (130, True)
    code, out, _ = bench(local("--seeds", "1", "--seeds-per-stack", "1"))
    assert code == 0
    assert "seeds 0, 1, 2: continues from train 20" in out
    assert [state for state, _, _ in results(store).values()] == ["finished"] * 3
    assert bench(local("--seeds", "0-2", "--seeds-per-stack", "3", "--store", "whole.sqlite"))[0] == 0
    assert results(tmp_path / "whole.sqlite") == results(store)


def test_stopped_before_the_next_stack_is_an_interruption_too(bench, tmp_path, monkeypatch):
    from bench.execute import worker

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return latency(*arguments, **options)

    latency = worker.action_latency
    with monkeypatch.context() as patched:
        patched.setattr(worker, "action_latency", interrupted)
        code, out, _ = bench(local("--seeds", "0-1", "--seeds-per-stack", "1"))
    assert "1 finished" in out
    assert code == 130
    assert bench(local("--seeds", "0-1"))[0] == 0


def test_retrying_a_diverged_seed_of_a_cut_off_stack_leaves_no_trial_running(bench, tmp_path, monkeypatch):
    update = stack_module.Trainer.retire_diverged

    def poisoned(trainer):
        if trainer.position.phase == 0 and trainer.position.step == 1:
            trainer.algorithm.networks["value"].requires_grad_(False)
            next(trainer.algorithm.networks["value"].parameters())[0] = float("nan")
            trainer.algorithm.networks["value"].requires_grad_(True)
        return update(trainer)

    store = tmp_path / "results" / "bench.sqlite"
    command = local("--seeds", "0-1", "--seeds-per-stack", "2")
    with monkeypatch.context() as patched:
        patched.setattr(stack_module.Trainer, "retire_diverged", poisoned)
        stop_at_first_evaluation(patched)
        assert bench(command)[0] == 130
    assert {seed: state for seed, (state, _, _) in results(store).items()} == {0: "failed", 1: "running"}
    assert bench([*command, "--retry", "failed"])[0] == 0
    states = {seed: state for seed, (state, _, _) in results(store).items()}
    assert states == {0: "finished", 1: "running"}  # just the failed one, on its own
    assert bench(command)[0] == 0
    states = {seed: state for seed, (state, _, _) in results(store).items()}
    assert states == {0: "finished", 1: "finished"}


LONG = {"train_iterations": 240, "pretrain_iterations": 20}


def long_run(store, *arguments):
    return local("--seeds", "0-1", "--seeds-per-stack", "2", "--checkpoint-seconds", "0",
                 "--store", store, *arguments, **LONG)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
    store = tmp_path_factory.mktemp("whole") / "bench.sqlite"
    code, output = completed(long_run(store), tiny_data)
    assert code == 0, output
    return results(store)


def wait_for_evaluation(process, folder):
    """Until the stack's checkpoint knows of an evaluation; the process must still be at work."""
    while process.poll() is None:
        for pointer in folder.glob("checkpoints/*/checkpoint.json"):
            history = json.loads(pointer.read_text())["generations"][0]["host"]["history"]
            if history["evaluations"]:
                return
        time.sleep(0.005)
    raise AssertionError(f"it ended too soon: {process.communicate()[0]}")


def test_killed_in_the_middle_the_same_command_gives_the_same_scores(whole, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    process = started(long_run(store), tiny_data)
    wait_for_evaluation(process, tmp_path)
    process.kill()
    process.communicate()
    assert [state for state, _, _ in results(store).values()] == ["running"] * 2
    code, output = completed(long_run(store), tiny_data)
    assert code == 0, output
    assert "continues from" in output
    assert results(store) == whole


def test_ctrl_c_saves_the_state_and_the_same_command_continues(whole, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    process = started(long_run(store), tiny_data)
    wait_for_evaluation(process, tmp_path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "state saved" in output
    assert "Traceback" not in output
    assert [*tmp_path.rglob("*.part")] == []
    code, output = completed(long_run(store), tiny_data)
    assert code == 0, output
    assert "continues from" in output
    assert results(store) == whole


def test_the_dry_run_says_what_is_left_and_changes_nothing(bench, tiny_data, tmp_path):
    def content():
        return {path: path.read_bytes() for root in (tmp_path, tiny_data) for path in root.rglob("*.*")}

    before = content()
    code, out, _ = bench(local("--seeds", "0-3", "--dry-run"))
    assert code == 0
    heading, row, same = out.splitlines()[:3]
    assert heading.split() == ["task", "algorithm", "at", "most"]
    assert row.split()[:2] == [TASK, "dtql"]
    assert same == "Each cell: trials 4, stacks 4, evaluations 2 x 2 episodes, data there."
    assert "4 trials left" in out
    assert content() == before
    bench(local("--seeds", "0"))
    before = content()
    _, out, _ = bench(local("--seeds", "0-3", "--dry-run"))
    assert "Each cell: trials 4, finished 1, stacks 3," in out
    assert "3 trials left" in out
    assert content() == before


def test_the_dry_run_says_which_methods_have_a_phase_alike(bench, tiny_data):
    sizes = {f"{method}.{name}": value for method, own in SHARING.items() for name, value in own.items()}
    sets = [f"--set={name}={value}" for name, value in sizes.items()]
    cell = ["--tasks", TASK, "--seeds", "0", "--evals", "1", "--episodes", "1", "--executor", "local", *sets]
    code, out, _ = bench(["run", "--algos", "qgpo,sfbc", *cell, "--dry-run"])
    assert code == 0
    said = "qgpo and sfbc have the phase behaviour alike: counted for each, it is trained once where one runs"
    assert said in " ".join(out.split())


def test_the_dry_run_makes_no_data(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "none"))
    code, out, _ = bench(local("--seeds", "0", "--dry-run"))
    assert (code, "to collect" in out) == (0, True)
    assert list(tmp_path.iterdir()) == []


def test_missing_data_is_collected_first(bench, tmp_path, monkeypatch):
    from bench.data import fetch
    from bench.data.collect import collect

    def fewer(task, path, progress=None):
        return collect(task, path, transitions=1000, threads=1, progress=progress)

    monkeypatch.setattr(fetch, "collect", fewer)
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    assert bench(local("--seeds", "0"))[0] == 0
    assert (tmp_path / "data" / "collected" / f"{TASK}.hdf5").is_file()
    store = tmp_path / "results" / "bench.sqlite"
    assert rows(store, "SELECT rows FROM datasets") == [(1000,)]


def test_a_retry_of_one_seed_leaves_the_rest_of_its_stack_in_order(bench, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr(stack_module, "roll_out", broken)
        code, *_ = bench(local("--seeds", "0-1", "--seeds-per-stack", "2", "--checkpoint-seconds", "0"))
        assert code == 1
    again = local("--seeds", "0", "--seeds-per-stack", "2", "--retry", "failed")
    code, out, err = bench(again)
    assert code == 0, out + err
    with open_store("results/bench.sqlite", read_only=True) as store:
        phases = trials(store)[0].record.phases
        assert [(phase.name, phase.evaluated) for phase in phases] == [("pretrain", False), ("train", True)]
        assert {trial.record.key.seed: trial.state for trial in trials(store)} == {
            0: "finished",
            1: "finished",
        }


def test_numbers_that_do_not_repeat_fail_their_trial_and_no_other(bench, monkeypatch):
    original = LocalChannel.send

    def stop_after_sending(self, event):
        original(self, event)
        if isinstance(event, EvaluationRecord) and event.trial.seed == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LocalChannel, "send", stop_after_sending)
        bench(local("--seeds", "0-1", "--seeds-per-stack", "2"))
    with sqlite3.connect("results/bench.sqlite") as connection:
        connection.execute(
            "update episodes set return_ = return_ + 1e-9 where evaluation_id in (select evaluations.id from"
            " evaluations join trials on trials.id = trial_id where seed = 0)"
        )
    code, out, _ = bench(local("--seeds", "0-2", "--seeds-per-stack", "2"))
    assert (code, "ConflictError" in out) == (1, True)
    with open_store("results/bench.sqlite", read_only=True) as store:
        states = {trial.record.key.seed: trial.state for trial in trials(store)}
    assert states == {0: "failed", 1: "finished", 2: "finished"}
    code, *_ = bench(local("--seeds", "0-2", "--retry", "failed"))
    assert code == 0


# Wrong requests to `bench run`: one clear message, the right exit code, nothing written.


LOCAL = ("--executor", "local")
ONE = ["--tasks", TASK, "--algos", "dtql", *LOCAL]
BDPO = ["--tasks", TASK, "--algos", "bdpo", *LOCAL]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tasks", TASK, "--algos", "dtlq"], ["unknown algorithm 'dtlq'", "Did you mean dtql"]),
        (["--tasks", TASK, "--algos", " , "], ["names nothing", "commas"]),
        (["--tasks", TASK], ["no --algos", "--algos dtql"]),
        (["--tasks", "hoper-medium-v2", "--algos", "dtql"], ["'hoper-medium-v2'", "hopper-medium-v2"]),
        (
            ["--tasks", "antmaze-umaze-v0", "--algos", "dtql", "--goals", "per_goal"],
            ["goals 'per_goal'", "per_environment, per_episode, per_evaluation, per_run"],
        ),
        (["--tasks", "pen-human-v1", "--algos", "dtql", "--physics", "modern"], ["physics modern for pen"]),
        (["--suite", "quickstrat"], ["unknown suite 'quickstrat'", "Did you mean quickstart?"]),
        (["--suite", "quickstart", "--tasks", TASK], ["both --suite and --tasks"]),
        (["--algos", "dtql"], ["neither --suite nor --tasks"]),
        ([*ONE, "--seeds", "4-0"], ["seeds '4-0'", "Write 0-4."]),
        ([*ONE, "--seeds", "a"], ["seeds 'a'", "--seeds 0-4"]),
        ([*ONE, "--seeds", "-1"], ["seeds '-1'", "--seeds 0-4"]),
        ([*ONE, "--seeds", "0-99999999999"], ["more than 10,000 seeds"]),
        ([*ONE, "--seeds", "0,,2"], ["seeds '0,,2'"]),
        ([*ONE, "--seeds", "1-2-3"], ["seeds '1-2-3'"]),
        ([*ONE, "--seeds", "0.5"], ["seeds '0.5'"]),
        ([*ONE, "--seeds", ""], ["seeds ''"]),
        (
            ["--tasks", TASK, "--algos", "dtql", "--address", "127.0.0.1:1"],
            ["no Ray cluster at '127.0.0.1:1'"],
        ),
        ([*ONE, "--budget", "0"], ["budget 0", "at most 1"]),
        ([*ONE, "--budget", "-1"], ["budget -1"]),
        ([*ONE, "--budget", "2"], ["budget 2"]),
        ([*ONE, "--budget", "nan"], ["budget nan"]),
        ([*ONE, "--budget", "much"], ["--budget", "valid number"]),
        ([*ONE, "--evals", "0"], ["--evals"]),
        ([*ONE, "--episodes", "-3"], ["--episodes"]),
        ([*ONE, "--variant", "papper"], ["unknown variant 'papper'", "paper"]),
        ([*ONE, "--physics", "old"], ["physics 'old'", "d4rl, modern"]),
        (["--tasks", TASK, "--algos", "dtql", "--executor", "slurm"], ["executor 'slurm'", "local, ray"]),
        ([*ONE, "--address", "auto"], ["--address with --executor local"]),
        ([*ONE, "--retry", "all"], ["--retry 'all'", "There are: failed."]),
        ([*ONE, "--set", "discount"], ["--set discount", "name=value"]),
        ([*ONE, "--set", "discount=[1"], ["--set discount=[1"]),
        ([*ONE, "--set", "discount=nan"], ["--set discount=nan"]),
        ([*ONE, "--set", "discont=0.9"], ["'discont'", "Did you mean discount"]),
        ([*ONE, "--set", "batch_size=0"], ["--set batch_size=0", "at least 1"]),
        ([*ONE, "--set", "expectile=1"], ["--set expectile=1", "between 0 and 1 (exclusive)"]),
        ([*ONE, "--set", "dtql.expectile=0"], ["--set dtql.expectile=0", "between 0 and 1 (exclusive)"]),
        ([*ONE, "--set", "trust_region_weight=-1"], ["--set trust_region_weight=-1", "at least 0"]),
        ([*ONE, "--set", "srpo.beta=1"], ["srpo is not among the algorithms of this run", "--algos"]),
        ([*ONE, "--set", "bdop.samples=1"], ["unknown algorithm 'bdop'", "Did you mean bdpo"]),
        ([*BDPO, "--set", "diffusion_steps=0"], ["--set diffusion_steps=0", "at least 1"]),
        ([*BDPO, "--set", "divergence_weight=-0.1"], ["--set divergence_weight=-0.1"]),
        ([*BDPO, "--set", "penalty_placement=under"], ["--set penalty_placement=under", "inside", "outside"]),
        (
            ["--tasks", TASK, "--algos", "dtql,bdpo", "--set", "samples=1", *LOCAL],
            ["unknown hyper-parameter of dtql 'samples'", "--set bdpo.samples=1"],
        ),
        (
            ["--tasks", "pen-human-v0", "--algos", "dtql", *LOCAL],
            ["pen-human-v0"],
        ),
        (
            ["--tasks", "bandit-energy-moons", "--algos", "srpo", *LOCAL, "--variant", "text"],
            ["unknown variant 'text'", "released", "paper"],
        ),
        ([*ONE, "--device", "tpu"], ["device 'tpu'", "auto, cpu, cuda"]),
        ([*ONE, "--seeds-per-stack", "0"], ["--seeds-per-stack"]),
        ([*ONE, "--cpus-per-stack", "0"], ["--cpus-per-stack"]),
        ([*ONE, "--nothing"], ["--nothing"]),
    ],
)
def test_a_wrong_request_is_told_and_writes_nothing(bench, tmp_path, monkeypatch, arguments, told):
    # What is wrongly let through must fail here, not train for hours.
    monkeypatch.setattr(driver, "run_locally", lambda *_: None)
    monkeypatch.setattr(ray_start, "running_ray", lambda *_: pytest.fail("Ray was started"))
    code, out, err = bench(["run", *arguments])
    assert (code, out) == (2, "")
    for words in told:
        assert words in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("3", (3,)), ("5,0,2", (0, 2, 5)), ("0-2,2-3, 7", (0, 1, 2, 3, 7))],
)
def test_seeds_are_sorted_and_each_once(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("extra", [("--gpus-per-stack", "1"), ("--gpus-per-stack", "0.5", "--dry-run")])
def test_a_gpu_asked_for_where_there_is_none(bench, tmp_path, extra):
    code, _, err = bench(typed(*LOCAL, *extra))
    assert code == 2
    assert "no GPU" in err
    assert "--gpus-per-stack" in err
    assert list(tmp_path.iterdir()) == []


def test_graphs_asked_for_on_a_cpu_fail_the_trial_with_the_advice(bench):
    code, out, err = bench(typed(*LOCAL, "--runner", "graph", "--gpus-per-stack", "0"))
    assert code in (1, 2)
    assert "--runner eager" in out + err


def test_a_store_below_a_file_cannot_be_written(bench, tmp_path):
    (tmp_path / "results").write_text("not a folder")
    code, _, err = bench(typed(*LOCAL))
    assert code == 2
    assert "results" in err
    assert "--store" in err
    assert "Traceback" not in err


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_results_folder_cannot_be_written(bench, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results").chmod(0o555)
    code, _, err = bench(typed(*LOCAL))
    assert code == 2
    assert "--store" in err
    assert list((tmp_path / "results").iterdir()) == []


def test_a_store_of_a_newer_bench_is_left_alone(bench, tmp_path):
    store = tmp_path / "new.sqlite"
    open_store(store).close()
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.close()
    code, _, err = bench(typed(*LOCAL, "--store", store))
    assert code == 2
    assert "'0999', newer than" in err
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def own_copy(tiny_data, folder, monkeypatch):
    """A copy of the dataset that a test may spoil."""
    path = folder / "data" / "collected" / f"{TASK}.hdf5"
    path.parent.mkdir(parents=True)
    shutil.copy(tiny_data / "collected" / path.name, path)
    monkeypatch.setenv("BENCH_DATA_DIR", str(folder / "data"))
    return path


def assert_refused(answer, path, *words):
    code, out, err = answer
    assert code in (1, 2)
    assert "Traceback" not in err
    for word in (path.name, *words):
        assert word in err
    assert "finished" not in out


def test_a_truncated_dataset_is_refused(bench, tiny_data, tmp_path, monkeypatch):
    path = own_copy(tiny_data, tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes()[:20_000])
    assert_refused(bench(typed(*LOCAL)), path)


def test_another_robots_dataset_under_the_tasks_name_is_refused(bench, tiny_data, tmp_path, monkeypatch):
    path = own_copy(tiny_data, tmp_path, monkeypatch)
    with h5py.File(path, "r+") as file:
        wide = file["observations"][:].repeat(2, axis=1)[:, :17]
        del file["observations"]
        file["observations"] = wide
    assert_refused(bench(typed(*LOCAL)), path, "17")


def test_a_dataset_swapped_after_its_first_use_is_refused_with_both_hashes(
    bench, tiny_data, tmp_path, monkeypatch
):
    path = own_copy(tiny_data, tmp_path, monkeypatch)
    assert bench(typed(*LOCAL, "--seeds", "0"))[0] == 0
    with h5py.File(path, "r+") as file:
        file["rewards"][:5] += 1
    assert_refused(bench(typed(*LOCAL, "--seeds", "1")), path, "SHA-256", "--accept")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rewards_that_are_not_finite_are_refused(bench, tiny_data, tmp_path, monkeypatch, value):
    path = own_copy(tiny_data, tmp_path, monkeypatch)
    with h5py.File(path, "r+") as file:
        file["rewards"][7] = value
    assert_refused(bench(typed(*LOCAL)), path, "rewards")
