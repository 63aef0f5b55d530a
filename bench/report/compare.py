"""One method against another, or against what papers print: better, worse, equivalent or undecided.

For each task d = mean of the method - mean of the other. *Better* (*worse*) where the one-sided test against
d <= 0 (d >= 0) rejects, Holm-corrected over both sides of everything that is compared at once; otherwise
*equivalent* where the 90 % interval of d lies within the margin, that is two one-sided tests at 5 % per task;
otherwise *undecided*. The means over suites are judged likewise, as a family of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.catalog import Catalog
from bench.errors import BenchError
from bench.report.judgement import Comparison
from bench.report.margins import Margins
from bench.report.measured import Measured, ReportData
from bench.report.pairing import (
    PAPER,
    Contrast,
    Standing,
    Test,
    by_task,
    lies_within,
    pairs,
    printed_numbers,
    printed_pairs,
    reference_of,
    seeds_line,
)
from bench.report.paper import PaperCell
from bench.report.statistics import Difference, Interval, improvement_over_few, mean_difference
from bench.report.verdicts import ERROR_RATE, MOST_FURTHER_SEEDS, compared, seeds_to_decide
from bench.visible_text import count, quoted

STANDINGS: tuple[Standing, ...] = ("better", "worse", "equivalent", "undecided", "not comparable")


@dataclass(frozen=True)
class SuiteContrast:
    """The mean over a suite's tasks."""

    against: str
    suite: str
    tasks: int
    """Of the suite; against printed numbers those that are printed."""
    tested: int
    """Of these; the mean is tested only where all are."""
    margin: float
    standing: Standing = "not comparable"
    reasons: tuple[str, ...] = ()
    mine: float | None = None
    other: float | None = None
    comparison: Comparison | None = None
    improvement: Interval | None = None

    @property
    def within_margin(self) -> bool:
        """As of a task."""
        return lies_within(self.comparison, self.margin)


@dataclass(frozen=True)
class Compared:
    """What `bench compare` found; every format shows this and nothing else."""

    name: str
    against: str
    """As it was asked for."""
    contrasts: tuple[Contrast, ...]
    suites: tuple[SuiteContrast, ...]
    statements: tuple[str, ...]
    """Error rates, margins, and what is declared by owners: to be printed with it."""

    @property
    def tested(self) -> int:
        """Cells that were tested together."""
        return sum(contrast.comparison is not None for contrast in self.contrasts)

    def groups(self) -> dict[str, list[Contrast]]:
        """The contrasts by what they are against."""
        found: dict[str, list[Contrast]] = {}
        for contrast in self.contrasts:
            found.setdefault(contrast.against, []).append(contrast)
        return found


def compare(
    data: ReportData,
    catalog: Catalog,
    name: str,
    against: str,
    margins: Margins,
    suites: Sequence[str] = (),
) -> Compared:
    """Hold all scores of a method against those of another, or against printed numbers.

    Parameters
    ----------
    name, against : methods of which the store holds scores, measured or imported; `against` may also be
        `paper` or `paper:METHOD`.
    suites : restrict it to the tasks of these; what is compared at once is corrected at once.

    Raises
    ------
    BenchError : a name has no scores, both are the same, or the two have no task in common.
    """
    kept = {one: data.suites[one] for one in suites} if suites else dict(data.suites)
    tasks = {task for of in kept.values() for task in of} if suites else set(catalog.tasks)
    mine = by_task(name, data, catalog, tasks)
    numbers = printed_numbers(against) if against.partition(":")[0] == PAPER else []
    if numbers:
        pending = list(printed_pairs(mine, numbers, data, catalog, margins.cell.points))
    else:
        if against == name:
            raise BenchError(f"{quoted(name)} against itself", "", "Name another one with --against.")
        theirs = by_task(against, data, catalog, tasks)
        pending = list(pairs(against, mine, theirs, catalog, margins.cell.points))
    if all(one.other is None for one in pending if isinstance(one, Contrast)) and not any(
        isinstance(one, Test) for one in pending
    ):
        what = f"{quoted(name)} and {quoted(against)} have no task in common"
        raise BenchError(what, f"{name} has {_some(mine)}.", "Compare it with another: --against METHOD")
    tests = [one for one in pending if isinstance(one, Test)]
    found = iter(standings([(one.difference, one.contrast.margin) for one in tests]))
    contrasts = tuple(
        _decided(one, *next(found), 2 * len(tests)) if isinstance(one, Test) else one for one in pending
    )
    printed = {reference_of(cell): set[str]() for _, cell in numbers}
    for _, cell in numbers:
        printed[reference_of(cell)].add(cell.task_meant)
    means = _suite_contrasts(contrasts, tests, kept, printed, margins, named=bool(suites))
    return Compared(name, against, contrasts, means, tuple(_statements(contrasts, tests, means, margins)))


