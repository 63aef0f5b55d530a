"""Holds what a section finds against its record, and both against the list of intended differences."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import yaml

from tests.golden.files import INTENDED, read_record

TOLERANCE = 1e-6
"""Of losses and actions after some 40 iterations in float64, between two machines or versions of torch."""
ABSENT = "(absent)"
SHOWN_OF_TEXT = 12
"""Lines of a differing text that are printed."""


@dataclass(frozen=True)
class Difference:
    """One entry of a section that is not as recorded."""

    key: str
    old: Any
    new: Any

    def lines(self) -> Iterator[str]:
        """Which entry, what it was, what it is."""
        yield self.key
        if isinstance(self.old, list) and isinstance(self.new, list):
            # Entries of JSON are no texts.
            old, new = ([str(entry) for entry in side] for side in (self.old, self.new))
            changes = difflib.unified_diff(old, new, lineterm="", n=0)
            told = [line for line in changes if not line.startswith(("---", "+++", "@@"))]
            yield from (f"    {line}" for line in told[:SHOWN_OF_TEXT])
            if len(told) > SHOWN_OF_TEXT:
                yield f"    ... and {len(told) - SHOWN_OF_TEXT} lines more"
        else:
            yield f"    - {self._short(self.old)}"
            yield f"    + {self._short(self.new)}"

    @staticmethod
    def _short(value: Any) -> str:
        text = str(value)
        return text if len(text) <= 300 else f"{text[:300]}..."


@dataclass(frozen=True)
class Intended:
    """A difference that is meant.

    Without `was` the entries that `key` matches may be anything; with it they must be what the record becomes
    when `was`, a regular expression, is replaced by `now` in every line.
    """

    section: str
    key: str
    reason: str
    was: str | None = None
    now: str = ""

    def allows(self, difference: Difference) -> bool:
        """Whether it is this difference, and nothing besides."""
        if not fnmatchcase(difference.key, self.key):
            return False
        return self.was is None or self._changed(difference.old) == difference.new

    def _changed(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._changed(line) for line in value]
        return re.sub(self.was, self.now, value) if self.was and isinstance(value, str) else value


@dataclass(frozen=True)
class Result:
    """Of one section."""

    unexpected: tuple[Difference, ...]
    intended: tuple[tuple[Difference, Intended], ...]
    gone: tuple[Intended, ...]
    """Listed, but there is no such difference."""

    @property
    def failed(self) -> bool:
        """Whether somebody has to do something."""
        return bool(self.unexpected or self.gone)

    @property
    def headline(self) -> str:
        """In a few words."""
        if not self.failed:
            return (
                f"as recorded, but for {len(self.intended)} as intended" if self.intended else "as recorded"
            )
        return f"{len(self.unexpected)} differences, {len(self.intended)} as intended"

    def lines(self, most: int | None = None) -> Iterator[str]:
        """All that is to be told, at most so many lines of differences."""
        told = [line for difference in self.unexpected for line in difference.lines()]
        yield from told[:most]
        if most is not None and len(told) > most:
            yield f"... and {len(told) - most} lines more (--all-lines)"
        reasons: dict[str, int] = {}
        for _, listed in self.intended:
            reasons[listed.reason] = reasons.get(listed.reason, 0) + 1
        for reason, count in reasons.items():
            yield f"intended ({count}): {reason}"
        for listed in self.gone:
            yield f"no longer differs, remove it from intended.yaml: {listed.section} {listed.key}"


def compared(section: str, found: dict[str, Any]) -> Result:
    """What differs from the record of a section."""
    record, found = read_record(section), dict(found)
    if record.pop("machine", None) != found.pop("machine", None):
        record, found = _inexact(record), _inexact(found)
    differences = list(differing(record, found))
    listed = [entry for entry in intended_differences() if entry.section == section]
    unexpected, meant = [], []
    for difference in differences:
        allowing = next((entry for entry in listed if entry.allows(difference)), None)
        if allowing is None:
            unexpected.append(difference)
        else:
            meant.append((difference, allowing))
    used = {id(entry) for _, entry in meant}
    gone = tuple(entry for entry in listed if id(entry) not in used)
    return Result(tuple(unexpected), tuple(meant), gone)


def _inexact(record: dict[str, Any]) -> dict[str, Any]:
    """A record as it is compared between two machines.

    Of trainings in float64 losses and actions, within `TOLERANCE`; of runs, which train in float32 and then
    act on what they learnt, no more than that they end well.
    """
    return {name: _tolerant(value) for name, value in record.items() if isinstance(value, dict)}


def _tolerant(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tolerant(inner) for name, inner in value.items() if not name.startswith("weights ")}
    if isinstance(value, list) and value:
        return [Inexact(float.fromhex(number)) for number in value]
    return value


class Inexact(float):
    """A number that equals another within `TOLERANCE`, as a share of the larger or, below 1, as it is."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and math.isclose(self, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)

    __hash__ = float.__hash__


@cache
def intended_differences() -> tuple[Intended, ...]:
    """What `intended.yaml` lists."""
    return tuple(Intended(**entry) for entry in yaml.safe_load(INTENDED.read_text("utf-8")) or ())


def differing(old: Any, new: Any, key: str = "") -> Iterator[Difference]:
    """Entries that are not the same; dictionaries, and lists of what is no text, entry by entry."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            below = f"{key} / {name}" if key else name
            yield from differing(old.get(name, ABSENT), new.get(name, ABSENT), below)
    elif _is_list(old) and _is_list(new) and len(old) == len(new):
        for number, pair in enumerate(zip(old, new, strict=True)):
            yield from differing(*pair, f"{key} / {number}")
    elif not (old == new or _both_nan(old, new)):
        yield Difference(key, old, new)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not all(isinstance(entry, str) for entry in value)


def _both_nan(old: Any, new: Any) -> bool:
    return isinstance(old, float) and isinstance(new, float) and math.isnan(old) and math.isnan(new)
