"""Weights that a store keeps become a method again, or it is told why not."""

import hashlib
import shutil

import pytest

from bench.errors import BenchError
from bench.evaluation.stored import load_method
from bench.store.database import open_store
from tests.store.databases import change


@pytest.fixture
def folder(trained_store, tmp_path):
    """A copy of the store, to be spoiled."""
    return shutil.copytree(trained_store.parent, tmp_path / "results")


def loaded(folder, trial=1, device="cpu"):
    with open_store(folder / "bench.sqlite", read_only=True) as store:
        return load_method(store, trial, device)


def error_of(folder, **asked):
    with pytest.raises(BenchError) as error:
        loaded(folder, **asked)
    return str(error.value)


def test_the_weights_are_those_that_were_stored(trained_store):
    found = loaded(trained_store.parent)
    (file,) = (trained_store.parent / "weights").iterdir()
    assert found.weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (found.algorithm.seeds, found.task.name) == ((0,), found.trial.record.key.task)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE trials SET state = 'running', score = NULL, finished_at = NULL", "It is running; only"),
        ("UPDATE trials SET state = 'failed', score = NULL, finished_at = NULL", "It failed."),
        ("DELETE FROM weights", "Its score is stored without them"),
    ],
)
def test_a_trial_without_weights_is_told_with_its_state(folder, sql, told):
    change(str(folder / "bench.sqlite"), sql)
    said = error_of(folder)
    assert "trial 1 has no weights" in said
    assert told in said


def test_an_imported_score_has_no_weights_and_says_so(tmp_path, capsys):
    from bench.cli import main

    (tmp_path / "scores.csv").write_text("task,seed,score\nhopper-medium-v2,0,61.5\n")
    with pytest.raises(SystemExit):
        main(
            [
                "import",
                str(tmp_path / "scores.csv"),
                "--as",
                "mine",
                "--store",
                str(tmp_path / "bench.sqlite"),
            ]
        )
    said = error_of(tmp_path)
    assert "trial 1 has no weights" in said
    assert "was imported" in said


def test_weights_on_another_machine_are_told_with_where_they_go(folder):
    (file,) = (folder / "weights").iterdir()
    file.unlink()
    said = error_of(folder)
    assert f"{file} is missing" in said
    assert f"Copy it from where the trial ran, or from a backup, to {file}" in said


def test_a_method_that_is_not_here_is_told(folder, monkeypatch):
    # What the registry says where the package that brought it is gone.
    monkeypatch.setattr("bench.evaluation.stored.method", {}.__getitem__)
    assert "the method 'dtql' of trial 1 is not installed here" in error_of(folder)


def test_settings_that_the_method_does_not_take_any_more_are_told(folder, monkeypatch):
    def refuse(*_):
        raise TypeError("DTQLConfig has no warmth")

    monkeypatch.setattr("bench.evaluation.stored.method_for", refuse)
    said = error_of(folder)
    assert "dtql does not take the settings of trial 1 any more" in said
    assert "bench explain 1" in said


@pytest.mark.parametrize(("device", "told"), [("gpu", "no device 'gpu'"), ("meta", "device 'meta'")])
def test_a_device_that_is_not_there_is_told(trained_store, device, told):
    assert told in error_of(trained_store.parent, device=device)


def test_no_such_trial(trained_store):
    assert "no trial 99" in error_of(trained_store.parent, trial=99)
