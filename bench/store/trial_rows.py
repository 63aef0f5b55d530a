"""All rows of one trial, read from a store and written back into another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from bench.records import FINISHED, TrialKey
from bench.store.attempts import Attempt, Piece
from bench.store.claims import database_now, seems_held
from bench.store.damage import require_consistent
from bench.store.models import (
    Base,
    Claim,
    Dataset,
    Duration,
    Episode,
    Evaluation,
    Execution,
    Failure,
    Run,
    Trial,
    Weights,
)
from bench.store.planning import KEY_COLUMNS, is_trial, key_of
from bench.store.uniting import Folded, TrialContent, Verdict, fold

OUTCOME = ("state", "run_id", "score", "score_is_nan", "training_seconds", "evaluation_seconds",
           "peak_memory_bytes", "stack", "started_at", "finished_at")  # fmt: skip
"""Columns of `trials` that change while a trial is worked on."""
_FACTS = ("config", "task_version", "physics", "budget", "protocol", "episodes", "reduced")
_OF_ATTEMPTS = (Evaluation, Failure, Weights, Execution)
_IDENTITY: dict[type[Base], tuple[str, ...]] = {
    Failure: ("step", "error", "message", "traceback"),
    Weights: ("role", "sha256"),
    Execution: ("started_at",),
    Duration: ("quantity", "run_id", "measured_at"),
}
_EPISODE = tuple(column for column in Episode.__table__.columns if column.name != "evaluation_id")


def load(connection: Connection, key: TrialKey, place: str, *, ours: bool) -> TrialContent | None:
    """All that a store knows of a trial; None where it does not know it.

    Parameters
    ----------
    place : how the store is called in messages.
    ours : the store that is merged into; what is read keeps its numbers there.
    """
    dataset = (Dataset.name.label("dataset_name"), Dataset.sha256.label("dataset_sha256"))
    chosen = (
        select(Trial.__table__, *dataset, Run.hardware)
        .join(Dataset, Dataset.id == Trial.dataset_id)
        .join(Run, Run.run_id == Trial.run_id)
        .where(is_trial(key))
    )
    row = connection.execute(chosen).mappings().first()
    if row is None:
        return None
    require_consistent(row)
    return TrialContent(
        key=key,
        facts={name: row[name] for name in _FACTS}
        | {"dataset": f"{row['dataset_name']} {row['dataset_sha256']}"},
        planned_at=row["planned_at"],
        outcome={name: row[name] for name in OUTCOME},
        attempts=_attempts(connection, row, ours=ours),
        durations=tuple(piece for _, piece in _pieces(connection, Duration, row["id"], ours=ours)),
        origin=f"{row['hardware'].get('hostname', 'unknown machine')}, {place}",
        trial_id=row["id"] if ours else None,
    )


def save(connection: Connection, trial: TrialContent) -> None:
    """Write what the store does not have of a trial yet; its runs and its dataset are there."""
    trial_id = _insert_trial(connection, trial) if trial.trial_id is None else trial.trial_id
    moved = [attempt for attempt in trial.attempts if attempt.stored_as not in (None, attempt.number)]
    # From the highest on, so that each number is free when its turn comes.
    for attempt in sorted(moved, key=lambda attempt: attempt.number, reverse=True):
        _renumber(connection, trial_id, attempt)
    for attempt in trial.attempts:
        _save_pieces(connection, attempt.pieces, {"trial_id": trial_id, "attempt": attempt.number})
    _save_pieces(connection, trial.durations, {"trial_id": trial_id})
    values = {**trial.outcome, "attempt": trial.current.number}
    connection.execute(update(Trial).where(Trial.id == trial_id).values(values))
    if not trial.is_open:
        connection.execute(delete(Claim).where(Claim.trial_id == trial_id))


def held_trials(connection: Connection, folder: Path) -> frozenset[TrialKey]:
    """Trials that a driver works on at present; `folder` is the store's."""
    chosen = select(*KEY_COLUMNS, Claim.run_id, Claim.heartbeat_at).join(Trial, Trial.id == Claim.trial_id)
    now = database_now(connection)
    rows = connection.execute(chosen).all()
    return frozenset(key_of(row._mapping) for row in rows if seems_held(row, folder, now))


def merge(connection: Connection, others: Sequence[TrialContent], folder: Path, place: str) -> Folded:
    """Bring into the store at `place` what others know of one trial, unless somebody works on it there."""
    key = others[0].key
    ours = load(connection, key, place, ours=True)
    if key in held_trials(connection, folder):
        return Folded(ours, (Verdict.HELD,) * len(others))
    folded = fold(ours, others)
    if folded.trial is not None and folded.trial != ours:
        save(connection, folded.trial)
    return folded


