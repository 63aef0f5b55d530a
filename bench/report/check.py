"""One check against the papers: the verdicts, and what was measured that no verdict is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bench.report.judgement import Judgement
from bench.report.margins import Margins
from bench.report.matching import own_numbers
from bench.report.measured import Measured, ReportData
from bench.report.verdicts import judge


@dataclass(frozen=True)
class Reason:
    """Why some things have no verdict."""

    text: str
    names: tuple[str, ...]
    """The things, in the order in which they came."""


@dataclass(frozen=True)
class Check:
    """What `bench check` found; every format shows this and nothing else."""

    store: str
    """As a person would name it."""
    made_at: datetime
    judgement: Judgement
    beside: tuple[Reason, ...] = ()
    """What was measured but stands for no printed number (`dtql/collected-hopper-medium`), by reason."""
    suites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tasks of the suites that were looked at."""
    restricted: bool = False
    """Only these suites' tasks were judged, not everything in the store."""

    @property
    def judged(self) -> int:
        """Cells that were tested: Holm's correction runs over both sides of each."""
        return sum(cell.comparison is not None for cell in self.judgement.cells)

    @property
    def judged_suites(self) -> int:
        """Suites' means that were tested."""
        return sum(suite.comparison is not None for suite in self.judgement.suites)

    def suite_of(self, task: str) -> str | None:
        """The first suite that holds the task; None where none does."""
        return next((name for name, tasks in self.suites.items() if task in tasks), None)


def check(
    data: ReportData, margins: Margins, store: str, made_at: datetime, suites: Sequence[str] = ()
) -> Check:
    """Judge everything in `data`, or only the tasks of some suites.

    Parameters
    ----------
    suites : names of `data.suites`; what is judged together, and so Holm's correction, is restricted to them.
    """
    chosen = of_suites(data, suites) if suites else data
    judgement = judge(chosen, margins)
    return Check(store, made_at, judgement, beside(chosen.measured, judgement), chosen.suites, bool(suites))


def of_suites(data: ReportData, suites: Sequence[str]) -> ReportData:
    """What was measured on the tasks of these suites."""
    kept = {name: data.suites[name] for name in suites}
    tasks = {task for names in kept.values() for task in names}
    return replace(data, measured=tuple(entry for entry in data.measured if entry.task in tasks), suites=kept)


def beside(measured: Iterable[Measured], judgement: Judgement) -> tuple[Reason, ...]:
    """What was measured but stands for no printed number, by reason."""
    used = {trial for cell in judgement.cells for trial in cell.trials}
    printed = {(algorithm, task) for _, algorithm, task, _ in own_numbers()}
    return by_reason(
        (_why_beside(entry, printed), f"{entry.algorithm}/{entry.task}")
        for entry in measured
        if used.isdisjoint(trial.trial_id for trial in entry.trials)
    )


def by_reason(pairs: Iterable[tuple[str, str]]) -> tuple[Reason, ...]:
    """(reason, name) pairs gathered, the reason of most names first."""
    found: dict[str, list[str]] = {}
    for reason, name in pairs:
        found.setdefault(reason, []).append(name)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return tuple(Reason(text, tuple(names)) for text, names in ordered)


def _why_beside(entry: Measured, printed: set[tuple[str, str]]) -> str:
    if entry.twin_of is not None:
        return "data collected here, not D4RL's"
    if (entry.algorithm, entry.task) in printed:
        return "another configuration of the cell comes closer to the paper's"
    return "no paper prints a number of its own for this method on this task"
