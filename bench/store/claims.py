"""Who works on what: claims by rows, so that several drivers share one store and none works twice.

A driver claims the trials of one stack in one transaction, just before it starts the stack, and keeps the
claims alive. Whether a claim is still held is told by the lock of its driver's process where that is on this
machine, whatever any clock says. Elsewhere it is told by its heartbeat: who wants the trial watches it for a
minute of the watcher's own time, because clocks of two machines may differ by hours, and a clock may be set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from bench.errors import WorkFailedError
from bench.records import PLANNED, RUNNING, CellKey, StackProgress, TrialKey
from bench.store.models import AnyRow, Claim, Trial
from bench.store.planning import CELL_COLUMNS, KEY_COLUMNS, rows_of
from bench.store.process_lock import is_alive, is_dead

EXPIRY = timedelta(seconds=60)
HEARTBEAT_SECONDS = 15.0
_UPDATE_CLAIM = update(Claim.__table__).where(Claim.__table__.c.trial_id == bindparam("of_trial"))


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
    is_held: Callable[[AnyRow], bool],
) -> ClaimedStack | Nothing:
    """Claim the next stack of a cell: one that was cut off, whole, else up to `size` fresh trials.

    Parameters
    ----------
    seeds : asked for; a cut-off stack that holds one of them is continued whole.
    is_held : whether a claim (`trial_id`, `run_id`, `heartbeat_at`) is still its driver's.
    """
    trials = _open_trials(connection, cell, is_held)
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


def stacks_left(connection: Connection, cell: CellKey, seeds: Collection[int], size: int) -> int:
    """Of how many stacks the trials of `seeds` are that have not ended, whoever works on them."""
    wanted = [trial for trial in _open_trials(connection, cell, lambda claim: False) if trial.seed in seeds]
    fresh = sum(trial.stack is None for trial in wanted)
    return len({trial.stack for trial in wanted if trial.stack}) + -(-fresh // size)


def heartbeat(
    connection: Connection, run_id: str, progress: Mapping[TrialKey, StackProgress | None]
) -> frozenset[TrialKey]:
    """Keep the run's claims on trials alive and note how far their stacks are; return those it has lost.

    A claim on any other trial, which the run made without getting to know of it, expires.
    """
    rows = _holders(connection, progress)
    held = {key: row.id for key, row in rows.items() if row.claimed_by == run_id}
    now = database_now(connection)
    beats: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for key, trial_id in held.items():
        of_stack = progress[key]
        reached = {} if of_stack is None else vars(of_stack)
        beats[bool(reached)].append({"of_trial": trial_id, "heartbeat_at": now, **reached})
    # Each kind in one go, and each row once: a driver of a thousand stacks has thousands.
    for values in beats.values():
        if values:
            connection.execute(_UPDATE_CLAIM, values)
    return frozenset(key for key, row in rows.items() if _is_lost(row, run_id))


def lost(connection: Connection, run_id: str, keys: Collection[TrialKey]) -> frozenset[TrialKey]:
    """Those trials that another driver works on by now, or has ended."""
    return frozenset(key for key, row in _holders(connection, keys).items() if _is_lost(row, run_id))


def release(connection: Connection, run_id: str) -> None:
    """Let go of the run's claims; their trials can be continued by anyone."""
    connection.execute(delete(Claim).where(Claim.run_id == run_id))


def check_holder(trial: AnyRow, run_id: str) -> None:
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


class HeartbeatWatch:
    """What a driver has seen of the heartbeats of others, timed by its own clock, which nobody can set.

    Parameters
    ----------
    folder : the store's.
    run_id : of the driver that watches.
    clock : seconds that only ever go on.
    """

    def __init__(self, folder: Path, run_id: str, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._run_id = run_id
        self._clock = clock
        self._seen: dict[int, tuple[tuple[str, datetime], float]] = {}
        """By trial: the last claim and heartbeat, and when that was first seen."""

    def is_held(self, claim: AnyRow) -> bool:
        """Whether a claim is its driver's; where no process lock tells, until it is seen to stand still."""
        # That this driver lives says nothing of a claim of its own that it never got to know of.
        if claim.run_id != self._run_id:
            if is_alive(self._folder, claim.run_id):
                return True
            if is_dead(self._folder, claim.run_id):
                return False
        beat, now = (claim.run_id, claim.heartbeat_at), self._clock()
        last, since = self._seen.get(claim.trial_id, (None, now))
        if beat != last:
            self._seen[claim.trial_id] = (beat, now)
            return True
        return now - since <= EXPIRY.total_seconds()


def seems_held(claim: AnyRow, folder: Path, now: datetime) -> bool:
    """Whether a claim is its driver's, as far as one look can tell, at this time of the database's clock.

    A heartbeat from the future was made before the clock was set back, and would otherwise count for as long.
    """
    if is_alive(folder, claim.run_id):
        return True
    return not is_dead(folder, claim.run_id) and abs(now - claim.heartbeat_at) <= EXPIRY


def database_now(connection: Connection) -> datetime:
    """The database's clock (UTC): on a server one for all drivers, on SQLite that of this machine."""
    if connection.dialect.name == "sqlite":
        text = connection.scalars(select(func.strftime("%Y-%m-%dT%H:%M:%f", "now"))).one()
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    return connection.scalars(select(func.clock_timestamp())).one().astimezone(UTC)


def _holders(connection: Connection, keys: Collection[TrialKey]) -> dict[TrialKey, AnyRow]:
    """`id`, `state`, `run_id` and `claimed_by` of each trial."""
    chosen = select(
        *KEY_COLUMNS, Trial.id, Trial.state, Trial.run_id, Claim.run_id.label("claimed_by")
    ).outerjoin(Claim, Claim.trial_id == Trial.id)
    rows = dict(rows_of(connection, chosen, keys))
    return {key: rows[key] for key in keys}


def _is_lost(trial: AnyRow, run_id: str) -> bool:
    if trial.claimed_by is not None or trial.state == RUNNING:
        return trial.claimed_by != run_id
    # Without a claim it has ended, or is planned: by another run, for a further attempt that is not ours.
    return trial.run_id != run_id


def _open_trials(connection: Connection, cell: CellKey, is_held: Callable[[AnyRow], bool]) -> list[_Open]:
    chosen = (
        select(Trial.id.label("trial_id"), Trial.seed, Trial.stack, Claim.run_id, Claim.heartbeat_at)
        .outerjoin(Claim, Claim.trial_id == Trial.id)
        .where(*(column == getattr(cell, column.key) for column in CELL_COLUMNS))
        .where(Trial.state.in_((PLANNED, RUNNING)))
        .order_by(Trial.seed)
    )
    return [
        _Open(
            row.trial_id,
            row.seed,
            tuple(row.stack) if row.stack else None,
            row.run_id is None or not is_held(row),
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
    values: dict[str, Any] = {"state": RUNNING, "run_id": run_id, "stack": list(stack)}
    values["started_at"] = func.coalesce(Trial.started_at, datetime.now(UTC))
    connection.execute(update(Trial).where(Trial.id.in_(trial_ids)).values(values))
