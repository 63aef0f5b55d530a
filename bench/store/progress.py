"""What `bench status` asks: how far each cell is, what failed and why. Light: imports no pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, case, func, not_, select

from bench.records import FAILED, FINISHED, PLANNED, RUNNING, DatasetRecord, FailureRecord
from bench.store.columns import metrics_from_json
from bench.store.database import Store
from bench.store.models import Dataset, Failure, Run, Trial
from bench.store.planning import CELL_COLUMNS, KEY_COLUMNS, key_of
from bench.store.working import StackAtWork


@dataclass(frozen=True)
class Cell:
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
class StoredFailure:
    """A failure, with the command during which it happened."""

    trial_id: int
    attempt: int
    record: FailureRecord
    command: str
    current: bool
    """The trial still stands as failed through it: nobody has asked for it again."""


def cells(store: Store, at_work: Sequence[StackAtWork]) -> list[Cell]:
    """All cells of the store, by task and algorithm; `at_work` as `stacks_at_work` tells."""
    cell = (*CELL_COLUMNS, Trial.physics, Trial.budget)
    held = Trial.id.in_([trial_id for stack in at_work for trial_id in stack.trial_ids])
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
        return [Cell(*row) for row in connection.execute(chosen)]


def datasets(store: Store) -> list[DatasetRecord]:
    """Every dataset that the store has trials on, in the order in which they came."""
    columns = (Dataset.name, Dataset.sha256, Dataset.rows, Dataset.verification, Dataset.replay)
    chosen = select(*columns).where(Dataset.id.in_(select(Trial.dataset_id))).order_by(Dataset.id)
    with store.connect() as connection:
        return [DatasetRecord(*row) for row in connection.execute(chosen)]


def failures(store: Store) -> list[StoredFailure]:
    """Every failure of every attempt, the latest first."""
    chosen = (
        select(Failure.__table__, *KEY_COLUMNS, Trial.state, Trial.attempt.label("last_attempt"), Run.command)
        .join(Trial, Trial.id == Failure.trial_id)
        .join(Run, Run.run_id == Failure.run_id)
        .order_by(Failure.failed_at.desc(), Failure.id.desc())
    )
    with store.connect() as connection:
        rows = connection.execute(chosen).mappings().all()
        return [
            StoredFailure(
                trial_id=row["trial_id"],
                attempt=row["attempt"],
                record=FailureRecord(
                    trial=key_of(row),
                    last_metrics=metrics_from_json(row["last_metrics"]),
                    **{name: row[name] for name in ("step", "error", "message", "traceback", "failed_at")},
                ),
                command=row["command"],
                current=row["state"] == FAILED and row["attempt"] == row["last_attempt"],
            )
            for row in rows
        ]


def commands_left(store: Store, at_work: Sequence[StackAtWork]) -> list[str]:
    """Commands whose trials are left and that do not run, the latest first: given again, they go on."""
    of_living = select(Run.command).where(Run.run_id.in_({stack.run_id for stack in at_work}))
    chosen = (
        select(Run.command)
        .join(Trial, Trial.run_id == Run.run_id)
        .where(Trial.state.in_((PLANNED, RUNNING)), Run.command.not_in(of_living))
        .group_by(Run.command)
        .order_by(func.max(Run.started_at).desc())
    )
    with store.connect() as connection:
        return list(connection.scalars(chosen))
