"""What a report is made of: measured cells with their trials, timings, runs, failures, circumstances."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from bench.bandit2d.stored import Illustrations
from bench.evaluation.protocols import BEST_CANDIDATES, best_candidates, by_candidates, reported_score
from bench.records import (
    CellKey,
    DatasetRecord,
    Declaration,
    FailureRecord,
    PhaseRecord,
    RunRecord,
    TimingRecord,
)

if TYPE_CHECKING:
    from bench.bandit2d.expectations import Finding

SECONDS_PER_1K = "training_seconds_per_1k_iterations"
LATENCY = "action_latency_median_seconds"
"""Seconds for one action of one policy at batch 1."""


@dataclass(frozen=True)
class TrialDuration:
    """Training and evaluation of one full trial: one seed, no other stack of its run beside."""

    trial_id: int
    algorithm: str
    variant: str
    task: str
    seconds: float
    """All phases and all evaluations."""
    training_iterations: int | None
    """Of the evaluated phase; None where the method does not count it so."""
    device: str
    threads: int
    runner: str
    exclusive: bool
    """Whether it is known that the machine did nothing else of ours."""
    matmul_precision: str | None = None
    """None where it was not noted."""

    @property
    def hours(self) -> float:
        """Wall-clock hours."""
        return self.seconds / 3600


@dataclass(frozen=True)
class SeedScore:
    """One trial's contribution to a cell."""

    trial_id: int
    seed: int
    state: str
    """`planned`, `running`, `finished` or `failed`."""
    score: float | None
    """Under the protocol of its cell."""
    evaluations: tuple[float, ...] = ()
    """Mean normalised score of each evaluation during training, in order."""
    metrics: tuple[Mapping[str, float], ...] = ()
    """Of each evaluation; only where the trial's own protocol chooses by them."""
    selected_rank: int | None = None
    """Of the loss by which `bc-select` chooses."""

    def under(self, protocol: str) -> SeedScore:
        """The same trial scored by another protocol; without a score where its evaluations give none."""
        if self.state != "finished":
            return replace(self, score=None)
        score = reported_score(protocol, self.evaluations, self.metrics, self.selected_rank)
        return replace(self, score=score)


@dataclass(frozen=True)
class Measured:
    """A cell measured under one configuration: all its trials differ in the seed alone."""

    algorithm: str
    variant: str
    task: str
    config_hash: str
    task_version: int
    physics: str
    budget: float
    protocol: str
    episodes: int
    reduced: tuple[str, ...]
    dataset: str
    verification: str
    replay: str
    trials: tuple[SeedScore, ...]
    twin_of: str | None = None
    """The D4RL task that a collected task stands beside."""
    foreign: bool = False
    """Whether its task, and with it the data, is a user's own."""
    preset_of: str | None = None
    """Of a foreign task: the task whose presets were followed."""
    current_task_version: int | None = None
    """Version of the task's rules in today's tasks.yaml; None where the task is gone."""
    started_at: datetime | None = None
    """When the first of its trials was begun."""
    finished_at: datetime | None = None
    """When the last of its trials finished."""
    precision: str = ""
    """In which matrices were multiplied: `fp32`, `tf32`, or both; empty where nobody noted it."""
    dataset_sha256: str = ""
    """Of the file that it was trained on; empty where none is known."""
    goals: str | None = None
    """Which episodes of an evaluation shared a goal; None where the task draws none, or nobody says it."""
    declared: Declaration | None = None
    """What the owner of imported scores says of them; None: they were measured here."""

    @property
    def key(self) -> CellKey:
        """What it is, however it is scored."""
        return CellKey(self.algorithm, self.variant, self.task, self.config_hash)

    @property
    def imported(self) -> str:
        """What must stand beside scores that were not measured here; empty of those that were."""
        return "" if self.declared is None else f"imported; its owner declares: {self.declared}"

    @property
    def finished_seconds(self) -> float:
        """When the last of its trials finished (s since 1970); 0 where that is not known."""
        return self.finished_at.timestamp() if self.finished_at else 0.0

    @cached_property
    def scored(self) -> tuple[SeedScore, ...]:
        """The finished trials with a finite score, in order of seed."""
        return tuple(
            trial
            for trial in sorted(self.trials, key=lambda trial: trial.seed)
            if trial.state == "finished" and trial.score is not None and math.isfinite(trial.score)
        )

    @property
    def trial_ids(self) -> tuple[int, ...]:
        """Numbers of all its trials."""
        return tuple(trial.trial_id for trial in self.trials)

    @property
    def scores(self) -> tuple[float, ...]:
        """Scores of these trials."""
        return tuple(trial.score for trial in self.scored if trial.score is not None)

    @property
    def n(self) -> int:
        """Seeds with a score."""
        return len(self.scores)

    @cached_property
    def mean(self) -> float | None:
        """Mean score over seeds; None without any."""
        return statistics.mean(self.scores) if self.scores else None

    @cached_property
    def standard_deviation(self) -> float | None:
        """Standard deviation over seeds (ddof 1); None with fewer than two."""
        return statistics.stdev(self.scores) if self.n > 1 else None

    def under(self, *protocols: str) -> Measured:
        """This cell by the first of the protocols that gives any seed a score; as it is where none does."""
        for protocol in protocols:
            chosen = self._scored_by(protocol)
            if chosen.n:
                return chosen
        return self

    def _scored_by(self, protocol: str) -> Measured:
        # A trial's score by its own protocol is stored, be it one that no rule here knows, as of an imported
        # score whose owner declared none; but seeds share one number of candidates.
        if protocol == self.protocol != BEST_CANDIDATES:
            return self
        trials = tuple(trial.under(protocol) for trial in self.trials)
        if protocol == BEST_CANDIDATES:
            trials = _with_best_candidates(trials)
        return replace(self, protocol=protocol, trials=trials)

    def shortfalls(self) -> tuple[str, ...]:
        """What a reader must know about seeds that gave no score."""
        total = len(self.trials)
        failed = sum(trial.state == "failed" for trial in self.trials)
        open_ = sum(trial.state in ("planned", "running") for trial in self.trials)
        ended = [trial.score for trial in self.trials if trial.state == "finished"]
        diverged = sum(score is not None and not math.isfinite(score) for score in ended)
        without = total - failed - open_ - diverged - self.n
        counts = (
            (failed, "failed"),
            (open_, "not finished"),
            (diverged, "with a score that is no finite number"),
            (without, f"without a score under protocol {self.protocol}"),
        )
        return tuple(f"{count} of {total} seeds {what}" for count, what in counts if count)


