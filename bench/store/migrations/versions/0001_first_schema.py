"""The first schema.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    _runs()
    _datasets()
    _trials()
    _evaluations()
    _durations()
    _failures()
    _weights()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _large(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _flag(name: str, *, nullable: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def _runs() -> None:
    op.create_table(
        "runs",
        _text("run_id"),
        _text("command"),
        _time("started_at"),
        _time("ended_at", nullable=True),
        _text("code_version"),
        _text("code_commit", nullable=True),
        _flag("code_dirty", nullable=True),
        _text("code_diff_sha256", nullable=True),
        _json("packages"),
        _json("hardware"),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )


def _datasets() -> None:
    op.create_table(
        "datasets",
        _whole("id"),
        _text("name"),
        _text("sha256"),
        _large("rows"),
        _text("verification"),
        _text("replay"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("name", "sha256", name="uq_datasets"),
    )


def _trials() -> None:
    op.create_table(
        "trials",
        _whole("id"),
        _text("algorithm"),
        _text("variant"),
        _text("task"),
        _large("seed"),
        _text("config_hash"),
        _json("config"),
        _whole("dataset_id"),
        _text("run_id"),
        _whole("task_version"),
        _text("physics"),
        _number("budget"),
        _text("protocol"),
        _whole("episodes"),
        _json("reduced"),
        _text("state"),
        _whole("attempt"),
        _number("score", nullable=True),
        _flag("score_is_nan"),
        _number("training_seconds", nullable=True),
        _number("evaluation_seconds", nullable=True),
        _large("peak_memory_bytes", nullable=True),
        _time("planned_at"),
        _time("started_at", nullable=True),
        _time("finished_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("algorithm", "variant", "task", "seed", "config_hash", name="uq_trials"),
        sa.CheckConstraint(
            "state IN ('planned', 'running', 'finished', 'failed')", name=op.f("ck_trials_state")
        ),
        _reference("trials", "dataset_id", "datasets.id"),
        _reference("trials", "run_id", "runs.run_id"),
    )


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        _whole("id"),
        _whole("trial_id"),
        _text("run_id"),
        _whole("attempt"),
        _whole("number"),
        _large("step"),
        _text("physics"),
        _number("seconds"),
        _json("metrics"),
        _time("evaluated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_evaluations"),
        sa.UniqueConstraint("trial_id", "attempt", "number", name="uq_evaluations"),
        _reference("evaluations", "trial_id", "trials.id"),
        _reference("evaluations", "run_id", "runs.run_id"),
    )
    op.create_table(
        "episodes",
        _whole("evaluation_id"),
        _whole("number"),
        _number("return_"),
        _flag("return_is_nan"),
        _number("score"),
        _flag("score_is_nan"),
        _whole("length"),
        sa.PrimaryKeyConstraint("evaluation_id", "number", name="pk_episodes"),
        _reference("episodes", "evaluation_id", "evaluations.id"),
        sqlite_with_rowid=False,
    )


def _durations() -> None:
    op.create_table(
        "durations",
        _whole("id"),
        _whole("trial_id", nullable=True),
        _text("run_id"),
        _text("algorithm"),
        _text("variant"),
        _text("task"),
        _text("quantity"),
        _number("value"),
        _whole("stack_size"),
        _whole("concurrent_stacks"),
        _text("device"),
        _whole("threads"),
        _text("runner"),
        _flag("exclusive"),
        _time("measured_at"),
        sa.PrimaryKeyConstraint("id", name="pk_durations"),
        sa.UniqueConstraint(
            "algorithm",
            "variant",
            "task",
            "quantity",
            "trial_id",
            "run_id",
            "measured_at",
            name="uq_durations",
        ),
        _reference("durations", "trial_id", "trials.id"),
        _reference("durations", "run_id", "runs.run_id"),
    )
    op.create_index("ix_durations_trial_id", "durations", ["trial_id"])


def _failures() -> None:
    op.create_table(
        "failures",
        _whole("id"),
        _whole("trial_id"),
        _text("run_id"),
        _whole("attempt"),
        _large("step"),
        _text("error"),
        _text("message"),
        _text("traceback"),
        _json("last_metrics"),
        _time("failed_at"),
        sa.PrimaryKeyConstraint("id", name="pk_failures"),
        sa.UniqueConstraint("trial_id", "attempt", "failed_at", name="uq_failures"),
        _reference("failures", "trial_id", "trials.id"),
        _reference("failures", "run_id", "runs.run_id"),
    )


def _weights() -> None:
    op.create_table(
        "weights",
        _whole("id"),
        _whole("trial_id"),
        _whole("attempt"),
        _text("role"),
        _text("path"),
        _text("sha256"),
        _large("size_bytes"),
        sa.PrimaryKeyConstraint("id", name="pk_weights"),
        sa.UniqueConstraint("trial_id", "attempt", "role", name="uq_weights"),
        _reference("weights", "trial_id", "trials.id"),
    )
