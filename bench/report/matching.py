"""Which numbers may be judged, what stands for a printed one, and whether it may be held against it.

Tables and verdicts both ask here, so they never disagree on what was held against what.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.records import CONTENT_FITS, MISMATCH, VERIFIED, PrintedNumber
from bench.report.measured import Measured
from bench.report.paper import AGGREGATES, SCORE, PaperCell, PaperTable, ablations, load_paper_tables

Printed = Mapping[PrintedNumber, tuple[str, PaperCell]]
"""Numbers that may be judged, each with the id of its table."""
Kind = tuple[str, tuple[str, ...]]
"""Algorithm, and the changes that make it an ablation."""
_DOUBTED = {"mean": "number", "spread": "spread", "task": "task name"}


def comparable(measured: Measured, cell: PaperCell | None) -> list[str]:
    """Reasons why `measured` must not be held against `cell` (None: nothing is printed); empty where it may.

    The conditions: D4RL's own data, verified; the current task version; physics `d4rl`; the preset's full
    budget, evaluations and episodes; the paper's protocol and episodes; a variant that the cell accepts; a
    printed number without erratum.
    """
    return data_against(measured) + conditions_against(measured) + _printed_reasons(measured, cell)


def conditions_against(measured: Measured) -> list[str]:
    """What of the conditions of a run speaks against its number, whatever it is held against."""
    reasons = []
    if measured.current_task_version not in (None, measured.task_version):
        reasons.append(f"task version {measured.task_version}, now {measured.current_task_version}")
    if measured.physics != "d4rl":
        reasons.append(f"physics {measured.physics}")
    if measured.reduced:
        reasons.append(f"reduced ({', '.join(measured.reduced)})")
    elif measured.budget != 1:
        reasons.append(f"budget {measured.budget:g}")
    return reasons


def data_against(measured: Measured) -> list[str]:
    """What of the data of a run speaks against holding its number against one printed of D4RL's."""
    if measured.foreign:
        followed = [f"presets of {measured.preset_of}"] if measured.preset_of else []
        return ["foreign data, of no paper", *followed]
    if measured.twin_of is not None:
        return [f"collected data, not D4RL's {measured.twin_of}"]
    if measured.verification == MISMATCH:
        return ["the file is not D4RL's"]
    if measured.verification == CONTENT_FITS:
        return ["the file is not D4RL's own, though its content fits"]
    if measured.verification != VERIFIED:
        return ["whether the file is D4RL's is not known"]
    return []


def _printed_reasons(measured: Measured, cell: PaperCell | None) -> list[str]:
    if cell is None or cell.mean is None:
        return ["the paper prints no number here"]
    if (never := never_judged(cell)) is not None:
        return [never]
    reasons = []
    if cell.protocol != measured.protocol:
        reasons.append(f"protocol {measured.protocol}, printed {cell.protocol or 'unknown'}")
    already_said = any("episodes" in text for text in measured.reduced)
    if cell.episodes is not None and cell.episodes != measured.episodes and not already_said:
        reasons.append(f"{measured.episodes} episodes, printed {cell.episodes}")
    if measured.variant not in cell.accepts_variants:
        reasons.append(f"variant {measured.variant}")
    reasons += [f"the printed {_DOUBTED[erratum.field]} is in doubt" for erratum in cell.errata]
    return reasons


def never_judged(cell: PaperCell) -> str | None:
    """Why a printed number is held against nothing, whatever is measured; None where it may be."""
    if cell.accepts_variants:
        return None
    quoted = cell.seeds is None and cell.episodes is None
    return "printed number quoted from elsewhere" if quoted else "the printed number is of another setting"


def own_numbers(papers: Mapping[str, PaperTable] | None = None) -> Printed:
    """Every score that a paper prints of its own method, with its table: of two the first without erratum.

    Aggregates, quoted numbers and ablations are not judged. EDP names its pen tasks once as -v0, once as -v1:
    a number is known by the task that it is of, so that these are one.

    Parameters
    ----------
    papers : all printed tables, where they have been read already.
    """
    found: dict[PrintedNumber, tuple[str, PaperCell]] = {}
    for table_id, paper in (load_paper_tables() if papers is None else papers).items():
        for cell in paper.rows:
            aggregate = cell.task in AGGREGATES or cell.metric != SCORE
            if aggregate or not cell.accepts_variants or cell.mean is None:
                continue
            if cell.key not in found or (found[cell.key][1].errata and not cell.errata):
                found[cell.key] = (table_id, cell)
    return found


@dataclass(frozen=True)
class Match:
    """A printed number with what stands for it, scored by its protocol."""

    printed: PaperCell | None
    """None where the paper prints nothing."""
    measured: Measured
    reasons: tuple[str, ...]
    """Why the two must not be held against each other; empty where they may."""


def matched(printed: Iterable[PaperCell], measured: Sequence[Measured]) -> dict[PaperCell, Match]:
    """For each printed cell the configuration that comes closest to it, scored by the cell's protocol.

    Cells of which nothing was measured are left out. Closest: with a score rather than without, comparable
    rather than not, then by the number of reasons against it, budget, episodes, seeds and date. An ablation
    takes only what was run with its changes (`ablations`), and what was so run stands for nothing else.
    Imported scores stand for no number, whatever they are called.
    """
    changed = ablations()
    by_place: dict[tuple[Kind, str], list[Measured]] = {}
    for entry in measured:
        if entry.imported:
            continue
        by_place.setdefault((kind_of(entry, changed.values()), entry.task), []).append(entry)
    found = {}
    for cell in printed:
        meant = changed.get(cell.method, (cell.algorithm, ()))
        if candidates := by_place.get((meant, cell.task_meant)):
            found[cell] = max((match_of(entry, cell) for entry in candidates), key=_closeness)
    return found


def match_of(entry: Measured, printed: PaperCell | None) -> Match:
    """`entry` beside a printed number, by its protocol; by its own or `last` where that cannot be."""
    wanted = [printed.protocol] if printed is not None and printed.protocol else []
    scored = entry.under(*wanted, entry.protocol, "last")
    return Match(printed, scored, tuple(comparable(scored, printed)))


def kind_of(entry: Measured, changed: Collection[Kind]) -> Kind:
    """`entry`'s method, with its changes where they make it one of `changed`, the papers' ablations."""
    changes = tuple(sorted(text for text in entry.reduced if " set to " in text))
    return entry.algorithm, changes if (entry.algorithm, changes) in changed else ()


def _closeness(match: Match) -> tuple[object, ...]:
    """Order in which configurations may stand for a printed cell: larger is closer."""
    entry, reasons = match.measured, match.reasons
    worth = entry.budget, entry.episodes, entry.n, entry.finished_seconds
    return (entry.n > 0, not reasons, -len(reasons), *worth)
