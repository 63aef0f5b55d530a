"""The views that people's SQL may rely on. Columns may be added, never renamed.

Each is one select, from which both the view and the types of its columns follow. They are made anew with
every upgrade, so that migrations know only tables; a test compares the columns.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, MetaData, Select, Table, func, select, type_coerce
from sqlalchemy.orm import aliased

from bench.store.models import Baseline, Count, Dataset, Duration, Execution, Night, NightCell, Run, Trial

_metadata = MetaData()
_SELECTS: dict[Table, Select[Any]] = {}

_CODE = (Run.code_version, Run.code_commit, Run.code_dirty)
_DATASET = (Dataset.name.label("dataset"), Dataset.sha256.label("dataset_sha256"))
_TIMES = (Trial.training_seconds, Trial.evaluation_seconds, Trial.peak_memory_bytes)


def _view(name: str, chosen: Select[*tuple[Any, ...]]) -> Table:
    # Labelled all, because SQL leaves open what a column of a view is called that has no name of its own.
    labelled = chosen.with_only_columns(*(column.label(column.name) for column in chosen.selected_columns))
    view = Table(name, _metadata, *(Column(column.name, column.type) for column in labelled.selected_columns))
    _SELECTS[view] = labelled
    return view


def _of_trials(*columns: Any) -> Select[Any]:  # noqa: ANN401 (mapped columns and labels)
    """Columns of trials with what belongs to each.

    Of several stretches of work on a trial that is the last one of the run and the attempt that count: rows
    that were merged in from another store are younger.
    """
    latest = aliased(Execution, name="latest")
    last = (
        select(func.max(latest.id))
        .where(latest.trial_id == Trial.id, latest.attempt == Trial.attempt, latest.run_id == Trial.run_id)
        .correlate(Trial)
        .scalar_subquery()
    )
    return (
        select(*columns)
        .select_from(Trial)
        .join(Dataset, Dataset.id == Trial.dataset_id)
        .join(Run, Run.run_id == Trial.run_id)
        .outerjoin(Execution, Execution.id == last)
    )


def _executions() -> Any:  # noqa: ANN401 (an SQL expression)
    each = aliased(Execution, name="each_execution")
    count = select(func.count()).select_from(each).where(each.trial_id == Trial.id).correlate(Trial)
    return type_coerce(count.scalar_subquery(), Count)


SCORES = _view(
    "scores",
    _of_trials(
        Trial.id.label("trial_id"), Trial.algorithm, Trial.variant, Trial.task, Trial.task_version,
        Trial.physics, Trial.seed, Trial.state, Trial.protocol, Trial.score, Trial.score_is_nan, Trial.budget,
        Trial.episodes, Trial.reduced, *_DATASET, Dataset.verification, Dataset.replay, Trial.config_hash,
        Trial.attempt, *_TIMES, Trial.started_at, Trial.finished_at, Trial.run_id, *_CODE, Execution.hostname,
        Execution.device, Execution.threads, Trial.stack,
    ),
)  # fmt: skip
"""One row per trial, whatever its state; `score` is NULL until it has one."""

PROVENANCE = _view(
    "provenance",
    _of_trials(
        Trial.id.label("trial_id"), Trial.algorithm, Trial.variant, Trial.task, Trial.seed, Trial.state,
        Trial.attempt, Trial.config_hash, Trial.config, *_DATASET, Dataset.rows.label("dataset_rows"),
        Dataset.verification, Dataset.replay, Trial.task_version, Trial.physics, Execution.simulator,
        Trial.run_id, Run.command, *_CODE, Run.code_diff_sha256, Execution.code_sha256,
        func.coalesce(Execution.packages, Run.packages).label("packages"), Execution.hostname, Execution.cpu,
        Execution.device, Execution.gpu_driver, Execution.threads, Execution.runner, Execution.precision,
        Trial.stack, _executions().label("executions"), Trial.started_at, Trial.finished_at, *_TIMES,
    ),
)  # fmt: skip
"""One row per trial: all that its numbers depend on, as its last stretch of work found it."""

TIMINGS = _view(
    "timings",
    select(
        Duration.trial_id, Duration.algorithm, Duration.variant, Duration.task, Trial.seed, Duration.quantity,
        Duration.value, Duration.stack_size, Duration.concurrent_stacks, Duration.device, Duration.threads,
        Duration.runner, Duration.exclusive, Duration.measured_at, Duration.run_id, *_CODE,
    )
    .select_from(Duration)
    .outerjoin(Trial, Trial.id == Duration.trial_id)
    .join(Run, Run.run_id == Duration.run_id),
)  # fmt: skip
"""One row per measured duration; `trial_id` and `seed` are NULL for `bench speed`."""

NIGHTLY = _view(
    "nightly",
    select(
        Night.id.label("night_id"), Night.date, Baseline.name.label("baseline"), Night.outcome,
        *(column for column in NightCell.__table__.columns if column.name != "night_id"),
        Night.started_at, Night.ended_at, Night.run_id, *_CODE,
    )
    .select_from(NightCell)
    .join(Night, Night.id == NightCell.night_id)
    .join(Baseline, Baseline.id == Night.baseline_id)
    .join(Run, Run.run_id == Night.run_id),
)  # fmt: skip
"""One row per canary cell of every night, with what it was held against."""

VIEWS = (SCORES, PROVENANCE, TIMINGS, NIGHTLY)


def drop_views(connection: Connection) -> None:
    """Remove them, so that tables can be changed."""
    for view in VIEWS:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view.name}")


def make_views(connection: Connection) -> None:
    """Make them anew."""
    for view in VIEWS:
        text = _SELECTS[view].compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        connection.exec_driver_sql(f"CREATE VIEW {view.name} AS {text}")
