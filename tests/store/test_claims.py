"""Whose a trial is, in the situations that two drivers rarely get into."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from bench.records import StackProgress
from bench.store.claims import ClaimedStack, ClaimLostError, Nothing, database_now
from bench.store.database import Store, transaction
from bench.store.models import Claim
from bench.store.working import stacks_at_work
from bench.store.writer import Writer
from tests.store import samples
from tests.store.databases import fetched

TRIALS = [samples.trial_record(seed) for seed in range(3)]
KEYS = [trial.key for trial in TRIALS]
CELL = KEYS[0].cell


@pytest.fixture
def other(store: Store) -> Iterator[Writer]:
    """A second driver."""
    with Writer(store) as opened:
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


def test_a_driver_that_slept_stores_nothing_into_an_attempt_that_was_planned_meanwhile(
    store: Store, writer: Writer, other: Writer
) -> None:
    """It would finish an attempt of which it has only the last evaluations."""
    writer.plan(TRIALS[:1])
    writer.claim(CELL, {0}, 1)
    writer.record(samples.evaluation_record(KEYS[0], 1))
    shift_heartbeats(store, -61)
    other.claim(CELL, {0}, 1)
    other.record(samples.failure_record(KEYS[0]))
    other.retry(KEYS[:1])
    assert fetched(store.location.url, "SELECT state, attempt FROM trials") == [("planned", 2)]
    with pytest.raises(ClaimLostError):
        writer.record(samples.evaluation_record(KEYS[0], 2))
    with pytest.raises(ClaimLostError):
        writer.finish(samples.finished_record(KEYS[0]), samples.weights_record(KEYS[0]), [])
    assert writer.heartbeat({KEYS[0]: None}) == writer.lost(KEYS[:1]) == {KEYS[0]}
    assert fetched(store.location.url, "SELECT attempt, number FROM evaluations") == [(1, 1)]


def test_claims_from_before_the_clock_was_set_back_do_not_hold_for_hours(
    store: Store, writer: Writer, other: Writer
) -> None:
    writer.plan(TRIALS[:1])
    writer.claim(CELL, {0}, 1)
    shift_heartbeats(store, 50)  # clocks may differ a little
    assert other.claim(CELL, {0}, 1) is Nothing.HELD
    shift_heartbeats(store, 2 * 3600)
    assert stacks_at_work(store) == []
    assert isinstance(other.claim(CELL, {0}, 1), ClaimedStack)


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


def test_a_stretch_that_was_cut_off_keeps_no_end_when_its_successor_fails_before_it_begins(
    store: Store, writer: Writer, other: Writer
) -> None:
    """The dataset may be missing then."""
    writer.plan(TRIALS[:1])
    writer.claim(CELL, {0}, 1)
    writer.begin_execution(KEYS[:1], samples.execution_record((0,)))
    shift_heartbeats(store, -61)
    other.claim(CELL, {0}, 1)
    other.record(samples.failure_record(KEYS[0], step=0))
    assert fetched(store.location.url, "SELECT outcome, ended_at, to_iteration FROM executions") == [
        (None, None, None)
    ]
