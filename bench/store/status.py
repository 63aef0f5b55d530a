"""What `bench status` asks: who works on what now, how far each cell is, how long the rest will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from statistics import mean
from typing import Any

from sqlalchemy import Select, and_, case, func, not_, select

from bench.records import (
    FAILED,
    FINISHED,
    PLANNED,
    RUNNING,
    CellKey,
    StackProgress,
    TrialKey,
)
from bench.store.claims import database_now, seems_held
from bench.store.database import Store
from bench.store.models import AnyRow, Claim, Execution, Run, Trial
from bench.store.planning import CELL_COLUMNS, KEY_COLUMNS, key_of


@dataclass(frozen=True)
class RunningStack:
    """Trials that one driver works on side by side; ages are by the database's clock."""

    cell: CellKey
    seeds: tuple[int, ...]
    """Of the trials it works on, which may be fewer than the stack has."""
    trial_ids: tuple[int, ...]
    run_id: str
    hostname: str
    """Of the worker; of its driver until the worker has begun."""
    device: str | None
    """None until the worker has begun."""
    from_iteration: int | None
    """Iterations that were done before; None until the worker has begun."""
    seconds_since_claim: float
    seconds_since_heartbeat: float
    progress: StackProgress | None
    """None before the first sign of progress."""

    @property
    def trials(self) -> tuple[TrialKey, ...]:
        """Their keys."""
        return tuple(self.cell.trial(seed) for seed in self.seeds)


@dataclass(frozen=True)
class CellCounts:
    """How many trials of a cell are in which state."""

    algorithm: str
    variant: str
    task: str
    config_hash: str
    physics: str
    budget: float
    planned: int
    running: int
    """Worked on now."""
    cut_off: int
    """Begun, but nobody works on them now."""
    finished: int
    failed: int


@dataclass(frozen=True)
class TimeLeft:
    """An estimate, with what it rests on."""

    seconds: float | None
    """With as many stacks at once as are at work now, else one after the other; None: nothing is known."""
    finished_trials: int
    """That were measured for it."""
    unknown_trials: int
    """Trials left that nothing like has been seen of; they are not in the estimate."""


_Kind = tuple[str, str, float, tuple[str, ...]]
"""Algorithm, variant, budget and what is reduced: trials alike in these take about as long on any task."""


@dataclass(frozen=True)
class _Trial:
    key: TrialKey
    kind: _Kind
    state: str
    seconds: float | None
    """Its share of the time that its stack took; None where it has not finished."""


def running_stacks(store: Store) -> list[RunningStack]:
    """Stacks that are worked on now, the longest at work first.

    Left out are those of drivers of this machine that have died, and those of which nobody can tell that they
    have not, when they gave no sign of life for a minute.
    """
    with store.connect() as connection:
        now = database_now(connection)
        rows = connection.execute(_select_claims()).all()
    living = [row for row in rows if seems_held(row, store.folder, now)]
    return [_stack(list(of), now) for _, of in groupby(living, key=_stack_of)]


def cells(store: Store, stacks: Sequence[RunningStack]) -> list[CellCounts]:
    """All cells of the store, by task and algorithm; `stacks` as `running_stacks` tells."""
    cell = (*CELL_COLUMNS, Trial.physics, Trial.budget)
    held = Trial.id.in_([trial_id for stack in stacks for trial_id in stack.trial_ids])
    conditions = (
        Trial.state == PLANNED,
        and_(Trial.state == RUNNING, held),
        and_(Trial.state == RUNNING, not_(held)),
        Trial.state == FINISHED,
        Trial.state == FAILED,
    )
    counts = [func.sum(case((condition, 1), else_=0)) for condition in conditions]
    chosen = select(*cell, *counts).group_by(*cell).order_by(Trial.task, *cell[:-3], func.min(Trial.id))
    with store.connect() as connection:
        return [CellCounts(*row) for row in connection.execute(chosen)]


def commands_left(store: Store, stacks: Sequence[RunningStack]) -> list[str]:
    """Commands whose trials are left and that do not run, the latest first: given again, they go on."""
    of_living = select(Run.command).where(Run.run_id.in_({stack.run_id for stack in stacks}))
    chosen = (
        select(Run.command)
        .join(Trial, Trial.run_id == Run.run_id)
        .where(Trial.state.in_((PLANNED, RUNNING)), Run.command.not_in(of_living))
        .group_by(Run.command)
        .order_by(func.max(Run.started_at).desc())
    )
    with store.connect() as connection:
        return list(connection.scalars(chosen))


