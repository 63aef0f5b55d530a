"""Folders that cannot be are told in a sentence, whatever a person's environment says."""

import os
from pathlib import Path

import pytest

from bench.data.folder import data_folder
from bench.errors import BenchError


@pytest.mark.parametrize("variable", ["BENCH_DATA_DIR", "D4RL_DATASET_DIR"])
@pytest.mark.parametrize(
    "folder",
    ["~nosuchuser", "~nosuchuser/d4rl", "x" * 5000, "x/" * 2600, "x" * 300],
    ids=["no such user", "below no such user", "a long name", "a long path", "a name of 300"],
)
def test_a_folder_that_cannot_be(monkeypatch, variable, folder):
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    monkeypatch.setenv(variable, folder)
    with pytest.raises(BenchError, match=variable) as caught:
        data_folder()
    assert caught.value.do_this.startswith(f"Set {variable} to a folder")
    assert len(str(caught.value)) < 400


def test_without_a_home_one_has_to_be_named(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("BENCH_DATA_DIR", "D4RL_DATASET_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(homeless))
    with pytest.raises(BenchError, match="no home folder: set BENCH_DATA_DIR"):
        data_folder()


def test_a_folder_that_may_not_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    assert data_folder() == tmp_path.resolve()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(BenchError, match="may not be read"):
        data_folder()


def test_a_folder_that_is_yet_to_be_made(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "a" / "b"))
    assert data_folder() == (tmp_path / "a" / "b").resolve()
