"""Which measured configuration stands for a printed cell, and under which protocol it is scored.

Tables and verdicts both ask here, so they never disagree on what was held against what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.report.conditions import comparable
from bench.report.measured import Measured
from bench.report.methods import ABLATIONS, algorithm_of
from bench.report.paper import PaperCell

Kind = tuple[str, tuple[str, ...]]
"""Algorithm, and the changes that make it an ablation."""
Identity = tuple[str, str, str, str]
"""Algorithm, variant, task and configuration: what tells measured cells apart."""


def matched(printed: Iterable[PaperCell], measured: Sequence[Measured]) -> dict[PaperCell, Measured]:
    """For each printed cell the configuration that comes closest to it, scored by the cell's protocol.

    Cells of which nothing was measured are left out. Closest: with a score rather than without, comparable
    rather than not, then by the number of reasons against it, budget, episodes, seeds and date. An ablation
    takes only what was run with its changes (`ABLATIONS`), and what was so run stands for nothing else.
    """
    by_place: dict[tuple[Kind, str], list[Measured]] = {}
    for entry in measured:
        by_place.setdefault((kind_of(entry), entry.task), []).append(entry)
    found = {}
    for cell in printed:
        candidates = by_place.get((kind_meant(cell), cell.task_meant), ())
        if candidates:
            scored = (scored_as(entry, cell) for entry in candidates)
            found[cell] = max(scored, key=lambda entry: _closeness(entry, cell))
    return found


def kind_meant(printed: PaperCell) -> Kind:
    """Which of our methods, changed or not, may stand for the cell."""
    return ABLATIONS.get(printed.method, (algorithm_of(printed.method, printed.domain), ()))


def kind_of(entry: Measured) -> Kind:
    """`entry`'s method, with its changes where they make it one of the papers' ablations."""
    changes = tuple(sorted(text for text in entry.reduced if " set to " in text))
    return entry.algorithm, changes if (entry.algorithm, changes) in ABLATIONS.values() else ()


def scored_as(entry: Measured, printed: PaperCell | None) -> Measured:
    """`entry` by the printed protocol; by its own or `last` where its evaluations do not allow that."""
    wanted = [printed.protocol] if printed is not None and printed.protocol else []
    return entry.under(*wanted, entry.protocol, "last")


def identity(entry: Measured) -> Identity:
    """What `entry` is, however it is scored."""
    return entry.algorithm, entry.variant, entry.task, entry.config_hash


def _closeness(entry: Measured, cell: PaperCell) -> tuple[object, ...]:
    """Order in which configurations may stand for a printed cell: larger is closer."""
    finished = entry.finished_at.timestamp() if entry.finished_at else 0.0
    reasons = comparable(entry, cell)
    return (entry.n > 0, not reasons, -len(reasons), entry.budget, entry.episodes, entry.n, finished)
