"""Averages and sums over tasks, as papers print them below their rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.report.judged_cells import with_verdict
from bench.report.judgement import Judgement, SuiteVerdict
from bench.report.matching import Match
from bench.report.paper import PaperCell
from bench.report.tables import BLANK, Cell, number_text


def measured_aggregate(
    cells: Sequence[PaperCell],
    chosen: Mapping[PaperCell, Match],
    aggregate: str,
    decimals: int,
    judgement: Judgement | None = None,
) -> Cell:
    """Average or sum of what stands for `cells`, the tasks of one column; blank while any is missing."""
    means = [chosen[cell].measured.mean for cell in cells if cell in chosen]
    means = [mean for mean in means if mean is not None]
    if not cells or len(means) < len(cells):
        return BLANK
    total = _sum(means)
    average = total / len(means)
    value = average if aggregate == "average" else total
    doubtful = sum(bool(chosen[cell].reasons) for cell in cells)
    reasons = (f"{doubtful} of {len(cells)} cells are not comparable",) if doubtful else ()
    cell = Cell("measured", number_text(value, decimals), value, not_comparable=reasons)
    verdict = _verdict_on(average, cells, chosen, judgement)
    if verdict is None:
        return cell
    judged = with_verdict(cell, verdict)
    # The verdict is about the mean; the same holds of the sum, in other units.
    return judged if aggregate == "average" else replace(judged, interval=None, detail={})


def _sum(means: Sequence[float]) -> float:
    """The exact sum, rounded once; infinite where it is too large for a number."""
    try:
        return math.fsum(means)
    except OverflowError:
        return sum(means)


def _verdict_on(
    average: float,
    cells: Sequence[PaperCell],
    chosen: Mapping[PaperCell, Match],
    judgement: Judgement | None,
) -> SuiteVerdict | None:
    """The verdict on the mean of exactly these cells, where a suite's mean is theirs.

    Not where the column prints other numbers than were judged: EDP misprints a whole block in Table 5.
    """
    entry, cell = chosen[cells[0]].measured, cells[0]
    wanted = (cell.paper, entry.algorithm, entry.protocol, len(cells), len(cells))
    printed = [cell.mean for cell in cells if cell.mean is not None]
    for verdict in judgement.suites if judgement else ():
        found = (verdict.paper, verdict.algorithm, verdict.protocol, verdict.tasks, verdict.judged)
        means = (average, verdict.measured), (math.fsum(printed) / len(cells), verdict.printed)
        if found == wanted and all(b is not None and math.isclose(a, b, abs_tol=1e-9) for a, b in means):
            return verdict
    return None
