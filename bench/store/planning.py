"""Rows of trials and their datasets, before anything has run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, insert, select, tuple_, update

from bench.errors import WorkFailedError
from bench.records import (
    DIVERGED,
    FAILED,
    PLANNED,
    RUNNING,
    DatasetRecord,
    TrialKey,
    TrialRecord,
    config_hash,
)
from bench.store.models import AnyRow, Dataset, Failure, Trial

KEY_COLUMNS = (Trial.algorithm, Trial.variant, Trial.task, Trial.seed, Trial.config_hash)
CELL_COLUMNS = (Trial.algorithm, Trial.variant, Trial.task, Trial.config_hash)
BEGUN_ANEW = {DIVERGED, "ConflictError"}
"""Failures that lie in a trial's own numbers. After any other it continues from its stack's last checkpoint;
after these its stack goes on without it, and it begins anew.
"""
_CHUNK = 500


def plan(connection: Connection, trials: Sequence[TrialRecord], run_id: str) -> dict[TrialKey, str]:
    """Insert the missing trials and return the state of each."""
    states = stored_states(connection, [trial.key for trial in trials])
    missing = {trial.key: trial for trial in trials if trial.key not in states}
    datasets = {dataset: dataset_id(connection, dataset) for dataset in {t.dataset for t in trials}}
    if missing:
        _check_hashes(missing.values())
        now = datetime.now(UTC)
        rows = [_row(trial, datasets[trial.dataset], run_id, now) for trial in missing.values()]
        connection.execute(insert(Trial), rows)
    return {trial.key: states.get(trial.key, PLANNED) for trial in trials}


def retry(connection: Connection, keys: Collection[TrialKey], run_id: str) -> frozenset[TrialKey]:
    """Make trials that failed planned again; return these and those already in a further attempt.

    Those that failed with one of them in its stack come along, as their stack is trained again anyway.
    """
    if not keys:
        return frozenset()
    columns = (*KEY_COLUMNS, Trial.id, Trial.state, Trial.attempt, Trial.stack)
    chosen = select(*columns).where(Trial.config_hash.in_({key.config_hash for key in keys}))
    rows = {key_of(row._mapping): row for row in connection.execute(chosen)}
    failed = {key for key, row in rows.items() if row.state == FAILED}
    asked = failed & set(keys)
    anew = {key for key in failed if _begins_anew(connection, rows[key])}
    stacks = {(key.cell, tuple(rows[key].stack or ())) for key in asked - anew}
    mates = {key for key in failed - anew if (key.cell, tuple(rows[key].stack or ())) in stacks}
    for key in asked | mates:
        _plan_again(connection, rows[key], run_id, anew=key in anew)
    begun = {
        key for key in keys if key in rows and rows[key].attempt > 1 and rows[key].state in (PLANNED, RUNNING)
    }
    return frozenset(asked | mates | begun)


def stored_states(connection: Connection, keys: Collection[TrialKey]) -> dict[TrialKey, str]:
    """State of each trial that the store knows."""
    chosen = select(*KEY_COLUMNS, Trial.state)
    return {key: row.state for key, row in rows_of(connection, chosen, keys)}


def rows_of(
    connection: Connection, chosen: Select[*tuple[Any, ...]], keys: Collection[TrialKey]
) -> Iterator[tuple[TrialKey, AnyRow]]:
    """The rows of these trials, of `chosen`, which begins with the columns of the key."""
    wanted, hashes = set(keys), sorted({key.config_hash for key in keys})
    for first in range(0, len(hashes), _CHUNK):  # databases limit the parameters of one statement
        some = chosen.where(Trial.config_hash.in_(hashes[first : first + _CHUNK]))
        # Said for the index, which begins with them.
        for column in (Trial.algorithm, Trial.variant, Trial.task):
            some = some.where(column.in_({getattr(key, column.key) for key in keys}))
        for row in connection.execute(some):
            if (key := TrialKey(*row[: len(KEY_COLUMNS)])) in wanted:
                yield key, row


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
        return connection.scalars(insert(Dataset).values(vars(dataset)).returning(Dataset.id)).one()
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


def _begins_anew(connection: Connection, trial: AnyRow) -> bool:
    of_attempt = (Failure.trial_id == trial.id, Failure.attempt == trial.attempt)
    return bool(set(connection.scalars(select(Failure.error).where(*of_attempt))) & BEGUN_ANEW)


def _plan_again(connection: Connection, trial: AnyRow, run_id: str, *, anew: bool) -> None:
    values = {"state": PLANNED, "run_id": run_id, "attempt": trial.attempt + 1, "started_at": None}
    if anew:
        values["stack"] = None
    connection.execute(update(Trial).where(Trial.id == trial.id).values(values))


def _check_hashes(trials: Iterable[TrialRecord]) -> None:
    # The seeds of a cell share one configuration; hashing it for each of them would take longer than storing.
    distinct = {(id(trial.config), trial.key.config_hash): trial for trial in trials}
    for trial in distinct.values():
        if config_hash(trial.config) != trial.key.config_hash:
            raise ValueError(f"config_hash of {trial.key!r} is not the hash of its config")


def _row(trial: TrialRecord, dataset: int, run_id: str, now: datetime) -> dict[str, Any]:
    facts = {name: value for name, value in vars(trial).items() if name not in ("key", "dataset")}
    return {
        **vars(trial.key),
        **facts,
        "dataset_id": dataset,
        "run_id": run_id,
        "reduced": list(trial.reduced),
        "phases": None if trial.phases is None else [vars(phase) for phase in trial.phases],
        "state": PLANNED,
        "attempt": 1,
        "score_is_nan": False,
        "planned_at": now,
    }
