"""What the store has of the last night, held against a baseline, in the formats of `bench check`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from bench.nightly.alarms import CellComparison, NightComparison
from bench.nightly.comparison import cell_name, compare_with_baseline, latest_night
from bench.nightly.config import ScoreRates
from bench.nightly.findings import number
from bench.nightly_records import BaselineRecord
from bench.report.renderers import junit
from bench.store.baselines import find_baseline
from bench.store.damage import restored
from bench.store.database import Store
from bench.visible_text import visible_json

SCHEMA_VERSION = 1
"""Raised when a field changes its meaning or goes."""
COLUMNS = ("cell", "verdict", "now", "baseline", "alarm below", "P", "n")


@dataclass(frozen=True)
class Standing:
    """A comparison, and what was compared."""

    baseline: BaselineRecord
    seeds: tuple[int, ...]
    comparison: NightComparison
    cleared: frozenset[str]
    """Cells that were below, but whose fresh seeds were not."""
    made_at: datetime

    @property
    def below(self) -> tuple[str, ...]:
        """Cells below their interval that no fresh seeds have cleared."""
        return tuple(cell for cell in self.comparison.alarms if cell not in self.cleared)

    @property
    def failing(self) -> bool:
        """Whether a cell is below, lacks scores or has no interval."""
        return bool(self.below or self.comparison.red)


def standing(store: Store, made_at: datetime, tasks: Sequence[str] | None = None) -> Standing:
    """Hold the seeds of the last night against the latest baseline, at the rate it was frozen with.

    Parameters
    ----------
    tasks : only cells on these; None for all.

    Raises
    ------
    BenchError : no baseline, or no night was held against it.
    """
    baseline = find_baseline(store)
    night = latest_night(store, baseline)
    rates = restored(ScoreRates, baseline.configuration.get("scores", {}), "the rates of a baseline")
    kept = tuple(score for score in baseline.scores if tasks is None or score.trial.task in tasks)
    chosen = replace(baseline, scores=kept)
    comparison = compare_with_baseline(store, chosen, night.seeds, rates.family_rate)
    cleared = frozenset(cell_name(cell.cell) for cell in night.cells if cell.confirmed is False)
    return Standing(chosen, night.seeds, comparison, cleared, made_at)


def rows(found: Standing) -> list[tuple[str, ...]]:
    """A line per cell under `COLUMNS`."""
    return [(cell.cell, _verdict(cell, found), *_numbers(cell)) for cell in found.comparison.cells]


def _verdict(cell: CellComparison, found: Standing) -> str:
    cleared = cell.status == "below" and cell.cell in found.cleared
    return "below, cleared by fresh seeds" if cleared else cell.status


def _numbers(cell: CellComparison) -> tuple[str, ...]:
    baseline = f"{number(cell.baseline_mean)} ± {number(cell.baseline_sd)} (n={cell.baseline_seeds})"
    p_value = "-" if cell.p_below is None else f"{cell.p_below:.2g}"
    return (
        number(cell.mean),
        baseline,
        number(cell.alarm_below),
        p_value,
        str(cell.seeds),
    )


def remarks(found: Standing) -> list[str]:
    """Why cells have no answer, and the rate at which all of this is stated."""
    comparison = found.comparison
    return [
        *(f"{cell.cell}: {cell.reason}" for cell in comparison.cells if cell.reason),
        f"Seeds of the last night: {', '.join(map(str, found.seeds))}.",
        f"P: of a mean this low if nothing has changed, before Holm's correction over {len(comparison.cells)}"
        f" cells. A false alarm in {comparison.family_rate:.1%} of nights, before fresh seeds confirm it.",
    ]


def as_json(found: Standing) -> str:
    """Everything in full precision; a number that is not finite becomes null."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "against": "baseline",
        "baseline": found.baseline.name,
        "frozen_at": found.baseline.frozen_at.isoformat(),
        "made_at": found.made_at.isoformat(),
        "seeds": list(found.seeds),
        "family_rate": found.comparison.family_rate,
        "failed": found.failing,
        "cleared": sorted(found.cleared),
        "cells": [
            {name: _finite(value) for name, value in asdict(cell).items()} for cell in found.comparison.cells
        ],
    }
    return visible_json(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)) + "\n"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_junit(found: Standing) -> str:
    """A test per cell; what is below and not cleared, missing or without an interval fails."""
    cases = [_case(cell, found) for cell in found.comparison.cells]
    return junit.document(
        "bench check --against baseline", {f"baseline {found.baseline.name}": cases}, found.made_at
    )


def _case(cell: CellComparison, found: Standing) -> junit.Case:
    if cell.status == "as expected":
        return junit.Case(cell.cell, "passed", cell.status)
    told = zip(COLUMNS[2:], _numbers(cell), strict=True)
    parts = [
        _verdict(cell, found),
        *([cell.reason] if cell.reason else [f"{name} {text}" for name, text in told]),
    ]
    fails = cell.status in ("missing", "unjudged") or cell.cell in found.below
    return junit.Case(cell.cell, "failed" if fails else "passed", cell.status, ", ".join(parts))
