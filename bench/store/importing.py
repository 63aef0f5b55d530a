"""Rows of imported scores: brought in whole, given way only when asked, taken out again.

A seed has one imported score per method and task, whatever its owner declares of it: the natural key of a
trial would allow one per declaration.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from bench.errors import BenchError
from bench.records import FINISHED, IMPORTED, EvaluationRecord, TrialKey, TrialRecord
from bench.store import planning, recording
from bench.store.columns import number_columns, number_from
from bench.store.models import AnyRow, Dataset, Episode, Evaluation, Trial


@dataclass(frozen=True)
class ImportedTrial:
    """A seed of elsewhere with its outcome."""

    record: TrialRecord
    score: float | None
    """Under its protocol; may be NaN, and None where its evaluations are too few for the protocol."""
    evaluations: tuple[EvaluationRecord, ...]
    """Empty where neither steps nor episodes are known."""
    seconds: float | None
    """Of training."""


@dataclass(frozen=True)
class Imported:
    """What became of an import."""

    new: int
    """Seeds that were not there."""
    same: int
    """Seeds that were there just so."""
    replaced: int
    """Seeds that gave way."""


def bring(
    connection: Connection, trials: Sequence[ImportedTrial], run_id: str, *, replace_stored: bool
) -> Imported:
    """Store trials that are finished, of one method; the same ones again change nothing.

    Parameters
    ----------
    replace_stored : what is stored of their tasks under this name gives way.

    Raises
    ------
    BenchError : other scores, or other declarations, stand under the same names.
    """
    name = trials[0].record.key.algorithm
    _require_foreign(connection, name)
    stored = _stored(connection, name, {trial.record.key.task for trial in trials})
    same = {trial.record.key for trial in trials if _is_there(connection, stored, trial)}
    gone = [row.id for key, row in stored.items() if key not in same] if replace_stored else []
    if replace_stored:
        _delete(connection, gone)
    else:
        _refuse_contradictions(trials, stored, same)
    new = [trial for trial in trials if trial.record.key not in same]
    planning.plan(connection, [trial.record for trial in new], run_id)
    for trial in new:
        _finish(connection, trial, run_id)
    return Imported(len(new), len(same), len(gone))


def remove(connection: Connection, name: str) -> int:
    """Take out all imported scores of a method; return how many seeds these were."""
    ids = connection.scalars(select(Trial.id).where(Trial.algorithm == name, Trial.variant == IMPORTED)).all()
    _delete(connection, ids)
    return len(ids)


def imported_names(connection: Connection) -> list[str]:
    """The methods of which there are imported scores, sorted."""
    chosen = select(Trial.algorithm).where(Trial.variant == IMPORTED).distinct().order_by(Trial.algorithm)
    return list(connection.scalars(chosen))


def _require_foreign(connection: Connection, name: str) -> None:
    chosen = select(Trial.id).where(Trial.algorithm == name, Trial.variant != IMPORTED).limit(1)
    if connection.scalar(chosen) is not None:
        what = f"the store holds trials of {name!r} that bench trained"
        raise BenchError(what, "Under one name they would look alike.", "Choose another name: --as NAME")


def _stored(connection: Connection, name: str, tasks: Collection[str]) -> dict[TrialKey, AnyRow]:
    columns = (*planning.KEY_COLUMNS, Trial.id, Trial.score, Trial.score_is_nan, Trial.training_seconds)
    chosen = select(*columns).where(
        Trial.algorithm == name, Trial.variant == IMPORTED, Trial.task.in_(sorted(tasks))
    )
    return {planning.key_of(row._mapping): row for row in connection.execute(chosen)}


def _is_there(connection: Connection, stored: dict[TrialKey, AnyRow], trial: ImportedTrial) -> bool:
    row = stored.get(trial.record.key)
    if row is None:
        return False
    # repr, because a NaN is not equal to itself.
    kept = number_from(row.score, row.score_is_nan), row.training_seconds
    if repr(kept) != repr((trial.score, trial.seconds)):
        return False
    return _evaluations(connection, row.id) == [
        (of.number, of.step, tuple(map(repr, of.scores))) for of in trial.evaluations
    ]


def _evaluations(connection: Connection, trial_id: int) -> list[tuple[int, int, tuple[str, ...]]]:
    chosen = (
        select(Evaluation.number, Evaluation.step, Episode.score, Episode.score_is_nan)
        .join(Episode, Episode.evaluation_id == Evaluation.id)
        .where(Evaluation.trial_id == trial_id, Evaluation.number >= 1)
        .order_by(Evaluation.number, Episode.number)
    )
    found: dict[tuple[int, int], list[str]] = {}
    for row in connection.execute(chosen):
        score = number_from(row.score, row.score_is_nan)
        found.setdefault((row.number, row.step), []).append(repr(score))
    return [(number, step, tuple(scores)) for (number, step), scores in found.items()]


def _refuse_contradictions(
    trials: Sequence[ImportedTrial], stored: dict[TrialKey, AnyRow], same: Collection[TrialKey]
) -> None:
    hashes = {trial.record.key.task: trial.record.key.config_hash for trial in trials}
    do_this = "To let what is stored of these tasks give way: --replace"
    for trial in trials:
        key = trial.record.key
        if key in stored and key not in same:
            before = number_from(stored[key].score, stored[key].score_is_nan)
            what = f"{key.algorithm} {key.task} seed {key.seed} is stored with the score {_told(before)}"
            now = _told(trial.score)
            why = f"The file says {now}." if now != _told(before) else "Its evaluations or seconds differ."
            raise BenchError(what, why, do_this)
    for key in stored:
        if key.config_hash != hashes[key.task]:
            what = f"{key.algorithm} {key.task} seed {key.seed} is stored with other declarations"
            raise BenchError(what, "Seeds of one method and task share them.", do_this)


def _told(score: float | None) -> str:
    return "none" if score is None else repr(score)


def _finish(connection: Connection, trial: ImportedTrial, run_id: str) -> None:
    now = datetime.now(UTC)
    for evaluation in trial.evaluations:
        recording.evaluation(connection, replace(evaluation, evaluated_at=now), run_id)
    values: dict[str, Any] = {"state": FINISHED, "finished_at": now, "training_seconds": trial.seconds}
    values |= number_columns("score", trial.score)
    connection.execute(update(Trial).where(planning.is_trial(trial.record.key)).values(values))


def _delete(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Trials that were imported, with their evaluations; datasets that nothing is left on go, too."""
    for trial_id in trial_ids:
        of_trial = select(Evaluation.id).where(Evaluation.trial_id == trial_id)
        connection.execute(delete(Episode).where(Episode.evaluation_id.in_(of_trial)))
        connection.execute(delete(Evaluation).where(Evaluation.trial_id == trial_id))
        connection.execute(delete(Trial).where(Trial.id == trial_id))
    unused = Dataset.sha256 == "", Dataset.id.not_in(select(Trial.dataset_id))
    connection.execute(delete(Dataset).where(*unused))
