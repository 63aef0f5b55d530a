"""Parts of a store as Parquet files, for data frames in any language."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Column, Row, Select, func, select
from sqlalchemy.types import TypeEngine

from bench.files import written_whole
from bench.store.columns import IS_NAN, Flag, Json, Number, UtcDateTime, Whole, number_from
from bench.store.database import Store
from bench.store.models import Episode, Evaluation, Trial
from bench.store.views import PROVENANCE, SCORES, TIMINGS

ROWS_AT_A_TIME = 50_000
_TRIAL = (
    Trial.id.label("trial_id"),
    Trial.algorithm,
    Trial.variant,
    Trial.task,
    Trial.seed,
    Trial.config_hash,
)


def frames() -> dict[str, Select[Any]]:
    """What can be written, by name; columns named as in the store."""
    evaluation = [column for column in Evaluation.__table__.columns if column.name not in ("id", "trial_id")]
    played = [
        column for column in Episode.__table__.columns if column.name not in ("evaluation_id", "number")
    ]
    which = (Evaluation.attempt, Evaluation.number, Evaluation.step, Episode.number.label("episode"))
    made = select(*_TRIAL, *evaluation).join(Evaluation, Evaluation.trial_id == Trial.id)
    episodes = (
        select(*_TRIAL, *which, *played)
        .join(Evaluation, Evaluation.trial_id == Trial.id)
        .join(Episode, Episode.evaluation_id == Evaluation.id)
    )
    return {
        "scores": select(SCORES).order_by(SCORES.c.trial_id),
        "timings": select(TIMINGS).order_by(TIMINGS.c.measured_at),
        "provenance": select(PROVENANCE).order_by(PROVENANCE.c.trial_id),
        "evaluations": made.order_by(Evaluation.id),
        "episodes": episodes.order_by(Evaluation.id, Episode.number),
    }


def export_parquet(store: Store, what: str, target: Path, show: Callable[[int, int], None]) -> int:
    """Write one of `frames`, as it is at one moment; return its rows.

    JSON is text, times are UTC with their zone, a missing number is null and a NaN is NaN. Pandas reads both
    as NaN; the columns `*_is_nan` tell them apart.
    """
    chosen = frames()[what]
    columns = list(chosen.selected_columns)
    fields = [(column.name.rstrip("_"), _type(column.type)) for column in columns]
    done = 0
    with written_whole(target) as temporary, store.connect() as connection:
        total = connection.scalar(select(func.count()).select_from(chosen.subquery())) or 0
        with pq.ParquetWriter(temporary, pa.schema(fields), compression="zstd") as writer:
            rows = connection.execution_options(yield_per=ROWS_AT_A_TIME).execute(chosen)
            for part in rows.partitions():
                writer.write_batch(_batch(part, columns, writer.schema))
                done += len(part)
                show(done, total)
    return done


def _batch(rows: Sequence[Row[Any]], columns: Sequence[Column[Any]], arrow: pa.Schema) -> pa.RecordBatch:
    values = dict(zip([column.name for column in columns], zip(*rows, strict=True), strict=True))
    arrays = [
        pa.array(_values(column, values), field.type) for column, field in zip(columns, arrow, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow)


def _values(column: Column[Any], values: dict[str, Sequence[Any]]) -> Sequence[Any]:
    found = values[column.name]
    if isinstance(column.type, Json):
        return [None if value is None else json.dumps(value, sort_keys=True) for value in found]
    is_nan = values.get(column.name.rstrip("_") + IS_NAN)
    if is_nan is not None:
        return [number_from(value, wrong) for value, wrong in zip(found, is_nan, strict=True)]
    return found


def _type(type_: TypeEngine[Any]) -> pa.DataType:
    for kind, arrow in (
        (UtcDateTime, pa.timestamp("us", tz="UTC")),
        (Flag, pa.bool_()),
        (Whole, pa.int64()),
        (Number, pa.float64()),
    ):
        if isinstance(type_, kind):
            return arrow
    return pa.string()
