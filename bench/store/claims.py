"""Who works on what: claims by rows, so that several drivers share one store and none works twice.

A driver claims the trials of one stack in one transaction, just before it starts the stack, and keeps the
claims alive. A claim without a sign of life for a minute belongs to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from bench.errors import WorkFailedError
from bench.records import PLANNED, RUNNING, CellKey, StackProgress, TrialKey
from bench.store.models import Claim, Trial
from bench.store.planning import CELL_COLUMNS, KEY_COLUMNS, key_of

EXPIRY = timedelta(seconds=60)
HEARTBEAT_SECONDS = 15.0


class ClaimLostError(WorkFailedError):
    """Another driver has taken over a trial; its results count, ours no longer do."""


class Nothing(Enum):
    """Why there is nothing to claim of a cell."""

    HELD = "other drivers work on all that is left"
    DONE = "every trial asked for has ended"


@dataclass(frozen=True)
class ClaimedStack:
    """Trials that a driver may now work on."""

    seeds: tuple[int, ...]
    """Of the whole stack; a seed that is not claimed only accompanies the others, as it did before."""
    claimed: tuple[TrialKey, ...]
    is_fresh: bool
    """It begins anew: whatever is left of earlier attempts is of no use to it."""


@dataclass(frozen=True)
class _Open:
    """A trial that has not ended."""

    trial_id: int
    seed: int
    stack: tuple[int, ...] | None
    free: bool


def claim_next(
    connection: Connection,
    cell: CellKey,
    seeds: Collection[int],
    size: int,
    run_id: str,
    is_gone: Callable[[str], bool],
) -> ClaimedStack | Nothing:
    """Claim the next stack of a cell: one that was cut off, whole, else up to `size` fresh trials.

    Parameters
    ----------
    seeds : asked for; a cut-off stack that holds one of them is continued whole.
    is_gone : whether the driver of a run is known to be dead, before its claims expire.
    """
    trials = _open_trials(connection, cell, is_gone)
    wanted = [trial for trial in trials if trial.seed in seeds]
    if not wanted:
        return Nothing.DONE
    cut_off = _cut_off(trials, seeds)
    found = cut_off or _fresh(wanted, size)
    if found is None:
        return Nothing.HELD
    stack, members = found
    _take(connection, [trial.trial_id for trial in members], stack, run_id)
    return ClaimedStack(stack, tuple(cell.trial(trial.seed) for trial in members), cut_off is None)


def heartbeat(
    connection: Connection, run_id: str, stands: Mapping[TrialKey, StackProgress | None]
) -> frozenset[TrialKey]:
    """Keep the run's claims on trials alive and note how far their stacks are; return those it has lost.

    A claim on any other trial, which the run made without getting to know of it, expires.
    """
    rows = _holders(connection, stands)
    held = {key: row.id for key, row in rows.items() if row.claimed_by == run_id}
    now = database_now(connection)
    connection.execute(update(Claim).where(Claim.trial_id.in_(held.values())).values(heartbeat_at=now))
    for key, trial_id in held.items():
        if (stand := stands[key]) is not None:
            connection.execute(update(Claim).where(Claim.trial_id == trial_id).values(vars(stand)))
    return frozenset(key for key, row in rows.items() if _is_lost(row, run_id))


def lost(connection: Connection, run_id: str, keys: Collection[TrialKey]) -> frozenset[TrialKey]:
    """Those trials that another driver works on by now, or has ended."""
    return frozenset(key for key, row in _holders(connection, keys).items() if _is_lost(row, run_id))


def release(connection: Connection, run_id: str) -> None:
    """Let go of the run's claims; their trials can be continued by anyone."""
    connection.execute(delete(Claim).where(Claim.run_id == run_id))


def check_holder(trial: Row[Any], run_id: str) -> None:
    """Refuse a result of a trial that another driver works on, or has ended.

    `trial` has `id`, `state`, `run_id` and `claimed_by`.

    Raises
    ------
    ClaimLostError : its result must not be stored.
    """
    if _is_lost(trial, run_id):
        raise ClaimLostError(
            f"trial {trial.id} is worked on by another driver",
            f"This one gave no sign of life for {EXPIRY.total_seconds():.0f} s.",
            "Its results are not needed any more; the other driver stores its own.",
        )


