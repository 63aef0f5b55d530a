"""What every night found: one row per invocation, its cells, its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, RowMapping, exists, insert, select, update

from bench.nightly_records import NightCellRecord, NightRecord, NightVerdict
from bench.records import CellKey
from bench.store.baselines import id_of
from bench.store.columns import storable
from bench.store.database import Store
from bench.store.models import Baseline, Night, NightCell
from bench.store.models import NightVerdict as VerdictRow

_KEY = ("algorithm", "variant", "task", "config_hash")
_FOUND = tuple(field.name for field in fields(NightCellRecord) if field.name != "cell")


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
    verdicts = [{"night_id": night_id, **vars(verdict)} for verdict in record.verdicts]
    for table, rows in ((NightCell, cells), (VerdictRow, verdicts)):
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


def _cell_columns(cell: NightCellRecord) -> dict[str, Any]:
    found = {name: getattr(cell, name) for name in _FOUND}
    return {**vars(cell.cell), **found, "remark": storable(cell.remark)}


def _night(connection: Connection, row: RowMapping) -> NightRecord:
    same = ("run_id", "date", "baseline", "configuration_hash", "started_at", "ended_at", "outcome", "report")
    return NightRecord(
        **{name: row[name] for name in same},
        seeds=tuple(row["seeds"]),
        cells=tuple(_cell(cell) for cell in _of_night(connection, NightCell, row["id"])),
        verdicts=tuple(
            NightVerdict(**{name: value for name, value in verdict.items() if name != "night_id"})
            for verdict in _of_night(connection, VerdictRow, row["id"])
        ),
    )


def _of_night(connection: Connection, table: Any, night_id: int) -> Sequence[RowMapping]:  # noqa: ANN401
    columns = table.__table__.primary_key.columns
    chosen = select(table.__table__).where(table.night_id == night_id).order_by(*columns)
    return connection.execute(chosen).mappings().all()


def _cell(row: RowMapping) -> NightCellRecord:
    return NightCellRecord(
        cell=CellKey(**{name: row[name] for name in _KEY}),
        **{name: row[name] for name in _FOUND},
    )