def _with_best_candidates(trials: tuple[SeedScore, ...]) -> tuple[SeedScore, ...]:
    """Trials scored with the number of candidates that is best for them together; those without keep none."""
    scores = {trial.trial_id: by_candidates(trial.metrics[-1]) for trial in trials if trial.score is not None}
    best = best_candidates([of for of in scores.values() if all(map(math.isfinite, of.values()))])
    return tuple(
        replace(trial, score=scores[trial.trial_id].get(best) if best and trial.score is not None else None)
        for trial in trials
    )


def alone(timing: TimingRecord) -> bool:
    """Whether a timing may be held against a paper's: one seed, nothing else running."""
    return timing.exclusive and timing.stack_size == 1 and timing.concurrent_stacks <= 1


Configuration = Mapping[str, object]
"""A trial's configuration as stored: hyper-parameters, their sources, evaluation, reward transform."""


@dataclass(frozen=True)
class Origin:
    """Circumstances of one trial, as its last stretch of work found them; None where nobody noted them."""

    trial_id: int
    run_id: str
    code_version: str
    code_commit: str | None
    code_dirty: bool | None
    code_sha256: str | None
    """Of the source files that ran."""
    dataset_sha256: str
    simulator: str | None
    """`mujoco 3.4.0`."""
    device: str | None
    runner: str | None
    threads: int | None
    stack: list[int] | None
    """Training seeds trained side by side."""
    training_seconds: float | None
    evaluation_seconds: float | None


FinalEpisodes = Mapping[int, tuple[float, ...]]
"""Normalised scores of the episodes of a finished trial's last evaluation, by its number."""

Phases = Mapping[tuple[str, str, str], tuple[PhaseRecord, ...]]
"""The stages of presets by algorithm, variant and task."""


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows that is not printed in a paper."""

    measured: tuple[Measured, ...] = ()
    timings: tuple[TimingRecord, ...] = ()
    """Measured while the machine did nothing else of ours."""
    phases: Phases = field(default_factory=dict)
    """Of the presets of what `timings` are of."""
    durations: tuple[TrialDuration, ...] = ()
    """Of whole trials that were trained alone."""
    steps: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Training iterations done before each of a trial's evaluations, by its number."""
    runs: tuple[RunRecord, ...] = ()
    failures: tuple[FailureRecord, ...] = ()
    illustrations: Illustrations = field(default_factory=Illustrations)
    """What was trained on the 2D problems."""
    origins: Mapping[int, Origin] = field(default_factory=dict)
    """Code, data and machine of each trial, by its number."""
    configurations: Mapping[str, Configuration] = field(default_factory=dict)
    """What each configuration hash stands for."""
    latencies: Mapping[int, float] = field(default_factory=dict)
    """Median action latency (s) of trials by their number, measured as they ended, beside other work."""
    final_episodes: FinalEpisodes = field(default_factory=dict)
    suites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tasks of each suite of the catalog."""
    datasets: tuple[DatasetRecord, ...] = ()
    """That trials are on."""

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the papers expect on the 2D problems, each with its answer."""
        from bench.bandit2d.expectations import check_expectations  # imports scipy.spatial, which takes long

        return tuple(check_expectations(self.illustrations.items))
