"""Stored scores held against a frozen baseline; apart from running, so that `bench check` can do it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.errors import BenchError
from bench.nightly.alarms import CellScores, NightComparison, compare_night
from bench.nightly.canary import CanaryCell, scores_of_seeds
from bench.nightly_records import BaselineRecord, NightRecord
from bench.records import CellKey
from bench.store.database import Store
from bench.store.disagreements import first_difference
from bench.store.nights import nights
from bench.store.queries import configurations


def compare_with_baseline(
    store: Store, baseline: BaselineRecord, seeds: Sequence[int], family_rate: float
) -> NightComparison:
    """Hold what the store has of `seeds` against every cell of a baseline; runs nothing.

    A seed without a score makes its cell `missing`, which is red.
    """
    scores = scores_of_seeds(store, baseline.cells, seeds)
    return compare_night(paired(baseline, scores), family_rate)


def latest_night(store: Store, baseline: BaselineRecord) -> NightRecord:
    """The last night that was held against a baseline.

    Raises
    ------
    BenchError : there was none.
    """
    held = [night for night in nights(store, baseline.name) if night.cells]
    if not held:
        raise BenchError(
            f"no night has been held against baseline {baseline.name!r} yet",
            "So there are no scores to compare.",
            "Type: bench nightly",
        )
    return held[-1]


def paired(baseline: BaselineRecord, scores: Mapping[CellKey, Sequence[float | None]]) -> list[CellScores]:
    """Each cell's scores beside those of the baseline."""
    return [
        CellScores(cell_name(cell), baseline.scores_of(cell), tuple(tonight))
        for cell, tonight in scores.items()
    ]


def cell_name(cell: CellKey) -> str:
    """`dtql hopper-medium-v2`, with the variant where it is not the default."""
    variant = "" if cell.variant == "released" else f" ({cell.variant})"
    return f"{cell.algorithm}{variant} {cell.task}"


def changed_cells(store: Store, baseline: BaselineRecord, canary: Sequence[CanaryCell]) -> list[str]:
    """One sentence for each cell of which a baseline knows another configuration, or of which only one knows.

    Scores of another configuration are no yardstick, so a night stops here.
    """
    frozen = {cell_name(cell): cell for cell in baseline.cells}
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
