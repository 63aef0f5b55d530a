"""Generated files: whole episodes of one step, read, verified and made anew like any other dataset."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.data.collect import write_generated
from bench.data.dataset import transitions_of
from bench.data.fetch import ensure_dataset, fetch
from bench.data.folder import dataset_path
from bench.data.info import summarise
from bench.data.reader import read_file
from bench.data.replay import replay
from bench.data.verify import dataset_record, verify
from bench.envs import physics_under
from bench.errors import BenchError
from bench.files import sha256_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    return tmp_path


def small(name, rows=600):
    task = load_catalog().task(name)
    return replace(task, dataset=task.dataset.model_copy(update={"rows": rows}))


@pytest.mark.parametrize(("name", "terminal"), [("25gaussians-far", False), ("energy-rings", True)])
def test_no_row_is_lost_and_each_is_its_own_next_state(folder, name, terminal):
    task = small(f"bandit-{name}")
    raw = read_file(ensure_dataset(task), task)
    transitions = transitions_of(raw, task)
    assert len(transitions) == 600
    assert not transitions.observations.any()
    assert not transitions.next_observations.any()
    assert transitions.observations.shape == transitions.next_observations.shape == (600, 1)
    assert transitions.terminals.all() == terminal
    assert transitions.terminals.any() == terminal
    assert transitions.trajectory_ends.all()
    assert np.array_equal(transitions.actions, raw.actions)
    assert np.array_equal(transitions.rewards, raw.rewards)
    found = summarise(dataset_path(task), task)
    assert (found.episodes, found.mean_length, found.transitions) == (600, 1.0, 600)
    assert found.mean_return == pytest.approx(raw.rewards.mean(), rel=1e-5)


def test_equal_requests_give_equal_bytes(folder):
    task = small("bandit-swissroll-near")
    first = write_generated(task, folder / "a.hdf5")
    assert first == write_generated(task, folder / "b.hdf5") == sha256_of(folder / "b.hdf5")
    assert first != write_generated(task, folder / "c.hdf5", seed=1)


def test_it_fits_its_formula(folder):
    task = small("bandit-energy-8gaussians")
    path = ensure_dataset(task)
    record = dataset_record(task, path)
    assert (record.verification, record.rows) == ("content fits", 600)


@pytest.mark.parametrize(
    ("column", "value"),
    [("observations", 0.01), ("actions", 0.01), ("rewards", 0.25), ("terminals", 0), ("timeouts", 1)],
)
def test_every_column_is_held_against_its_formula(folder, column, value):
    task = small("bandit-energy-8gaussians")
    path = ensure_dataset(task)
    with h5py.File(path, "r+") as file:
        file[column][17] = value
    report = verify(task, path, accept=True)
    assert report.status == "mismatch"
    assert [check.name for check in report.checks if check.outcome == "mismatch"] == [column]


def test_another_seed_or_problem_is_a_mismatch(folder):
    task = small("bandit-25gaussians-far")
    path = dataset_path(task)
    write_generated(task, path, seed=1)
    wrong = [check.name for check in verify(task, path).checks if check.outcome == "mismatch"]
    assert wrong == ["seed", "actions", "rewards"]
    write_generated(small("bandit-25gaussians-hard"), path)
    wrong = [check.name for check in verify(task, path, accept=True).checks if check.outcome == "mismatch"]
    assert wrong == ["problem", "rewards"]


def test_fewer_rows_are_told_and_let_through(folder):
    task = load_catalog().task("bandit-energy-rings")
    write_generated(task, dataset_path(task), rows=50)
    report = verify(task, dataset_path(task))
    assert report.status == "content fits"
    assert (report.checks[0].expected, report.checks[0].found) == ("1,000,000 by default", "50")


def test_what_it_is_not(folder):
    task = small("bandit-energy-rings")
    with pytest.raises(BenchError, match="bench data collect bandit-energy-rings"):
        fetch(task)
    ensure_dataset(task)
    with pytest.raises(BenchError, match="without physics"):
        replay(dataset_path(task), task)
    with pytest.raises(BenchError, match="formula"):
        physics_under(task, "modern")
    with pytest.raises(BenchError, match="not generated"):
        write_generated(load_catalog().task("hopper-medium-v2"), folder / "x.hdf5")


def test_physics_of_other_tasks_is_as_asked():
    task = load_catalog().task("hopper-medium-v2")
    assert (physics_under(task, None), physics_under(task, "modern")) == ("d4rl", "modern")
    assert physics_under(load_catalog().task("bandit-energy-rings"), None) == "none"
