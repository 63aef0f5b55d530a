"""Who works on what at this moment: stacks whose driver gives signs of life. Light: imports no pandas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Row, Select, and_, func, select

from bench.records import CellKey, StackProgress, TrialKey
from bench.store.claims import database_now, seems_held
from bench.store.database import Store
from bench.store.models import Claim, Execution, Run, Trial
from bench.store.planning import CELL_COLUMNS


@dataclass(frozen=True)
class StackAtWork:
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
    stand: StackProgress | None
    """None before the first sign of progress."""

    @property
    def trials(self) -> tuple[TrialKey, ...]:
        """Their keys."""
        return tuple(self.cell.trial(seed) for seed in self.seeds)


def stacks_at_work(store: Store) -> list[StackAtWork]:
    """Stacks that are worked on now, the longest at work first.

    Left out are those of drivers of this machine that have died, and those of which nobody can tell that they
    have not, when they gave no sign of life for a minute.
    """
    with store.connect() as connection:
        now = database_now(connection)
        rows = connection.execute(_select_claims()).all()
    living = [row for row in rows if seems_held(row, store.folder, now)]
    return [_stack(list(of), now) for _, of in groupby(living, key=_stack_of)]


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


def _stack_of(row: Row[Any]) -> tuple[object, ...]:
    """Equal for the trials of one stack; in the order of the rows."""
    return row.claimed_at, row.run_id, *(getattr(row, column.key) for column in CELL_COLUMNS)


def _stack(rows: Sequence[Row[Any]], now: datetime) -> StackAtWork:
    first = rows[0]
    return StackAtWork(
        cell=CellKey(first.algorithm, first.variant, first.task, first.config_hash),
        seeds=tuple(row.seed for row in rows),
        trial_ids=tuple(row.trial_id for row in rows),
        run_id=first.run_id,
        hostname=first.hostname or first.hardware.get("hostname", "an unknown machine"),
        device=first.device,
        from_iteration=first.from_iteration,
        seconds_since_claim=(now - first.claimed_at).total_seconds(),
        seconds_since_heartbeat=(now - first.heartbeat_at).total_seconds(),
        stand=_stand(rows),
    )


def _stand(rows: Iterable[Row[Any]]) -> StackProgress | None:
    for row in rows:
        if row.activity is not None:
            return StackProgress(**{name: getattr(row, name) for name in StackProgress.__dataclass_fields__})
    return None
