"""Frozen baselines and people's notes on them: written once, never changed, read back as records."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from bench.errors import BenchError, unknown_name
from bench.records import BaselineRecord, BaselineScore, NoteRecord, TrialKey, hash_of
from bench.store.columns import number_columns, number_from, storable
from bench.store.damage import require_configuration
from bench.store.database import Store
from bench.store.location import without_password
from bench.store.models import Baseline, Note
from bench.store.models import BaselineScore as ScoreRow
from bench.store.recording import ConflictError

LISTING = "bench baseline list"
_COLUMNS = ("name", "frozen_at", "reason", "author", "configuration", "fingerprints", "pace")


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
    values = {name: getattr(record, name) for name in _COLUMNS} | {
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
        connection.execute(insert(ScoreRow), rows)


def annotate(connection: Connection, note: NoteRecord) -> None:
    """Store a note.

    Raises
    ------
    BenchError : there is no such baseline.
    """
    baseline_id = id_of(connection, note.baseline)
    same = (Note.baseline_id == baseline_id, Note.written_at == note.written_at, Note.author == note.author)
    if connection.scalar(select(Note.id).where(*same)) is None:
        values = {
            "baseline_id": baseline_id,
            "written_at": note.written_at,
            "author": storable(note.author),
            "text": storable(note.text),
            "fingerprints": note.fingerprints,
        }
        connection.execute(insert(Note).values(values))


def id_of(connection: Connection, name: str) -> int:
    """Number of the baseline's row.

    Raises
    ------
    BenchError : there is no such baseline.
    """
    ids = _ids(connection)
    if name not in ids:
        raise unknown_name("baseline", name, ids, LISTING)
    return ids[name]


def baselines(store: Store) -> list[BaselineRecord]:
    """All baselines, the latest first."""
    with store.connect() as connection:
        names = connection.scalars(select(Baseline.name).order_by(Baseline.frozen_at.desc(), Baseline.name))
        return [_baseline(connection, name) for name in names.all()]


def find_baseline(store: Store, name: str | None = None) -> BaselineRecord:
    """The baseline of this name, or the latest.

    Raises
    ------
    BenchError : there is none; says how to freeze one.
    """
    with store.connect() as connection:
        if name is None:
            latest = select(Baseline.name, Baseline.frozen_at).order_by(Baseline.frozen_at.desc())
            name = next((row.name for row in connection.execute(latest).all()), None)
        if name is None or not (ids := _ids(connection)):
            raise none_yet(str(store.location))
        if name not in ids:
            raise unknown_name("baseline", name, ids, LISTING)
        return _baseline(connection, name)


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


def _baseline(connection: Connection, name: str) -> BaselineRecord:
    chosen = select(Baseline.__table__).where(Baseline.name == name)
    row = connection.execute(chosen).mappings().one()
    require_configuration(row)
    columns = ScoreRow.__table__.columns
    # By cell, as a person reads them; within a cell by seed.
    order = (
        columns["task"],
        columns["algorithm"],
        columns["variant"],
        columns["config_hash"],
        columns["seed"],
    )
    scores = select(ScoreRow.__table__).where(columns["baseline_id"] == row["id"]).order_by(*order)
    return BaselineRecord(
        **{name: row[name] for name in _COLUMNS} | {"pace": tuple(row["pace"])},
        scores=tuple(_score(score) for score in connection.execute(scores).mappings()),
    )


def _score(row: RowMapping) -> BaselineScore:
    names: tuple[Any, ...] = ("algorithm", "variant", "task", "seed", "config_hash")
    score = number_from(row["score"], row["score_is_nan"])
    assert score is not None, "the column is not nullable"
    return BaselineScore(TrialKey(**{name: row[name] for name in names}), score)


def _ids(connection: Connection) -> dict[str, int]:
    return {row.name: row.id for row in connection.execute(select(Baseline.name, Baseline.id))}


def none_yet(place: str) -> BenchError:
    """The error for a store without any baseline."""
    return BenchError(
        f"there is no baseline in the store {without_password(place)}",
        "A night is held against a frozen one.",
        'Freeze one: bench baseline freeze NAME --reason "..."',
    )