def gives_signs(now: datetime) -> ColumnElement[bool]:
    """The condition that a claim is alive at this time of the database's clock.

    One from the future was made before the clock was set back, and would otherwise hold for as long.
    """
    return Claim.heartbeat_at.between(now - EXPIRY, now + EXPIRY)


def database_now(connection: Connection) -> datetime:
    """The database's clock (UTC): the one that all drivers of a store have in common."""
    if connection.dialect.name == "sqlite":
        text = connection.scalar(select(func.strftime("%Y-%m-%dT%H:%M:%f", "now")))
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    return connection.scalar(select(func.clock_timestamp())).astimezone(UTC)


def _holders(connection: Connection, keys: Collection[TrialKey]) -> dict[TrialKey, Row[Any]]:
    """`id`, `state`, `run_id` and `claimed_by` of each trial."""
    if not keys:
        return {}
    chosen = (
        select(*KEY_COLUMNS, Trial.id, Trial.state, Trial.run_id, Claim.run_id.label("claimed_by"))
        .outerjoin(Claim, Claim.trial_id == Trial.id)
        .where(Trial.config_hash.in_({key.config_hash for key in keys}))
    )
    rows = {key_of(row._mapping): row for row in connection.execute(chosen)}
    return {key: rows[key] for key in keys}


def _is_lost(trial: Row[Any], run_id: str) -> bool:
    if trial.claimed_by is not None or trial.state == RUNNING:
        return trial.claimed_by != run_id
    # Without a claim it has ended, or is planned: by another run, for a further attempt that is not ours.
    return trial.run_id != run_id


def _open_trials(connection: Connection, cell: CellKey, is_gone: Callable[[str], bool]) -> list[_Open]:
    alive = gives_signs(database_now(connection)).label("alive")
    chosen = (
        select(Trial.id, Trial.seed, Trial.stack, Claim.run_id, alive)
        .outerjoin(Claim, Claim.trial_id == Trial.id)
        .where(*(column == getattr(cell, column.key) for column in CELL_COLUMNS))
        .where(Trial.state.in_((PLANNED, RUNNING)))
        .order_by(Trial.seed)
    )
    return [
        _Open(
            row.id,
            row.seed,
            tuple(row.stack) if row.stack else None,
            row.run_id is None or not row.alive or is_gone(row.run_id),
        )
        for row in connection.execute(chosen)
    ]


def _cut_off(trials: Sequence[_Open], seeds: Collection[int]) -> tuple[tuple[int, ...], list[_Open]] | None:
    """The first stack that was begun before, holds a wanted seed and is worked on by nobody."""
    for stack in dict.fromkeys(trial.stack for trial in trials if trial.stack):
        members = [trial for trial in trials if trial.stack == stack]
        if all(trial.free for trial in members) and any(trial.seed in seeds for trial in members):
            return stack, members
    return None


def _fresh(wanted: Sequence[_Open], size: int) -> tuple[tuple[int, ...], list[_Open]] | None:
    members = [trial for trial in wanted if trial.stack is None and trial.free][:size]
    return (tuple(trial.seed for trial in members), members) if members else None


def _take(connection: Connection, trial_ids: list[int], stack: tuple[int, ...], run_id: str) -> None:
    now = database_now(connection)
    connection.execute(delete(Claim).where(Claim.trial_id.in_(trial_ids)))
    times = {"run_id": run_id, "claimed_at": now, "heartbeat_at": now}
    connection.execute(insert(Claim), [{"trial_id": trial_id, **times} for trial_id in trial_ids])
    values = {"state": RUNNING, "run_id": run_id, "stack": list(stack)}
    values["started_at"] = func.coalesce(Trial.started_at, datetime.now(UTC))
    connection.execute(update(Trial).where(Trial.id.in_(trial_ids)).values(values))