def _some(mine: Mapping[str, object]) -> str:
    names = list(mine)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


# Standings


def standings(
    tests: Sequence[tuple[Difference, float]],
) -> list[tuple[Standing, Comparison]]:
    """What is said of differences, each with its margin; Holm's correction runs over both sides of all."""
    comparisons = compared([(difference, 0.0) for difference, _ in tests])
    return [
        (standing_of(comparison, margin), comparison)
        for comparison, (_, margin) in zip(comparisons, tests, strict=True)
    ]


def standing_of(comparison: Comparison, margin: float) -> Standing:
    """Better or worse where 0 is ruled out; else equivalent where everything beyond the margin is."""
    if comparison.adjusted_above <= ERROR_RATE:
        return "better"
    if comparison.adjusted_below <= ERROR_RATE:
        return "worse"
    return "equivalent" if lies_within(comparison, margin) else "undecided"


def _withheld(standing: Standing, lost: tuple[str, str]) -> tuple[str, ...]:
    """Why something cannot be said: seeds without a score make a mean too good."""
    mine, other = lost
    found = []
    if mine and standing in ("better", "equivalent"):
        found.append(mine)
    if other and standing in ("worse", "equivalent"):
        found.append(f"of the other {other}")
    return tuple(f"{text}: the mean of the others says too much for {quoted(standing)}" for text in found)


def _decided(test: Test, standing: Standing, comparison: Comparison, tests: int) -> Contrast:
    contrast = test.contrast
    withheld = _withheld(standing, test.lost)
    said: Standing = "undecided" if withheld else standing
    further = None
    if said == "undecided" and not withheld:
        further = seeds_to_decide(test.with_more, contrast.margin, 0.0, tests)
    improvement = None
    if test.other_scores is not None:
        improvement = improvement_over_few([contrast.mine.scores], [test.other_scores])
    return replace(
        contrast,
        standing=said,
        reasons=withheld,
        comparison=comparison,
        improvement=improvement,
        further_seeds=further,
        arithmetic=(*_arithmetic(test, comparison, tests), *(f"but {reason}" for reason in withheld)),
    )


def _arithmetic(test: Test, c: Comparison, tests: int) -> Iterator[str]:
    yield seeds_line(test.contrast.mine.algorithm, test.mine)
    yield from test.arithmetic
    yield (
        f"d = {c.difference:+z.2f}, standard error {c.standard_error:.3g}, {c.degrees_of_freedom:.1f} degrees"
        f" of freedom; 90 % interval [{c.low:+z.2f}, {c.high:+z.2f}], margin {test.contrast.margin:g}"
    )
    side, raw, adjusted = ("d <= 0", c.p_above, c.adjusted_above)
    if c.difference < 0:
        side, raw, adjusted = ("d >= 0", c.p_below, c.adjusted_below)
    yield f"one-sided test against {side}: P = {raw:.2g}, after Holm over {tests} tests {adjusted:.2g}"


# Means over suites


