"""A store, or a part of it, in a file to be carried anywhere: as an SQLite store again, or as Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Column, Connection, Select, Table, func, insert, select
from sqlalchemy.types import TypeEngine

from bench.errors import BenchError
from bench.files import written_whole
from bench.records import Progress
from bench.store import sqlite
from bench.store.columns import IS_NAN, Flag, Json, Number, UtcDateTime, Whole, number_from
from bench.store.database import Store, require_relations, transaction, upgrade
from bench.store.faults import explained
from bench.store.models import AnyRow, Base, Claim, Episode, Evaluation, Trial, Weights
from bench.store.views import PROVENANCE, SCORES, TIMINGS
from bench.store.weight_files import copy_verified, require_no_links, require_weights_names

ROWS_AT_A_TIME = 20_000
ROWS_OF_A_GROUP = 50_000
"""Of a Parquet file."""
_TRIAL = (
    Trial.id.label("trial_id"),
    Trial.algorithm,
    Trial.variant,
    Trial.task,
    Trial.seed,
    Trial.config_hash,
)


def check_target(target: Path, store: Store, *, force: bool) -> None:
    """Refuse to write where something would be lost.

    Raises
    ------
    BenchError : the store itself, a folder, a file without `force`, a store that is in use.
    """
    other = "Name another file."
    source = store.location.path
    if source is not None and source.resolve() == target.resolve():
        raise BenchError(f"{str(target)!r} is the store itself", "", other)
    if target.is_dir():
        raise BenchError(f"{str(target)!r} is a folder", "", f"Name a file in it: {target}/bench.sqlite")
    if target.exists() and not force:
        raise BenchError(f"{str(target)!r} exists", "", "Name another file, or replace it with --force.")
    # SQLite would take what lies beside the file for changes of it that are not finished.
    for beside in ("-wal", "-journal"):
        if os.path.lexists(f"{target}{beside}"):
            raise BenchError(
                f"{str(target)!r} is a store that is in use, or was when it was cut off", "", other
            )


def export_sqlite(store: Store, target: Path, show: Progress) -> dict[str, int]:
    """Write everything, as it is at one moment, into a store at `target`; return the rows of each table.

    Rows keep their numbers. Who works on a trial at present is left out: nobody does in the copy.
    """
    tables = [table for table in Base.metadata.sorted_tables if table is not Claim.__table__]
    with written_whole(target) as temporary, store.connect() as source:
        # The copy refuses rows that belong to nothing, which an opened store may have among its episodes.
        require_relations(source, str(store.location), tables)
        rows = {table.name: source.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
        engine = sqlite.engine_for(temporary, create=True, read_only=False)
        try:
            with explained(str(target)), transaction(engine) as copy:
                upgrade(copy, str(target))
                done = 0
                for table in tables:
                    for part in _read(table, source, str(store.location)):
                        copy.execute(insert(table), part)
                        done += len(part)
                        show(done, sum(rows.values()))
        finally:
            engine.dispose()
    return rows


def require_weights(store: Store, folder: Path, role: str | None = None) -> None:
    """Refuse to copy the files of weights of a store, or those of one role, where one would leave a folder.

    Raises
    ------
    BenchError : the store names a file that is none of its own, or there is a link.
    """
    names = [name for name, _ in _weights(store, role)]
    if not names:
        return
    require_weights_names(names, str(store.location))
    require_no_links(store.folder, names)
    require_no_links(folder)


def export_weights(store: Store, folder: Path, role: str | None = None) -> tuple[int, dict[str, str]]:
    """Copy the files of weights, or those of one role, to the same places below `folder`, verified by hash.

    Returns
    -------
    How many are there now, and what is wrong with each of the others.
    """
    files = _weights(store, role)
    faults = {name: copy_verified(name, sha256, store.folder, folder) for name, sha256 in files}
    wrong = {str(store.folder / name): fault for name, fault in faults.items() if fault}
    return len(faults) - len(wrong), wrong


def export_parquet(store: Store, what: str, target: Path, show: Progress) -> int:
    """Write one of `frames`, as it is at one moment; return its rows.

    JSON is text, times are UTC with their zone, a missing number is null and a NaN is NaN. Pandas reads both
    as NaN; the columns `*_is_nan` tell them apart.
    """
    chosen = frames()[what]
    columns: list[Any] = list(chosen.selected_columns)
    fields = [(column.name.rstrip("_"), _type(column.type)) for column in columns]
    done = 0
    with written_whole(target) as temporary, store.connect() as connection:
        total = connection.scalar(select(func.count()).select_from(chosen.subquery())) or 0
        with pq.ParquetWriter(temporary, pa.schema(fields), compression="zstd") as writer:
            rows = connection.execution_options(yield_per=ROWS_OF_A_GROUP).execute(chosen)
            for part in rows.partitions():
                writer.write_batch(_batch(part, columns, writer.schema))
                done += len(part)
                show(done, total)
    return done


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


def _weights(store: Store, role: str | None) -> list[tuple[str, str]]:
    """Name and hash of every file of weights, or of those of one role."""
    chosen = select(Weights.path, Weights.sha256).distinct()
    with store.connect() as connection:
        rows = connection.execute(chosen if role is None else chosen.where(Weights.role == role))
        return [(row.path, row.sha256) for row in rows]


def _read(table: Table, source: Connection, place: str) -> Iterator[list[dict[str, Any]]]:
    """The table's rows, some at a time."""
    # Trouble with this store must not be told as one of the copy.
    with explained(place, source.engine):
        result = source.execution_options(yield_per=ROWS_AT_A_TIME).execute(select(table))
        names = list(result.keys())
        for rows in result.partitions():
            yield [dict(zip(names, row, strict=True)) for row in rows]


def _batch(rows: Sequence[AnyRow], columns: Sequence[Column[Any]], arrow: pa.Schema) -> pa.RecordBatch:
    values = dict(zip([column.name for column in columns], zip(*rows, strict=True), strict=True))
    arrays = [
        pa.array(_values(column, values), field.type) for column, field in zip(columns, arrow, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow)


def _values(column: Column[Any], values: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
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
