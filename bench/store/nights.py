"""What every night found: one row per invocation, its cells, its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, RowMapping, exists, insert, select, update

from bench.records import CellComparison, CellKey, NightRecord
from bench.store.baselines import id_of
from bench.store.columns import storable
from bench.store.database import Store
from bench.store.models import Baseline, Night, NightCell, NightVerdict

_KEY = tuple(field.name for field in fields(CellKey))
_PRINTED = ("paper", "algorithm", "task", "protocol")
_RENAMED = {
    "reason": "remark",
    "seeds": "n",
    "baseline_seeds": "baseline_n",
    "baseline_sd": "baseline_deviation",
    "confirmation_seeds": "confirmation_n",
}
_COLUMNS = {
    field.name: _RENAMED.get(field.name, field.name)
    for field in fields(CellComparison)
    if field.name not in ("cell", "t", "p_above")
}
"""Field of a comparison -> its column."""


def begin_night(connection: Connection, record: NightRecord) -> None:
    """Store that a night has begun.

    Raises
    ------
    BenchError : there is no such baseline.
    """
    baseline_id = id_of(connection, record.baseline)
    if connection.scalar(select(Night.id).where(Night.run_id == record.run_id)) is None:
        values = {
            "run_id": record.run_id,
            "baseline_id": baseline_id,
            "date": record.date,
            "configuration_hash": record.configuration_hash,
            "seeds": list(record.seeds),
            "started_at": record.started_at,
        }
        connection.execute(insert(Night).values(values))


def end_night(connection: Connection, record: NightRecord) -> None:
    """Store how a begun night ended, with its cells and verdicts; a night that has ended stays as it is."""
    chosen = select(Night.id, Night.outcome).where(Night.run_id == record.run_id)
    night_id, outcome = connection.execute(chosen).one()
    if outcome is not None:
        return
    end = {"ended_at": record.ended_at, "outcome": record.outcome, "report": record.report}
    connection.execute(update(Night).where(Night.id == night_id).values(end))
    cells = [{"night_id": night_id, **_cell_columns(cell)} for cell in record.cells]
    verdicts = [
        {"night_id": night_id, **dict(zip(_PRINTED, number, strict=True)), "outcome": outcome}
        for number, outcome in record.verdicts.items()
    ]
    for table, rows in ((NightCell, cells), (NightVerdict, verdicts)):
        if rows:
            connection.execute(insert(table), rows)


def nights(store: Store, baseline: str | None = None) -> list[NightRecord]:
    """Nights that have ended, in the order of their dates.

    Of several goes at one the last to end counts, of those that compared scores if there are any: what was
    found is not forgotten because a later go stopped at the exact layers.
    """
    compared = exists().where(NightCell.night_id == Night.id)
    chosen = (
        select(Night.__table__, Baseline.name.label("baseline"))
        .join(Baseline, Baseline.id == Night.baseline_id)
        .where(Night.outcome.is_not(None))
        .order_by(compared, Night.ended_at)
    )
    if baseline is not None:
        chosen = chosen.where(Baseline.name == baseline)
    with store.connect() as connection:
        latest = {(row["date"], row["baseline"]): row for row in connection.execute(chosen).mappings()}
        in_order = sorted(latest.values(), key=lambda row: (row["date"], row["ended_at"]))
        return [_night(connection, row) for row in in_order]


def _cell_columns(cell: CellComparison) -> dict[str, Any]:
    found = {column: getattr(cell, name) for name, column in _COLUMNS.items()}
    return {**vars(cell.cell), **found, "remark": storable(cell.reason)}


def _night(connection: Connection, row: RowMapping) -> NightRecord:
    same = ("run_id", "date", "baseline", "configuration_hash", "started_at", "ended_at", "outcome", "report")
    return NightRecord(
        **{name: row[name] for name in same},
        seeds=tuple(row["seeds"]),
        cells=tuple(_cell(cell) for cell in _of_night(connection, NightCell, row["id"])),
        verdicts={
            (verdict["paper"], verdict["algorithm"], verdict["task"], verdict["protocol"]): verdict["outcome"]
            for verdict in _of_night(connection, NightVerdict, row["id"])
        },
    )


def _of_night(connection: Connection, table: Any, night_id: int) -> Sequence[RowMapping]:  # noqa: ANN401
    columns = table.__table__.primary_key.columns
    chosen = select(table.__table__).where(table.night_id == night_id).order_by(*columns)
    return connection.execute(chosen).mappings().all()


def _cell(row: RowMapping) -> CellComparison:
    return CellComparison(
        cell=CellKey(**{name: row[name] for name in _KEY}),
        **{name: row[column] for name, column in _COLUMNS.items()},
    )
