"""Who is at work, and how long the rest takes; times are worked out by hand."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
from sqlalchemy import update

from bench.records import StackProgress, TrialKey
from bench.store.claims import database_now
from bench.store.database import Store, transaction
from bench.store.models import Claim, Trial
from bench.store.status import TimeLeft, running_stacks, time_left
from bench.store.writer import Writer
from tests.store import samples
from tests.store.clocks import send_drivers_away

TRIALS = [samples.trial_record(seed) for seed in range(6)]
KEYS = [trial.key for trial in TRIALS]
CELL = KEYS[0].cell


def stand(seconds_left: float = 90.0) -> StackProgress:
    return StackProgress("train", 250, 1000, 12.5, seconds_left)


def grow_old(store: Store, seconds: float, claimed: float = 0.0) -> None:
    """All drivers have been silent for so many seconds."""
    with transaction(store.engine) as connection:
        now = database_now(connection)
        times = {"heartbeat_at": now - timedelta(seconds=seconds)}
        if claimed:
            times["claimed_at"] = now - timedelta(seconds=claimed)
        connection.execute(update(Claim).values(times))


def finish(store: Store, writer: Writer, key: TrialKey, seconds: float, stack: int = 1) -> None:
    """A trial that took so long in a stack of so many."""
    writer.claim(key.cell, {key.seed}, 1)
    writer.record(samples.finished_record(key))
    with transaction(store.engine) as connection:
        mine = (Trial.task == key.task) & (Trial.seed == key.seed)
        values = {"training_seconds": seconds - 10, "evaluation_seconds": 10.0, "stack": list(range(stack))}
        connection.execute(update(Trial).where(mine).values(values))


def test_a_stack_at_work_says_which_where_and_how_far(store: Store, writer: Writer) -> None:
    writer.plan(TRIALS)
    writer.claim(CELL, {0, 1, 2}, 2)
    writer.begin_execution(KEYS[:2], samples.execution_record((0, 1), 40))
    assert not writer.heartbeat({KEYS[0]: stand(), KEYS[1]: stand()})
    grow_old(store, 20, claimed=300)
    (stack,) = running_stacks(store)
    assert (stack.cell, stack.seeds, stack.trial_ids, stack.run_id) == (CELL, (0, 1), (1, 2), "run-1")
    assert (stack.hostname, stack.device, stack.from_iteration) == ("node-1", "cuda: a GPU", 40)
    assert stack.progress == stand()
    assert stack.seconds_since_heartbeat == pytest.approx(20, abs=5)
    assert stack.seconds_since_claim == pytest.approx(300, abs=5)


def test_before_a_worker_has_begun_its_driver_stands_for_it(store: Store, writer: Writer) -> None:
    writer.plan(TRIALS)
    writer.claim(CELL, {3}, 1)
    (stack,) = running_stacks(store)
    assert (stack.seeds, stack.hostname, stack.device, stack.progress) == ((3,), "a-machine", None, None)


def test_stretches_of_earlier_drivers_are_not_shown(store: Store, writer: Writer) -> None:
    writer.plan(TRIALS)
    writer.claim(CELL, {0}, 1)
    writer.begin_execution(KEYS[:1], samples.execution_record((0,)))
    writer.stop(KEYS[:1], 40)
    writer.begin_run(samples.run_record("run-2"))
    writer.claim(CELL, {0}, 1)
    assert [(stack.run_id, stack.device) for stack in running_stacks(store)] == [("run-2", None)]


@pytest.mark.parametrize(("silent", "working"), [(55, 1), (65, 0)])
def test_a_minute_of_silence_from_elsewhere_means_that_nobody_works(
    store: Store, writer: Writer, silent: float, working: int
) -> None:
    writer.plan(TRIALS)
    writer.claim(CELL, {0}, 1)
    send_drivers_away(store.folder)
    grow_old(store, silent)
    assert len(running_stacks(store)) == working


def test_a_driver_known_to_be_dead_does_not_work(store: Store, writer: Writer) -> None:
    writer.plan(TRIALS)
    with Writer(store) as other:
        other.begin_run(samples.run_record("run-2"))
        other.claim(CELL, {0}, 1)
    # Gone without ending its run: on another machine, for all that is known.
    assert [stack.run_id for stack in running_stacks(store)] == ["run-2"]
    (store.folder / "drivers" / f"run-2@{socket.gethostname()}.lock").touch()
    assert running_stacks(store) == []


def test_time_left_adds_the_rest_of_the_stacks_and_like_trials_by_their_share(
    store: Store, writer: Writer
) -> None:
    writer.plan(TRIALS)
    finish(store, writer, KEYS[0], 400.0, stack=4)  # a share of 100 s
    finish(store, writer, KEYS[1], 200.0)
    writer.claim(CELL, {2}, 1)
    writer.claim(CELL, {3}, 1)
    writer.heartbeat({KEYS[2]: stand(90.0), KEYS[3]: stand(30.0)})
    # Two trials wait, 150 s each; two stacks work side by side.
    assert time_left(store, running_stacks(store)) == TimeLeft((90 + 30 + 2 * 150) / 2, 2, 0)
    assert time_left(store, []) == TimeLeft(4 * 150, 2, 0)


def test_time_left_is_never_less_than_the_longest_stack_at_work(store: Store, writer: Writer) -> None:
    writer.plan(TRIALS[:2])
    for key in KEYS[:2]:
        writer.claim(CELL, {key.seed}, 1)
    writer.heartbeat({KEYS[0]: stand(1000.0), KEYS[1]: stand(10.0)})
    assert time_left(store, running_stacks(store)).seconds == 1000


def test_time_left_takes_other_tasks_of_the_method_where_the_own_cell_has_no_time(
    store: Store, writer: Writer
) -> None:
    elsewhere = samples.trial_record(0, "walker2d-medium-v2")
    writer.plan([TRIALS[0], elsewhere])
    finish(store, writer, elsewhere.key, 70.0)
    assert time_left(store, []) == TimeLeft(70, 1, 0)


def test_before_anything_has_finished_stacks_at_work_tell_what_a_trial_takes(
    store: Store, writer: Writer
) -> None:
    writer.plan(TRIALS[:4])
    writer.claim(CELL, {0, 1}, 2)
    writer.begin_execution(KEYS[:2], samples.execution_record())
    writer.heartbeat(dict.fromkeys(KEYS[:2], stand(100.0)))
    grow_old(store, 0, claimed=300)
    left = time_left(store, running_stacks(store))
    assert (left.finished_trials, left.unknown_trials) == (0, 0)
    assert left.seconds == pytest.approx(100 + 2 * (300 + 100) / 2, abs=10)


def test_nothing_is_guessed_from_nothing(store: Store, writer: Writer) -> None:
    writer.plan(TRIALS)
    assert time_left(store, []) == TimeLeft(None, 0, 6)
    writer.claim(CELL, {0}, 1)  # without any progress yet
    assert time_left(store, running_stacks(store)) == TimeLeft(None, 0, 6)