def _attempts(connection: Connection, trial: RowMapping, *, ours: bool) -> tuple[Attempt, ...]:
    pieces: dict[int, list[Piece]] = {trial["attempt"]: []}
    for table in _OF_ATTEMPTS:
        for number, piece in _pieces(connection, table, trial["id"], ours=ours):
            pieces.setdefault(number, []).append(piece)
    score = (trial["score"], trial["score_is_nan"]) if trial["state"] == FINISHED else None
    return tuple(
        Attempt(
            number,
            tuple(pieces[number]),
            score if number == trial["attempt"] else None,
            number if ours else None,
        )
        for number in sorted(pieces)
    )


def _pieces(
    connection: Connection, table: type[Base], trial_id: int, *, ours: bool
) -> Iterator[tuple[int | None, Piece]]:
    """The trial's rows of one table, each with its attempt."""
    chosen = select(table.__table__).where(table.trial_id == trial_id).order_by(table.id)
    rows = connection.execute(chosen).mappings().all()
    played = _episodes(connection, [row["id"] for row in rows]) if table is Evaluation else {}
    for row in rows:
        values = {name: value for name, value in row.items() if name not in ("id", "trial_id", "attempt")}
        episodes = played.get(row["id"], ())
        yield (
            row.get("attempt"),
            Piece(table, _identity(table, values, episodes), values, episodes, row["id"] if ours else None),
        )


def _identity(
    table: type[Base], values: dict[str, Any], episodes: tuple[tuple[Any, ...], ...]
) -> tuple[Any, ...]:
    if table is not Evaluation:
        return tuple(values[name] for name in _IDENTITY[table])
    # The number of a judgement only says which was made first in its store.
    number = values["number"]
    return (number if number >= 1 else values["evaluated_at"], values["step"], values["physics"], episodes)


def _episodes(connection: Connection, evaluation_ids: list[int]) -> dict[int, tuple[tuple[Any, ...], ...]]:
    # Not joined: a server that has not yet counted its rows would read through all episodes for each trial.
    chosen = (
        select(Episode.evaluation_id, *_EPISODE)
        .where(Episode.evaluation_id.in_(evaluation_ids))
        .order_by(Episode.evaluation_id, Episode.number)
    )
    rows = connection.execute(chosen).all()
    return {
        evaluation_id: tuple(tuple(row[1:]) for row in of)
        for evaluation_id, of in groupby(rows, key=lambda row: row[0])
    }


def _insert_trial(connection: Connection, trial: TrialContent) -> int:
    name, sha256 = trial.facts["dataset"].rsplit(" ", 1)
    dataset = select(Dataset.id).where(Dataset.name == name, Dataset.sha256 == sha256).scalar_subquery()
    values = {
        **vars(trial.key),
        **{name: trial.facts[name] for name in _FACTS},
        "dataset_id": dataset,
        "planned_at": trial.planned_at,
        "attempt": trial.current.number,
        **trial.outcome,
    }
    return connection.scalars(insert(Trial).values(values).returning(Trial.id)).one()


def _renumber(connection: Connection, trial_id: int, attempt: Attempt) -> None:
    for table in _OF_ATTEMPTS:
        mine = update(table).where(table.trial_id == trial_id, table.attempt == attempt.stored_as)
        connection.execute(mine.values(attempt=attempt.number))


def _save_pieces(connection: Connection, pieces: tuple[Piece, ...], owner: dict[str, int]) -> None:
    for piece in pieces:
        if piece.outdated:
            connection.execute(
                update(piece.table).where(piece.table.id == piece.row_id).values(dict(piece.values))
            )
    for table in (*_OF_ATTEMPTS, Duration):
        new = [piece for piece in pieces if piece.table is table and piece.row_id is None]
        rows = [{**piece.values, **owner} for piece in new]
        if rows and table is Evaluation:
            _save_evaluations(connection, rows, new)
        elif rows:
            connection.execute(insert(table), rows)


def _save_evaluations(connection: Connection, rows: list[dict[str, Any]], pieces: list[Piece]) -> None:
    returning = insert(Evaluation).returning(Evaluation.id, sort_by_parameter_order=True)
    ids = connection.scalars(returning, rows).all()
    names = [column.name for column in _EPISODE]
    episodes = [
        dict(zip(names, episode, strict=True), evaluation_id=id_)
        for id_, piece in zip(ids, pieces, strict=True)
        for episode in piece.episodes
    ]
    if episodes:
        connection.execute(insert(Episode), episodes)
