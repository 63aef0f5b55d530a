"""The tables. Natural keys are unique; units stand in the names; no result overwrites another.

A change here needs a migration; a test compares the two.
"""

from __future__ import annotations

from datetime import date as Day
from datetime import datetime
from typing import Any, ClassVar, TypeAlias, get_args

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    Row,
    Table,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench import records
from bench.records import CONTENT_FITS, FAILED, FINISHED, MISMATCH, PLANNED, RUNNING, UNVERIFIED, VERIFIED
from bench.store import columns
from bench.store.columns import Flag, Json, LargeWhole, Number, Text, UtcDateTime, Whole

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"
"""A row of whatever columns were asked for."""

STATES = (PLANNED, RUNNING, FINISHED, FAILED)
VERIFICATIONS = (VERIFIED, CONTENT_FITS, UNVERIFIED, MISMATCH)
REPLAYS = ("d4rl", "modern", "neither", "unverified")

# Types of the columns, and of those of the views, by what they hold.
State = Text(STATES)
Verification = Text(VERIFICATIONS)
Replay = Text(REPLAYS)
Count = Whole(0)
LargeCount = LargeWhole(0)
Ordinal = Whole(1)
Seed = LargeWhole()
Seconds = Number(0)
AnyNumber = Number(infinite=True)
Configuration = Json(columns.is_configuration, "the configuration of a trial as JSON")
Settings = Json(columns.is_settings, "names with plain values as JSON")
Hardware = Json(columns.is_hardware, "the description of a machine as JSON")
Precision = Text(get_args(records.Precision))
Metrics = Json(columns.is_metrics, "names with numbers as JSON")
Seeds = Json(columns.is_seeds, "a list of training seeds as JSON", none_as_null=True)
Texts = Json(columns.is_texts, "a list of texts as JSON")
Mapping = Json(columns.is_mapping, "an object as JSON")
OptionalMapping = Json(columns.is_mapping, "an object as JSON", none_as_null=True)
Phases = Json(columns.is_phases, "the phases of a method as JSON", none_as_null=True)
Mappings = Json(columns.is_list_of_mappings, "a list of objects as JSON")


class Base(DeclarativeBase):
    """Common types and constraint names, the same on every database."""

    __table__: ClassVar[Table]
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
        str: Text,
        int: Whole,
        float: Number,
        bool: Flag,
        datetime: UtcDateTime,
        Day: columns.Day,
        list[int]: Seeds,
        list[str]: Texts,
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
    packages: Mapped[dict[str, Any]] = mapped_column(Settings)
    hardware: Mapped[dict[str, Any]] = mapped_column(Hardware)


class Dataset(Base):
    """One file of data. What is known about it may grow; its rows and hash may not change."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("name", "sha256"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    rows: Mapped[int] = mapped_column(LargeCount)
    verification: Mapped[str] = mapped_column(Verification)
    replay: Mapped[str] = mapped_column(Replay)


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
    seed: Mapped[int] = mapped_column(Seed)
    config_hash: Mapped[str]
    config: Mapped[dict[str, Any]] = mapped_column(Configuration)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    task_version: Mapped[int] = mapped_column(Count)
    physics: Mapped[str]
    budget: Mapped[float] = mapped_column(Number(0))
    protocol: Mapped[str]
    episodes: Mapped[int] = mapped_column(Count)
    """Per evaluation; 0 of imported scores whose owner does not say it."""
    reduced: Mapped[list[str]]
    state: Mapped[str] = mapped_column(State)
    attempt: Mapped[int] = mapped_column(Ordinal)
    score: Mapped[float | None] = mapped_column(AnyNumber)
    score_is_nan: Mapped[bool]
    training_seconds: Mapped[float | None] = mapped_column(Seconds)
    evaluation_seconds: Mapped[float | None] = mapped_column(Seconds)
    peak_memory_bytes: Mapped[int | None] = mapped_column(LargeCount)
    planned_at: Mapped[datetime]
    stack: Mapped[list[int] | None]
    """Training seeds it is trained side by side with, in their order; NULL before it is first claimed."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    phases: Mapped[list[dict[str, Any]] | None] = mapped_column(Phases)
    """Of its method; NULL where it was planned before they were noted."""


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
    iterations_done: Mapped[int | None] = mapped_column(LargeCount)
    iterations_total: Mapped[int | None] = mapped_column(LargeCount)
    iterations_per_second: Mapped[float | None] = mapped_column(Seconds)
    seconds_left: Mapped[float | None] = mapped_column(Seconds)


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
    attempt: Mapped[int] = mapped_column(Ordinal)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(Text(("finished", "stopped", "failed")))
    from_iteration: Mapped[int] = mapped_column(LargeCount)
    to_iteration: Mapped[int | None] = mapped_column(LargeCount)
    stack: Mapped[list[int]]
    hostname: Mapped[str]
    cpu: Mapped[str]
    device: Mapped[str]
    gpu_driver: Mapped[str | None]
    threads: Mapped[int] = mapped_column(Ordinal)
    runner: Mapped[str]
    precision: Mapped[dict[str, Any]] = mapped_column(Settings)
    """Settings of torch that change last digits."""
    packages: Mapped[dict[str, Any]] = mapped_column(Settings)
    simulator: Mapped[str]
    code_sha256: Mapped[str]
    matmul_precision: Mapped[str | None] = mapped_column(Precision)
    """That held; NULL where it was not noted; so in `durations`."""
    peak_memory_bytes: Mapped[int | None] = mapped_column(LargeCount)


