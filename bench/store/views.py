"""The views that people's SQL may rely on, with their types. Columns may be added, never renamed.

Migrations make them; a test compares the columns.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Integer, MetaData, String, Table

from bench.store.columns import UtcDateTime

_metadata = MetaData()

SCORES = Table(
    "scores",
    _metadata,
    Column("trial_id", Integer),
    Column("algorithm", String),
    Column("variant", String),
    Column("task", String),
    Column("task_version", Integer),
    Column("physics", String),
    Column("seed", BigInteger),
    Column("state", String),
    Column("protocol", String),
    Column("score", Double),
    Column("score_is_nan", Boolean),
    Column("budget", Double),
    Column("episodes", Integer),
    Column("reduced", JSON),
    Column("dataset", String),
    Column("dataset_sha256", String),
    Column("verification", String),
    Column("replay", String),
    Column("config_hash", String),
    Column("attempt", Integer),
    Column("training_seconds", Double),
    Column("evaluation_seconds", Double),
    Column("peak_memory_bytes", BigInteger),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("run_id", String),
    Column("code_version", String),
    Column("code_commit", String),
    Column("code_dirty", Boolean),
    Column("hostname", String),
    Column("device", String),
    Column("threads", Integer),
    Column("stack", JSON),
)
"""One row per trial, whatever its state; `score` is NULL until it has one."""

PROVENANCE = Table(
    "provenance",
    _metadata,
    Column("trial_id", Integer),
    Column("algorithm", String),
    Column("variant", String),
    Column("task", String),
    Column("seed", BigInteger),
    Column("state", String),
    Column("attempt", Integer),
    Column("config_hash", String),
    Column("config", JSON),
    Column("dataset", String),
    Column("dataset_sha256", String),
    Column("dataset_rows", BigInteger),
    Column("verification", String),
    Column("replay", String),
    Column("task_version", Integer),
    Column("physics", String),
    Column("simulator", String),
    Column("run_id", String),
    Column("command", String),
    Column("code_version", String),
    Column("code_commit", String),
    Column("code_dirty", Boolean),
    Column("code_diff_sha256", String),
    Column("code_sha256", String),
    Column("packages", JSON),
    Column("hostname", String),
    Column("cpu", String),
    Column("device", String),
    Column("gpu_driver", String),
    Column("threads", Integer),
    Column("runner", String),
    Column("precision", JSON),
    Column("stack", JSON),
    Column("executions", Integer),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("training_seconds", Double),
    Column("evaluation_seconds", Double),
    Column("peak_memory_bytes", BigInteger),
)
"""One row per trial: all that its numbers depend on, as its last stretch of work found it."""

TIMINGS = Table(
    "timings",
    _metadata,
    Column("trial_id", Integer),
    Column("algorithm", String),
    Column("variant", String),
    Column("task", String),
    Column("seed", BigInteger),
    Column("quantity", String),
    Column("value", Double),
    Column("stack_size", Integer),
    Column("concurrent_stacks", Integer),
    Column("device", String),
    Column("threads", Integer),
    Column("runner", String),
    Column("exclusive", Boolean),
    Column("measured_at", UtcDateTime),
    Column("run_id", String),
    Column("code_version", String),
    Column("code_commit", String),
    Column("code_dirty", Boolean),
)
"""One row per measured duration; `trial_id` and `seed` are NULL for `bench speed`."""

VIEWS = (SCORES, PROVENANCE, TIMINGS)
