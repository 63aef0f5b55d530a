"""Reading the store: plain values, and data frames where whole columns are wanted. Nothing here writes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Case,
    ColumnElement,
    RowMapping,
    Select,
    and_,
    case,
    false,
    func,
    inspect,
    or_,
    select,
    table,
    true,
    type_coerce,
)

from bench.errors import BenchError
from bench.records import (
    FAILED,
    FINISHED,
    IMPORTED,
    PHASE_SECONDS,
    DatasetRecord,
    EvaluationRecord,
    FailureRecord,
    PhaseRecord,
    RunRecord,
    TrialKey,
    TrialRecord,
    WeightsRecord,
)
from bench.store.columns import (
    DamagedCellError,
    Flag,
    Intact,
    Number,
    UtcDateTime,
    Whole,
    metrics_from_json,
    number_from,
)
from bench.store.damage import require_consistent
from bench.store.database import Store, revision_of
from bench.store.faults import explained
from bench.store.models import Dataset, Duration, Episode, Evaluation, Execution, Failure, Run, Trial, Weights
from bench.store.planning import KEY_COLUMNS, key_of, rows_of, stored_states
from bench.store.views import SCORES, TIMINGS

if TYPE_CHECKING:
    import pandas as pd

_PORTION = 100
"""Rows of a data frame that are turned into columns at a time."""
_GROWING = (Trial, Evaluation, Execution, Failure, Duration, Weights)


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


@dataclass(frozen=True)
class StoredFailure:
    """A failure, with the command during which it happened."""

    trial_id: int
    attempt: int
    record: FailureRecord
    command: str
    current: bool
    """The trial still stands as failed through it: nobody has asked for it again."""


@dataclass(frozen=True)
class TableContents:
    """One table or view."""

    name: str
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """A database at a glance; `size_bytes` is None for a server."""

    dialect: str
    revision: str | None
    size_bytes: int | None
    tables: tuple[TableContents, ...]


def trial_states(store: Store, keys: Sequence[TrialKey]) -> dict[TrialKey, str]:
    """State (`planned`, `running`, `finished`, `failed`) of those trials that the store knows."""
    with store.connect() as connection:
        return stored_states(connection, keys)


def stored_scores(store: Store, keys: Sequence[TrialKey]) -> dict[TrialKey, tuple[str, float | None]]:
    """State and score of those trials that the store knows; a score may be NaN."""
    chosen = select(*KEY_COLUMNS, Trial.state, Trial.score, Trial.score_is_nan)
    with store.connect() as connection:
        return {
            key: (row.state, number_from(row.score, row.score_is_nan))
            for key, row in rows_of(connection, chosen, keys)
        }


def codes_of(store: Store, keys: Sequence[TrialKey]) -> dict[TrialKey, frozenset[str]]:
    """Hashes of the code that each trial went through, of those that anything has worked on.

    One that was cut off and continued may have several; what began anew leaves the earlier ones behind.
    """
    codes: dict[TrialKey, frozenset[str]] = {}
    chosen = (
        select(*KEY_COLUMNS, Execution.from_iteration, Execution.code_sha256)
        .join(Trial, Trial.id == Execution.trial_id)
        .order_by(Execution.attempt, Execution.started_at)
    )
    with store.connect() as connection:
        for key, row in rows_of(connection, chosen, keys):
            earlier = codes.get(key, frozenset()) if row.from_iteration else frozenset()
            codes[key] = earlier | {row.code_sha256}
    return codes


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


@dataclass(frozen=True)
class MeasuredPart:
    """How long a phase, or all evaluations, of a trial took; of the whole stack that it was trained in."""

    record: TrialRecord
    phase: str | None
    """None: all evaluations."""
    seconds: float
    stack_size: int
    concurrent_stacks: int
    device: str
    threads: int
    runner: str
    matmul_precision: str | None


def measured_parts(store: Store) -> list[MeasuredPart]:
    """What finished trials took, part by part, in the order of their ends."""
    names = ("stack_size", "concurrent_stacks", "device", "threads", "runner", "matmul_precision")
    columns = Duration.__table__.columns
    chosen = (
        select(columns.trial_id, columns.quantity, columns.value, *(columns[name] for name in names))
        .join(Trial, Trial.id == Duration.trial_id)
        .where(Trial.state == FINISHED)
        .where(or_(columns.quantity.startswith(PHASE_SECONDS), columns.quantity == "evaluation_seconds"))
        .order_by(Trial.finished_at, Duration.id)
    )
    with store.connect() as connection:
        rows = connection.execute(chosen).mappings().all()
    records = {trial.trial_id: trial.record for trial in trials(store, states=(FINISHED,))} if rows else {}
    return [
        MeasuredPart(
            records[row["trial_id"]],
            row["quantity"].partition(PHASE_SECONDS)[2] or None,
            row["value"],
            **{name: row[name] for name in names},
        )
        for row in rows
    ]


def precisions(store: Store) -> dict[int, set[str]]:
    """In which precision matrices were multiplied for each trial's present attempt, where that was noted."""
    chosen = (
        select(Execution.trial_id, Execution.matmul_precision)
        .join(Trial, and_(Trial.id == Execution.trial_id, Trial.attempt == Execution.attempt))
        .where(Execution.matmul_precision.is_not(None))
        .distinct()
    )
    found: dict[int, set[str]] = {}
    with store.connect() as connection:
        for row in connection.execute(chosen).mappings():
            found.setdefault(row["trial_id"], set()).add(row["matmul_precision"])
    return found