class Evaluation(Base):
    """One evaluation of one trial; its episodes are rows of their own."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("trial_id", "attempt", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    attempt: Mapped[int] = mapped_column(Ordinal)
    number: Mapped[int]
    step: Mapped[int] = mapped_column(LargeWhole())
    physics: Mapped[str]
    seconds: Mapped[float] = mapped_column(Seconds)
    metrics: Mapped[dict[str, Any]] = mapped_column(Metrics)
    evaluated_at: Mapped[datetime]


class Episode(Base):
    """One episode: undiscounted return, steps, normalised score. Millions of rows, so without a rowid."""

    __tablename__ = "episodes"
    __table_args__ = ({"sqlite_with_rowid": False},)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Ordinal, primary_key=True)
    return_: Mapped[float] = mapped_column(AnyNumber)
    return_is_nan: Mapped[bool]
    score: Mapped[float] = mapped_column(AnyNumber)
    score_is_nan: Mapped[bool]
    length: Mapped[int] = mapped_column(Count)


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
    value: Mapped[float] = mapped_column(Number)
    stack_size: Mapped[int] = mapped_column(Ordinal)
    concurrent_stacks: Mapped[int] = mapped_column(Count)
    device: Mapped[str]
    threads: Mapped[int] = mapped_column(Ordinal)
    runner: Mapped[str]
    exclusive: Mapped[bool]
    measured_at: Mapped[datetime]
    matmul_precision: Mapped[str | None] = mapped_column(Precision)


class Failure(Base):
    """Why an attempt at a trial ended without a score."""

    __tablename__ = "failures"
    __table_args__ = (UniqueConstraint("trial_id", "attempt", "failed_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"))
    attempt: Mapped[int] = mapped_column(Ordinal)
    step: Mapped[int] = mapped_column(LargeCount)
    error: Mapped[str]
    message: Mapped[str]
    traceback: Mapped[str]
    last_metrics: Mapped[dict[str, Any]] = mapped_column(Metrics)
    failed_at: Mapped[datetime]


class Weights(Base):
    """A file of weights in the store's folder of the run's machine."""

    __tablename__ = "weights"
    __table_args__ = (UniqueConstraint("trial_id", "attempt", "role"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.run_id"))
    attempt: Mapped[int] = mapped_column(Ordinal)
    role: Mapped[str]
    path: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(LargeCount)


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
    configuration: Mapped[dict[str, Any]] = mapped_column(Mapping)
    configuration_hash: Mapped[str]
    fingerprints: Mapped[dict[str, Any]] = mapped_column(Mapping)
    pace: Mapped[list[dict[str, Any]]] = mapped_column(Mappings)


class BaselineScore(Base):
    """The score of a trial, copied when the baseline was frozen. The trial is named by its natural key."""

    __tablename__ = "baseline_scores"
    baseline_id: Mapped[int] = mapped_column(ForeignKey("baselines.id"), primary_key=True)
    algorithm: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    config_hash: Mapped[str] = mapped_column(primary_key=True)
    seed: Mapped[int] = mapped_column(Seed, primary_key=True)
    score: Mapped[float] = mapped_column(AnyNumber)
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
    fingerprints: Mapped[dict[str, Any] | None] = mapped_column(OptionalMapping)


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
    outcome: Mapped[str | None] = mapped_column(Text(("green", "red")))
    report: Mapped[dict[str, Any] | None] = mapped_column(OptionalMapping)


class NightCell(Base):
    """A canary cell in one night, held against the baseline. A number that there is not is NULL."""

    __tablename__ = "night_cells"
    night_id: Mapped[int] = mapped_column(ForeignKey("nights.id"), primary_key=True)
    algorithm: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    config_hash: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    n: Mapped[int] = mapped_column(Count)
    lost: Mapped[int] = mapped_column(Count)
    mean: Mapped[float | None] = mapped_column(AnyNumber)
    baseline_n: Mapped[int] = mapped_column(Count)
    baseline_mean: Mapped[float | None] = mapped_column(AnyNumber)
    baseline_deviation: Mapped[float | None] = mapped_column(Number(0))
    alarm_below: Mapped[float | None] = mapped_column(AnyNumber)
    p_below: Mapped[float | None] = mapped_column(Number(0))
    confirmation_n: Mapped[int] = mapped_column(Count)
    confirmation_mean: Mapped[float | None] = mapped_column(AnyNumber)
    confirmed: Mapped[bool | None]
    drift: Mapped[float | None] = mapped_column(AnyNumber)
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
