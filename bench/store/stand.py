"""Whether a store holds something new: a short text that changes whenever a result does."""

from __future__ import annotations

from sqlalchemy import func, select

from bench.store.database import Store
from bench.store.models import Dataset, Duration, Evaluation, Execution, Failure, Trial, Weights

_GROWING = (Trial, Evaluation, Execution, Failure, Duration, Weights)


def stand_of(store: Store) -> str:
    """The same text as long as nothing was planned, begun, evaluated, timed, finished, failed or retried.

    Cheap on large stores: it looks at the ends of tables, which only grow, and at what can change in place.
    """
    ends = select(*(select(func.max(table.id)).scalar_subquery() for table in _GROWING))
    changes = select(
        select(func.sum(Trial.attempt)).scalar_subquery(),
        select(func.count(Execution.outcome)).scalar_subquery(),
    )
    datasets = select(Dataset.id, Dataset.verification, Dataset.replay).order_by(Dataset.id)
    with store.connect() as connection:
        return repr([list(map(tuple, connection.execute(chosen))) for chosen in (ends, changes, datasets)])