def find_trial(store: Store, trial_id: int) -> StoredTrial:
    """The trial with this number.

    Raises
    ------
    BenchError : there is none.
    """
    with store.connect() as connection:
        row = connection.execute(_select_trials().where(Trial.id == trial_id)).mappings().first()
        if row is not None:
            return _stored_trial(row)
    listing = 'List them with: bench query "SELECT trial_id, algorithm, task, seed, score FROM scores"'
    raise BenchError(f"no trial {trial_id} in store {store.location}", "", listing)


def trial_of(store: Store, key: TrialKey) -> StoredTrial:
    """The trial with this key, which the store must hold."""
    same = and_(*(column == getattr(key, column.key) for column in KEY_COLUMNS))
    with store.connect() as connection:
        return _stored_trial(connection.execute(_select_trials().where(same)).mappings().one())


def evaluations(store: Store, trial_id: int, attempt: int | None = None) -> list[EvaluationRecord]:
    """All evaluations of a trial by number, or those of one attempt; where several made one, the latest."""
    stored = select(Evaluation.__table__).where(Evaluation.trial_id == trial_id).order_by(Evaluation.attempt)
    if attempt is not None:
        stored = stored.where(Evaluation.attempt == attempt)
    played = (
        select(Episode.__table__)
        .join(Evaluation, Evaluation.id == Episode.evaluation_id)
        .where(Evaluation.trial_id == trial_id)
        .order_by(Episode.evaluation_id, Episode.number)
    )
    with store.connect() as connection:
        trial = connection.execute(select(*KEY_COLUMNS).where(Trial.id == trial_id)).mappings().first()
        if trial is None:
            return []
        latest = {row["number"]: row for row in connection.execute(stored).mappings()}
        rows = connection.execute(played).mappings().all()
        episodes = {id_: list(of) for id_, of in groupby(rows, key=lambda row: row["evaluation_id"])}
        key = key_of(trial)
        return [_evaluation(key, row, episodes.get(row["id"], ())) for _, row in sorted(latest.items())]


def weights_of(store: Store, trial_id: int) -> dict[str, WeightsRecord]:
    """Weights of a trial by role; where several attempts stored some, the latest."""
    return {record.role: record for _, record in _weights(store, Weights.trial_id == trial_id)}


def weights_by_role(store: Store, role: str) -> dict[int, WeightsRecord]:
    """Weights kept under one role, by number of the trial; where several attempts stored some, the latest."""
    return dict(_weights(store, Weights.role == role))


def next_reevaluation(store: Store, trial_id: int) -> int:
    """Number for a further evaluation of stored weights: 0, -1, -2, ..."""
    judged = select(func.min(Evaluation.number)).where(
        Evaluation.trial_id == trial_id, Evaluation.number <= 0
    )
    with store.connect() as connection:
        lowest = connection.scalar(judged)
    return 0 if lowest is None else lowest - 1


