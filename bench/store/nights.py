"""What the nightly job keeps: frozen baselines, people's notes on them, and what every night found.

All of it is written once, never changed, and read back as records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, RowMapping, exists, insert, select, update

from bench.errors import BenchError, unknown_name
from bench.records import (
    BaselineRecord,
    BaselineScoreRecord,
    CellComparison,
    CellKey,
    NightRecord,
    NoteRecord,
    hash_of,
)
from bench.store.columns import number_columns, number_from, storable
from bench.store.damage import require_configuration
from bench.store.database import Store
from bench.store.location import without_password
from bench.store.models import Baseline, BaselineScore, Night, NightCell, NightVerdict, Note
from bench.store.planning import key_of
from bench.store.recording import ConflictError

LISTING = "bench baseline list"
_OF_BASELINE = ("name", "frozen_at", "reason", "author", "configuration", "fingerprints", "pace")
_KEY = tuple(field.name for field in fields(CellKey))
_PRINTED = ("paper", "algorithm", "task", "protocol")
_RENAMED = {
    "reason": "remark",
    "seeds": "n",
    "baseline_seeds": "baseline_n",
    "baseline_sd": "baseline_deviation",
    "confirmation_seeds": "confirmation_n",
}
_OF_CELL = {
    field.name: _RENAMED.get(field.name, field.name)
    for field in fields(CellComparison)
    if field.name not in ("cell", "t", "p_above")
}
"""Field of a comparison -> its column."""


# Baselines, and notes on them


def freeze(connection: Connection, record: BaselineRecord, run_id: str) -> None:
    """Store a baseline with copies of its scores.

    Raises
    ------
    ConflictError : another one has its name.
    """
    frozen_at = connection.scalar(select(Baseline.frozen_at).where(Baseline.name == record.name))
    if frozen_at is not None:
        if frozen_at == record.frozen_at:
            return
        why = "Nights were held against it, and what they said would no longer be true."
        raise ConflictError(f"baseline {record.name!r} exists", why, "Freeze another name.")
    values = {name: getattr(record, name) for name in _OF_BASELINE} | {
        "reason": storable(record.reason),
        "author": storable(record.author),
        "pace": list(record.pace),
        "configuration_hash": hash_of(record.configuration),
        "run_id": run_id,
    }
    baseline_id = connection.scalar(insert(Baseline).values(values).returning(Baseline.id))
    rows = [
        {"baseline_id": baseline_id, **vars(score.trial), **number_columns("score", score.score)}
        for score in record.scores
    ]
    if rows:
        connection.execute(insert(BaselineScore), rows)


def annotate(connection: Connection, note: NoteRecord) -> None:
    """Store a note.

    Raises
    ------
    BenchError : there is no such baseline.
    """
    baseline_id = _number_of(note.baseline, baseline_ids(connection))
    same = (Note.baseline_id == baseline_id, Note.written_at == note.written_at, Note.author == note.author)
    if connection.scalar(select(Note.id).where(*same)) is None:
        values: dict[str, Any] = {"written_at": note.written_at, "fingerprints": note.fingerprints}
        values |= {"author": storable(note.author), "text": storable(note.text)}
        connection.execute(insert(Note).values(baseline_id=baseline_id, **values))


def baseline_ids(connection: Connection) -> dict[str, int]:
    """Numbers of the baselines' rows by name, the latest first."""
    chosen = select(Baseline.name, Baseline.id, Baseline.frozen_at)
    rows = connection.execute(chosen.order_by(Baseline.frozen_at.desc(), Baseline.name))
    return {row.name: row.id for row in rows}


def baselines(store: Store) -> list[BaselineRecord]:
    """All baselines, the latest first."""
    with store.connect() as connection:
        return [_baseline(connection, number) for number in baseline_ids(connection).values()]


def find_baseline(store: Store, name: str | None = None) -> BaselineRecord:
    """The baseline of this name, or the latest.

    Raises
    ------
    BenchError : there is none; says how to freeze one.
    """
    with store.connect() as connection:
        ids = baseline_ids(connection)
        if not ids:
            raise none_yet(str(store.location))
        return _baseline(connection, next(iter(ids.values())) if name is None else _number_of(name, ids))


def notes(store: Store, baseline: str) -> list[NoteRecord]:
    """What people wrote about a baseline, in the order of time."""
    chosen = (
        select(Note.written_at, Note.author, Note.text, Note.fingerprints)
        .join(Baseline, Baseline.id == Note.baseline_id)
        .where(Baseline.name == baseline)
        .order_by(Note.written_at, Note.id)
    )
    with store.connect() as connection:
        return [NoteRecord(baseline, **row) for row in connection.execute(chosen).mappings()]


def _number_of(name: str, ids: Mapping[str, int]) -> int:
    if name not in ids:
        raise unknown_name("baseline", name, ids, LISTING)
    return ids[name]


def _baseline(connection: Connection, baseline_id: int) -> BaselineRecord:
    chosen = select(Baseline.__table__).where(Baseline.id == baseline_id)
    row = connection.execute(chosen).mappings().one()
    require_configuration(row)
    columns = BaselineScore.__table__.columns
    # By cell, as a person reads them; within a cell by seed.
    order = (columns[name] for name in ("task", "algorithm", "variant", "config_hash", "seed"))
    scores = select(BaselineScore.__table__).where(columns["baseline_id"] == baseline_id).order_by(*order)
    return BaselineRecord(
        **{name: row[name] for name in _OF_BASELINE} | {"pace": tuple(row["pace"])},
        scores=tuple(
            BaselineScoreRecord(key_of(score), number_from(score["score"], score["score_is_nan"]))
            for score in connection.execute(scores).mappings()
        ),
    )


def none_yet(place: str) -> BenchError:
    """The error for a store without any baseline."""
    return BenchError(
        f"there is no baseline in the store {without_password(place)}",
        "A night is held against a frozen one.",
        'Freeze one: bench baseline freeze NAME --reason "..."',
    )


# Nights


def begin_night(connection: Connection, record: NightRecord) -> None:
    """Store that a night has begun.

    Raises
    ------
    BenchError : there is no such baseline.
    """
    baseline_id = _number_of(record.baseline, baseline_ids(connection))
    if connection.scalar(select(Night.id).where(Night.run_id == record.run_id)) is None:
        known = ("run_id", "date", "configuration_hash", "started_at")
        values = {name: getattr(record, name) for name in known} | {"seeds": list(record.seeds)}
        connection.execute(insert(Night).values(baseline_id=baseline_id, **values))


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
    found = {column: getattr(cell, name) for name, column in _OF_CELL.items()}
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
        **{name: row[column] for name, column in _OF_CELL.items()},
    )
