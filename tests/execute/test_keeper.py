"""The driver's keeper: what is stored and kept when two drivers get at one stack, and whom it refuses."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch

from bench.errors import BenchError, WorkFailedError
from bench.execute.keeper import PIECE_BYTES, Keeper, beating
from bench.execute.messages import (
    ChannelError,
    Completed,
    Named,
    Notice,
    PhaseKey,
    PhaseMade,
    Progress,
    Saved,
    Stopped,
    TrialFinished,
    Worker,
)
from bench.execute.queue import CellOfGrid, StackQueue
from bench.execute.ray_mailbox import Request
from bench.execute.ray_tune import answer
from bench.records import FAILED, FINISHED, FinishedRecord, StackProgress
from bench.store.database import open_store
from bench.store.writer import Writer
from bench.training.checkpoint import Checkpoint, CheckpointFolder, SharedFolder
from tests.execute.sameness import rows
from tests.execute.tiny import tiny_plan
from tests.store.clocks import Clock, send_drivers_away
from tests.store.samples import run_record

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
PROGRESS = StackProgress("train", 10, 60, 5.0, 10.0)
HERE = "a" * 64


class Notes:
    """A watcher that remembers what a person would be told."""

    def __init__(self):
        self.texts = []

    def watch(self, event):
        if isinstance(event, Notice):
            self.texts.append(event.text)


class Work:
    """A stack that a worker has been given; nothing trains."""

    def __init__(self, keeper, worker):
        self.worker = worker
        self._keeper = keeper

    def receive(self, event):
        return self._keeper.receive(self.worker, event)

    def checkpoint(self):
        return self._keeper.checkpoint(self.worker)

    def phase_made(self, key):
        return self._keeper.phase_made(self.worker, key)

    @property
    def should_stop(self):
        return self._keeper.should_stop(self.worker)


class Driver:
    """A driver with its keeper on the store at `path`."""

    def __init__(self, path, run_id, plan, seeds_per_stack=2, max_retries=3, shared=None):
        self._held = ExitStack()
        self.store = self._held.enter_context(open_store(path))
        self.clock = Clock()
        self.writer = self._held.enter_context(Writer(self.store, self.clock))
        self.writer.begin_run(run_record(run_id))
        self.writer.plan(plan.trials)
        self.notes = Notes()
        self.plan = plan
        cell = CellOfGrid(plan.trials[0].key.cell, frozenset(plan.seeds), lambda seeds: self.plan)
        self.queue = StackQueue([cell], self.writer, self.notes.texts.append, lambda: False,
                                seeds_per_stack=seeds_per_stack)  # fmt: skip
        self.keeper = Keeper(self.queue, self.writer, self.store.folder, self.notes, threading.Event(),
                             code_sha256=HERE, max_retries=max_retries, shared=shared)  # fmt: skip
        self._processes = 0

    def process(self, name="worker"):
        """Another process of a worker."""
        self._processes += 1
        return Worker(name, str(self._processes), "here", HERE)

    def next(self, name=None):
        """What a new worker, or a new process of one, is given to work on."""
        worker = self.process(name or f"worker {self._processes}")
        return None if self.keeper.next_stack(worker) is None else Work(self.keeper, worker)

    def looks_again(self):
        """What the next worker is given, without the wait between two looks."""
        self.queue.look_again()
        return self.next()

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
    assert driver.next() is None
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
    first = sleeper.next()
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


@pytest.fixture
def shared(tmp_path):
    return SharedFolder.marked(tmp_path / "shared", "the store")


def named(number, plan, shared):
    """As its worker, which has written it into the shared folder."""
    delivered = plan.checkpoints_in(shared.path).deliver(saved(number, plan).checkpoint)
    return Named(plan.title, delivered)


def test_a_driver_that_slept_keeps_no_checkpoint_in_the_shared_folder(store, plan, shared):
    sleeper, successor = (Driver(store, f"run-{number}", plan, shared=shared) for number in (1, 2))
    first = sleeper.next()
    first.receive(named(1, plan, shared))
    second = taken_over_by(successor)
    assert kept(second) == 1
    second.receive(named(2, plan, shared))
    for event in (named(1, plan, shared), *map(outcome, plan.trials), Completed(plan.title)):
        first.receive(event)
    assert kept(second) == 2
    assert not (store.parent / "checkpoints").exists()
    for event in (*map(outcome, plan.trials), Completed(plan.title)):
        second.receive(event)
    assert [path.name for path in shared.path.iterdir()] == ["shared-checkpoints.txt"]
    sleeper.close()
    successor.close()


def test_a_machine_that_does_not_share_the_folder_ends_the_run_and_is_named(store, plan, shared):
    driver = Driver(store, "run-1", plan, shared=shared)
    worker = replace(driver.process(), hostname="far-away", sees_shared=False)
    assert isinstance(asked(driver, "next_stack", worker), ChannelError)
    assert driver.keeper.stop.is_set()
    assert "far-away does not see" in driver.keeper.error.what
    assert rows(store, "SELECT COUNT(*) FROM claims") == [(0,)]
    driver.close()


def test_what_a_shared_phase_made_is_kept_for_every_driver_of_the_store(store, plan, drivers):
    """Once: of all that made it the first is kept, though another has taken over its stack by then."""
    sleeper, successor = drivers
    key = PhaseKey("behaviour", "hopper-medium-v2", 0, "a" * 64)
    first = sleeper.next()
    assert first.phase_made(key) == (None, [])
    second = taken_over_by(successor)
    made = [Checkpoint.of({"weight": torch.zeros(2)}, {"seconds": number}) for number in (1.0, 2.0, 3.0)]
    assert second.phase_made(key) == (None, [])
    for stack, checkpoint in zip((first, second, second), made, strict=True):
        assert not stack.receive(PhaseMade(plan.title, key, checkpoint))
    assert second.phase_made(key) == (made[0], [])
    assert asked(successor, "phase_made", second.worker, key) == (made[0], [])
    with pytest.raises(ChannelError):
        successor.keeper.phase_made(successor.process(), key)


def test_a_checkpoint_that_is_being_written_keeps_no_other_event_waiting(plan, drivers, monkeypatch):
    """A stack sends it from a thread of its own, and goes on."""
    stack, written = drivers[0].next(), threading.Event()
    save = CheckpointFolder.save

    def slow(folder, checkpoint):
        assert written.wait(60)
        save(folder, checkpoint)

    monkeypatch.setattr(CheckpointFolder, "save", slow)
    with ThreadPoolExecutor(2) as threads:
        saving = threads.submit(stack.receive, saved(1, plan))
        threads.submit(stack.receive, Progress(plan.title, PROGRESS)).result(30)
        assert not saving.done()
        written.set()
        saving.result(60)
    assert kept(stack) == 1


def test_a_stack_that_was_stopped_is_not_said_to_be_taken_over(store, plan, drivers):
    driver, _ = drivers
    stack = driver.next()
    stack.receive(saved(1, plan))
    for _ in range(2):  # messages may come twice
        stack.receive(Stopped(plan.title, 10))
    with beating(driver.keeper, seconds=0.01):
        time.sleep(0.1)
    assert driver.notes.texts == []
    assert kept(stack) == 1
    assert rows(store, "SELECT COUNT(*) FROM claims") == [(0,)]


def test_what_a_driver_takes_up_after_its_successor_died_it_works_on_once(store, plan, drivers):
    sleeper, successor = drivers
    first = sleeper.next()
    assert taken_over_by(successor) is not None
    second = taken_over_by(sleeper)
    assert second is not first
    assert first.should_stop
    assert not second.should_stop
    for event in (*map(outcome, plan.trials), Completed(plan.title)):
        first.receive(event)
    assert rows(store, "SELECT state FROM trials") == [("running",)] * 2
    assert not second.should_stop


def test_a_stack_that_waits_for_its_next_process_stays_claimed(store, plan, drivers):
    driver, other = drivers
    stack = driver.next()
    stack.receive(Progress(plan.title, PROGRESS))
    driver.keeper.lost(stack.worker.name, "killed")
    send_drivers_away(store.parent)
    assert other.next() is None
    with beating(driver.keeper, seconds=0.01):
        time.sleep(0.1)
    other.clock.seconds += 61
    assert other.looks_again() is None
    assert driver.keeper.next_stack(driver.process()) == plan


def test_a_stack_that_was_taken_over_while_it_waited_is_handed_out_no_more(plan, drivers):
    driver, other = drivers
    stack = driver.next("worker")
    driver.keeper.lost("worker", "killed")
    assert taken_over_by(other) is not None
    driver.keeper.heartbeat()
    assert not driver.keeper.reserve()
    assert driver.keeper.next_stack(driver.process("worker")) is None
    with pytest.raises(ChannelError):
        stack.receive(Stopped(plan.title, 3))


def test_a_stack_that_begins_anew_takes_up_no_checkpoint(store, plan, drivers):
    """Of an attempt whose own numbers failed it; its driver may have been killed before it could clear up."""
    driver, _ = drivers
    folder = CheckpointFolder(store.parent / "checkpoints" / plan.name, plan.identity)
    folder.save(saved(1, plan).checkpoint)
    stack = driver.next()
    assert kept(stack) is None
    stack.receive(saved(2, plan))
    driver.close()
    again = Driver(store, "run-3", plan)
    assert kept(taken_over_by(again)) == 2
    again.close()


def test_what_cannot_be_written_for_another_reason_than_room_is_told(store, plan, drivers):
    driver, _ = drivers
    stack = driver.next()
    (store.parent / "checkpoints").write_text("no folder")
    with pytest.raises(WorkFailedError, match=r"cannot write .*checkpoints"):
        stack.receive(saved(1, plan))
    (store.parent / "weights").write_text("no folder")
    with pytest.raises(WorkFailedError, match=r"cannot write .*weights"):
        stack.receive(outcome(plan.trials[0]))
    assert rows(store, "SELECT DISTINCT state FROM trials") == [("running",)]


# Whom it answers, and whom it refuses


@pytest.fixture
def driver(drivers):
    return drivers[0]


def asked(driver, method, *arguments):
    """As a worker far away asks."""
    return answer(driver.keeper, Request("a", method, arguments))


def test_an_event_is_answered_with_whether_to_stop(driver, plan):
    work = driver.next()
    assert work.receive(Progress(plan.title, PROGRESS)) is False
    driver.keeper.stop.set()
    assert work.receive(Progress(plan.title, PROGRESS)) is True
    assert driver.next() is None


def test_a_worker_that_asks_twice_is_given_the_same_stack(driver, plan):
    worker = driver.process()
    assert driver.keeper.next_stack(worker) == driver.keeper.next_stack(worker) == plan


def test_a_worker_that_was_given_up_for_lost_is_refused_when_it_comes_back(driver, plan):
    first = driver.next("worker")
    driver.keeper.lost("worker", "killed")
    for _ in range(2):
        with pytest.raises(ChannelError):
            first.receive(Stopped(plan.title, 3))
        second = driver.process()
        assert driver.keeper.next_stack(second) == plan
        driver.keeper.lost("worker", "killed")
    assert rows(driver.store.location.path, "SELECT DISTINCT state FROM trials") == [("running",)]
    assert "retry 3 of 3" in driver.notes.texts[-1]


def test_a_process_that_was_replaced_is_refused_although_its_worker_is_at_work(driver, plan):
    first = driver.next("worker")
    driver.keeper.lost("worker", "killed")
    driver.keeper.next_stack(driver.process())
    assert isinstance(asked(driver, "receive", first.worker, Stopped(plan.title, 3)), ChannelError)
    assert isinstance(asked(driver, "next_stack", first.worker), ChannelError)
    assert driver.keeper.error is None


def test_a_worker_lost_too_often_fails_its_trials(driver, store, plan):
    for _ in range(4):
        assert driver.next("worker") is not None
        driver.keeper.lost("worker", "killed")
    assert rows(store, "SELECT state FROM trials") == [("failed",)] * 2
    assert rows(store, "SELECT DISTINCT error, message FROM failures") == [("WorkerDiedError", "killed")]
    assert driver.keeper.ended[FAILED] == 2
    assert driver.looks_again() is None
    assert driver.keeper.exhausted


def test_a_worker_that_is_lost_after_its_stack_was_taken_over_is_neither_begun_again_nor_failed(
    driver, drivers, store
):
    assert driver.next("worker") is not None
    assert taken_over_by(drivers[1]) is not None
    driver.keeper.heartbeat()
    driver.keeper.lost("worker", "killed")
    assert "given up" in driver.notes.texts[0]
    assert not any("retry" in text for text in driver.notes.texts)
    assert rows(store, "SELECT COUNT(*) FROM failures") == [(0,)]
    assert rows(store, "SELECT DISTINCT state, run_id FROM trials") == [("running", "run-2")]


def test_a_result_that_comes_twice_counts_once(driver, plan):
    work = driver.next()
    for _ in range(2):
        work.receive(outcome(plan.trials[0]))
    assert driver.keeper.ended == {FINISHED: 1}


def test_what_ended_counts_although_its_stack_waits_for_its_next_process(driver, plan):
    """Where the run is stopped then, nobody else has finished it."""
    work = driver.next("worker")
    work.receive(outcome(plan.trials[0]))
    driver.keeper.lost("worker", "killed")
    assert driver.keeper.ended == {FINISHED: 1}


def test_a_worker_that_is_lost_again_and_again_before_it_begins_ends_the_run(driver, store):
    assert driver.keeper.reserve()
    for _ in range(4):
        assert driver.keeper.error is None
        asked(driver, "lost", "worker", "killed")
    assert driver.keeper.stop.is_set()
    assert "before it had begun" in driver.keeper.error.why
    assert driver.keeper.is_idle()
    assert rows(store, "SELECT COUNT(*) FROM failures") == [(0,)]


def test_a_reserved_stack_is_the_next_worker_s(driver, drivers, plan):
    assert driver.keeper.stacks_left() == 1
    assert driver.keeper.reserve()
    assert driver.keeper.reserve()
    assert driver.keeper.stacks_left() == 1
    assert not drivers[1].keeper.reserve()
    assert driver.keeper.next_stack(driver.process()) == plan
    assert driver.keeper.stacks_left() == 0


def test_without_a_stack_for_the_next_worker_none_is_waited_for(driver, drivers, plan):
    """On a busy cluster it would have to wait for a place, to be told that there is nothing to do."""
    other = drivers[1]
    assert not driver.keeper.is_idle()
    work = driver.next()
    assert other.keeper.is_idle()
    assert not driver.keeper.is_idle()
    for event in (*map(outcome, plan.trials), Completed(plan.title)):
        work.receive(event)
    driver.keeper.returned(work.worker.name)
    assert driver.keeper.is_idle()
    assert driver.keeper.exhausted


def test_stacks_that_were_cut_off_are_counted_as_they_were_made(store, plan):
    """Whatever the seeds per stack by now: as many workers are started as there are stacks."""
    ones = Driver(store, "run-1", plan, seeds_per_stack=1)
    assert ones.keeper.stacks_left() == 2
    assert ones.next() is not None
    assert ones.keeper.stacks_left() == 1
    assert ones.next() is not None
    ones.close()
    again = Driver(store, "run-2", plan, seeds_per_stack=2)
    assert again.keeper.stacks_left() == 2
    again.close()


def test_other_code_ends_the_run_and_names_the_machine(driver):
    worker = replace(driver.process(), hostname="far-away", code_sha256="0" * 64)
    assert isinstance(asked(driver, "next_stack", worker), ChannelError)
    assert driver.keeper.stop.is_set()
    assert isinstance(driver.keeper.error, BenchError)
    assert "far-away" in driver.keeper.error.what
    assert "Install the same version" in driver.keeper.error.do_this


def test_a_result_that_cannot_be_stored_ends_the_run(driver, store, plan):
    work = driver.next()
    (store.parent / "checkpoints").write_text("no folder")
    assert isinstance(asked(driver, "receive", work.worker, saved(1, plan)), ChannelError)
    assert driver.keeper.stop.is_set()
    assert "checkpoints" in driver.keeper.error.what


def test_a_dataset_travels_in_pieces(driver, plan, tmp_path):
    content = bytes(range(256)) * (PIECE_BYTES // 256) + b"the end"
    path = tmp_path / "data.hdf5"
    path.write_bytes(content)
    driver.plan = replace(plan, data_path=path)
    work, pieces = driver.next(), []
    while piece := asked(driver, "dataset_piece", work.worker, sum(map(len, pieces))):
        pieces.append(piece)
    assert [len(piece) for piece in pieces] == [PIECE_BYTES, 7]
    assert b"".join(pieces) == content
