"""Cells of score tables: printed, measured, and the conditions under which it was measured."""

from __future__ import annotations

from collections.abc import Iterable

from bench.report.judged_cells import verdict_on, with_verdict
from bench.report.judgement import Judgement
from bench.report.matching import Match
from bench.report.measured import Measured
from bench.report.paper import Erratum, PaperCell
from bench.report.tables import Cell, Column, number_text
from bench.report.typography import DEFAULT_DIGITS, Digits

DEFAULT_VARIANT = "released"
CONDITIONS = (
    Column("budget", "Budget", "condition"),
    Column("physics", "Physics", "condition"),
    Column("task_version", "Task v.", "condition"),
)


def measured_header(printed: str) -> str:
    """Header of the measured column beside the one with the header `printed`."""
    return f"{printed.removesuffix(' (Ours)')} measured"


def printed_cell(cell: PaperCell | None) -> Cell:
    """A number as the paper prints it; a known misprint carries its correction as a footnote."""
    if cell is None or cell.mean is None:
        return Cell("printed")
    text = cell.printed + (f" ± {cell.printed_spread}" if cell.printed_spread else "")
    footnotes = tuple(_correction(erratum) for erratum in cell.errata)
    detail = {
        "paper": cell.paper,
        "spread_kind": cell.spread_kind,
        "protocol": cell.protocol,
        "protocol_as_stated": cell.protocol_as_stated,
        "episodes": cell.episodes,
        "accepts_variants": list(cell.accepts_variants),
        "note": cell.note,
    }
    return Cell("printed", text, cell.mean, cell.spread, cell.seeds, footnotes=footnotes, detail=detail)


def _correction(erratum: Erratum) -> str:
    what = "" if erratum.field == "mean" else f"the {erratum.field} "
    if not erratum.corrected:
        return f"as printed; {what}in doubt, the right value unknown. {erratum.reason}"
    return f"as printed; {what}should be {erratum.corrected}. {erratum.reason}"


def measured_cell(
    match: Match,
    digits: Digits = DEFAULT_DIGITS,
    judgement: Judgement | None = None,
) -> Cell:
    """Mean ± standard deviation over seeds and n; blank, with a footnote, where no seed has a score.

    With a judgement the cell says what was judged of exactly this configuration against this number.
    """
    entry, printed = match.measured, match.printed
    mean, deviation = entry.mean, entry.standard_deviation
    text = number_text(mean, digits.mean, "" if deviation is None else f"{deviation:.{digits.spread}f}")
    variant = () if entry.variant == DEFAULT_VARIANT else (f"variant {entry.variant}",)
    oracle = ("best evaluation over training, an oracle",) if entry.protocol == "oms" else ()
    footnotes = variant + oracle + entry.shortfalls()
    if mean is None:
        return Cell("measured", footnotes=footnotes, detail=_detail(entry))
    cell = Cell(
        "measured",
        f"{text} (n={entry.n})",
        mean,
        deviation,
        entry.n,
        not_comparable=match.reasons,
        footnotes=footnotes,
        detail=_detail(entry),
    )
    verdict = verdict_on(entry, printed, judgement)
    return cell if verdict is None else with_verdict(cell, verdict)


def _detail(entry: Measured) -> dict[str, object]:
    scored = sorted((t for t in entry.trials if t.score is not None), key=lambda trial: trial.seed)
    return {
        "algorithm": entry.algorithm,
        "variant": entry.variant,
        "task": entry.task,
        "spread_kind": "std_over_seeds",
        "seeds": [trial.seed for trial in scored],
        "scores": [trial.score for trial in scored],
        "trials": [trial.trial_id for trial in entry.trials],
        "protocol": entry.protocol,
        "episodes": entry.episodes,
        "budget": entry.budget,
        "physics": entry.physics,
        "task_version": entry.task_version,
        "dataset": entry.dataset,
        "verification": entry.verification,
        "replay": entry.replay,
        "config_hash": entry.config_hash,
    }


def condition_cells(entries: Iterable[Measured]) -> tuple[Cell, ...]:
    """Budget, physics and task version of a row; several where its measured cells differ."""
    entries = [entry for entry in entries if entry.n]
    values = (
        [f"{entry.budget:g}" for entry in entries],
        [entry.physics for entry in entries],
        [str(entry.task_version) for entry in entries],
    )
    return tuple(Cell("condition", " / ".join(dict.fromkeys(texts))) for texts in values)
