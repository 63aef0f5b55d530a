"""What values a hyper-parameter may take, stated with its type and checked when a configuration is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Interval:
    """Allowed numbers from `low` to `high`; open ends exclude the bound itself."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        ends = "exclusive" if self.open_low and self.open_high else "inclusive"
        return f"between {self.low:g} and {self.high:g} ({ends})"


@dataclass(frozen=True)
class Multiple:
    """Allowed numbers are whole multiples of `of`."""

    of: int

    def __contains__(self, value: int) -> bool:
        return value % self.of == 0

    def __str__(self) -> str:
        return f"a multiple of {self.of}"


Count = Annotated[int, Interval(1)]
"""A number of things, at least one."""
NonNegativeCount = Annotated[int, Interval(0)]
SineFeatures = Annotated[int, Multiple(2), Interval(4)]
"""Sines and cosines together, as many of each; between two frequencies at least."""
Positive = Annotated[float, Interval(0, open_low=True)]
NonNegative = Annotated[float, Interval(0)]
Fraction = Annotated[float, Interval(0, 1)]
"""From 0 to 1, both possible: a discount, a dropout rate, a polyak rate."""
InnerFraction = Annotated[float, Interval(0, 1, open_low=True, open_high=True)]
"""Strictly between 0 and 1: an expectile."""


@dataclass(frozen=True)
class Hyperparameters:
    """Base of every method's configuration.

    Raises
    ------
    ValueError : a value of another type than its field, or outside what the field's annotation allows; the
    message names the field.
    """

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for field in fields(self):
            problem = _problem(getattr(self, field.name), hints[field.name])
            if problem:
                raise ValueError(f"{field.name} is {getattr(self, field.name)!r}; it must be {problem}")


@cache
def _hints(configuration: type) -> dict[str, Any]:
    return get_type_hints(configuration, include_extras=True)


def _problem(value: object, hint: Any) -> str | None:  # noqa: ANN401  (annotations have no type of their own)
    """What `value` should have been, or None where it is fine."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return None if value in choices else " or ".join(map(str, choices))
    kind, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if kind is bool:
        return None if isinstance(value, bool) else "true or false"
    if kind is str:
        return None if isinstance(value, str) else "text"
    numeric = isinstance(value, int) if kind is int else isinstance(value, int | float)
    if isinstance(value, bool) or not numeric:
        return "a whole number" if kind is int else "a number"
    if not math.isfinite(value):
        return "a finite number"
    return next((str(limit) for limit in limits if value not in limit), None)
