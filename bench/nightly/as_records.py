"""A night's findings as records of the store, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from bench.nightly.alarms import CellComparison
from bench.nightly.comparison import cell_name
from bench.nightly.findings import Findings
from bench.nightly_records import BaselineRecord, NightCellRecord, NightRecord, NightVerdict


def ended(begun: NightRecord, found: Findings, baseline: BaselineRecord) -> NightRecord:
    """The record of a night that ends now."""
    return replace(
        begun,
        ended_at=datetime.now(UTC),
        outcome=found.outcome,
        report=as_json(found),
        cells=tuple(_cells(found, baseline)),
        verdicts=tuple(NightVerdict(*key, outcome) for key, outcome in found.verdicts.items()),
    )


def as_json(found: Findings) -> dict[str, Any]:
    """All findings as plain values; a number that is not finite becomes null."""
    verdicts = [{"key": "/".join(key), "outcome": outcome} for key, outcome in found.verdicts.items()]
    return {
        "outcome": found.outcome,
        "problems": [asdict(problem) for problem in found.problems()],
        **_plain(replace(found, verdicts={})),
        "verdicts": verdicts,
    }


def _cells(found: Findings, baseline: BaselineRecord) -> Iterator[NightCellRecord]:
    if found.comparison is None:
        return
    keys = {cell_name(cell): cell for cell in baseline.cells}
    confirmation = () if found.confirmation is None else found.confirmation.cells
    fresh = {cell.cell: cell for cell in confirmation}
    for cell in found.comparison.cells:
        second = fresh.get(cell.cell)
        yield NightCellRecord(
            cell=keys[cell.cell],
            status=cell.status,
            n=cell.seeds,
            lost=len(found.seeds) - cell.seeds,
            mean=cell.mean,
            baseline_n=cell.baseline_seeds,
            baseline_mean=cell.baseline_mean,
            baseline_deviation=cell.baseline_sd,
            alarm_below=cell.alarm_below,
            p_below=cell.p_below,
            confirmation_n=0 if second is None else second.seeds,
            confirmation_mean=None if second is None else second.mean,
            confirmed=_confirmed(second),
            drift=found.drift.sums.get(cell.cell),
            drifting=cell.cell in found.drift.cells,
            remark=cell.reason,
        )


def _confirmed(fresh: CellComparison | None) -> bool | None:
    """Whether an alarm stands; fresh seeds of which some were lost settle nothing."""
    return None if fresh is None or fresh.status == "missing" else fresh.status == "below"


def _plain(value: object) -> Any:  # noqa: ANN401 (whatever JSON has)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(content) for name, content in vars(value).items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(content) for name, content in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(content) for content in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
