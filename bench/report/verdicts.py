"""Verdicts: which printed numbers our seeds reproduce, with stated error rates.

For each judged number d = measured - printed is held against a margin m that was declared before:
*reproduced* where the 90 % interval of d lies within [-m, m], that is two one-sided tests at 5 % per cell;
*not reproduced, below* (above) where the one-sided test against d >= -m (d <= m) rejects, Holm-corrected over
both sides of everything judged, so that in at most 5 % of checks any such verdict is wrong; otherwise
*inconclusive*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC

import numpy as np

from bench.records import PrintedNumber
from bench.report.judgement import CellVerdict, Comparison, Judgement, Outcome, SuiteVerdict
from bench.report.margins import Margins
from bench.report.matching import Match, Printed, matched, own_numbers
from bench.report.measured import FinalEpisodes, Measured, ReportData
from bench.report.paper import PaperCell
from bench.report.published import Published, assumptions, published, success_floor
from bench.report.statistics import Array, Components, Difference, Numbers, Sample, holm, mean_difference
from bench.visible_text import count

ERROR_RATE = 0.05
LEVEL = 1 - 2 * ERROR_RATE
"""Of the interval that two one-sided tests at the error rate amount to."""
MOST_FURTHER_SEEDS = 100
TOO_GOOD: tuple[Outcome, ...] = ("reproduced", "above")
"""What may not be said where seeds ended without a score."""
_SAYS_TOO_MUCH = ": the mean of the others says too much"
SAME_SCORE = 1e-6
"""Score points within which scores are the same, rounding of their means aside."""


def judge(
    data: ReportData,
    margins: Margins,
    printed: Printed | None = None,
    chosen: Mapping[PaperCell, Match] | None = None,
) -> Judgement:
    """Hold everything comparable in `data` against `printed`, the papers' own numbers unless given.

    Parameters
    ----------
    chosen : what stands for these and other cells, where that is known already.
    """
    printed = own_numbers() if printed is None else printed
    if chosen is None:
        chosen = matched((cell for _, cell in printed.values()), data.measured)
    examined = [
        _examined(table, chosen[cell], data.final_episodes, margins)
        for table, cell in printed.values()
        if cell in chosen
    ]
    tested = [one for one in examined if isinstance(one, Tested)]
    # Holm's correction runs over both sides of all of them.
    comparisons = iter(compared([(test.difference, test.margin) for test in tested]))
    cells = tuple(
        _decided(one, next(comparisons), 2 * len(tested)) if isinstance(one, Tested) else one
        for one in examined
    )
    suites = suite_verdicts(data.suites, list(printed), cells, tested, margins)
    return Judgement(cells, suites, _statements(margins, [test.verdict.measured for test in tested]))


def _statements(margins: Margins, judged: Sequence[Measured]) -> tuple[str, ...]:
    """What must stand with the verdicts: margins, when they were declared, and the error rates."""
    cell, suite = margins.cell, margins.suite
    exceptions = f", {count(len(margins.exceptions), 'exception')}" if margins.exceptions else ""
    return (
        f"Margin of a cell: the larger of {cell.points:g} points and {cell.deviations:g} printed standard"
        f" deviations over seeds{exceptions}; of a suite's mean {suite.points:g} points."
        f" {_declared(margins, judged)}",
        "Reproduced: the 90 % interval of the difference lies within the margin (two one-sided tests;"
        " wrong in at most 5 % of the cells that truly lie beyond it).",
        "Not reproduced: beyond the margin, Holm-corrected over both sides of all judged cells, so that any"
        " such verdict is wrong in at most 5 % of checks; likewise over the suites' means. Checks repeated"
        " while seeds come in are not corrected for. All rates rest on what is assumed of the papers.",
        "Inconclusive says nothing for or against.",
    )


def _declared(margins: Margins, judged: Sequence[Measured]) -> str:
    begun = [entry.started_at for entry in judged if entry.started_at is not None]
    days = [moment.astimezone(UTC).date() for moment in begun]
    early, unknown = sum(day < margins.declared for day in days), len(judged) - len(days)
    if early:
        when = f", AFTER {early} of {len(judged)} judged cells had been begun."
    elif margins.declared in days:
        # A day has no hour: which of the two came first is not known.
        when = f", the day on which {days.count(margins.declared)} of {len(judged)} judged cells were begun."
    elif unknown:
        when = f"; when {unknown} of {len(judged)} judged cells were begun is unknown."
    else:
        when = ", before what is judged was run." if judged else "."
    return f"Declared {margins.declared}{when}"


# Each printed number


@dataclass(frozen=True)
class Tested:
    """A number that can be tested; its outcome follows once it is known what is judged together."""

    verdict: CellVerdict
    """Without outcome yet."""
    published: Published
    ours: Sample
    margin: float

    @property
    def lost_seeds(self) -> str:
        """Seeds that ended without a score; the mean of the others is too good: only *below* may be said."""
        return "; ".join(self.verdict.measured.shortfalls())

    @property
    def difference(self) -> Difference:
        """Measured minus printed."""
        return self.published.against(self.ours)


def _examined(table: str, match: Match, episodes: FinalEpisodes, margins: Margins) -> CellVerdict | Tested:
    """What can be said of one printed number without the others: not comparable, no test, or a test."""
    cell, entry = match.printed, match.measured
    assert cell is not None, "only what a paper prints is judged"
    verdict = CellVerdict(table, cell, entry, assumptions=assumptions(cell))
    if match.reasons:
        return replace(verdict, outcome="not comparable", reasons=match.reasons)
    unfinished = sum(trial.state in ("planned", "running") for trial in entry.trials)
    evidence = published(cell, components_of(entry, cell, episodes))
    if unfinished:
        return replace(verdict, reasons=(f"{unfinished} of {len(entry.trials)} seeds have not finished",))
    if entry.n < 2:
        alone = ("1 seed: no spread to judge by",) if entry.n else ()
        return replace(verdict, reasons=entry.shortfalls() + alone)
    if evidence is None:
        return replace(verdict, reasons=("the paper does not say what its ± means",))
    floor = success_floor(cell, entry.n, entry.mean)
    if not floor and max(entry.scores) - min(entry.scores) <= SAME_SCORE:
        # In a kitchen, or by an oracle, every seed may score 100; an error of 0 would settle anything.
        return replace(verdict, reasons=(f"all {entry.n} seeds score the same: no spread to judge by",))
    return Tested(verdict, evidence, Sample.of(entry.scores, entry.n * floor), margins.of(verdict.id, cell))


def components_of(entry: Measured, cell: PaperCell, episodes: FinalEpisodes) -> Components | None:
    """Variance between and within our seeds, of the evaluation that gave the score."""
    if cell.spread_kind != "se_over_rollouts" or entry.protocol != "last":
        return None
    scored = [episodes.get(trial.trial_id, ()) for trial in entry.scored]
    if len(scored) < 2 or not scored[0] or len({len(scores) for scores in scored}) > 1:
        return None
    values = np.asarray(scored)
    return Components.of(values) if np.isfinite(values).all() else None


def _decided(test: Tested, comparison: Comparison, tests: int) -> CellVerdict:
    outcome = outcome_of(comparison)
    reasons: tuple[str, ...] = ()
    if test.lost_seeds and outcome in TOO_GOOD:
        outcome, reasons = "inconclusive", (f"{test.lost_seeds}{_SAYS_TOO_MUCH}",)
    return replace(
        test.verdict,
        outcome=outcome,
        reasons=reasons,
        comparison=comparison,
        further_seeds=None if outcome != "inconclusive" or reasons else further_seeds(test, tests),
        arithmetic=(*_arithmetic(test, comparison, tests), *(f"but {reason}" for reason in reasons)),
    )


def further_seeds(test: Tested, tests: int) -> int | None:
    """Seeds beyond ours that would decide the cell if mean and spread stayed; None: a hundred would not."""

    def with_more(more: Array) -> Difference:
        return test.published.against(replace(test.ours, n=test.ours.n + more))

    return seeds_to_decide(with_more, test.margin, test.margin, tests)


def seeds_to_decide(
    with_more: Callable[[Array], Difference], margin: float, bound: float, tests: int
) -> int | None:
    """The fewest further seeds with an interval within the margin, or a test that rejects; None: over 100.

    Equivalence is asked at 5 %, a deviation beyond `bound` at the strictest level of Holm's correction.

    Parameters
    ----------
    with_more : the difference with so many further seeds, of which several are asked about at once.
    tests : how many are corrected together.
    """
    more = np.arange(1.0, MOST_FURTHER_SEEDS + 1)
    difference = with_more(more)
    low, high = difference.interval(LEVEL)
    within = np.less_equal(-margin, low) & np.less_equal(high, margin)
    p_values = difference.p_below(-bound), difference.p_above(bound)
    deciding = more[within | np.less_equal(np.minimum(*p_values), ERROR_RATE / tests)]
    return int(deciding[0]) if deciding.size else None


def _arithmetic(test: Tested, comparison: Comparison, tests: int) -> tuple[str, ...]:
    verdict, ours = test.verdict, test.ours
    own = ours.variance / ours.n
    rest = comparison.standard_error**2 - own
    return (
        f"printed {verdict.printed.text} ({verdict.table}); measured {ours.mean:.2f} over {ours.n} seeds,"
        f" variance between them {ours.variance:.3g}",
        *test.published.lines(ours),
        f"d = {ours.mean:.2f} - {test.published.mean:g} = {comparison.difference:.2f}, standard error"
        f" sqrt({ours.variance:.3g} / {ours.n} + {rest:.3g}) = {comparison.standard_error:.3g},"
        f" {comparison.degrees_of_freedom:.1f} degrees of freedom, margin m = {test.margin:g}",
        *lines(comparison, tests),
    )


# The headline: is the mean over a suite's tasks the paper's?


def suite_verdicts(
    suites: Mapping[str, Sequence[str]],
    printed: Sequence[PrintedNumber],
    cells: Sequence[CellVerdict],
    tested: Sequence[Tested],
    margins: Margins,
) -> tuple[SuiteVerdict, ...]:
    """One verdict per suite, paper, method and protocol of which something was measured.

    The mean over tasks is tested only where every task of the suite that the paper prints is judged; Holm's
    correction runs over both sides of all these means.

    Parameters
    ----------
    suites : tasks of each suite.
    printed : all numbers that could be judged.
    """
    by_key = {test.verdict.key: test for test in tested}
    verdict_of = {cell.key: cell for cell in cells}
    groups = _groups(suites, printed)
    pending: list[tuple[SuiteVerdict, Difference | None]] = []
    for (suite, paper, algorithm, protocol), keys in groups.items():
        if any(key in verdict_of for key in keys):
            tests = [by_key[key] for key in keys if key in by_key]
            missing = [key for key in keys if key not in by_key]
            reasons = tuple(_missing(verdict_of.get(key), key) for key in missing)
            lost = tuple(f"{test.verdict.key[2]}: {test.lost_seeds}" for test in tests if test.lost_seeds)
            verdict = SuiteVerdict(
                suite=suite,
                paper=paper,
                algorithm=algorithm,
                protocol=protocol,
                outcome="not comparable" if missing else "inconclusive",
                tasks=len(keys),
                judged=len(tests),
                measured=float(np.mean([test.ours.mean for test in tests])) if tests else None,
                printed=float(np.mean([test.published.mean for test in tests])) if tests else None,
                reasons=reasons or lost,
            )
            pending.append(
                (verdict, None if missing else mean_difference([test.difference for test in tests]))
            )
    differences = [difference for _, difference in pending if difference is not None]
    comparisons = iter(compared([(difference, margins.suite.points) for difference in differences]))
    return tuple(
        verdict if difference is None else _judged(verdict, next(comparisons), 2 * len(differences))
        for verdict, difference in pending
    )


def _groups(
    suites: Mapping[str, Sequence[str]], printed: Sequence[PrintedNumber]
) -> dict[tuple[str, str, str, str], list[PrintedNumber]]:
    """Suite, paper, algorithm and protocol -> the numbers whose mean it is; single tasks make none."""
    groups: dict[tuple[str, str, str, str], list[PrintedNumber]] = {}
    for suite, tasks in suites.items():
        for key in printed:
            paper, algorithm, task, protocol = key
            if task in tasks:
                groups.setdefault((suite, paper, algorithm, protocol), []).append(key)
    return {group: keys for group, keys in groups.items() if len(keys) > 1}


def _missing(verdict: CellVerdict | None, key: PrintedNumber) -> str:
    why = "not measured" if verdict is None else "; ".join(verdict.reasons)
    return f"{key[2]}: {why}"


def _judged(verdict: SuiteVerdict, comparison: Comparison, tests: int) -> SuiteVerdict:
    outcome = outcome_of(comparison)
    # What reasons there are here are seeds without a score: the means lack them, and are then too good.
    withheld = verdict.reasons if outcome in TOO_GOOD else ()
    arithmetic = (
        f"mean over {verdict.judged} tasks: measured {verdict.measured:.2f}, printed {verdict.printed:.2f},"
        f" d = {comparison.difference:.2f}",
        f"standard error {comparison.standard_error:.3g} (root of the sum of the tasks' squared ones,"
        f" / {verdict.judged}), {comparison.degrees_of_freedom:.1f} degrees of freedom,"
        f" margin m = {comparison.margin:g}",
        *lines(comparison, tests),
        *(f"but {reason}{_SAYS_TOO_MUCH}" for reason in withheld),
    )
    said = "inconclusive" if withheld else outcome
    return replace(verdict, outcome=said, comparison=comparison, arithmetic=arithmetic)


# Differences against margins


def compared(tests: Sequence[tuple[Difference, float]]) -> list[Comparison]:
    """The tests of differences, each against its margin; Holm's correction runs over both sides of all."""
    raw = [
        (_single(difference.p_below(-margin)), _single(difference.p_above(margin)))
        for difference, margin in tests
    ]
    adjusted = holm(np.reshape(raw, -1)).reshape(-1, 2)
    found = []
    for (difference, margin), p_values, corrected in zip(tests, raw, adjusted, strict=True):
        low, high = difference.interval(LEVEL)
        found.append(
            Comparison(
                difference=_single(difference.value),
                standard_error=_single(difference.standard_error),
                degrees_of_freedom=_single(difference.degrees_of_freedom),
                low=_single(low),
                high=_single(high),
                margin=margin,
                p_below=p_values[0],
                p_above=p_values[1],
                adjusted_below=float(corrected[0]),
                adjusted_above=float(corrected[1]),
            )
        )
    return found


def _single(number: Numbers) -> float:
    """The number of one experiment, as Python has it."""
    return np.asarray(number).item()


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
