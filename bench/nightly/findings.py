"""What a night found, as data, and what of it makes the night red."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from bench.nightly.alarms import CellComparison, NightComparison
from bench.nightly.exact import ExactFinding
from bench.nightly.pace import PaceComparison
from bench.nightly_records import NoteRecord, Outcome
from bench.report.judgement import WORDS, Key
from bench.report.judgement import Outcome as VerdictOutcome

NONE = "not compared"
"""Said of a printed number that one of two nights has no verdict on."""


@dataclass(frozen=True)
class Excused:
    """An exact layer that differs as a person's note says it should."""

    finding: ExactFinding
    note: NoteRecord


@dataclass(frozen=True)
class VerdictChange:
    """A printed number of which tonight's check says something else than the last one."""

    key: Key
    before: VerdictOutcome | None
    after: VerdictOutcome | None
    fails: bool
    """It was reproduced when it was last decided, and now is not."""

    @property
    def sentence(self) -> str:
        """`dtql/hopper-medium-v2/last: reproduced -> not reproduced, below`."""
        before, after = (NONE if outcome is None else WORDS[outcome] for outcome in (self.before, self.after))
        return f"{'/'.join(self.key[1:])}: {before} -> {after}"


@dataclass(frozen=True)
class Drift:
    """The cumulative sums after a night."""

    sums: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    """None where the night was not compared."""
    cells: tuple[str, ...] = ()
    """Those at the limit."""


@dataclass(frozen=True)
class Problem:
    """One reason for a red night."""

    what: str
    do_this: str


