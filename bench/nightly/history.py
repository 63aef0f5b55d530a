"""A night beside those before it: slow drift, and verdicts on the papers that have turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.nightly.alarms import NightComparison
from bench.nightly.comparison import cell_name
from bench.nightly.config import Nightly
from bench.nightly.drift import DriftState, after_night, drift_rule, drifting
from bench.nightly.findings import Drift, VerdictChange
from bench.nightly_records import NightRecord
from bench.report.judgement import Key
from bench.report.judgement import Outcome as VerdictOutcome

FAILED: tuple[VerdictOutcome, ...] = ("below", "above")
_DECIDED: tuple[VerdictOutcome, ...] = ("reproduced", *FAILED)


def drift_after(earlier: Sequence[NightRecord], comparison: NightComparison, settings: Nightly) -> Drift:
    """The cumulative sums after a night; `earlier` are those held against the same baseline, by date."""
    rule = drift_rule(
        cells=len(comparison.cells),
        baseline_seeds=min(cell.baseline_seeds for cell in comparison.cells),
        seeds=settings.seeds.per_night,
        rate=settings.drift.rate,
        nights=settings.drift.nights,
    )
    # From the first night on, so that one that was finished after its successor counts as well.
    held = [{cell_name(cell.cell): cell.p_below for cell in night.cells} for night in earlier]
    state = DriftState()
    for p_below in (*held, {cell.cell: cell.p_below for cell in comparison.cells}):
        state = after_night(state, p_below, rule)
    return Drift(state.sums, rule.limit, drifting(state, rule))


def turned(
    earlier: Sequence[NightRecord], verdicts: Mapping[Key, VerdictOutcome]
) -> tuple[VerdictChange, ...]:
    """Verdicts that differ from those of the last night that was compared with the papers; failures first.

    On the first night nothing can have turned.

    A number fails the night that is not reproduced, below or above, and was reproduced when it was last
    decided. On its way it may have been inconclusive for some nights: that it was then not *just* reproduced
    is no reason to overlook it.
    """
    checked = [
        {verdict.key: verdict.outcome for verdict in night.verdicts} for night in earlier if night.cells
    ]
    if not checked:
        return ()
    before = checked[-1]
    changes = [
        VerdictChange(
            key,
            before.get(key),
            verdicts.get(key),
            verdicts.get(key) in FAILED and _last_decided(checked, key) == "reproduced",
        )
        for key in {**before, **verdicts}
        if before.get(key) != verdicts.get(key)
    ]
    return tuple(sorted(changes, key=lambda change: (not change.fails, change.key)))


def margins_before(earlier: Sequence[NightRecord]) -> Mapping[str, Any] | None:
    """By which the last night that was compared with the papers judged; None where that is not known."""
    reports = [night.report or {} for night in earlier if night.cells]
    return reports[-1].get("margins") if reports else None


def _last_decided(checked: Sequence[Mapping[Key, str]], key: Key) -> str | None:
    outcomes = (night.get(key) for night in reversed(checked))
    return next((outcome for outcome in outcomes if outcome in _DECIDED), None)
