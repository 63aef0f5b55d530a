"""The driver's end of a stack, and its queue: what is stored and kept when two drivers get at one stack."""

import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
import torch

from bench.errors import WorkFailedError
from bench.execute.messages import Completed, Notice, Progress, Saved, Stopped, TrialFinished
from bench.execute.queue import LOOK_AGAIN_SECONDS, CellOfGrid, StackQueue, beating
from bench.records import FinishedRecord, StackProgress
from bench.store.database import open_store
from bench.store.writer import Writer
from bench.training.checkpoint import Checkpoint, CheckpointFolder
from tests.execute.sameness import rows
from tests.execute.tiny import tiny_plan
from tests.store.clocks import Clock, send_drivers_away
from tests.store.samples import run_record

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
STAND = StackProgress("train", 10, 60, 5.0, 10.0)


class Notes:
    """A watcher that remembers what a person would be told."""

    def __init__(self):
        self.texts = []

    def watch(self, event):
        if isinstance(event, Notice):
            self.texts.append(event.text)


class Driver:
    """A driver with its queue on the store at `path`; nothing trains."""

    def __init__(self, path, run_id, plan, seeds_per_stack=2):
        self._held = ExitStack()
        self.store = self._held.enter_context(open_store(path))
        self.clock = Clock()
        self.writer = self._held.enter_context(Writer(self.store, self.clock))
        self.writer.begin_run(run_record(run_id))
        self.writer.plan(plan.trials)
        self.notes = Notes()
        cell = CellOfGrid(plan.trials[0].key.cell, frozenset(plan.seeds), lambda seeds: plan)
        self.queue = StackQueue([cell], self.writer, self.store.folder, self.notes, lambda: False,
                                seeds_per_stack=seeds_per_stack, max_retries=3)  # fmt: skip

    def looks_again(self):
        """Its next stack, without the wait between two looks."""
        self.queue._looked_at -= LOOK_AGAIN_SECONDS
        return self.queue.next()

    def close(self):
        self._held.close()


@pytest.fixture
def plan(tiny_data):
    return tiny_plan(tiny_data)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "bench.sqlite"


@pytest.fixture
def drivers(store, plan):
    both = [Driver(store, f"run-{number}", plan) for number in (1, 2)]
    yield both
    for driver in both:
        driver.close()


def taken_over_by(driver):
    """The stack that a driver takes up of others, on other machines, that are silent for a minute."""
    send_drivers_away(driver.store.folder)
    assert driver.queue.next() is None
    driver.clock.seconds += 61
    return driver.looks_again()


def saved(number, plan):
    return Saved(plan.title, Checkpoint.of({"weight": torch.zeros(2)}, {"number": number}))


def outcome(trial):
    return TrialFinished(FinishedRecord(trial.key, 1.5, 2.0, 3.0, 2**20, 60, NOON), b"weights", ())


def kept(stack):
    checkpoint, complaints = stack.checkpoint()
    assert complaints == []
    return None if checkpoint is None else checkpoint.host["number"]


def test_a_driver_that_slept_leaves_its_successor_s_checkpoints_alone(store, plan, drivers):
    sleeper, successor = drivers
    first = sleeper.queue.next()
    first.receive(saved(1, plan))
    second = taken_over_by(successor)
    assert kept(second) == 1
    second.receive(saved(2, plan))
    for event in (saved(1, plan), *map(outcome, plan.trials), Completed(plan.title)):
        first.receive(event)
    assert kept(second) == 2
    assert rows(store, "SELECT DISTINCT state, run_id FROM trials") == [("running", "run-2")]
    for event in (*map(outcome, plan.trials), Completed(plan.title)):
        second.receive(event)
    assert kept(second) is None


def test_a_stack_that_was_stopped_is_not_said_to_be_taken_over(store, plan, drivers):
    driver, _ = drivers
    stack = driver.queue.next()
    stack.receive(saved(1, plan))
    for _ in range(2):  # messages may come twice
        stack.receive(Stopped(plan.title, 10))
    with beating(driver.queue, driver.writer, threading.Event(), seconds=0.01):
        time.sleep(0.1)
    assert driver.notes.texts == []
    assert kept(stack) == 1
    assert rows(store, "SELECT COUNT(*) FROM claims") == [(0,)]


def test_what_a_driver_takes_up_after_its_successor_died_it_works_on_once(store, plan, drivers):
    sleeper, successor = drivers
    first = sleeper.queue.next()
    assert taken_over_by(successor) is not None
    second = taken_over_by(sleeper)
    assert second is not first
    assert first.should_stop
    assert not second.should_stop
    for event in (*map(outcome, plan.trials), Completed(plan.title)):
        first.receive(event)
    assert second.open == {trial.key for trial in plan.trials}


def test_a_stack_that_waits_for_its_next_process_stays_claimed(store, plan, drivers):
    driver, other = drivers
    stack = driver.queue.next()
    stack.receive(Progress(plan.title, STAND))
    driver.queue.died(stack, "killed")
    send_drivers_away(store.parent)
    assert other.queue.next() is None
    with beating(driver.queue, driver.writer, threading.Event(), seconds=0.01):
        time.sleep(0.1)
    other.clock.seconds += 61
    assert other.looks_again() is None
    assert driver.queue.next() is stack


def test_a_stack_that_begins_anew_takes_up_no_checkpoint(store, plan, drivers):
    """Of an attempt whose own numbers failed it; its driver may have been killed before it could clear up."""
    driver, _ = drivers
    folder = CheckpointFolder(store.parent / "checkpoints" / plan.name, plan.identity)
    folder.save(saved(1, plan).checkpoint)
    stack = driver.queue.next()
    assert kept(stack) is None
    stack.receive(saved(2, plan))
    driver.close()
    again = Driver(store, "run-3", plan)
    assert kept(taken_over_by(again)) == 2
    again.close()


def test_what_cannot_be_written_for_another_reason_than_room_is_told(store, plan, drivers):
    driver, _ = drivers
    stack = driver.queue.next()
    (store.parent / "checkpoints").write_text("no folder")
    with pytest.raises(WorkFailedError, match=r"cannot write .*checkpoints"):
        stack.receive(saved(1, plan))
    (store.parent / "weights").write_text("no folder")
    with pytest.raises(WorkFailedError, match=r"cannot write .*weights"):
        stack.receive(outcome(plan.trials[0]))
    assert rows(store, "SELECT DISTINCT state FROM trials") == [("running",)]
