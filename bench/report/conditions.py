"""Comparable or not: when a measured cell may be held against a printed one."""

from __future__ import annotations

from bench.records import CONTENT_FITS, MISMATCH, VERIFIED
from bench.report.measured import Measured
from bench.report.paper import PaperCell

_DOUBTED = {"mean": "number", "spread": "spread", "task": "task name"}


def comparable(measured: Measured, cell: PaperCell | None) -> list[str]:
    """Reasons why `measured` must not be held against `cell` (None: nothing is printed); empty where it may.

    The conditions: D4RL's own data, verified; the current task version; physics `d4rl`; the preset's full
    budget, evaluations and episodes; the paper's protocol and episodes; a variant that the cell accepts; a
    printed number without erratum.
    """
    reasons = _data_reasons(measured)
    if measured.current_task_version not in (None, measured.task_version):
        reasons.append(f"task version {measured.task_version}, now {measured.current_task_version}")
    if measured.physics != "d4rl":
        reasons.append(f"physics {measured.physics}")
    if measured.reduced:
        reasons.append(f"reduced ({', '.join(measured.reduced)})")
    elif measured.budget != 1:
        reasons.append(f"budget {measured.budget:g}")
    return reasons + _printed_reasons(measured, cell)


def _data_reasons(measured: Measured) -> list[str]:
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
    if not cell.accepts_variants:
        quoted = cell.seeds is None and cell.episodes is None
        return [
            "printed number quoted from elsewhere" if quoted else "the printed number is of another setting"
        ]
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
