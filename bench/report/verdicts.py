"""Verdicts: which printed numbers our seeds reproduce, with stated error rates.

For each judged number d = measured - printed is held against a margin m that was declared before:
*reproduced* where the 90 % interval of d lies within [-m, m], that is two one-sided tests at 5 % per cell;
*not reproduced, below* (above) where the one-sided test against d >= -m (d <= m) rejects, Holm-corrected over
both sides of everything judged, so that in at most 5 % of checks any such verdict is wrong; otherwise
*inconclusive*.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from bench.report.cell_verdicts import Tested, decided, examined
from bench.report.judgement import CellVerdict, Judgement
from bench.report.margins import Margins
from bench.report.matching import Printed, matched, own_numbers
from bench.report.measured import Measured, ReportData
from bench.report.suite_verdicts import suite_verdicts


def judge(data: ReportData, margins: Margins, printed: Printed | None = None) -> Judgement:
    """Hold everything comparable in `data` against `printed`, the papers' own numbers unless given."""
    printed = own_numbers() if printed is None else printed
    chosen = matched((cell for _, cell in printed.values()), data.measured)
    found = {
        key: examined(key, table, chosen[cell], data.final_episodes, margins)
        for key, (table, cell) in printed.items()
        if cell in chosen
    }
    tested = [entry for entry in found.values() if isinstance(entry, Tested)]
    verdicts = {entry.key: entry for entry in found.values() if isinstance(entry, CellVerdict)}
    verdicts |= {verdict.key: verdict for verdict in decided(tested)}
    cells = tuple(verdicts[key] for key in found)
    judged = [chosen[printed[test.verdict.key][1]].measured for test in tested]
    suites = suite_verdicts(data.suites, list(printed), cells, tested, margins)
    return Judgement(cells, suites, _statements(margins, judged))


def _statements(margins: Margins, judged: Sequence[Measured]) -> tuple[str, ...]:
    """What must stand with the verdicts: margins, when they were declared, and the error rates."""
    cell, suite = margins.cell, margins.suite
    count = len(margins.exceptions)
    exceptions = f", {count} exception{'' if count == 1 else 's'}" if count else ""
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
