"""Durations, times, sizes and numbers as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """`0:02:10`, `2 days, 3:00:00`; below ten seconds with one digit more: `2.5 s`."""
    return f"{seconds:.1f} s" if 0 <= seconds < 10 else str(timedelta(seconds=round(seconds)))


def roughly(seconds: float) -> str:
    """`40 s`, `25 min`, `7.5 h`, `18 days`: an estimate has no more digits."""
    for unit, length, until in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{seconds / length:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86_400:,.0f} days"


def moment(time: datetime) -> str:
    """`2025-03-01 12:00:00 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(number: float) -> str:
    """`1.2 GiB`."""
    power = min(int(math.log(max(number, 1), 1024)), len(_UNITS) - 1)
    return f"{number / 1024**power:.{1 if power else 0}f} {_UNITS[power]}"


def count(number: int, noun: str) -> str:
    """`1 trial`, `2,000 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(text: str, length: int) -> str:
    """The text's first line, with an ellipsis where more follows or it is longer than `length`."""
    line = text.partition("\n")[0]
    if line == text and len(line) <= length:
        return text
    return f"{line[: length - 1]}…"