def evaluation_means(store: Store) -> dict[int, tuple[float, ...]]:
    """Mean normalised scores of the evaluations made during training, in order, by number of the trial.

    Of several attempts at a trial the latest counts.
    """
    found: dict[int, dict[int, float]] = {}
    with store.connect() as connection:
        for row in connection.execute(select_points()):
            # Infinities of both signs have no mean: SQLite answers NULL, PostgreSQL NaN.
            known = not row.score_is_nan and row.mean_score is not None
            score = float(row.mean_score) if known else math.nan
            found.setdefault(row.trial_id, {})[row.number] = score
    return {trial_id: tuple(scores.values()) for trial_id, scores in found.items()}


def evaluation_metrics(store: Store, protocols: Collection[str]) -> dict[int, tuple[dict[str, float], ...]]:
    """Metrics of the evaluations that `evaluation_means` gives, of trials under one of the protocols."""
    chosen = (
        select(Evaluation.trial_id, Evaluation.number, Evaluation.metrics)
        .join(Trial, Trial.id == Evaluation.trial_id)
        .where(Evaluation.number >= 1, Trial.protocol.in_(protocols))
        .order_by(Evaluation.trial_id, Evaluation.number, Evaluation.attempt)
    )
    found: dict[int, dict[int, dict[str, float]]] = {}
    with store.connect() as connection:
        for row in connection.execute(chosen):
            found.setdefault(row.trial_id, {})[row.number] = metrics_from_json(row.metrics)
    return {trial_id: tuple(metrics.values()) for trial_id, metrics in found.items()}


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


def failures(store: Store) -> list[StoredFailure]:
    """Every failure of every attempt, the latest first."""
    chosen = (
        select(Failure.__table__, *KEY_COLUMNS, Trial.state, Trial.attempt.label("last_attempt"), Run.command)
        .join(Trial, Trial.id == Failure.trial_id)
        .join(Run, Run.run_id == Failure.run_id)
        .order_by(Failure.failed_at.desc(), Failure.id.desc())
    )
    with store.connect() as connection:
        rows = connection.execute(chosen).mappings().all()
        return [
            StoredFailure(
                trial_id=row["trial_id"],
                attempt=row["attempt"],
                record=FailureRecord(
                    trial=key_of(row),
                    last_metrics=metrics_from_json(row["last_metrics"]),
                    **{name: row[name] for name in ("step", "error", "message", "traceback", "failed_at")},
                ),
                command=row["command"],
                current=row["state"] == FAILED and row["attempt"] == row["last_attempt"],
            )
            for row in rows
        ]


def datasets(store: Store) -> list[DatasetRecord]:
    """Every dataset that trials of the store were trained on, in the order in which they came.

    Not those that owners of imported scores name: no file of them is known.
    """
    columns = (Dataset.name, Dataset.sha256, Dataset.rows, Dataset.verification, Dataset.replay)
    trained = select(Trial.dataset_id).where(Trial.variant != IMPORTED)
    chosen = select(*columns).where(Dataset.id.in_(trained)).order_by(Dataset.id)
    with store.connect() as connection:
        return [DatasetRecord(*row) for row in connection.execute(chosen)]


def runs(store: Store) -> list[RunRecord]:
    """Every run with its code, packages and hardware, the latest first."""
    columns = [getattr(Run, field.name) for field in fields(RunRecord)]
    with store.connect() as connection:
        rows = connection.execute(select(*columns).order_by(Run.started_at.desc())).mappings()
        return [RunRecord(**row) for row in rows]


def describe(store: Store) -> Contents:
    """Look at every table and view, views first."""
    path = store.location.path
    with store.connect() as connection:
        inspector = inspect(connection)
        names = [*sorted(inspector.get_view_names()), *sorted(inspector.get_table_names())]
        tables = tuple(
            TableContents(
                name,
                connection.scalar(select(func.count()).select_from(table(name))) or 0,
                tuple(column["name"] for column in inspector.get_columns(name)),
            )
            for name in names
            if name != "alembic_version"
        )
        size = path.stat().st_size if path else None
        return Contents(connection.dialect.name, revision_of(connection, str(store.location)), size, tables)


