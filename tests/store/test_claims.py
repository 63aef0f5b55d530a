"""Whose a trial is, in the situations that two drivers rarely get into."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, select, update

from bench.records import StackProgress
from bench.store import claims
from bench.store.claims import ClaimedStack, ClaimLostError, Nothing, database_now
from bench.store.database import Store, transaction
from bench.store.models import Claim
from bench.store.status import running_stacks
from bench.store.writer import Writer
from tests.store import samples
from tests.store.clocks import Clock, send_drivers_away
from tests.store.databases import fetched

TRIALS = [samples.trial_record(seed) for seed in range(3)]
KEYS = [trial.key for trial in TRIALS]
CELL = KEYS[0].cell


@pytest.fixture
def clock() -> Clock:
    """By which the second driver watches the others."""
    return Clock()


@pytest.fixture
def other(store: Store, clock: Clock) -> Iterator[Writer]:
    """A second driver."""
    with Writer(store, clock) as opened:
        opened.begin_run(samples.run_record("run-2"))
        yield opened


def shift_heartbeats(store: Store, seconds: float) -> None:
    """As if the last sign of life of all drivers were later, or earlier."""
    with transaction(store.engine) as connection:
        then = database_now(connection) + timedelta(seconds=seconds)
        connection.execute(update(Claim).values(heartbeat_at=then))


def heartbeats(store: Store) -> list[datetime]:
    """The time now, and that of the last sign of life for each claimed trial in turn."""
    with store.connect() as connection:
        beats = connection.scalars(select(Claim.heartbeat_at).order_by(Claim.trial_id)).all()
        return [database_now(connection), *beats]


@pytest.fixture
def silent(store: Store, writer: Writer, other: Writer, clock: Clock) -> None:
    """The first driver holds seed 0 from another machine; the second has heard nothing of it for a minute."""
    writer.plan(TRIALS[:1])
    writer.claim(CELL, {0}, 1)
    send_drivers_away(store.folder)
    assert other.claim(CELL, {0}, 1) is Nothing.HELD
    clock.seconds += 61


@pytest.mark.usefixtures("silent")
def test_a_driver_that_slept_stores_nothing_into_an_attempt_that_was_planned_meanwhile(
    store: Store, writer: Writer, other: Writer
) -> None:
    """It would finish an attempt of which it has only the last evaluations."""
    writer.record(samples.evaluation_record(KEYS[0], 1))
    other.claim(CELL, {0}, 1)
    other.record(samples.failure_record(KEYS[0]))
    other.retry(KEYS[:1])
    assert fetched(store.location.url, "SELECT state, attempt FROM trials") == [("planned", 2)]
    with pytest.raises(ClaimLostError):
        writer.record(samples.evaluation_record(KEYS[0], 2))
    with pytest.raises(ClaimLostError):
        writer.record(samples.weights_record(KEYS[0]), samples.finished_record(KEYS[0]))
    assert writer.heartbeat({KEYS[0]: None}) == writer.lost(KEYS[:1]) == {KEYS[0]}
    assert fetched(store.location.url, "SELECT attempt, number FROM evaluations") == [(1, 1)]


HOURS = 3600.0
SKEWED = [-2 * HOURS, -61.0, 0.0, 61.0, 2 * HOURS, 24 * 365 * HOURS]
"""By how many seconds another machine's clock differs, or the clock was set since."""


@pytest.mark.parametrize("skew", SKEWED)
def test_a_process_that_lives_keeps_its_claim_whatever_the_clock_says(
    store: Store, writer: Writer, other: Writer, clock: Clock, skew: float
) -> None:
    writer.plan(TRIALS[:1])
    writer.claim(CELL, {0}, 1)
    shift_heartbeats(store, skew)
    for _ in range(3):
        assert other.claim(CELL, {0}, 1) is Nothing.HELD
        clock.seconds += 61
    assert [stack.run_id for stack in running_stacks(store)] == ["run-1"]


@pytest.mark.parametrize("skew", SKEWED)
def test_a_driver_elsewhere_keeps_its_claim_for_as_long_as_its_heart_beats_by_whatever_clock(
    store: Store, writer: Writer, other: Writer, clock: Clock, monkeypatch, skew: float
) -> None:
    """The second driver's clock is right; the first one's is not, and so it writes its heartbeats."""
    right = claims.database_now
    writer.plan(TRIALS[:1])
    with monkeypatch.context() as first_machine:
        first_machine.setattr(claims, "database_now", lambda of: right(of) + timedelta(seconds=skew))
        writer.claim(CELL, {0}, 1)
    send_drivers_away(store.folder)
    for _ in range(10):
        assert other.claim(CELL, {0}, 1) is Nothing.HELD
        clock.seconds += 50
        with monkeypatch.context() as first_machine:
            first_machine.setattr(claims, "database_now", lambda of: right(of) + timedelta(seconds=skew))
            assert writer.heartbeat({KEYS[0]: None}) == frozenset()
    # It beats no more.
    assert other.claim(CELL, {0}, 1) is Nothing.HELD
    clock.seconds += 60
    assert other.claim(CELL, {0}, 1) is Nothing.HELD
    clock.seconds += 1
    assert isinstance(other.claim(CELL, {0}, 1), ClaimedStack)
    assert writer.heartbeat({KEYS[0]: None}) == {KEYS[0]}