def _suite_contrasts(
    contrasts: Sequence[Contrast],
    tests: Sequence[Test],
    suites: Mapping[str, Sequence[str]],
    printed: Mapping[str, Collection[str]],
    margins: Margins,
    *,
    named: bool,
) -> tuple[SuiteContrast, ...]:
    """The mean over every suite whose tasks are all tested; where only some are, why there is none.

    Parameters
    ----------
    printed : of each group of printed numbers its tasks; a mean is over those of the suite.
    named : the suites were asked for, so that each is told of.
    """
    by_key = {(one.contrast.against, one.contrast.task): one for one in tests}
    said = {(one.against, one.task): one for one in contrasts}
    pending: list[tuple[SuiteContrast, list[Test]]] = []
    for against in dict.fromkeys(contrast.against for contrast in contrasts):
        for suite, tasks in suites.items():
            wanted = [task for task in tasks if task in printed.get(against, tasks)]
            found = [by_key[against, task] for task in wanted if (against, task) in by_key]
            if len(wanted) > 1 and (len(found) > 1 or (named and found)):
                missing = [task for task in wanted if (against, task) not in by_key]
                reasons = tuple(f"{task}: {_why(said.get((against, task)))}" for task in missing)
                points = margins.suite.points
                mean = SuiteContrast(against, suite, len(wanted), len(found), points, reasons=reasons)
                pending.append((mean, [] if missing else found))
    differences = [mean_difference([one.difference for one in of]) for _, of in pending if of]
    judged = iter(standings([(difference, margins.suite.points) for difference in differences]))
    return tuple(_mean(mean, of, *next(judged)) if of else mean for mean, of in pending)


def _why(contrast: Contrast | None) -> str:
    return "no score" if contrast is None else "; ".join(contrast.reasons)


def _mean(
    mean: SuiteContrast, tests: Sequence[Test], standing: Standing, comparison: Comparison
) -> SuiteContrast:
    lost = tuple(
        "; ".join(f"{one.contrast.task} {one.lost[side]}" for one in tests if one.lost[side])
        for side in (0, 1)
    )
    withheld = _withheld(standing, (lost[0], lost[1]))
    others = [one.other_scores for one in tests if one.other_scores is not None]
    improvement = None
    if len(others) == len(tests):
        improvement = improvement_over_few([one.contrast.mine.scores for one in tests], others)
    return replace(
        mean,
        standing="undecided" if withheld else standing,
        reasons=withheld,
        mine=float(np.mean([one.mine.mean for one in tests])),
        other=float(np.mean([one.other_mean for one in tests])),
        comparison=comparison,
        improvement=improvement,
    )


def _statements(
    contrasts: Sequence[Contrast],
    tests: Sequence[Test],
    means: Sequence[SuiteContrast],
    margins: Margins,
) -> Iterator[str]:
    """What must stand with it: what each word means, how often it is wrong, and who says what."""
    together = sum(mean.comparison is not None for mean in means)
    if tests:
        likewise = f"; likewise over {count(together, 'mean')} over suites, a family of their own"
        yield (
            f"Better, worse: d differs from 0, Holm-corrected over both sides of {count(len(tests), 'cell')},"
            f" so that any such word is wrong in at most 5 % of comparisons{likewise if together else ''}."
        )
        yield (
            "Equivalent: the 90 % interval of d lies within the margin (two one-sided tests; wrong in at most"
            f" 5 % of the cells that truly lie beyond it), {margins.cell.points:g} points of a cell and"
            f" {margins.suite.points:g} of a suite's mean. Declared {margins.declared}."
        )
        yield "Undecided says nothing. Choosing what to compare after a look at the numbers voids all rates."
    if any(isinstance(one.contrast.other, PaperCell) for one in tests):
        yield "How probably a run scores higher needs the runs of both, and papers print none."
    if any(": not declared: " in reason for one in contrasts for reason in one.reasons):
        yield "To declare what is missing: the same import again, with the options named and --replace."
    for entry in _imports(contrasts):
        yield f"{entry.algorithm}: {entry.imported}. Nothing of that is known here."
    assumed = Counter((one.contrast.against, text) for one in tests for text in one.contrast.assumptions)
    for (reference, text), number in assumed.items():
        yield f"Assumed of {reference} ({count(number, 'cell')}): {text}."


def _imports(contrasts: Sequence[Contrast]) -> list[Measured]:
    """One entry per method and declaration."""
    found: dict[tuple[str, str], Measured] = {}
    for contrast in contrasts:
        for entry in (contrast.mine, contrast.other):
            if isinstance(entry, Measured) and entry.imported:
                found.setdefault((entry.algorithm, entry.imported), entry)
    return list(found.values())


def further(contrast: Contrast) -> str:
    """Further seeds that would decide what is undecided; empty where that is not the question."""
    if contrast.standing != "undecided" or contrast.comparison is None or contrast.reasons:
        return ""
    return f">{MOST_FURTHER_SEEDS}" if contrast.further_seeds is None else str(contrast.further_seeds)
