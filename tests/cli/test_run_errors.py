"""Wrong requests to `bench run`: one clear message, the right exit code, nothing written."""

import os
import shutil
import sqlite3

import h5py
import pytest
import torch

from bench.cli.run import parse_seeds
from bench.execute import driver, ray_start
from bench.store.database import open_store
from tests.execute.tiny import TASK, typed


@pytest.fixture
def bench(bench, tiny_data, tmp_path, monkeypatch):
    """Runs a command in an empty folder that knows the tiny dataset."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    monkeypatch.chdir(tmp_path)
    return lambda arguments: bench(*arguments)


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