def test_two_drivers_whose_clocks_differ_do_not_take_a_stack_from_each_other_in_turn(
    store: Store, monkeypatch
) -> None:
    """Each on a machine of its own, with heartbeats by its own clock, for an hour."""
    right, time = claims.database_now, Clock()
    skews = {"run-1": timedelta(0), "run-2": timedelta(hours=2)}
    with Writer(store, time) as first, Writer(store, time) as second:
        drivers = {"run-1": first, "run-2": second}

        def act(run: str, action: Callable[[Writer], object]) -> object:
            def now(of: Connection) -> datetime:
                return right(of) + skews[run] + timedelta(seconds=time.seconds)

            with monkeypatch.context() as machine:
                machine.setattr(claims, "database_now", now)
                return action(drivers[run])

        for run in drivers:
            act(run, lambda driver, run=run: driver.begin_run(samples.run_record(run)))
        send_drivers_away(store.folder)
        first.plan(TRIALS[:1])
        assert act("run-1", lambda driver: driver.claim(CELL, {0}, 1)) is not Nothing.HELD
        for _ in range(240):
            time.seconds += 15
            assert act("run-1", lambda driver: driver.heartbeat({KEYS[0]: None})) == frozenset()
            assert act("run-2", lambda driver: driver.claim(CELL, {0}, 1)) is Nothing.HELD


def test_the_work_of_a_driver_that_was_killed_here_is_taken_up_at_once(
    store: Store, writer: Writer, other: Writer
) -> None:
    writer.plan(TRIALS[:1])
    writer.claim(CELL, {0}, 1)
    send_drivers_away(store.folder)
    (store.folder / "drivers" / f"run-1@{socket.gethostname()}.lock").touch()  # nobody holds it
    shift_heartbeats(store, 2 * HOURS)
    assert isinstance(other.claim(CELL, {0}, 1), ClaimedStack)


def test_a_claim_that_its_own_driver_does_not_know_of_is_taken_again(store: Store) -> None:
    """That the driver lives does not keep it from its own work."""
    clock = Clock()
    with Writer(store, clock) as writer:
        writer.begin_run(samples.run_record())
        writer.plan(TRIALS[:1])
        writer.claim(CELL, {0}, 1)  # and the answer is lost on the way
        assert writer.claim(CELL, {0}, 1) is Nothing.HELD
        clock.seconds += 61
        assert isinstance(writer.claim(CELL, {0}, 1), ClaimedStack)


def test_what_seems_to_be_held_is_told_by_age_where_nothing_else_tells(store: Store, writer: Writer) -> None:
    writer.plan(TRIALS[:1])
    writer.claim(CELL, {0}, 1)
    send_drivers_away(store.folder)
    shown = []
    for seconds in (-61, -50, 50, 2 * HOURS):  # a clock may be set back
        shift_heartbeats(store, seconds)
        shown.append(len(running_stacks(store)))
    assert shown == [0, 1, 1, 0]


def test_a_claim_that_its_driver_does_not_know_of_expires(store: Store, writer: Writer) -> None:
    """A server may store a claim and go away before it can say so."""
    stand = StackProgress("train", 1, 2, 3.0, 4.0)
    writer.plan(TRIALS[:2])
    writer.claim(CELL, {0}, 1)
    writer.claim(CELL, {1}, 1)
    shift_heartbeats(store, -50)
    assert writer.heartbeat({KEYS[1]: stand}) == frozenset()
    now, *beats = heartbeats(store)
    assert [now - beat > timedelta(seconds=40) for beat in beats] == [True, False]


@pytest.mark.usefixtures("silent")
def test_a_stretch_that_was_cut_off_keeps_no_end_when_its_successor_fails_before_it_begins(
    store: Store, writer: Writer, other: Writer
) -> None:
    """The dataset may be missing then."""
    writer.begin_execution(KEYS[:1], samples.execution_record((0,)))
    other.claim(CELL, {0}, 1)
    other.record(samples.failure_record(KEYS[0], step=0))
    assert fetched(store.location.url, "SELECT outcome, ended_at, to_iteration FROM executions") == [
        (None, None, None)
    ]
