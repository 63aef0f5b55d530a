"""The headline: is the mean over a suite's tasks the paper's?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.report.cell_verdicts import Tested
from bench.report.equivalence import compared, lines, outcome_of, raw_p_values
from bench.report.judgement import CellVerdict, Comparison, Key, SuiteVerdict
from bench.report.margins import Margins
from bench.report.statistics import Difference, holm, mean_difference


def suite_verdicts(
    suites: Mapping[str, Sequence[str]],
    printed: Sequence[Key],
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
            lost = tuple(
                f"{test.verdict.key[2]}: {'; '.join(test.lost_seeds)}" for test in tests if test.lost_seeds
            )
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
    return _decided(pending, margins.suite.points)


def _groups(
    suites: Mapping[str, Sequence[str]], printed: Sequence[Key]
) -> dict[tuple[str, str, str, str], list[Key]]:
    """Suite, paper, algorithm and protocol -> the numbers whose mean it is; single tasks make none."""
    groups: dict[tuple[str, str, str, str], list[Key]] = {}
    for suite, tasks in suites.items():
        for key in printed:
            paper, algorithm, task, protocol = key
            if task in tasks:
                groups.setdefault((suite, paper, algorithm, protocol), []).append(key)
    return {group: keys for group, keys in groups.items() if len(keys) > 1}


def _missing(verdict: CellVerdict | None, key: Key) -> str:
    why = "not measured" if verdict is None else "; ".join(verdict.reasons)
    return f"{key[2]}: {why}"


def _decided(
    pending: Sequence[tuple[SuiteVerdict, Difference | None]], margin: float
) -> tuple[SuiteVerdict, ...]:
    differences = [difference for _, difference in pending if difference is not None]
    adjusted = iter(holm([p for d in differences for p in raw_p_values(d, margin)]).reshape(-1, 2))
    found = []
    for verdict, difference in pending:
        if difference is not None:
            pair = next(adjusted)
            comparison = compared(difference, margin, (pair[0], pair[1]))
            verdict = _judged(verdict, comparison, 2 * len(differences))
        found.append(verdict)
    return tuple(found)


def _judged(verdict: SuiteVerdict, comparison: Comparison, tests: int) -> SuiteVerdict:
    outcome = outcome_of(comparison)
    withheld = verdict.reasons and outcome in ("reproduced", "above")
    if withheld:
        # Seeds without a score are missing from the means, which are then too good.
        outcome = "inconclusive"
    arithmetic = (
        f"mean over {verdict.judged} tasks: measured {verdict.measured:.2f}, printed {verdict.printed:.2f},"
        f" d = {comparison.difference:.2f}",
        f"standard error {comparison.standard_error:.3g} (root of the sum of the tasks' squared ones,"
        f" / {verdict.judged}), {comparison.degrees_of_freedom:.1f} degrees of freedom,"
        f" margin m = {comparison.margin:g}",
        *lines(comparison, tests),
        *(f"but {reason}: the mean of the others says too much" for reason in verdict.reasons if withheld),
    )
    return replace(verdict, outcome=outcome, comparison=comparison, arithmetic=arithmetic)
