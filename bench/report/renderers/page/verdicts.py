"""The verdicts as the page shows them: a headline per suite, counts, and every cell with a small picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bench.report.check import further
from bench.report.judgement import CellVerdict, Comparison, Judgement, Outcome, SuiteVerdict
from bench.report.measured import ReportData
from bench.report.renderers.page.numbers import home_of
from bench.report.renderers.page.words import count
from bench.report.verdicts import MOST_FURTHER_SEEDS

ORDER: tuple[Outcome, ...] = ("below", "above", "inconclusive", "reproduced", "not comparable")
"""What needs attention first."""
_WIDTH, _UNIT = 130, 20
"""Of a strip, and of one margin in it, in its own units."""
_EDGE = _WIDTH / 2 - 4


@dataclass(frozen=True)
class Strip:
    """A difference with its 90 % interval, drawn in units of its margin: inside ±1 it does not matter."""

    dot: float
    low: float
    high: float
    beyond: int
    """-1 or 1 where the difference itself lies farther to that side than is drawn."""
    band: tuple[float, float] = (_WIDTH / 2 - _UNIT, 2 * _UNIT)
    """Left end and width of the margin."""
    width: int = _WIDTH


@dataclass(frozen=True)
class VerdictRow:
    """A judged cell."""

    verdict: CellVerdict
    strip: Strip | None
    home: str
    """Where the page says how the measured number was made."""


def strip_of(test: Comparison | None) -> Strip | None:
    """Where dot and ends lie; what reaches beyond the strip ends at its edge."""
    if test is None or not test.margin > 0:
        return None
    places = (test.difference, test.low, test.high)
    off = _UNIT * abs(test.difference) / test.margin > _EDGE
    dot, low, high = (_WIDTH / 2 + max(-_EDGE, min(_EDGE, _UNIT * value / test.margin)) for value in places)
    return Strip(
        round(dot, 1), round(low, 1), round(high, 1), (1 if test.difference > 0 else -1) if off else 0
    )


def verdict_rows(verdicts: Iterable[CellVerdict]) -> list[VerdictRow]:
    """Rows of the list, those first that need attention; within an outcome as they came."""
    ordered = sorted(verdicts, key=lambda verdict: ORDER.index(verdict.outcome))
    return [
        VerdictRow(
            verdict,
            strip_of(verdict.comparison),
            home_of(verdict.key[1], verdict.variant, verdict.key[2], verdict.config_hash),
        )
        for verdict in ordered
    ]


def ordered_suites(judgement: Judgement) -> list[SuiteVerdict]:
    """The suites, those first that could be tested."""
    return sorted(judgement.suites, key=lambda suite: suite.comparison is None)


def to_decide(verdict: CellVerdict) -> str:
    """What is open about a judged cell, and how many seeds would close it."""
    if verdict.further_seeds is not None:
        parts = (*verdict.reasons, f"{count(verdict.further_seeds, 'further seed')} would decide")
    elif further(verdict):
        parts = (f"{MOST_FURTHER_SEEDS} further seeds would not decide, if mean and spread stay",)
    else:
        parts = verdict.reasons
    return "; ".join(parts)


def headline(judgement: Judgement, data: ReportData) -> str:
    """The answer in a sentence."""
    counts = Counter(cell.outcome for cell in judgement.cells if cell.comparison is not None)
    judged = counts.total()
    if not data.measured:
        return "Nothing has been measured yet."
    if not judgement.cells:
        cells = count(len(data.measured), "cell")
        return f"{cells} measured, none of which a paper prints a number for: there is no verdict."
    if not judged:
        return (
            f"No printed number can be judged yet: {count(len(judgement.cells), 'cell')} measured, none "
            "under the conditions of its paper and with seeds enough."
        )
    suites = [suite.outcome for suite in judgement.suites if suite.comparison is not None]
    of_suites = (
        f"{suites.count('reproduced')} of {count(len(suites), 'suite mean')} reproduced; " if suites else ""
    )
    missed = counts["below"] + counts["above"]
    return (
        f"{of_suites}{counts['reproduced']} of {count(judged, 'judged cell')} reproduced, {missed} not "
        f"reproduced, {counts['inconclusive']} inconclusive."
    )
