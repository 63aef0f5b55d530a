"""Work is claimed by rows, and every stretch of work says where and with what it was done.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the two tables and the new columns."""
    op.add_column("trials", sa.Column("stack", sa.JSON(), nullable=True))
    op.create_index("ix_trials_config_hash", "trials", ["config_hash"])
    # Written out, because Alembic cannot add a column with a reference on SQLite.
    op.execute("ALTER TABLE weights ADD COLUMN run_id VARCHAR CONSTRAINT fk_weights_run_id REFERENCES runs")
    _claims()
    _executions()


def _claims() -> None:
    op.create_table(
        "claims",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activity", sa.String(), nullable=True),
        sa.Column("iterations_done", sa.BigInteger(), nullable=True),
        sa.Column("iterations_total", sa.BigInteger(), nullable=True),
        sa.Column("iterations_per_second", sa.Double(), nullable=True),
        sa.Column("seconds_left", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("trial_id", name="pk_claims"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_claims_trial_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_claims_run_id"),
    )
    op.create_index("ix_claims_run_id", "claims", ["run_id"])


def _executions() -> None:
    op.create_table(
        "executions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("from_iteration", sa.BigInteger(), nullable=False),
        sa.Column("to_iteration", sa.BigInteger(), nullable=True),
        sa.Column("stack", sa.JSON(), nullable=False),
        sa.Column("hostname", sa.String(), nullable=False),
        sa.Column("cpu", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("gpu_driver", sa.String(), nullable=True),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("runner", sa.String(), nullable=False),
        sa.Column("precision", sa.JSON(), nullable=False),
        sa.Column("packages", sa.JSON(), nullable=False),
        sa.Column("simulator", sa.String(), nullable=False),
        sa.Column("code_sha256", sa.String(), nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_executions"),
        sa.UniqueConstraint("trial_id", "attempt", "started_at", name="uq_executions"),
        sa.CheckConstraint(
            "outcome IN ('finished', 'stopped', 'failed')", name=op.f("ck_executions_outcome")
        ),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_executions_trial_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_executions_run_id"),
    )
