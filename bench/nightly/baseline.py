"""The frozen baseline: how it comes about, and what the store has held against it; runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.errors import BenchError, WorkFailedError
from bench.nightly.alarms import CellScores, NightComparison, as_json, compare_night
from bench.nightly.canary import CanaryCell, Gathered, baseline_seeds, run_command, scores_of_seeds
from bench.nightly.config import NightlyFile, ScoreRates
from bench.records import (
    BaselineRecord,
    CellComparison,
    CellKey,
    NightRecord,
    TrialKey,
    first_difference,
)
from bench.report.formats import junit
from bench.report.formats.check import Section
from bench.store.damage import restored
from bench.store.database import Store
from bench.store.nights import find_baseline, nights
from bench.store.queries import configurations
from bench.visible_text import to_json

if TYPE_CHECKING:
    # They bring torch along, and a check of what is stored does without.
    from bench.nightly.exact import Fingerprints
    from bench.nightly.pace import Pace

FEW = 5
SCHEMA_VERSION = 1
"""Of the JSON; raised when a field changes its meaning or goes."""
COLUMNS = ("cell", "verdict", "now", "baseline", "alarm below", "P", "n")


# Freezing


def require_complete(gathered: Gathered, file: NightlyFile, store: str) -> None:
    """Refuse a baseline that lacks trials: which are missing, and what makes them.

    Raises
    ------
    WorkFailedError : names some of them and the commands.
    """
    if gathered.complete:
        return
    commands = [
        run_command(grid, baseline_seeds(file), store, retry=not gathered.left and bool(gathered.failed))
        for grid in file.settings.canary
    ]
    why = [
        f"{len(keys)} {what}: {_some(keys)}."
        for keys, what in (
            (gathered.left, "have not been run to their end"),
            (gathered.failed, "failed (`bench status` says why)"),
            (gathered.without_score, "have no score under their protocol, or none that is finite"),
        )
        if keys
    ]
    missing = len(gathered.left) + len(gathered.failed) + len(gathered.without_score)
    raise WorkFailedError(
        f"{missing} of {missing + len(gathered.scores)} trials of the baseline are missing",
        " ".join(why),
        "Freeze with --run, or run them:\n    " + "\n    ".join(commands),
    )


def frozen(
    name: str,
    reason: str,
    author: str,
    file: NightlyFile,
    gathered: Gathered,
    fingerprints: Fingerprints,
    pace: Sequence[Pace],
) -> BaselineRecord:
    """The record of a baseline that is frozen now."""
    return BaselineRecord(
        name=name,
        frozen_at=datetime.now(UTC),
        reason=reason,
        author=author,
        configuration=file.settings.model_dump(mode="json"),
        fingerprints=fingerprints.as_json(),
        scores=gathered.scores,
        pace=tuple(one.as_json() for one in pace),
    )


def _some(keys: Sequence[TrialKey]) -> str:
    named = ", ".join(f"{key.algorithm} {key.task} seed {key.seed}" for key in keys[:FEW])
    return named + (f" and {len(keys) - FEW} more" if len(keys) > FEW else "")


# Stored scores against it


def compare_with_baseline(
    store: Store, baseline: BaselineRecord, seeds: Sequence[int], family_rate: float
) -> NightComparison:
    """Hold what the store has of `seeds` against every cell of a baseline.

    A seed without a score makes its cell `missing`, which is red.
    """
    scores = scores_of_seeds(store, baseline.cells, seeds)
    return compare_night(paired(baseline, scores), family_rate)


def paired(baseline: BaselineRecord, scores: Mapping[CellKey, Sequence[float | None]]) -> list[CellScores]:
    """Each cell's scores beside those of the baseline."""
    return [CellScores(cell, baseline.scores_of(cell), tuple(tonight)) for cell, tonight in scores.items()]


def changed_cells(store: Store, baseline: BaselineRecord, canary: Sequence[CanaryCell]) -> list[str]:
    """One sentence for each cell of which a baseline knows another configuration, or of which only one knows.

    Scores of another configuration are no yardstick, so a night stops here.
    """
    frozen = {str(cell): cell for cell in baseline.cells}
    there = {cell.name: cell for cell in canary}
    stored = configurations(store, [cell.config_hash for cell in baseline.cells])
    found = [f"{name} is in the canary, but not in the baseline" for name in there if name not in frozen]
    found += [
        f"{name} is in the baseline, but no longer in the canary" for name in frozen if name not in there
    ]
    for name in frozen.keys() & there.keys():
        before, now = frozen[name], there[name]
        if before == now.key:
            continue
        config = stored.get(before.config_hash)
        if config is None:
            found.append(f"{name} has another configuration than in the baseline")
        else:
            where, old, new = first_difference(config, now.config)
            found.append(f"{name}: {where} is {new}, and was {old} when the baseline was frozen")
    return sorted(found)


