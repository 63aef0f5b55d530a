"""How values are kept and read: types that believe no cell, NaN and infinity, times with a zone.

SQLite keeps in any column whatever somebody wrote into it, text among the scores and 7 as a flag, and both
databases keep any JSON. So every column's type looks at each cell that it reads, and raises
`DamagedCellError` for what bench would not have written; `bench.store.faults` says where it stands.

SQLite turns NaN into NULL, and an average leaves NULL out, so one diverged seed would silently improve a
mean. Therefore every number that may be NaN has a companion `<name>_is_nan`, and a NaN is kept as minus
infinity with the companion set. A plain `AVG(score)` over it then gives -Infinity, which nobody takes for a
result; `score > 90` leaves it out, and so does `WHERE NOT score_is_nan`. Infinities are kept as they are, and
NULL means that there is no number at all. Both databases are treated alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, overload

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Dialect,
    Double,
    Integer,
    String,
)
from sqlalchemy.types import TypeDecorator

IS_NAN = "_is_nan"
"""How the name of a number's companion ends."""


class DamagedCellError(Exception):
    """A cell holds what bench does not write there.

    Parameters
    ----------
    expected : what it should be, to be read after "not".
    where : names the cell, where that is known.
    """

    def __init__(self, value: object, expected: str, where: str = "A cell") -> None:
        super().__init__(value, expected, where)
        self.value, self.expected, self.where = value, expected, where


class _Checked(TypeDecorator[Any]):
    """A type whose cells are looked at as they are read; NULL is for the schema to forbid."""

    cache_ok = True
    expected: str
    """What a cell is, to be read after "not"."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """What turns a cell into its value, or raises `DamagedCellError`."""
        plain = self._plain_processor(dialect, coltype)

        def process(cell: Any) -> Any:  # noqa: ANN401 (whatever stands there)
            if cell is None:
                return None
            try:
                value = cell if plain is None else plain(cell)
                fits = self.fits(cell, value)
            except (ValueError, TypeError, OverflowError, RecursionError, AttributeError) as error:
                raise DamagedCellError(cell, self.expected) from error
            if not fits:
                raise DamagedCellError(cell, self.expected)
            return value

        return process

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """Whether the value that a cell gave is one of this type's; an error means no."""
        raise NotImplementedError

    def _plain_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return self.impl_instance.result_processor(dialect, coltype)


