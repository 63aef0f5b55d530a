"""A verdict in a sentence."""

from __future__ import annotations

from bench.report.cell_verdicts import MOST_FURTHER_SEEDS
from bench.report.judgement import WORDS, CellVerdict, Comparison, SuiteVerdict


def sentence(verdict: CellVerdict | SuiteVerdict) -> str:
    """`inconclusive: d = -3.20, 90 % interval [-6.10, -0.30], margin 5; 2 further seeds would decide`."""
    parts = [] if verdict.comparison is None else [numbers(verdict.comparison)]
    parts += verdict.reasons
    if isinstance(verdict, CellVerdict) and further(verdict):
        parts.append(
            f"{further(verdict)} further seed{'' if verdict.further_seeds == 1 else 's'} would decide"
        )
    return ": ".join(part for part in (WORDS[verdict.outcome], "; ".join(parts)) if part)


def numbers(comparison: Comparison) -> str:
    """`d = -3.20, 90 % interval [-6.10, -0.30], margin 5`."""
    low, high, margin = comparison.low, comparison.high, f"{comparison.margin:g}"
    return f"d = {comparison.difference:+z.2f}, 90 % interval [{low:+z.2f}, {high:+z.2f}], margin {margin}"


def further(verdict: CellVerdict) -> str:
    """Further seeds that would decide an inconclusive cell; empty where that is not the question."""
    open_ = verdict.outcome == "inconclusive" and verdict.comparison is not None and not verdict.reasons
    if not open_:
        return ""
    return f">{MOST_FURTHER_SEEDS}" if verdict.further_seeds is None else str(verdict.further_seeds)


def replay_words(replay: str) -> str:
    """Whether a replay of the dataset confirmed the simulator, as it stands beside a verdict."""
    if replay == "unverified":
        return "simulator not confirmed by a replay of the data"
    found = "confirmed the simulator" if replay == "d4rl" else f"found physics {replay}, not D4RL's"
    return f"a replay of the data {found}"


def count(number: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