# The last night against it, in the formats of `bench check`


@dataclass(frozen=True)
class BaselineCheck:
    """A comparison, and what was compared."""

    baseline: BaselineRecord
    seeds: tuple[int, ...]
    comparison: NightComparison
    cleared: frozenset[str]
    """Names of cells that were below, but whose fresh seeds were not."""
    made_at: datetime

    @property
    def below(self) -> tuple[str, ...]:
        """Names of cells below their interval that no fresh seeds have cleared."""
        return tuple(cell for cell in self.comparison.alarms if cell not in self.cleared)

    @property
    def failing(self) -> bool:
        """Whether a cell is below, lacks scores or has no interval."""
        return bool(self.below or self.comparison.red)

    def verdict(self, cell: CellComparison) -> str:
        """A cell's status in words."""
        cleared = cell.status == "below" and cell.name in self.cleared
        return "below, cleared by fresh seeds" if cleared else cell.status


def check_last_night(store: Store, made_at: datetime, tasks: Sequence[str] | None = None) -> BaselineCheck:
    """Hold the seeds of the last night against the latest baseline, at the rate it was frozen with.

    Parameters
    ----------
    tasks : only cells on these; None for all.

    Raises
    ------
    BenchError : no baseline, or no night was held against it.
    """
    baseline = find_baseline(store)
    night = _latest_night(store, baseline)
    rates = restored(ScoreRates, baseline.configuration.get("scores", {}), "the rates of a baseline")
    kept = tuple(score for score in baseline.scores if tasks is None or score.trial.task in tasks)
    chosen = replace(baseline, scores=kept)
    comparison = compare_with_baseline(store, chosen, night.seeds, rates.family_rate)
    cleared = frozenset(cell.name for cell in night.cells if cell.confirmed is False)
    return BaselineCheck(chosen, night.seeds, comparison, cleared, made_at)


def _latest_night(store: Store, baseline: BaselineRecord) -> NightRecord:
    held = [night for night in nights(store, baseline.name) if night.cells]
    if not held:
        raise BenchError(
            f"no night has been held against baseline {baseline.name!r} yet",
            "So there are no scores to compare.",
            "Type: bench nightly",
        )
    return held[-1]


def section(found: BaselineCheck) -> Section:
    """A line per cell, why cells have no answer, and the rate at which all of this is stated."""
    baseline, comparison = found.baseline, found.comparison
    return Section(
        f"Against baseline {baseline.name!r}, frozen {baseline.frozen_at:%Y-%m-%d}: {baseline.reason}",
        COLUMNS,
        [(cell.name, found.verdict(cell), *_numbers(cell)) for cell in comparison.cells],
        [
            *(f"{cell.name}: {cell.reason}" for cell in comparison.cells if cell.reason),
            f"Seeds of the last night: {', '.join(map(str, found.seeds))}.",
            f"P: of a mean this low if nothing has changed, before Holm's correction over"
            f" {len(comparison.cells)} cells. A false alarm in {comparison.family_rate:.1%} of nights, before"
            " fresh seeds confirm it.",
        ],
    )


def _numbers(cell: CellComparison) -> tuple[str, ...]:
    baseline = f"{number(cell.baseline_mean)} ± {number(cell.baseline_sd)} (n={cell.baseline_seeds})"
    p_value = "-" if cell.p_below is None else f"{cell.p_below:.2g}"
    return number(cell.mean), baseline, number(cell.alarm_below), p_value, str(cell.seeds)


def json_of(found: BaselineCheck) -> str:
    """Everything in full precision."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "against": "baseline",
        "baseline": found.baseline.name,
        "frozen_at": found.baseline.frozen_at.isoformat(),
        "made_at": found.made_at.isoformat(),
        "seeds": found.seeds,
        "family_rate": found.comparison.family_rate,
        "failed": found.failing,
        "cleared": sorted(found.cleared),
        "cells": as_json(found.comparison)["cells"],
    }
    return to_json(content)


def junit_of(found: BaselineCheck) -> str:
    """A test per cell; what is below and not cleared, missing or without an interval fails."""
    suite = f"baseline {found.baseline.name}"
    return junit.document("bench check --against baseline", {suite: list(_cases(found))}, found.made_at)


def _cases(found: BaselineCheck) -> Iterator[junit.Case]:
    for cell in found.comparison.cells:
        message = ""
        if cell.status != "as expected":
            told = zip(COLUMNS[2:], _numbers(cell), strict=True)
            why = [cell.reason] if cell.reason else [f"{name} {text}" for name, text in told]
            message = ", ".join([found.verdict(cell), *why])
        fails = cell.name in (*found.below, *found.comparison.red)
        yield junit.Case(cell.name, "failed" if fails else "passed", cell.status, message)


def number(value: float | None) -> str:
    """A score, or a dash."""
    return "-" if value is None else f"{value:.1f}"
