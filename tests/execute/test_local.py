"""The channel of a stack in the driver's own process."""

import os
import shutil
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.data.folder import Ledger
from bench.errors import WorkFailedError
from bench.execute import local
from bench.execute.local import LocalChannel, run_locally
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


class Keeper:
    """Hands out stacks by their names, and says what was going on at once."""

    def __init__(self, stacks):
        self.stacks, self.error, self.stop = list(stacks), None, threading.Event()
        self.code_sha256, self.concurrent_stacks = "", 0
        self.given, self.done, self.turn = [], [], threading.Lock()

    @property
    def exhausted(self):
        return self.stop.is_set() or not self.stacks

    def stacks_left(self):
        return len(self.stacks)

    def next_stack(self, worker):
        with self.turn:
            self.given.append(worker.name)
            return self.stacks.pop(0) if self.stacks else None

    def returned(self, name):
        with self.turn:
            self.done.append(name)

    def fail(self, error):
        self.error = self.error or error
        self.stop.set()


def test_stacks_run_side_by_side_by_workers_of_different_names(monkeypatch):
    """Each waits for the other, so that they could not run in turn."""
    together = threading.Barrier(2, timeout=60)
    monkeypatch.setattr(local, "run_plan", lambda plan, channel: together.wait())
    keeper = Keeper("abcd")
    run_locally(keeper, 2)
    assert (keeper.concurrent_stacks, keeper.stacks) == (2, [])
    assert sorted(keeper.done) == ["local 1", "local 1", "local 2", "local 2"]


def test_no_more_stacks_at_once_than_there_are(monkeypatch):
    threads = []
    monkeypatch.setattr(local, "run_plan", lambda plan, channel: threads.append(threading.current_thread()))
    keeper = Keeper("a")
    run_locally(keeper, 8)
    assert (keeper.concurrent_stacks, threads) == (1, [threading.main_thread()])


def test_what_ends_one_of_several_ends_the_run(monkeypatch):
    keeper, both = Keeper("abcdef"), threading.Barrier(2, timeout=60)

    def run_plan(plan, channel):
        both.wait()  # or the first has ended before the second has taken anything
        if plan == "a":
            raise WorkFailedError("cannot write weights", "", "")
        assert keeper.stop.wait(60)  # as a stack that is asked to stop

    monkeypatch.setattr(local, "run_plan", run_plan)
    with pytest.raises(WorkFailedError, match="cannot write weights"):
        run_locally(keeper, 2)
    # On a busy machine the second thread may find the run ended before it has begun a stack.
    assert len(keeper.stacks) in (4, 5)
