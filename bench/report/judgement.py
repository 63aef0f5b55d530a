"""Verdicts as data: what is said of measured numbers held against printed ones, apart from how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from bench.records import Outcome, PrintedNumber
from bench.report.measured import Measured
from bench.report.paper import PaperCell

WORDS: Mapping[Outcome, str] = {
    "reproduced": "reproduced",
    "below": "not reproduced, below",
    "above": "not reproduced, above",
    "inconclusive": "inconclusive",
    "not comparable": "not comparable",
}
"""How outcomes are written for a reader."""


@dataclass(frozen=True)
class Comparison:
    """One test of a difference d = measured - printed against a margin. Units: score points."""

    difference: float
    standard_error: float
    degrees_of_freedom: float
    low: float
    """Lower end of the 90 % interval of d."""
    high: float
    margin: float
    """d within [-margin, margin] counts as no difference that matters."""
    p_below: float
    """Of the one-sided test against d >= -margin, as it is; small: d lies below."""
    p_above: float
    adjusted_below: float
    """After Holm's correction over both sides of everything that was judged together."""
    adjusted_above: float


@dataclass(frozen=True)
class CellVerdict:
    """One printed number and what our seeds say of it."""

    table: str
    """Id of the first table that prints the number (`dtql-1`)."""
    printed: PaperCell
    measured: Measured
    """Scored by the protocol of the number, where its evaluations allow it."""
    outcome: Outcome = "inconclusive"
    reasons: tuple[str, ...] = ()
    """Why it is not comparable, or inconclusive."""
    assumptions: tuple[str, ...] = ()
    """What had to be assumed about the printed number."""
    comparison: Comparison | None = None
    """None where nothing could be tested."""
    further_seeds: int | None = None
    """Seeds beyond ours that would decide it if mean and spread stayed; None: no number would."""
    arithmetic: tuple[str, ...] = ()
    """How the verdict comes about, a few lines."""

    @cached_property
    def key(self) -> PrintedNumber:
        """What it is about: however many tables print the number, it is one."""
        return self.printed.key

    @property
    def paper(self) -> str:
        """That prints the number."""
        return self.printed.paper

    @property
    def id(self) -> str:
        """What a person types: `dtql/hopper-medium-v2/last`."""
        return "/".join(self.key[1:])


@dataclass(frozen=True)
class SuiteVerdict:
    """The mean over a suite's tasks: the headline."""

    suite: str
    paper: str
    algorithm: str
    protocol: str
    outcome: Outcome
    tasks: int
    """Tasks of the suite that the paper prints a number for."""
    judged: int
    """Of these, judged here; the mean is tested only where all are."""
    measured: float | None
    printed: float | None
    """Means over the judged tasks."""
    comparison: Comparison | None = None
    reasons: tuple[str, ...] = ()
    arithmetic: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """What a person types: `dtql/d4rl-locomotion/last`."""
        return f"{self.algorithm}/{self.suite}/{self.protocol}"


Verdict = CellVerdict | SuiteVerdict


@dataclass(frozen=True)
class Judgement:
    """All verdicts of one check, with the error rates that they are stated at."""

    cells: tuple[CellVerdict, ...] = ()
    """Every printed number of which something was measured."""
    suites: tuple[SuiteVerdict, ...] = ()
    statements: tuple[str, ...] = ()
    """Margins, rates and when they were declared: to be printed with the verdicts."""

    @cached_property
    def by_key(self) -> Mapping[PrintedNumber, CellVerdict]:
        """The cells by what they are about."""
        return {cell.key: cell for cell in self.cells}

    def counts(self) -> dict[Outcome, int]:
        """Cells by outcome, every outcome named."""
        found: dict[Outcome, int] = dict.fromkeys(WORDS, 0)
        for cell in self.cells:
            found[cell.outcome] += 1
        return found

    def failed(self) -> bool:
        """Whether anything was not reproduced because it lies below."""
        verdicts: tuple[Verdict, ...] = (*self.cells, *self.suites)
        return any(verdict.outcome == "below" for verdict in verdicts)