@dataclass(frozen=True)
class Findings:
    """A whole night. Where the exact layers or the canary differ nothing else was done."""

    date: date
    baseline: str
    seeds: tuple[int, ...]
    exact: tuple[ExactFinding, ...] = ()
    """Differences that no note excuses; some are only told."""
    excused: tuple[Excused, ...] = ()
    changed_cells: tuple[str, ...] = ()
    """Sentences about cells that are not those of the baseline."""
    comparison: NightComparison | None = None
    confirmation: NightComparison | None = None
    """With fresh seeds, of the cells that alarmed; None where none did."""
    other_code: int = 0
    """Trials of this night that were made by other code than held it."""
    drift: Drift = Drift()
    pace: tuple[PaceComparison, ...] = ()
    verdicts: Mapping[Key, VerdictOutcome] = field(default_factory=dict)
    changes: tuple[VerdictChange, ...] = ()
    margins: Mapping[str, Any] = field(default_factory=dict)
    """Of these verdicts, as in their file."""
    margins_before: Mapping[str, Any] | None = None
    """Of the verdicts of the last night; None where there was none."""
    margins_file: str = ""
    """Empty: the installation's."""
    options: str = ""
    """What was typed to name configuration and store, for commands of the nightly job that are told."""
    store: str = ""
    """Of the nights, for other commands that are told."""

    @property
    def stopped(self) -> bool:
        """Whether nothing was run, because what is exact differs."""
        return bool(self.changed_cells) or any(finding.fails for finding in self.exact)

    @property
    def confirmed(self) -> tuple[str, ...]:
        """Cells that fired twice."""
        return () if self.confirmation is None else self.confirmation.alarms

    @property
    def other_margins(self) -> bool:
        """Whether verdicts may have turned because the margins were changed."""
        return self.margins_before not in (None, self.margins)

    @property
    def outcome(self) -> Outcome:
        """`red` where there is a problem."""
        return "red" if self.problems() else "green"

    def problems(self) -> list[Problem]:
        """All that is red, with what to do about it."""
        return [
            *self._exact_problems(),
            *(problem for cell in self._cells(self.comparison) for problem in self.score_problems(cell.cell)),
            *self._drift_problems(),
            *self._pace_problems(),
            *self._verdict_problems(),
        ]

    def _exact_problems(self) -> list[Problem]:
        annotate = f'bench baseline annotate {shlex.quote(self.baseline)} "WHY" --accept{self.options}'
        accept = f"Mend it; where it is meant: {annotate}"
        problems = [
            Problem(f"{finding.layer}, {finding.name}: {finding.sentence}", accept)
            for finding in self.exact
            if finding.fails
        ]
        anew = f"{self._freeze} --run"
        return problems + [Problem(sentence, anew) for sentence in self.changed_cells]

    def score_problems(self, name: str) -> list[Problem]:
        """What is red about a cell's scores: none, no interval to hold them against, or below it twice."""
        first, fresh = (
            next((cell for cell in cells if cell.cell == name), None)
            for cells in (self._cells(self.comparison), self._cells(self.confirmation))
        )
        problems = []
        for stage, cell in (("", first), ("with fresh seeds ", fresh)):
            if cell is not None and cell.status == "missing":
                night = f"bench nightly --date {self.date} --retry failed{self.options}"
                again = f"`bench status{self._at}` says why; then: {night}"
                problems.append(Problem(f"{name}: {stage}{cell.reason}", again))
            elif cell is not None and cell.status == "unjudged":
                problems.append(Problem(f"{name}: {cell.reason}", "Freeze a baseline with more seeds."))
        if first is not None and fresh is not None and fresh.status == "below":
            problems.append(
                Problem(dropped(first, fresh), "Look at what changed since the last green night.")
            )
        return problems

    @staticmethod
    def _cells(comparison: NightComparison | None) -> tuple[CellComparison, ...]:
        return () if comparison is None else comparison.cells

    @property
    def _at(self) -> str:
        return f" --store {shlex.quote(self.store)}" if self.store else ""

    @property
    def _freeze(self) -> str:
        return f'Mend it; where it is meant: bench baseline freeze NEW-NAME --reason "WHY"{self.options}'

    def _drift_problems(self) -> list[Problem]:
        what = "has been somewhat below the baseline for too many nights (cumulative sum at its limit)"
        nights = "SELECT algorithm, task, date, mean, drift FROM nightly ORDER BY algorithm, task, date"
        advice = f'Look at its nights: bench query "{nights}"{self._at}'
        return [Problem(f"{cell}: {what}", advice) for cell in self.drift.cells]

    def _pace_problems(self) -> list[Problem]:
        problems = []
        for timed in self.pace:
            if timed.status == "slower":
                problems.append(Problem(f"{timed.method}, {timed.quantity}: {slower(timed)}", self._freeze))
            elif timed.status == "missing":
                problems.append(Problem(f"{timed.method}, {timed.quantity}: {timed.reason}", self._freeze))
        return problems

    def _verdict_problems(self) -> list[Problem]:
        margins = f" --margins {shlex.quote(self.margins_file)}" if self.margins_file else ""
        since = " (the margins were changed as well)" if self.other_margins else ""
        return [
            Problem(
                f"{change.sentence}{since}",
                f"Look at it: bench check --explain {'/'.join(change.key[1:])}{self._at}{margins}",
            )
            for change in self.changes
            if change.fails
        ]


def dropped(first: CellComparison, fresh: CellComparison) -> str:
    """`dtql hopper: 41.2 (2 seeds), then 43.0 (6 fresh seeds); baseline 55.1 ± 3.2 (20 seeds)`."""
    return (
        f"{first.cell}: {number(first.mean)} ({first.seeds} seeds), then {number(fresh.mean)} "
        f"({fresh.seeds} fresh seeds); baseline {number(first.baseline_mean)} ± {number(first.baseline_sd)} "
        f"({first.baseline_seeds} seeds)"
    )


def slower(timed: PaceComparison) -> str:
    """`2.41 s, baseline 1.80 s (+34 %)`."""
    if timed.median is None or timed.baseline_median is None:
        return timed.reason
    share = 100 * (timed.median / timed.baseline_median - 1)
    return f"{timed.median:.3g} s, baseline {timed.baseline_median:.3g} s ({share:+.0f} %)"


def number(value: float | None) -> str:
    """A score, or a dash."""
    return "-" if value is None else f"{value:.1f}"
