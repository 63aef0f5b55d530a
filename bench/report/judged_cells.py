"""Verdicts in tables: which verdict is about a measured cell, and what the cell takes over from it."""

from __future__ import annotations

from dataclasses import replace

from bench.report.judgement import WORDS, CellVerdict, Comparison, Judgement, SuiteVerdict
from bench.report.measured import Measured
from bench.report.methods import algorithm_of
from bench.report.paper import PaperCell
from bench.report.tables import Cell


def verdict_on(entry: Measured, printed: PaperCell | None, judgement: Judgement | None) -> CellVerdict | None:
    """The verdict on `entry` held against `printed`; None where another number or configuration was judged.

    A paper may print a number twice, once with a misprint: the verdict is about the digits that it quotes.
    """
    if judgement is None or printed is None:
        return None
    algorithm = algorithm_of(printed.method, printed.domain)
    verdict = judgement.by_key.get((printed.paper, algorithm, printed.task_meant, printed.protocol))
    if verdict is None or verdict.printed.partition(" ")[0] != printed.printed:
        return None
    same = (verdict.variant, verdict.config_hash) == (entry.variant, entry.config_hash)
    return verdict if same else None


def with_verdict(cell: Cell, verdict: CellVerdict | SuiteVerdict) -> Cell:
    """`cell` with the verdict's word and, where a test was made, its numbers."""
    comparison = verdict.comparison
    detail = {**cell.detail, **({} if comparison is None else _numbers(comparison))}
    if isinstance(verdict, CellVerdict):
        detail |= {"verdict_id": verdict.id, "further_seeds": verdict.further_seeds}
    if verdict.reasons:
        detail["verdict_reasons"] = list(verdict.reasons)
    return replace(
        cell,
        verdict=WORDS[verdict.outcome],
        interval=None if comparison is None else (comparison.low, comparison.high),
        detail=detail,
    )


def _numbers(comparison: Comparison) -> dict[str, float]:
    return {
        "difference": comparison.difference,
        "margin": comparison.margin,
        "adjusted_p_below": comparison.adjusted_below,
        "adjusted_p_above": comparison.adjusted_above,
    }
