"""Plain records of baselines and nights: what `bench baseline` and `bench nightly` give to the store.

Beside `bench.records`, which has the records of runs and trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from bench.records import CellKey, TrialKey

Outcome = Literal["green", "red"]


@dataclass(frozen=True)
class BaselineScore:
    """The score of one finished trial as it was when the baseline was frozen."""

    trial: TrialKey
    score: float
    """Frozen from trials it is finite; a store may hold NaN, and no interval is made of it."""


@dataclass(frozen=True)
class BaselineRecord:
    """What later nights are held against. Never changed: another state of things is another baseline."""

    name: str
    frozen_at: datetime
    reason: str
    """A person's words on why this state is the one to hold on to."""
    author: str
    configuration: dict[str, Any]
    """The nightly configuration that it was frozen under."""
    fingerprints: dict[str, Any]
    """Of the exact layers, as JSON (`bench.nightly.exact`)."""
    scores: tuple[BaselineScore, ...]
    pace: tuple[dict[str, Any], ...] = ()
    """Repeated timings, as JSON (`bench.nightly.pace`); empty where speed is not watched."""

    @property
    def cells(self) -> tuple[CellKey, ...]:
        """Its cells, in the order in which their trials come."""
        return tuple(dict.fromkeys(score.trial.cell for score in self.scores))

    def scores_of(self, cell: CellKey) -> tuple[float, ...]:
        """Scores of one cell, one per training seed."""
        return tuple(score.score for score in self.scores if score.trial.cell == cell)


@dataclass(frozen=True)
class NoteRecord:
    """What a person wrote about a baseline."""

    baseline: str
    written_at: datetime
    author: str
    text: str
    fingerprints: dict[str, Any] | None = None
    """Fingerprints that the note explains: an exact layer that differs from the baseline in the same way as
    these is no regression. None: a remark that excuses nothing."""


@dataclass(frozen=True)
class NightCellRecord:
    """One canary cell of one night, held against the baseline; a figure that there is not is None."""

    cell: CellKey
    status: str
    """As `bench.nightly.alarms.Status`."""
    n: int
    """Scores of that night's seeds."""
    lost: int
    """That night's trials without a score: failed, diverged, or never run."""
    mean: float | None
    baseline_n: int
    baseline_mean: float | None
    baseline_deviation: float | None
    """Standard deviation between the baseline's seeds."""
    alarm_below: float | None
    """Mean below which the cell alarms when no other does."""
    p_below: float | None
    """Probability of a mean this low if nothing has changed; not adjusted for the other cells."""
    confirmation_n: int
    """Scores of the fresh seeds that were run because of the alarm."""
    confirmation_mean: float | None
    confirmed: bool | None
    """Whether the fresh seeds fired too; None where there was no alarm, or where some of them were lost."""
    drift: float | None
    """Cumulative sum over the nights since the baseline (standard deviations)."""
    drifting: bool
    remark: str
    """Why it is missing or cannot be judged; empty otherwise."""


@dataclass(frozen=True)
class NightVerdict:
    """What one night's check against the papers said of one printed number."""

    paper: str
    algorithm: str
    task: str
    protocol: str
    outcome: str
    """One of `bench.report.judgement.WORDS`."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """As `bench.report.judgement.Key`."""
        return self.paper, self.algorithm, self.task, self.protocol


@dataclass(frozen=True)
class NightRecord:
    """One invocation of `bench nightly`; without an outcome it goes on, or was cut off."""

    run_id: str
    date: date
    """Whose night it is: the seeds follow from it. A night that was cut off has several invocations."""
    baseline: str
    configuration_hash: str
    seeds: tuple[int, ...]
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    report: dict[str, Any] | None = None
    """All that was found, as written to the night's `report.json`."""
    cells: tuple[NightCellRecord, ...] = ()
    verdicts: tuple[NightVerdict, ...] = ()