def change_token(store: Store) -> str:
    """A short text that changes whenever a result does.

    The same as long as nothing was planned, begun, evaluated, timed, finished, failed or retried.

    Cheap on large stores: it looks at the ends of tables, which only grow, and at what can change in place.
    """
    ends = select(*(select(func.max(table.id)).scalar_subquery() for table in _GROWING))
    changes = select(
        select(func.sum(Trial.attempt)).scalar_subquery(),
        # Imported scores may give way to others under the same numbers.
        select(func.max(Trial.finished_at)).scalar_subquery(),
        select(func.count(Execution.outcome)).scalar_subquery(),
    )
    datasets = select(Dataset.id, Dataset.verification, Dataset.replay).order_by(Dataset.id)
    with store.connect() as connection:
        return repr([list(map(tuple, connection.execute(chosen))) for chosen in (ends, changes, datasets)])


def scores_frame(store: Store) -> pd.DataFrame:
    """The view `scores`, one row per trial; `score_is_nan` tells a NaN from a score that is missing.

    Columns have the same types whatever rows there are: numbers, times in UTC, counts that may be missing.
    """
    frame = _frame(store, select(SCORES).order_by(SCORES.c.trial_id))
    with explained(str(store.location), store.engine):
        pairs = zip(frame["score"], frame["score_is_nan"], strict=True)
        frame["score"] = [number_from(value, is_nan) for value, is_nan in pairs]
    kinds = ((Whole, "Int64"), (Number, "float64"), (UtcDateTime, "datetime64[us, UTC]"), (Flag, "boolean"))
    types = {
        column.name: name
        for column in SCORES.columns
        for kind, name in kinds
        if isinstance(column.type, kind)
    }
    return frame.astype(types)


def timings_frame(store: Store) -> pd.DataFrame:
    """The view `timings`, one row per measured duration (s)."""
    return _frame(store, select(TIMINGS).order_by(TIMINGS.c.measured_at))


def learning_curves(store: Store) -> pd.DataFrame:
    """Mean return and normalised score over the episodes of every evaluation made during training.

    Columns: trial_id, algorithm, variant, task, physics, seed, budget, config_hash, number, step, episodes,
    mean_return, mean_score; ordered by trial and number. Of several attempts at a trial the latest counts.
    """
    points = _frame(store, select_points())
    for name in ("return", "score"):
        is_nan = points.pop(f"{name}_is_nan").astype(bool)
        points[f"mean_{name}"] = points[f"mean_{name}"].astype(float).mask(is_nan, math.nan)
    latest = points.drop_duplicates(["trial_id", "number"], keep="last").drop(columns=["attempt", "whole"])
    # Joined here: with the names of its trial in every row the answer of the database would be far larger.
    names = ("algorithm", "variant", "task", "physics", "seed", "budget", "config_hash")
    chosen = select(Trial.id.label("trial_id"), *(getattr(Trial, name) for name in names))
    return _frame(store, chosen.order_by(Trial.id)).merge(latest, on="trial_id")


def select_points() -> Select[Any]:
    """Evaluations made during training with the means of their episodes, by trial, number and attempt.

    Reading the column `whole` raises `DamagedCellError` where the means are not of all episodes.
    """
    means = (
        select(
            Episode.evaluation_id,
            func.count().label("episodes"),
            func.avg(Episode.return_).label("mean_return"),
            func.max(_one_where(Episode.return_is_nan)).label("return_is_nan"),
            func.avg(Episode.score).label("mean_score"),
            func.max(_one_where(Episode.score_is_nan)).label("score_is_nan"),
            case((_all_are_whole(), 1), else_=0).label("whole"),
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
            *(column for column in means.columns if column.name not in ("evaluation_id", "whole")),
            type_coerce(case((Evaluation.step >= 0, means.c.whole), else_=0), Intact()).label("whole"),
        )
        .outerjoin(means, means.c.evaluation_id == Evaluation.id)
        .where(Evaluation.number >= 1)
        .order_by(Evaluation.trial_id, Evaluation.number, Evaluation.attempt)
    )


