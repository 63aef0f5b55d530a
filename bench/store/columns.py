"""How values that SQL has no portable word for are kept: NaN, infinity, times with a zone.

SQLite turns NaN into NULL, and an average leaves NULL out, so one diverged seed would silently improve a
mean. Therefore every number that may be NaN has a companion `<name>_is_nan`, and a NaN is kept as minus
infinity with the companion set. A plain `AVG(score)` over it then gives -Infinity, which nobody takes for a
result; `score > 90` leaves it out, and so does `WHERE NOT score_is_nan`. Infinities are kept as they are, and
NULL means that there is no number at all. Both databases are treated alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC (SQLite has no zones: its text is UTC too)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a time without a zone is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; make it with datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def number_columns(name: str, value: float | None) -> dict[str, Any]:
    """The two columns in which a number is kept; None stays NULL."""
    is_nan = value is not None and math.isnan(value)
    return {name: -math.inf if is_nan else value, f"{name.rstrip('_')}_is_nan": is_nan}


def number_from(value: float | None, is_nan: bool) -> float | None:
    """The number that `number_columns` stored."""
    return math.nan if is_nan else value


def metrics_to_json(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Metrics as JSON that every parser reads: `NaN`, `Infinity` and `-Infinity` become text."""
    return {name: value if math.isfinite(value) else _word(value) for name, value in metrics.items()}


def metrics_from_json(stored: Mapping[str, float | str]) -> dict[str, float]:
    """The metrics that `metrics_to_json` stored."""
    return {name: float(value) for name, value in stored.items()}


def storable(text: str) -> str:
    """The text with what not every database keeps written as escapes: the NUL character, broken Unicode.

    Messages of errors may hold them, as parts of a file's name or content.
    """
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
