"""The tables. Natural keys are unique; units stand in the names; no result overwrites another.

A change here needs a migration; a test compares the two.
"""

from __future__ import annotations

from datetime import date as Day
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.records import FAILED, FINISHED, PLANNED, RUNNING
from bench.store.columns import UtcDateTime

STATES = (PLANNED, RUNNING, FINISHED, FAILED)


class Base(DeclarativeBase):
    """Common types and constraint names, the same on every database."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own way)
        str: String,
        list[int]: JSON(none_as_null=True),
        float: Double,
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
    }


class Run(Base):
    """One invocation of a command that writes results."""

    __tablename__ = "runs"
    run_id: Mapped[str] = mapped_column(primary_key=True)
    command: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    code_version: Mapped[str]
    code_commit: Mapped[str | None]
    code_dirty: Mapped[bool | None]
    code_diff_sha256: Mapped[str | None]
    packages: Mapped[dict[str, Any]]
    hardware: Mapped[dict[str, Any]]


class Dataset(Base):
    """One file of data. What is known about it may grow; its rows and hash may not change."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("name", "sha256"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    rows: Mapped[int] = mapped_column(BigInteger)
    verification: Mapped[str]
    replay: Mapped[str]


class Trial(Base):
    """A cell with one training seed. `run_id` is the run that planned it, then ran it, then finished it.

    `attempt` counts from 1 and grows when a failed trial is asked for again; earlier attempts stay.
    """

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("algorithm", "variant", "task", "seed", "config_hash"),
        Index(None, "config_hash"),
        CheckConstraint("state IN ('planned', 'running', 'finished', 'failed')", name="state"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    algorithm: Mapped[str]
    variant: Mapped[str]
    task: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    config_hash: Mapped[str]
    config: Mapped[dict[str, Any]]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    task_version: Mapped[int]
    physics: Mapped[str]
    budget: Mapped[float]
    protocol: Mapped[str]
    episodes: Mapped[int]
    reduced: Mapped[list[str]]
    state: Mapped[str]
    attempt: Mapped[int]
    score: Mapped[float | None]
    score_is_nan: Mapped[bool]
    training_seconds: Mapped[float | None]
    evaluation_seconds: Mapped[float | None]
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    planned_at: Mapped[datetime]
    stack: Mapped[list[int] | None]
    """Training seeds it is trained side by side with, in their order; NULL before it is first claimed."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Claim(Base):
    """Who works on a trial at present, and how far it is; gone when the trial ends or is let go of.

    `bench.store.claims` says when it is still held. Times are the database's own: a server's for all drivers,
    on SQLite each machine's.
    """

    __tablename__ = "claims"
    __table_args__ = (Index(None, "run_id"),)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    claimed_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    activity: Mapped[str | None]
    iterations_done: Mapped[int | None] = mapped_column(BigInteger)
    iterations_total: Mapped[int | None] = mapped_column(BigInteger)
    iterations_per_second: Mapped[float | None]
    seconds_left: Mapped[float | None]


class Execution(Base):
    """A stretch of work on a trial in one process, with all that its numbers may depend on.

    A trial that was cut off and continued has several. Without an outcome it runs, or was cut off.
    """

    __tablename__ = "executions"
    __table_args__ = (
        UniqueConstraint("trial_id", "attempt", "started_at"),
        CheckConstraint("outcome IN ('finished', 'stopped', 'failed')", name="outcome"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    attempt: Mapped[int]
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    from_iteration: Mapped[int] = mapped_column(BigInteger)
    to_iteration: Mapped[int | None] = mapped_column(BigInteger)
    stack: Mapped[list[int]]
    hostname: Mapped[str]
    cpu: Mapped[str]
    device: Mapped[str]
    gpu_driver: Mapped[str | None]
    threads: Mapped[int]
    runner: Mapped[str]
    precision: Mapped[dict[str, Any]]
    packages: Mapped[dict[str, Any]]
    simulator: Mapped[str]
    code_sha256: Mapped[str]
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)


class Evaluation(Base):
    """One evaluation of one trial; its episodes are rows of their own."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("trial_id", "attempt", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    attempt: Mapped[int]
    number: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    physics: Mapped[str]
    seconds: Mapped[float]
    metrics: Mapped[dict[str, Any]]
    evaluated_at: Mapped[datetime]


class Episode(Base):
    """One episode: undiscounted return, steps, normalised score. Millions of rows, so without a rowid."""

    __tablename__ = "episodes"
    __table_args__ = ({"sqlite_with_rowid": False},)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    return_: Mapped[float]
    return_is_nan: Mapped[bool]
    score: Mapped[float]
    score_is_nan: Mapped[bool]
    length: Mapped[int]


class Duration(Base):
    """One measured duration (the view `timings` shows it with its trial); no trial for synthetic data."""

    __tablename__ = "durations"
    __table_args__ = (
        UniqueConstraint("algorithm", "variant", "task", "quantity", "trial_id", "run_id", "measured_at"),
        Index(None, "trial_id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int | None] = mapped_column(ForeignKey("trials.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    algorithm: Mapped[str]
    variant: Mapped[str]
    task: Mapped[str]
    quantity: Mapped[str]
    value: Mapped[float]
    stack_size: Mapped[int]
    concurrent_stacks: Mapped[int]
    device: Mapped[str]
    threads: Mapped[int]
    runner: Mapped[str]
    exclusive: Mapped[bool]
    measured_at: Mapped[datetime]


class Failure(Base):
    """Why an attempt at a trial ended without a score."""

    __tablename__ = "failures"
    __table_args__ = (UniqueConstraint("trial_id", "attempt", "failed_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    attempt: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str]
    message: Mapped[str]
    traceback: Mapped[str]
    last_metrics: Mapped[dict[str, Any]]
    failed_at: Mapped[datetime]


class Weights(Base):
    """A file of weights in the store's folder of the run's machine."""

    __tablename__ = "weights"
    __table_args__ = (UniqueConstraint("trial_id", "attempt", "role"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.run_id"))
    attempt: Mapped[int]
    role: Mapped[str]
    path: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class Baseline(Base):
    """A frozen state of the canary cells that nights are held against; never changed."""

    __tablename__ = "baselines"
    __table_args__ = (UniqueConstraint("name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    frozen_at: Mapped[datetime]
    reason: Mapped[str]
    author: Mapped[str]
    configuration: Mapped[dict[str, Any]]
    configuration_hash: Mapped[str]
    fingerprints: Mapped[dict[str, Any]]
    pace: Mapped[list[dict[str, Any]]] = mapped_column(JSON)


class BaselineScore(Base):
    """The score of a trial, copied when the baseline was frozen. The trial is named by its natural key."""

    __tablename__ = "baseline_scores"
    baseline_id: Mapped[int] = mapped_column(ForeignKey("baselines.id"), primary_key=True)
    algorithm: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    config_hash: Mapped[str] = mapped_column(primary_key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    score: Mapped[float]
    score_is_nan: Mapped[bool]


class Note(Base):
    """What a person wrote about a baseline; with fingerprints it excuses an exact layer that differs so."""

    __tablename__ = "notes"
    __table_args__ = (UniqueConstraint("baseline_id", "written_at", "author"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    baseline_id: Mapped[int] = mapped_column(ForeignKey("baselines.id"))
    written_at: Mapped[datetime]
    author: Mapped[str]
    text: Mapped[str]
    fingerprints: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Night(Base):
    """One invocation of `bench nightly`. Without an outcome it goes on, or was cut off."""

    __tablename__ = "nights"
    __table_args__ = (
        UniqueConstraint("run_id"),
        CheckConstraint("outcome IN ('green', 'red')", name="outcome"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    baseline_id: Mapped[int] = mapped_column(ForeignKey("baselines.id"))
    date: Mapped[Day]
    configuration_hash: Mapped[str]
    seeds: Mapped[list[int]]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class NightCell(Base):
    """A canary cell in one night, held against the baseline. A number that there is not is NULL."""

    __tablename__ = "night_cells"
    night_id: Mapped[int] = mapped_column(ForeignKey("nights.id"), primary_key=True)
    algorithm: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    config_hash: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    n: Mapped[int]
    lost: Mapped[int]
    mean: Mapped[float | None]
    baseline_n: Mapped[int]
    baseline_mean: Mapped[float | None]
    baseline_deviation: Mapped[float | None]
    alarm_below: Mapped[float | None]
    p_below: Mapped[float | None]
    confirmation_n: Mapped[int]
    confirmation_mean: Mapped[float | None]
    confirmed: Mapped[bool | None]
    drift: Mapped[float | None]
    drifting: Mapped[bool]
    remark: Mapped[str]


class NightVerdict(Base):
    """What a night's check against the papers said of one printed number."""

    __tablename__ = "night_verdicts"
    night_id: Mapped[int] = mapped_column(ForeignKey("nights.id"), primary_key=True)
    paper: Mapped[str] = mapped_column(primary_key=True)
    algorithm: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    protocol: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]
