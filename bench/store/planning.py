"""Rows of trials and their datasets, before anything has run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, tuple_, update

from bench.errors import WorkFailedError
from bench.records import FAILED, PLANNED, DatasetRecord, TrialKey, TrialRecord, config_hash
from bench.store.models import Dataset, Failure, Trial

KEY_COLUMNS = (Trial.algorithm, Trial.variant, Trial.task, Trial.seed, Trial.config_hash)
BEGUN_ANEW = {"diverged", "ConflictError"}
"""Failures that lie in a trial's own numbers. After any other it continues from its stack's last checkpoint;
after these its stack goes on without it, and it begins anew.
"""
_CHUNK = 500


def plan(
    connection: Connection, trials: Sequence[TrialRecord], run_id: str, *, retry: bool
) -> dict[TrialKey, str]:
    """Insert the missing trials and return the state of each; `retry` makes failed ones planned again."""
    states = stored_states(connection, [trial.key for trial in trials])
    missing = {trial.key: trial for trial in trials if trial.key not in states}
    datasets = {dataset: dataset_id(connection, dataset) for dataset in {t.dataset for t in trials}}
    if missing:
        now = datetime.now(UTC)
        rows = [_row(trial, datasets[trial.dataset], run_id, now) for trial in missing.values()]
        connection.execute(insert(Trial), rows)
    if retry:
        for key in [key for key, state in states.items() if state == FAILED]:
            _plan_again(connection, key, run_id)
            states[key] = PLANNED
    return {trial.key: states.get(trial.key, PLANNED) for trial in trials}


def stored_states(connection: Connection, keys: Sequence[TrialKey]) -> dict[TrialKey, str]:
    """State of each trial that the store knows."""
    states: dict[TrialKey, str] = {}
    hashes = sorted({key.config_hash for key in keys})
    wanted = set(keys)
    for first in range(0, len(hashes), _CHUNK):  # databases limit the parameters of one statement
        chosen = Trial.config_hash.in_(hashes[first : first + _CHUNK])
        for *key, state in connection.execute(select(*KEY_COLUMNS, Trial.state).where(chosen)):
            states[TrialKey(*key)] = state
    return {key: state for key, state in states.items() if key in wanted}


def dataset_id(connection: Connection, dataset: DatasetRecord) -> int:
    """Row of the dataset, made where it is missing; an answer replaces `unverified`, never the reverse.

    Raises
    ------
    WorkFailedError : the same name and hash with another number of rows.
    """
    found = connection.execute(
        select(Dataset.id, Dataset.rows, Dataset.verification, Dataset.replay).where(
            Dataset.name == dataset.name, Dataset.sha256 == dataset.sha256
        )
    ).first()
    if found is None:
        return connection.scalar(insert(Dataset).values(vars(dataset)).returning(Dataset.id))
    if found.rows != dataset.rows:
        raise WorkFailedError(
            f"dataset {dataset.name!r} has {dataset.rows} rows, but {found.rows} in the store",
            f"Both have the SHA-256 {dataset.sha256}, so one of the two was read wrongly.",
        )
    answers = {"verification": dataset.verification, "replay": dataset.replay}
    news = {
        name: answer for name, answer in answers.items() if answer not in ("unverified", getattr(found, name))
    }
    if news:
        connection.execute(update(Dataset).where(Dataset.id == found.id).values(news))
    return found.id


def key_of(row: RowMapping) -> TrialKey:
    """The natural key of the trial in a row that has its columns."""
    return TrialKey(**{column.key: row[column.key] for column in KEY_COLUMNS})


def is_trial(key: TrialKey) -> Any:  # noqa: ANN401 (an SQL condition)
    """The condition that picks one trial."""
    return tuple_(*KEY_COLUMNS) == (key.algorithm, key.variant, key.task, key.seed, key.config_hash)


def _plan_again(connection: Connection, key: TrialKey, run_id: str) -> None:
    trial_id, attempt = connection.execute(select(Trial.id, Trial.attempt).where(is_trial(key))).one()
    errors = connection.scalars(
        select(Failure.error).where(Failure.trial_id == trial_id, Failure.attempt == attempt)
    )
    values = {"state": PLANNED, "run_id": run_id, "attempt": attempt + 1, "started_at": None}
    if set(errors) & BEGUN_ANEW:
        values["stack"] = None
    connection.execute(update(Trial).where(Trial.id == trial_id).values(values))


def _row(trial: TrialRecord, dataset: int, run_id: str, now: datetime) -> dict[str, Any]:
    if config_hash(trial.config) != trial.key.config_hash:
        raise ValueError(f"config_hash of {trial.key} is not the hash of its config")
    return {
        **vars(trial.key),
        "config": trial.config,
        "dataset_id": dataset,
        "run_id": run_id,
        "task_version": trial.task_version,
        "physics": trial.physics,
        "budget": trial.budget,
        "protocol": trial.protocol,
        "episodes": trial.episodes,
        "reduced": list(trial.reduced),
        "state": PLANNED,
        "attempt": 1,
        "score_is_nan": False,
        "planned_at": now,
    }
