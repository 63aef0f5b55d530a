"""Data that is not the task's: `run`, `--dry-run`, `status` and the page say so, in time."""

import json
import sqlite3

import pytest

from bench.data import manifest, verify
from bench.data.folder import dataset_path
from bench.data.manifest import KnownFile
from bench.files import sha256_of
from tests.data.files import columns, hopper, write
from tests.execute.tiny import TASK

SAID = "hopper-medium-v2: not D4RL's file (rows 40, known 1,000,000): its scores will not be comparable"
FULL = ("run", "--tasks", "hopper-medium-v2", "--algos", "bc", "--seeds", "0", "--executor", "local")
REDUCED = (*FULL, "--budget", "0.00001", "--evals", "1", "--episodes", "1", "--set", "hidden_width=8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to stand in, and another file under D4RL's name among the data."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    write(dataset_path(hopper()), columns())
    stand = tmp_path / "here"
    stand.mkdir()
    monkeypatch.chdir(stand)
    return stand


@pytest.fixture
def nothing_trained(monkeypatch):
    """As if every stack ended at once; says how often training was begun."""
    begun = []
    monkeypatch.setattr("bench.execute.driver.run_locally", lambda *arguments: begun.append(arguments))
    return begun


def test_the_dry_run_says_it_and_trains_nothing(bench, folder):
    code, out, _ = bench(*REDUCED, "--dry-run")
    assert (code, SAID in out) == (0, True)
    assert "--accept-mismatch" not in out
    assert list(folder.iterdir()) == []


def test_a_reduced_run_says_it_before_it_trains_and_goes_on(bench, folder):
    code, out, _ = bench(*REDUCED)
    lines = out.splitlines()
    assert code == 0, out
    assert lines[0].startswith(SAID)
    assert "finished" in lines[-1]
    assert sum(SAID in line for line in lines) == 1


def test_a_full_run_on_it_is_refused_before_anything_is_written(bench, folder, nothing_trained):
    code, out, errors = bench(*FULL)
    assert (code, SAID in errors) == (2, True)
    assert "`bench data fetch hopper-medium-v2 --overwrite`" in errors
    assert "--accept-mismatch" in errors
    assert list(folder.iterdir()) == []
    assert nothing_trained == []
    code, out, _ = bench(*FULL, "--dry-run")
    assert (code, SAID in out, "--accept-mismatch" in out) == (0, True, True)


def test_a_full_run_goes_on_where_the_mismatch_is_accepted_and_its_command_says_so(
    bench, folder, nothing_trained, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["bench", *FULL, "--accept-mismatch"])
    _, out, _ = bench(*FULL, "--accept-mismatch")
    assert out.startswith(SAID)
    assert len(nothing_trained) == 1
    with sqlite3.connect("results/bench.sqlite") as store:
        assert store.execute("SELECT command LIKE '% --accept-mismatch' FROM runs").fetchall() == [(1,)]
    code, out, _ = bench(*FULL, "--accept-mismatch", "--dry-run")
    assert (code, SAID in out, "needs --accept-mismatch" in out) == (0, True, False)


def test_every_wrong_dataset_of_a_grid_is_named(bench, folder, nothing_trained):
    replay = "hopper-medium-replay-v2"
    write(dataset_path(hopper()).with_name("hopper_medium_replay-v2.hdf5"), columns())
    tasks = f"hopper-medium-v2,{replay}"
    code, _, errors = bench(*FULL[:2], tasks, *FULL[3:])
    assert (code, nothing_trained) == (2, [])
    assert "2 datasets are not D4RL's files: their scores will not be comparable." in errors
    assert f"    {replay}: rows 40, known 402,000" in errors
    assert f"`bench data fetch hopper-medium-v2 {replay} --overwrite`" in errors
    assert max(map(len, errors.splitlines()[1:4])) <= 80


def test_status_says_it_afterwards(bench, folder):
    bench(*REDUCED)
    code, out, _ = bench("status")
    assert (code, SAID in out) == (0, True)
    (dataset,) = json.loads(bench("status", "--format", "json")[1])["datasets"]
    assert (dataset["name"], dataset["verification"]) == ("hopper-medium-v2", "mismatch")


def test_the_page_says_it(bench, folder):
    bench(*REDUCED)
    assert bench("report", "--format", "html", "--out", "page")[0] == 0
    (page,) = folder.glob("page/*.html")
    text = " ".join(page.read_text().split())
    assert "1 dataset is not D4RL&#39;s file: its scores will not be comparable" in text
    assert "<li>hopper-medium-v2: rows 40, known 1,000,000</li>" in text


def test_d4rls_own_file_runs_in_full_without_a_word(bench, folder, nothing_trained, monkeypatch):
    path = dataset_path(hopper())
    known = KnownFile(sha256=sha256_of(path), bytes=path.stat().st_size)
    whole = manifest.load_manifest()
    own = whole.model_copy(update={"files": whole.files | {"hopper-medium-v2": known}})
    for module in ("bench.data.manifest", "bench.execute.driver"):
        monkeypatch.setattr(f"{module}.load_manifest", lambda: own, raising=False)
    _, out, errors = bench(*FULL)
    assert "D4RL's file" not in out + errors
    assert len(nothing_trained) == 1


def test_collected_data_raises_no_alarm(bench, folder, tiny_data, monkeypatch, nothing_trained):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    of_collected = ("run", "--tasks", TASK, "--algos", "bc", "--seeds", "0", "--executor", "local")
    for more in ((), ("--dry-run",)):
        _, out, errors = bench(*of_collected, *more)
        assert "comparable" not in out + errors


def test_a_collected_file_that_is_not_its_recipes_is_said_and_refused_in_full(bench, folder, nothing_trained):
    task = hopper(name=TASK)
    path = dataset_path(task).with_name("collected") / f"{TASK}.hdf5"
    write(path, columns())
    code, _, errors = bench("run", "--tasks", TASK, "--algos", "bc", "--seeds", "0", "--executor", "local")
    assert (code, f"{TASK}: not what its recipe makes" in errors) == (2, True)
    assert f"`bench data collect {TASK} --overwrite`" in errors


def test_hashing_that_takes_a_while_is_said(bench, folder, monkeypatch):
    monkeypatch.setattr("bench.execute.driver.MUCH", 1)
    _, out, _ = bench(*REDUCED, "--dry-run")
    assert out.splitlines()[0] == "Hashing 1 dataset, 0.0 GB."
    _, _, errors = bench(*FULL)
    assert SAID in errors


def test_each_file_is_looked_at_once_however_many_cells_are_on_it(bench, folder, monkeypatch):
    looked = []
    original = verify.dataset_record

    def counted(task, path, ledger):
        looked.append(path)
        return original(task, path, ledger)

    monkeypatch.setattr("bench.execute.driver.dataset_record", counted)
    grid = [*REDUCED, "--algos", "bc,dtql,edp", "--set", "batch_size=4"]
    bench(*grid, "--dry-run")
    assert looked == [dataset_path(hopper())]
    bench(*REDUCED)
    bench(*grid, "--dry-run")
    assert looked == [dataset_path(hopper())] * 3
