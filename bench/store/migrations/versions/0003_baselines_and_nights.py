"""Frozen baselines with people's notes, and what every night found when it was held against one.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make six tables."""
    _baselines()
    _baseline_scores()
    _notes()
    _nights()
    _night_cells()
    _night_verdicts()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _number(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _flag(name: str, *, nullable: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=nullable)


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _baselines() -> None:
    op.create_table(
        "baselines",
        _whole("id"),
        _text("name"),
        _text("run_id"),
        _time("frozen_at"),
        _text("reason"),
        _text("author"),
        _json("configuration"),
        _text("configuration_hash"),
        _json("fingerprints"),
        _json("pace"),
        _key("baselines", "id"),
        sa.UniqueConstraint("name", name="uq_baselines"),
        _reference("baselines", "run_id", "runs.run_id"),
    )


def _baseline_scores() -> None:
    op.create_table(
        "baseline_scores",
        _whole("baseline_id"),
        _text("algorithm"),
        _text("variant"),
        _text("task"),
        _text("config_hash"),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        _number("score"),
        _flag("score_is_nan"),
        _key("baseline_scores", "baseline_id", "algorithm", "variant", "task", "config_hash", "seed"),
        _reference("baseline_scores", "baseline_id", "baselines.id"),
    )


def _notes() -> None:
    op.create_table(
        "notes",
        _whole("id"),
        _whole("baseline_id"),
        _time("written_at"),
        _text("author"),
        _text("text"),
        _json("fingerprints", nullable=True),
        _key("notes", "id"),
        sa.UniqueConstraint("baseline_id", "written_at", "author", name="uq_notes"),
        _reference("notes", "baseline_id", "baselines.id"),
    )


def _nights() -> None:
    op.create_table(
        "nights",
        _whole("id"),
        _text("run_id"),
        _whole("baseline_id"),
        sa.Column("date", sa.Date(), nullable=False),
        _text("configuration_hash"),
        _json("seeds"),
        _time("started_at"),
        _time("ended_at", nullable=True),
        _text("outcome", nullable=True),
        _json("report", nullable=True),
        _key("nights", "id"),
        sa.UniqueConstraint("run_id", name="uq_nights"),
        sa.CheckConstraint("outcome IN ('green', 'red')", name=op.f("ck_nights_outcome")),
        _reference("nights", "run_id", "runs.run_id"),
        _reference("nights", "baseline_id", "baselines.id"),
    )


def _night_cells() -> None:
    op.create_table(
        "night_cells",
        _whole("night_id"),
        _text("algorithm"),
        _text("variant"),
        _text("task"),
        _text("config_hash"),
        _text("status"),
        _whole("n"),
        _whole("lost"),
        _number("mean", nullable=True),
        _whole("baseline_n"),
        _number("baseline_mean", nullable=True),
        _number("baseline_deviation", nullable=True),
        _number("alarm_below", nullable=True),
        _number("p_below", nullable=True),
        _whole("confirmation_n"),
        _number("confirmation_mean", nullable=True),
        _flag("confirmed", nullable=True),
        _number("drift", nullable=True),
        _flag("drifting"),
        _text("remark"),
        _key("night_cells", "night_id", "algorithm", "variant", "task", "config_hash"),
        _reference("night_cells", "night_id", "nights.id"),
    )


def _night_verdicts() -> None:
    op.create_table(
        "night_verdicts",
        _whole("night_id"),
        _text("paper"),
        _text("algorithm"),
        _text("task"),
        _text("protocol"),
        _text("outcome"),
        _key("night_verdicts", "night_id", "paper", "algorithm", "task", "protocol"),
        _reference("night_verdicts", "night_id", "nights.id"),
    )
