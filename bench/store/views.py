"""The views that people's SQL may rely on. Columns may be added, never renamed.

Each is one select, from which both the view and the types of its columns follow. They are made anew with
every upgrade, so that migrations know only tables; a test compares the columns.

The selects are of tables, not of mapped classes: each process that opens a store makes them, and with classes
that takes three times as long.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, FromClause, MetaData, Select, Table, func, select, type_coerce

from bench.store import models

_metadata = MetaData()
_SELECTS: dict[Table, Select[Any]] = {}

_TRIAL, _DATASET, _RUN = (table.__table__ for table in (models.Trial, models.Dataset, models.Run))
_EXECUTION, _DURATION = models.Execution.__table__, models.Duration.__table__
_NIGHT, _NIGHT_CELL, _BASELINE = (
    table.__table__ for table in (models.Night, models.NightCell, models.Baseline)
)


def _view(name: str, source: FromClause, *columns: Any) -> Table:  # noqa: ANN401 (columns and labels)
    # Labelled all, because SQL leaves open what a column of a view is called that has no name of its own.
    chosen = select(*(column.label(column.name) for column in columns)).select_from(source)
    view = Table(name, _metadata, *(Column(column.name, column.type) for column in chosen.selected_columns))
    _SELECTS[view] = chosen
    return view


def _of(table: Table, names: str) -> list[Column[Any]]:
    return [table.columns[name] for name in names.split()]


def _with_last_execution() -> FromClause:
    """Trials with what belongs to each.

    Of several stretches of work on a trial that is the last one of the run and the attempt that count: rows
    that were merged in from another store are younger.
    """
    latest, trial = _EXECUTION.alias("latest").c, _TRIAL.c
    last = (
        select(func.max(latest.id))
        .where(latest.trial_id == trial.id, latest.attempt == trial.attempt, latest.run_id == trial.run_id)
        .correlate(_TRIAL)
        .scalar_subquery()
    )
    return (
        _TRIAL.join(_DATASET, _DATASET.c.id == trial.dataset_id)
        .join(_RUN, _RUN.c.run_id == trial.run_id)
        .outerjoin(_EXECUTION, _EXECUTION.c.id == last)
    )


def _executions() -> Any:  # noqa: ANN401 (an SQL expression)
    each = _EXECUTION.alias("each_execution")
    count = select(func.count()).select_from(each).where(each.c.trial_id == _TRIAL.c.id).correlate(_TRIAL)
    return type_coerce(count.scalar_subquery(), models.Count)


_TRIALS = _with_last_execution()
_CODE = _of(_RUN, "code_version code_commit code_dirty")
_DATA = (_DATASET.c.name.label("dataset"), _DATASET.c.sha256.label("dataset_sha256"))
_COST = _of(_TRIAL, "training_seconds evaluation_seconds peak_memory_bytes")

SCORES = _view(
    "scores",
    _TRIALS,
    _TRIAL.c.id.label("trial_id"),
    *_of(_TRIAL, "algorithm variant task task_version physics seed state protocol score score_is_nan"),
    *_of(_TRIAL, "budget episodes reduced"),
    *_DATA,
    *_of(_DATASET, "verification replay"),
    *_of(_TRIAL, "config_hash attempt"),
    *_COST,
    *_of(_TRIAL, "started_at finished_at run_id"),
    *_CODE,
    *_of(_EXECUTION, "hostname device threads"),
    _TRIAL.c.stack,
    _EXECUTION.c.matmul_precision,
)
"""One row per trial, whatever its state; `score` is NULL until it has one."""

PROVENANCE = _view(
    "provenance",
    _TRIALS,
    _TRIAL.c.id.label("trial_id"),
    *_of(_TRIAL, "algorithm variant task seed state attempt config_hash config"),
    *_DATA,
    _DATASET.c.rows.label("dataset_rows"),
    *_of(_DATASET, "verification replay"),
    *_of(_TRIAL, "task_version physics"),
    _EXECUTION.c.simulator,
    _TRIAL.c.run_id,
    _RUN.c.command,
    *_CODE,
    _RUN.c.code_diff_sha256,
    _EXECUTION.c.code_sha256,
    func.coalesce(_EXECUTION.c.packages, _RUN.c.packages).label("packages"),
    *_of(_EXECUTION, "hostname cpu device gpu_driver threads runner precision"),
    _TRIAL.c.stack,
    _executions().label("executions"),
    *_of(_TRIAL, "started_at finished_at"),
    *_COST,
    _EXECUTION.c.matmul_precision,
)
"""One row per trial: all that its numbers depend on, as its last stretch of work found it."""

TIMINGS = _view(
    "timings",
    _DURATION.outerjoin(_TRIAL, _TRIAL.c.id == _DURATION.c.trial_id).join(
        _RUN, _RUN.c.run_id == _DURATION.c.run_id
    ),
    *_of(_DURATION, "trial_id algorithm variant task"),
    _TRIAL.c.seed,
    *_of(_DURATION, "quantity value stack_size concurrent_stacks device threads runner exclusive"),
    *_of(_DURATION, "measured_at run_id"),
    *_CODE,
    _DURATION.c.matmul_precision,
)
"""One row per measured duration; `trial_id` and `seed` are NULL for `bench speed`."""

NIGHTLY = _view(
    "nightly",
    _NIGHT_CELL.join(_NIGHT, _NIGHT.c.id == _NIGHT_CELL.c.night_id)
    .join(_BASELINE, _BASELINE.c.id == _NIGHT.c.baseline_id)
    .join(_RUN, _RUN.c.run_id == _NIGHT.c.run_id),
    _NIGHT.c.id.label("night_id"),
    _NIGHT.c.date,
    _BASELINE.c.name.label("baseline"),
    _NIGHT.c.outcome,
    *(column for column in _NIGHT_CELL.columns if column.name != "night_id"),
    *_of(_NIGHT, "started_at ended_at run_id"),
    *_CODE,
)
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
