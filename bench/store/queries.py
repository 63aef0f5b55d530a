"""Reading the store: plain dataclasses for code, data frames for reports. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Case, Integer, RowMapping, Select, and_, case, func, select

from bench.errors import BenchError
from bench.records import FINISHED, DatasetRecord, EvaluationRecord, TrialKey, TrialRecord, WeightsRecord
from bench.store.columns import metrics_from_json, number_from
from bench.store.database import Store
from bench.store.models import Dataset, Episode, Evaluation, Trial, Weights
from bench.store.planning import KEY_COLUMNS, key_of, stored_states
from bench.store.views import SCORES, TIMINGS

_PORTION = 100
"""Rows that are turned into columns at a time."""


@dataclass(frozen=True)
class StoredTrial:
    """A trial with what became of it."""

    trial_id: int
    """Short number that people type (`bench evaluate 17`)."""
    record: TrialRecord
    state: str
    """`planned`, `running`, `finished` or `failed`."""
    attempt: int
    run_id: str
    """The run that planned, ran or finished it, whichever came last."""
    score: float | None
    training_seconds: float | None
    evaluation_seconds: float | None
    peak_memory_bytes: int | None
    planned_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def trial_states(store: Store, keys: Sequence[TrialKey]) -> dict[TrialKey, str]:
    """State (`planned`, `running`, `finished`, `failed`) of those trials that the store knows."""
    with store.connect() as connection:
        return stored_states(connection, keys)


def stored_scores(store: Store, keys: Sequence[TrialKey]) -> dict[TrialKey, tuple[str, float | None]]:
    """State and score of those trials that the store knows; a score may be NaN."""
    wanted = set(keys)
    chosen = select(*KEY_COLUMNS, Trial.state, Trial.score, Trial.score_is_nan).where(
        Trial.config_hash.in_({key.config_hash for key in keys})
    )
    with store.connect() as connection:
        rows = [(key_of(row), row) for row in connection.execute(chosen).mappings()]
    return {
        key: (row["state"], number_from(row["score"], row["score_is_nan"]))
        for key, row in rows
        if key in wanted
    }


def configurations(store: Store, hashes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Configurations by their hash, of those that some trial has."""
    chosen = select(Trial.config_hash, Trial.config).where(Trial.config_hash.in_(set(hashes)))
    with store.connect() as connection:
        return {row.config_hash: row.config for row in connection.execute(chosen)}


def trials(store: Store, *, states: Sequence[str] = (), tasks: Sequence[str] = ()) -> list[StoredTrial]:
    """Trials in the order of planning; empty filters choose all."""
    chosen = _select_trials()
    if states:
        chosen = chosen.where(Trial.state.in_(states))
    if tasks:
        chosen = chosen.where(Trial.task.in_(tasks))
    with store.connect() as connection:
        return [_stored_trial(row) for row in connection.execute(chosen).mappings()]


def find_trial(store: Store, trial_id: int) -> StoredTrial:
    """The trial with this number.

    Raises
    ------
    BenchError : there is none.
    """
    with store.connect() as connection:
        row = connection.execute(_select_trials().where(Trial.id == trial_id)).mappings().first()
    if row is None:
        listing = 'List them with: bench query "SELECT trial_id, algorithm, task, seed, score FROM scores"'
        raise BenchError(f"no trial {trial_id} in store {store.location}", "", listing)
    return _stored_trial(row)


def evaluations(store: Store, trial_id: int) -> list[EvaluationRecord]:
    """All evaluations of a trial by number; where several attempts made one, the latest."""
    made = select(Evaluation.__table__).where(Evaluation.trial_id == trial_id).order_by(Evaluation.attempt)
    played = (
        select(Episode.__table__)
        .join(Evaluation, Evaluation.id == Episode.evaluation_id)
        .where(Evaluation.trial_id == trial_id)
        .order_by(Episode.evaluation_id, Episode.number)
    )
    with store.connect() as connection:
        key = connection.execute(select(*KEY_COLUMNS).where(Trial.id == trial_id)).mappings().first()
        latest = {row["number"]: row for row in connection.execute(made).mappings()}
        rows = connection.execute(played).mappings().all()
    episodes = {id_: list(of) for id_, of in groupby(rows, key=lambda row: row["evaluation_id"])}
    return [_evaluation(key_of(key), row, episodes[row["id"]]) for _, row in sorted(latest.items())]


