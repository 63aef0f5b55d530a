"""The link of a stack in the driver's own process."""

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.data.ledger import Ledger
from bench.errors import BenchError
from bench.execute.local import DirectLink
from bench.files import sha256_of
from tests.execute.tiny import tiny_plan


@pytest.mark.parametrize(
    ("accepted", "told"), [(False, "is not the file it was"), (True, "has changed since this run began")]
)
def test_data_that_changed_after_the_run_began_is_refused(tiny_data, tmp_path, monkeypatch, accepted, told):
    """The trial's numbers would be of other data than the store says."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    plan = tiny_plan(tiny_data)
    path = shutil.copy(plan.data_path, tmp_path / "data.hdf5")
    trials = tuple(
        replace(trial, dataset=replace(trial.dataset, sha256=sha256_of(path))) for trial in plan.trials
    )
    link = DirectLink(SimpleNamespace(plan=replace(plan, trials=trials, data_path=path)))
    assert link.dataset() == path
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    if accepted:  # by somebody else, in the middle of the run
        Ledger().look_up(path, accept=True)
    with pytest.raises(BenchError, match=told):
        link.dataset()