class Text(_Checked):
    """Text; one of `words` where there are any."""

    impl = String
    cache_ok = True

    def __init__(self, words: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.words = words
        self.expected = f"one of {', '.join(words)}" if words else "text"

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """Text that can be written out again."""
        value.encode()
        return not self.words or value in self.words


class Whole(_Checked):
    """A whole number, not below `minimum` where there is one."""

    impl = Integer
    cache_ok = True

    def __init__(self, minimum: int | None = None) -> None:
        super().__init__()
        self.minimum = minimum
        self.expected = "a whole number" + ("" if minimum is None else f" from {minimum} on")

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """No flag, no text, not below the minimum."""
        return type(value) is int and (self.minimum is None or value >= self.minimum)


class LargeWhole(Whole):
    """The same where 32 bits do not suffice."""

    impl = BigInteger
    cache_ok = True


class Number(_Checked):
    """A finite number, not below `minimum` where there is one; `infinite` allows infinities too."""

    impl = Double
    cache_ok = True

    def __init__(self, minimum: float | None = None, *, infinite: bool = False) -> None:
        super().__init__()
        self.minimum, self.infinite = minimum, infinite
        finite = "a number" if infinite else "a finite number"
        self.expected = finite + ("" if minimum is None else f" from {minimum:g} on")

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """No text, no flag; NaN is kept in another way."""
        if type(value) not in (float, int) or math.isnan(value):
            return False
        in_range = self.minimum is None or value >= self.minimum
        return in_range and (self.infinite or math.isfinite(value))


class Intact(_Checked):
    """Of an evaluation in an answer of the database: 1 where nothing is wrong with it and its episodes."""

    impl = Integer
    cache_ok = True
    expected = "an evaluation with all of its episodes, and numbers in them"

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """Nothing is wrong; NULL is an evaluation without any episode."""
        return cell == 1

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """As of every type, but NULL does not fit either."""
        process = super().result_processor(dialect, coltype)
        return lambda cell: process(0 if cell is None else cell)


class Flag(_Checked):
    """Yes or no."""

    impl = Boolean
    cache_ok = True
    expected = "0 or 1"

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """SQLite would take any number for yes."""
        return type(cell) in (int, bool) and cell in (0, 1)


class Day(_Checked):
    """A date."""

    impl = Date
    cache_ok = True
    expected = "a date"

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """Nothing that is more than a date."""
        return type(value) is date


class UtcDateTime(_Checked):
    """An aware datetime, kept in UTC (SQLite has no zones: its text is UTC too)."""

    impl = DateTime(timezone=True)
    cache_ok = True
    expected = "a time"

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a time without a zone is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; make it with datetime.now(UTC)")
        return value.astimezone(UTC)

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """An aware time in UTC."""
        return type(value) is datetime

    def _plain_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        read = super()._plain_processor(dialect, coltype)

        def in_utc(cell: Any) -> datetime:  # noqa: ANN401
            value = cell if read is None else read(cell)
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

        return in_utc


class Json(_Checked):
    """JSON of one shape: `fits_shape` tells whether a value has it, `expected` names it."""

    impl = JSON
    cache_ok = True

    def __init__(
        self, fits_shape: Callable[[Any], bool], expected: str, *, none_as_null: bool = False
    ) -> None:
        super().__init__(none_as_null=none_as_null)
        self.fits_shape, self.expected, self.none_as_null = fits_shape, expected, none_as_null

    def fits(self, cell: Any, value: Any) -> bool:  # noqa: ANN401
        """Of the shape, and of text that can be written out again."""
        if isinstance(cell, str) and "\\ud" in cell.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return self.fits_shape(value)

    def _plain_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        if dialect.name == "sqlite":
            return lambda cell: json.loads(cell, parse_constant=_no_constant)
        return super()._plain_processor(dialect, coltype)


def is_mapping(value: object) -> bool:
    """A JSON object."""
    return isinstance(value, dict)


def is_list_of_mappings(value: object) -> bool:
    """A list of JSON objects."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def is_phases(value: object) -> bool:
    """What `bench.store.planning` makes of the phases of a method."""
    kinds = {"name": str, "iterations": int, "evaluated": bool}
    return isinstance(value, list) and all(
        isinstance(phase, dict) and {name: type(item) for name, item in phase.items()} == kinds
        for phase in value
    )


def is_texts(value: object) -> bool:
    """A list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_seeds(value: object) -> bool:
    """A list of different whole numbers."""
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        return False
    return len(set(value)) == len(value)


def is_settings(value: object) -> bool:
    """Names with a plain value each: versions of packages, settings of precision."""
    return isinstance(value, dict) and all(type(item) in (str, bool, int, float) for item in value.values())


def is_hardware(value: object) -> bool:
    """What `bench.hardware` tells of a machine, as far as it was known when it was written."""
    if not isinstance(value, dict):
        return False
    names = (value.get(name, "") for name in ("hostname", "cpu", "platform"))
    sizes = (value.get(name, 1) for name in ("cores", "memory_gib"))
    return (
        all(isinstance(name, str) for name in names)
        and all(type(size) in (int, float) for size in sizes)
        and is_texts(value.get("gpus", []))
    )


def is_metrics(value: object) -> bool:
    """What `metrics_to_json` gives."""
    return isinstance(value, dict) and all(
        type(item) in (int, float) or item in ("NaN", "Infinity", "-Infinity") for item in value.values()
    )


def is_configuration(value: object) -> bool:
    """A trial's configuration: those of its parts that are read out of a store have their shape."""
    if not isinstance(value, dict):
        return False
    parts = [value.get(name, {}) for name in ("hyperparameters", "sources", "evaluation")]
    if not all(isinstance(part, dict) for part in parts):
        return False
    steps = parts[2].get("steps", [1])
    return isinstance(steps, list) and bool(steps) and all(type(step) is int for step in steps)


def number_columns(name: str, value: float | None) -> dict[str, Any]:
    """The two columns in which a number is kept; None stays NULL."""
    is_nan = value is not None and math.isnan(value)
    return {name: -math.inf if is_nan else value, name.rstrip("_") + IS_NAN: is_nan}


@overload
def number_from(value: float, is_nan: bool) -> float: ...


@overload
def number_from(value: float | None, is_nan: bool) -> float | None: ...


def number_from(value: float | None, is_nan: bool) -> float | None:
    """The number that `number_columns` stored.

    Raises
    ------
    DamagedCellError : the two columns contradict each other.
    """
    if not is_nan:
        return value
    if value not in (-math.inf, None):  # None is what SQLite itself makes of a NaN
        raise DamagedCellError(value, "-Infinity, as a NaN is kept where its flag is set")
    return math.nan


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


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