def time_left(store: Store, stacks: Sequence[RunningStack]) -> TimeLeft:
    """Estimate the time that all trials take which are neither finished nor failed.

    A trial takes as long as those of its cell did, else as those of its method on other tasks.
    """
    trials = {trial.key: trial for trial in _trials(store)}
    running = [(stack, stack.progress.seconds_left) for stack in stacks if stack.progress is not None]
    under_way = {key for stack, _ in running for key in stack.trials}
    waiting = [trial for trial in trials.values() if trial.state != FINISHED and trial.key not in under_way]
    means = _means(trials, running)
    shares = [means.get(trial.key.cell, means.get(trial.kind)) for trial in waiting]
    known = [share for share in shares if share is not None]
    rest = [seconds_left for _, seconds_left in running]
    # However many work side by side, the last of the stacks at work must end.
    seconds = max((sum(rest) + sum(known)) / max(1, len(stacks)), *rest, 0.0)
    kinds = {trial.kind for trial in waiting}
    return TimeLeft(
        seconds=seconds if rest or known else None,
        finished_trials=sum(trial.state == FINISHED and trial.kind in kinds for trial in trials.values()),
        unknown_trials=len(shares) - len(known),
    )


def _select_claims() -> Select[Any]:
    mine = (
        Execution.trial_id == Trial.id,
        Execution.attempt == Trial.attempt,
        Execution.run_id == Claim.run_id,
    )
    latest = select(func.max(Execution.id)).where(*mine).correlate(Trial, Claim).scalar_subquery()
    work = and_(Execution.id == latest, Execution.outcome.is_(None))
    return (
        select(
            *CELL_COLUMNS,
            Trial.seed,
            Claim.__table__,
            Run.hardware,
            Execution.hostname,
            Execution.device,
            Execution.from_iteration,
        )
        .join(Trial, Trial.id == Claim.trial_id)
        .join(Run, Run.run_id == Claim.run_id)
        .outerjoin(Execution, work)
        .order_by(Claim.claimed_at, Claim.run_id, *CELL_COLUMNS, Trial.seed)
    )


def _stack_of(row: AnyRow) -> tuple[object, ...]:
    """Equal for the trials of one stack; in the order of the rows."""
    return row.claimed_at, row.run_id, *(getattr(row, column.key) for column in CELL_COLUMNS)


def _stack(rows: Sequence[AnyRow], now: datetime) -> RunningStack:
    first = rows[0]
    return RunningStack(
        cell=CellKey(first.algorithm, first.variant, first.task, first.config_hash),
        seeds=tuple(row.seed for row in rows),
        trial_ids=tuple(row.trial_id for row in rows),
        run_id=first.run_id,
        hostname=first.hostname or first.hardware.get("hostname", "an unknown machine"),
        device=first.device,
        from_iteration=first.from_iteration,
        seconds_since_claim=(now - first.claimed_at).total_seconds(),
        seconds_since_heartbeat=(now - first.heartbeat_at).total_seconds(),
        progress=_progress(rows),
    )


def _progress(rows: Iterable[AnyRow]) -> StackProgress | None:
    for row in rows:
        if row.activity is not None:
            return StackProgress(**{name: getattr(row, name) for name in StackProgress.__dataclass_fields__})
    return None


def _trials(store: Store) -> Iterator[_Trial]:
    """Trials that are left, and finished ones of the same methods."""
    left = select(Trial.algorithm).where(Trial.state.in_((PLANNED, RUNNING)))
    columns = (
        Trial.state,
        Trial.stack,
        Trial.budget,
        Trial.reduced,
        Trial.training_seconds,
        Trial.evaluation_seconds,
    )
    chosen = select(*KEY_COLUMNS, *columns).where(
        Trial.algorithm.in_(left), Trial.state.in_((PLANNED, RUNNING, FINISHED))
    )
    with store.connect() as connection:
        rows = connection.execute(chosen).mappings().all()
    for row in rows:
        spent = None
        if row["state"] == FINISHED and row["training_seconds"] is not None:
            stack = row["stack"] or (row["seed"],)
            spent = (row["training_seconds"] + (row["evaluation_seconds"] or 0.0)) / len(stack)
        kind = (row["algorithm"], row["variant"], row["budget"], tuple(row["reduced"]))
        yield _Trial(key_of(row), kind, row["state"], spent)


def _means(
    trials: Mapping[TrialKey, _Trial], running: Sequence[tuple[RunningStack, float]]
) -> dict[CellKey | _Kind, float]:
    """Mean seconds of a trial, by cell and by kind."""
    measured: dict[CellKey | _Kind, list[float]] = defaultdict(list)
    expected: dict[CellKey | _Kind, list[float]] = defaultdict(list)
    for trial in trials.values():
        if trial.seconds is not None:
            measured[trial.key.cell].append(trial.seconds)
            measured[trial.kind].append(trial.seconds)
    for stack, seconds_left in running:
        if stack.from_iteration == 0:
            share = (stack.seconds_since_claim + seconds_left) / len(stack.trials)
            for name in (stack.cell, trials[stack.trials[0]].kind):
                expected[name].append(share)
    # What has been measured goes before what is expected.
    return {name: mean(seconds) for name, seconds in (expected | measured).items()}
