"""The channel of a stack in the driver's own process."""

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.data.folder import Ledger
from bench.errors import WorkFailedError
from bench.execute.local import LocalChannel
from bench.execute.messages import Worker
from bench.execute.stack import Stack
from bench.files import sha256_of
from tests.execute.tiny import tiny_plan


def test_data_that_changed_after_the_run_began_is_refused(tiny_data, tmp_path, monkeypatch):
    """The trial's numbers would be of other data than the store says."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    plan = tiny_plan(tiny_data)
    path = shutil.copy(plan.data_path, tmp_path / "data.hdf5")
    trials = tuple(
        replace(trial, dataset=replace(trial.dataset, sha256=sha256_of(path))) for trial in plan.trials
    )
    plan = replace(plan, trials=trials, data_path=path)
    channel = LocalChannel(SimpleNamespace(), Worker("local", "", "here", ""), plan)
    Stack(plan, channel)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    Ledger().look_up(path, accept=True)  # By somebody else, in the middle of the run.
    with pytest.raises(WorkFailedError, match="has changed since this run began"):
        Stack(plan, channel)