def _select_trials() -> Select[Any]:
    dataset = [
        column.label(f"dataset_{column.name}") for column in Dataset.__table__.columns if column.name != "id"
    ]
    return select(Trial.__table__, *dataset).join(Dataset, Dataset.id == Trial.dataset_id).order_by(Trial.id)


def _one_where(flag: Any) -> Case[int]:  # noqa: ANN401 (a mapped column)
    return case((flag, 1), else_=0)


def _all_are_whole() -> ColumnElement[bool]:
    """Whether the episodes of an evaluation are all there, and all their numbers are numbers.

    An average of SQLite takes text for 0 and a flag of 7 for a NaN, without a word.
    """
    pairs = (
        (Episode.return_, Episode.return_is_nan),
        (Episode.score, Episode.score_is_nan),
    )
    numbers = [
        and_(
            value.between(-math.inf, math.inf),
            or_(flag.is_(false()), and_(flag.is_(true()), value == -math.inf)),
        )
        for value, flag in pairs
    ]
    all_are_numbers = func.min(case((and_(*numbers), 1), else_=0)) == 1
    return and_(all_are_numbers, func.min(Episode.number) == 1, func.max(Episode.number) == func.count())


def _stored_trial(row: RowMapping) -> StoredTrial:
    require_consistent(row)
    dataset = DatasetRecord(
        row["dataset_name"], row["dataset_sha256"], row["dataset_rows"], row["dataset_verification"],
        row["dataset_replay"],
    )  # fmt: skip
    record = TrialRecord(
        key=key_of(row),
        config=row["config"],
        dataset=dataset,
        reduced=tuple(row["reduced"]),
        phases=None if row["phases"] is None else tuple(PhaseRecord(**phase) for phase in row["phases"]),
        **{name: row[name] for name in ("task_version", "physics", "budget", "protocol", "episodes")},
    )
    same = ("state", "attempt", "run_id", "training_seconds", "evaluation_seconds", "peak_memory_bytes",
            "planned_at", "started_at", "finished_at")  # fmt: skip
    score = number_from(row["score"], row["score_is_nan"])
    return StoredTrial(trial_id=row["id"], record=record, score=score, **{name: row[name] for name in same})


def _evaluation(key: TrialKey, row: RowMapping, episodes: Sequence[RowMapping]) -> EvaluationRecord:
    numbers = [episode["number"] for episode in episodes]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise DamagedCellError(numbers, "the numbers of all episodes of an evaluation")
    return EvaluationRecord(
        trial=key,
        returns=tuple(number_from(episode["return_"], episode["return_is_nan"]) for episode in episodes),
        lengths=tuple(episode["length"] for episode in episodes),
        scores=tuple(number_from(episode["score"], episode["score_is_nan"]) for episode in episodes),
        metrics=metrics_from_json(row["metrics"]),
        **{name: row[name] for name in ("number", "step", "physics", "seconds", "evaluated_at")},
    )


def _weights(store: Store, condition: ColumnElement[bool]) -> Iterator[tuple[int, WeightsRecord]]:
    """Number of the trial and record, in the order of the attempts."""
    columns = (Weights.trial_id, Weights.role, Weights.path, Weights.sha256, Weights.size_bytes)
    chosen = select(*KEY_COLUMNS, *columns).join(Trial, Weights.trial_id == Trial.id)
    with store.connect() as connection:
        rows = connection.execute(chosen.where(condition).order_by(Weights.attempt)).mappings().all()
    for row in rows:
        record = WeightsRecord(key_of(row), row["role"], row["path"], row["sha256"], row["size_bytes"])
        yield row["trial_id"], record


def _frame(store: Store, chosen: Select[Any]) -> pd.DataFrame:
    import pandas as pd  # takes half a second, which those that ask for plain values do not wait for

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
        if isinstance(column.type, Whole) and frame[column.name].isna().any()
    ]
    return frame.astype(dict.fromkeys(whole, "Int64"))
