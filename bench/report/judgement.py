"""Verdicts as data: what is said of measured numbers held against printed ones, apart from how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from bench.records import Outcome, PrintedNumber

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

    key: PrintedNumber
    """Its task is `PaperCell.task_meant`; however many tables print it, it is one."""
    table: str
    """Id of the first table that prints the number (`dtql-1`)."""
    method: str
    """As the paper names it."""
    outcome: Outcome
    printed: str
    """As printed, with its spread: `99.6 ± 0.87`."""
    measured: float | None
    """Mean over seeds; None where nothing was measured."""
    deviation: float | None
    """Standard deviation over our seeds."""
    n: int
    """Our seeds."""
    variant: str = ""
    config_hash: str = ""
    trials: tuple[int, ...] = ()
    replay: str = ""
    """`replayed` or `unverified`: whether a replay of the dataset confirmed the simulator."""
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
        verdicts: tuple[CellVerdict | SuiteVerdict, ...] = (*self.cells, *self.suites)
        return any(verdict.outcome == "below" for verdict in verdicts)