def weights_of(store: Store, trial_id: int) -> dict[str, WeightsRecord]:
    """Weights of a trial by role; where several attempts stored some, the latest."""
    chosen = (
        select(Trial.__table__, Weights.role, Weights.path, Weights.sha256, Weights.size_bytes)
        .join(Weights, Weights.trial_id == Trial.id)
        .where(Trial.id == trial_id)
        .order_by(Weights.attempt)
    )
    with store.connect() as connection:
        rows = connection.execute(chosen).mappings().all()
    return {
        row["role"]: WeightsRecord(key_of(row), row["role"], row["path"], row["sha256"], row["size_bytes"])
        for row in rows
    }


def weights_by_role(store: Store, role: str) -> dict[int, WeightsRecord]:
    """Weights kept under one role, by number of the trial; where several attempts stored some, the latest."""
    chosen = (
        select(Weights.trial_id, *KEY_COLUMNS, Weights.path, Weights.sha256, Weights.size_bytes)
        .join(Trial, Weights.trial_id == Trial.id)
        .where(Weights.role == role)
        .order_by(Weights.attempt)
    )
    with store.connect() as connection:
        rows = connection.execute(chosen).mappings().all()
    return {
        row["trial_id"]: WeightsRecord(key_of(row), role, row["path"], row["sha256"], row["size_bytes"])
        for row in rows
    }


def next_judgement(store: Store, trial_id: int) -> int:
    """Number for a further evaluation of stored weights: 0, -1, -2, ..."""
    judged = select(func.min(Evaluation.number)).where(
        Evaluation.trial_id == trial_id, Evaluation.number <= 0
    )
    with store.connect() as connection:
        lowest = connection.scalar(judged)
    return 0 if lowest is None else lowest - 1


def scores_frame(store: Store) -> pd.DataFrame:
    """The view `scores`, one row per trial; `score_is_nan` tells a NaN from a score that is missing."""
    frame = _frame(store, select(SCORES).order_by(SCORES.c.trial_id))
    frame["score"] = _numbers(frame["score"], frame["score_is_nan"])
    return frame


def timings_frame(store: Store) -> pd.DataFrame:
    """The view `timings`, one row per measured duration (s)."""
    return _frame(store, select(TIMINGS).order_by(TIMINGS.c.measured_at))


def learning_curves(store: Store) -> pd.DataFrame:
    """Mean return and normalised score over the episodes of every evaluation made during training.

    Columns: trial_id, algorithm, variant, task, physics, seed, budget, config_hash, number, step, episodes,
    mean_return, mean_score; ordered by trial and number. Of several attempts at a trial the latest counts.
    """
    points = _frame(store, _select_points())
    for name in ("return", "score"):
        points[f"mean_{name}"] = _numbers(points[f"mean_{name}"], points.pop(f"{name}_is_nan"))
    latest = points.drop_duplicates(["trial_id", "number"], keep="last").drop(columns="attempt")
    # Joined here: with the names of its trial in every row the answer of the database would be far larger.
    return _frame(store, _select_names()).merge(latest, on="trial_id")


def final_episodes(store: Store) -> dict[int, tuple[float, ...]]:
    """Normalised scores of the episodes of every finished trial's last evaluation, by number of the trial."""
    last = (
        select(Evaluation.trial_id, func.max(Evaluation.number).label("number"))
        .join(Trial, Trial.id == Evaluation.trial_id)
        .where(Evaluation.number >= 1, Trial.state == FINISHED)
        .group_by(Evaluation.trial_id)
        .subquery()
    )
    chosen = (
        select(Evaluation.trial_id, Evaluation.id, Episode.score, Episode.score_is_nan)
        .join(last, and_(last.c.trial_id == Evaluation.trial_id, last.c.number == Evaluation.number))
        .join(Episode, Episode.evaluation_id == Evaluation.id)
        .order_by(Evaluation.trial_id, Evaluation.attempt, Episode.evaluation_id, Episode.number)
    )
    found: dict[int, tuple[float, ...]] = {}
    with store.connect() as connection:
        # Of several attempts that came this far the latest counts: it is the last in this order.
        for (trial_id, _), rows in groupby(connection.execute(chosen), key=lambda row: row[:2]):
            found[trial_id] = tuple(number_from(row.score, row.score_is_nan) for row in rows)
    return found


