"""Work is claimed by rows, and every stretch of work says where and with what it was done.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Of several stretches of work on a trial the views show the last one of the run and the attempt that count:
# rows that were merged in from another store are younger.
_LAST_EXECUTION = """
LEFT JOIN executions ON executions.id = (
    SELECT MAX(latest.id) FROM executions AS latest
    WHERE latest.trial_id = trials.id AND latest.attempt = trials.attempt AND latest.run_id = trials.run_id
)
"""

_SCORES = f"""
CREATE VIEW scores AS
SELECT trials.id AS trial_id, algorithm, variant, task, task_version, physics, seed, state, protocol,
       score, score_is_nan, budget, episodes, reduced,
       datasets.name AS dataset, datasets.sha256 AS dataset_sha256, verification, replay,
       config_hash, trials.attempt AS attempt, training_seconds, evaluation_seconds,
       trials.peak_memory_bytes AS peak_memory_bytes,
       trials.started_at AS started_at, finished_at,
       trials.run_id AS run_id, code_version, code_commit, code_dirty,
       hostname, device, threads, trials.stack AS stack
FROM trials
JOIN datasets ON datasets.id = trials.dataset_id
JOIN runs ON runs.run_id = trials.run_id
{_LAST_EXECUTION}
"""

_PROVENANCE = f"""
CREATE VIEW provenance AS
SELECT trials.id AS trial_id, algorithm, variant, task, seed, state, trials.attempt AS attempt,
       config_hash, config,
       datasets.name AS dataset, datasets.sha256 AS dataset_sha256, datasets.rows AS dataset_rows,
       verification, replay, task_version, physics, simulator,
       trials.run_id AS run_id, command, code_version, code_commit, code_dirty, code_diff_sha256, code_sha256,
       COALESCE(executions.packages, runs.packages) AS packages,
       hostname, cpu, device, gpu_driver, threads, runner, precision, trials.stack AS stack,
       (SELECT COUNT(*) FROM executions AS each WHERE each.trial_id = trials.id) AS executions,
       trials.started_at AS started_at, finished_at, training_seconds, evaluation_seconds,
       trials.peak_memory_bytes AS peak_memory_bytes
FROM trials
JOIN datasets ON datasets.id = trials.dataset_id
JOIN runs ON runs.run_id = trials.run_id
{_LAST_EXECUTION}
"""


def upgrade() -> None:
    """Add the two tables and the new columns; the views gain columns at their ends."""
    op.add_column("trials", sa.Column("stack", sa.JSON(), nullable=True))
    op.create_index("ix_trials_config_hash", "trials", ["config_hash"])
    # Written out, because Alembic cannot add a column with a reference on SQLite.
    op.execute("ALTER TABLE weights ADD COLUMN run_id VARCHAR CONSTRAINT fk_weights_run_id REFERENCES runs")
    _claims()
    _executions()
    op.execute("DROP VIEW scores")
    op.execute(_SCORES)
    op.execute(_PROVENANCE)


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
