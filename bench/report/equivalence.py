"""One difference against one margin: equivalence, a deviation, or neither, at a stated error rate."""

from __future__ import annotations

from bench.report.judgement import Comparison, Outcome
from bench.report.statistics import Difference

ERROR_RATE = 0.05
LEVEL = 1 - 2 * ERROR_RATE
"""Of the interval that two one-sided tests at the error rate amount to."""


def compared(difference: Difference, margin: float, adjusted: tuple[float, float]) -> Comparison:
    """The tests of one difference; `adjusted`: their P-values after correction, below and above."""
    low, high = difference.interval(LEVEL)
    return Comparison(
        difference=difference.value,
        standard_error=difference.standard_error,
        degrees_of_freedom=difference.degrees_of_freedom,
        low=low,
        high=high,
        margin=margin,
        p_below=difference.p_below(-margin),
        p_above=difference.p_above(margin),
        adjusted_below=float(adjusted[0]),
        adjusted_above=float(adjusted[1]),
    )


def raw_p_values(difference: Difference, margin: float) -> tuple[float, float]:
    """P-values of the tests against d >= -margin and against d <= margin."""
    return difference.p_below(-margin), difference.p_above(margin)


def outcome_of(comparison: Comparison) -> Outcome:
    """What a comparison says; the three answers exclude each other.

    An interval within the margin leaves both one-sided P-values above one half, so none of them rejects.
    """
    if -comparison.margin <= comparison.low and comparison.high <= comparison.margin:
        return "reproduced"
    if comparison.adjusted_below <= ERROR_RATE:
        return "below"
    if comparison.adjusted_above <= ERROR_RATE:
        return "above"
    return "inconclusive"


def lines(comparison: Comparison, tests: int) -> list[str]:
    """The arithmetic from the difference to what it says; `tests`: how many were corrected together."""
    c = comparison
    interval = f"90 % interval of d: [{c.low:.2f}, {c.high:.2f}]"
    if outcome_of(comparison) == "reproduced":
        return [f"{interval} lies within [-{c.margin:g}, {c.margin:g}]"]
    found = [f"{interval} does not lie within [-{c.margin:g}, {c.margin:g}]"]
    side, raw, adjusted = ("d >= -m", c.p_below, c.adjusted_below)
    if c.difference > 0:
        side, raw, adjusted = ("d <= m", c.p_above, c.adjusted_above)
    compares = "at most" if adjusted <= ERROR_RATE else "more than"
    found.append(
        f"one-sided test against {side}: P = {raw:.2g}, after Holm over {tests} tests {adjusted:.2g},"
        f" {compares} {ERROR_RATE:g}"
    )
    return found