def _select_trials() -> Select[Any]:
    dataset = [
        column.label(f"dataset_{column.name}") for column in Dataset.__table__.columns if column.name != "id"
    ]
    return select(Trial.__table__, *dataset).join(Dataset, Dataset.id == Trial.dataset_id).order_by(Trial.id)


def _select_names() -> Select[Any]:
    names = ("algorithm", "variant", "task", "physics", "seed", "budget", "config_hash")
    return select(Trial.id.label("trial_id"), *(getattr(Trial, name) for name in names)).order_by(Trial.id)


def _select_points() -> Select[Any]:
    means = (
        select(
            Episode.evaluation_id,
            func.count().label("episodes"),
            func.avg(Episode.return_).label("mean_return"),
            func.max(_one_where(Episode.return_is_nan)).label("return_is_nan"),
            func.avg(Episode.score).label("mean_score"),
            func.max(_one_where(Episode.score_is_nan)).label("score_is_nan"),
        )
        .group_by(Episode.evaluation_id)
        .subquery()
    )
    return (
        select(
            Evaluation.trial_id,
            Evaluation.number,
            Evaluation.step,
            Evaluation.attempt,
            *(column for column in means.columns if column.name != "evaluation_id"),
        )
        .join(means, means.c.evaluation_id == Evaluation.id)
        .where(Evaluation.number >= 1)
        .order_by(Evaluation.trial_id, Evaluation.number, Evaluation.attempt)
    )


def _one_where(flag: Any) -> Case[int]:  # noqa: ANN401 (a mapped column)
    return case((flag, 1), else_=0)


def _frame(store: Store, chosen: Select[Any]) -> pd.DataFrame:
    with store.connect() as connection:
        rows = connection.execute(chosen)
        names = list(rows.keys())
        columns: list[list[Any]] = [[] for _ in names]
        # Column by column, because pandas asks every row what it is; in small portions, because collecting
        # garbage among many row objects takes long. Either costs more than the query itself.
        for portion in rows.partitions(_PORTION):
            for column, values in zip(columns, zip(*portion, strict=True), strict=True):
                column.extend(values)
    frame = pd.DataFrame(dict(zip(names, columns, strict=True)))
    # A missing number would make floats of whole ones.
    whole = [
        column.name
        for column in chosen.selected_columns
        if isinstance(column.type, Integer) and frame[column.name].isna().any()
    ]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _numbers(values: pd.Series, is_nan: pd.Series) -> pd.Series:
    return values.astype(float).mask(is_nan.astype(bool), np.nan)


def _stored_trial(row: RowMapping) -> StoredTrial:
    dataset = DatasetRecord(
        row["dataset_name"], row["dataset_sha256"], row["dataset_rows"], row["dataset_verification"],
        row["dataset_replay"],
    )  # fmt: skip
    record = TrialRecord(
        key=key_of(row),
        config=row["config"],
        dataset=dataset,
        reduced=tuple(row["reduced"]),
        **{name: row[name] for name in ("task_version", "physics", "budget", "protocol", "episodes")},
    )
    same = ("state", "attempt", "run_id", "training_seconds", "evaluation_seconds", "peak_memory_bytes",
            "planned_at", "started_at", "finished_at")  # fmt: skip
    score = number_from(row["score"], row["score_is_nan"])
    return StoredTrial(trial_id=row["id"], record=record, score=score, **{name: row[name] for name in same})


def _evaluation(key: TrialKey, row: RowMapping, episodes: Sequence[RowMapping]) -> EvaluationRecord:
    return EvaluationRecord(
        trial=key,
        returns=tuple(number_from(episode["return_"], episode["return_is_nan"]) for episode in episodes),
        lengths=tuple(episode["length"] for episode in episodes),
        scores=tuple(number_from(episode["score"], episode["score_is_nan"]) for episode in episodes),
        metrics=metrics_from_json(row["metrics"]),
        **{name: row[name] for name in ("number", "step", "physics", "seconds", "evaluated_at")},
    )
