"""Plain records: the only thing that training, store and report have in common.

Workers make them, the driver's writer stores them, reports read them back. Units stand in the names; times
are UTC; scores are D4RL-normalised (0 = random, 100 = expert).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal configurations give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_of(value: object) -> str:
    """SHA-256 (hexadecimal) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


Progress = Callable[[int, int], None]
"""Called with how much of some work is done, and how much there is in all."""

Physics = Literal["d4rl", "modern"]
"""How the simulator steps: as the MuJoCo that made D4RL's data, or as today's does by itself."""
GoalRule = Literal["per_episode", "per_evaluation", "per_run", "per_environment"]
"""Which episodes of an evaluation share a goal that the task draws: none; those of one evaluation; those of
one training seed; those of one training seed with the same number, as in environments made once for a run."""
DeclaredData = Literal["d4rl", "other"]
DeclaredProtocol = Literal["last", "rat", "oms", "mean5"]
"""What the owner of imported scores may say of their data and protocol."""
Executor = Literal["ray", "local"]
"""A process for every stack; or one stack after the other in this process."""
Device = Literal["auto", "cpu", "cuda"]
Runner = Literal["auto", "eager", "graph", "compiled"]
Precision = Literal["fp32", "tf32"]
"""How a GPU multiplies matrices of float32: in full, or with factors rounded to TF32's 10 bits of mantissa.
A CPU, and a GPU older than NVIDIA's Ampere, know the first alone."""

MAX_RETRIES = 3
"""How often a stack is taken up again whose worker's process was lost, unless asked otherwise."""

SOURCES = "sources"
"""Part of a configuration that says where its values come from; it changes no number and so no hash."""
PRECISION = "precision"
"""Part of a configuration that says in which precision it wants matrices multiplied. Like the device it
decides last digits and not what is computed, so that it changes no hash: a trial stays the same trial on a
CPU, where it means nothing, and in a store that was begun before it was noted."""
ASKED_PRECISION = "asked_precision"
"""Part of a configuration whose precision a person asked for against the preset's: that is another trial."""
TUNED = "tuned"
"""Part of the configuration of a trial that `bench tune` made, and what such a trial falls short of."""
FOREIGN = "foreign"
"""Part of the configuration of a user's own task: its environment, its reference scores, and the task whose
presets it follows."""
_NOT_HASHED = (SOURCES, PRECISION)


def config_hash(config: Mapping[str, Any]) -> str:
    """Hash of what determines a trial's numbers."""
    return hash_of(what_determines(config))


def what_determines(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that makes a trial this trial: all but sources and precision."""
    return {name: value for name, value in config.items() if name not in _NOT_HASHED}


def first_difference(ours: object, theirs: object, path: str = "") -> tuple[str, object, object]:
    """Where two different configurations differ first (`hyperparameters.discount`), and both values there."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in (*ours, *theirs):
            if name not in _NOT_HASHED and ours.get(name) != theirs.get(name):
                below = f"{path}.{name}" if path else name
                return first_difference(ours.get(name), theirs.get(name), below)
    return path, ours, theirs


@dataclass(frozen=True)
class DatasetRecord:
    """Which data a trial was trained on."""

    name: str
    """Dataset name, as in tasks.yaml (`hopper-medium-v2`)."""
    sha256: str
    """Hash of the file's content."""
    rows: int
    """Rows in the file, before any are dropped."""
    verification: str
    """`verified` (D4RL's own file, by its hash), `content fits` (another one, every column of which fits what
    is known), `unverified` (something is not known) or `mismatch`."""
    replay: str
    """Physics that a one-step replay found: `d4rl`, `modern`, `neither` or `unverified` (not replayed)."""


@dataclass(frozen=True)
class RunRecord:
    """One invocation of a command that trains or evaluates, with what is needed to believe its numbers."""

    run_id: str
    command: str
    started_at: datetime
    code_version: str
    code_commit: str | None
    code_dirty: bool | None
    code_diff_sha256: str | None
    packages: dict[str, str]
    """Package name -> version (torch, mujoco, gymnasium, numpy, ray, python)."""
    hardware: dict[str, Any]
    """hostname, cpu, cores, memory_gib, gpus, platform."""


@dataclass(frozen=True)
class TrialKey:
    """What makes a trial the same trial: asked for again, it is skipped or continued."""

    algorithm: str
    variant: str
    task: str
    seed: int
    config_hash: str
    """`config_hash` of TrialRecord.config, which holds all that determines the number."""

    @property
    def cell(self) -> CellKey:
        """What it has in common with the other seeds."""
        return CellKey(self.algorithm, self.variant, self.task, self.config_hash)

    def __str__(self) -> str:
        """For people: `dtql hopper-medium-v2 seed 3`, with the variant where it is not the default."""
        return f"{self.cell} seed {self.seed}"


@dataclass(frozen=True)
class CellKey:
    """What the trials of one cell have in common: all of the key but the seed."""

    algorithm: str
    variant: str
    task: str
    config_hash: str

    def trial(self, seed: int) -> TrialKey:
        """The key of one of its trials."""
        return TrialKey(self.algorithm, self.variant, self.task, seed, self.config_hash)

    def __str__(self) -> str:
        """For people: `dtql hopper-medium-v2`, with the variant where it is not the default."""
        return f"{method_label(self.algorithm, self.variant)} {self.task}"


def method_label(algorithm: str, variant: str) -> str:
    """For people: `dtql`, with the variant where it is not the default: `dtql (paper)`."""
    return algorithm if variant == "released" else f"{algorithm} ({variant})"


@dataclass(frozen=True)
class StackProgress:
    """How far a stack is, as other processes see it."""

    activity: str
    """Name of the phase, or `evaluation 2, step 300/1,000`."""
    iterations_done: int
    """Of all phases."""
    iterations_total: int
    iterations_per_second: float
    seconds_left: float
    """Estimate for the rest of the stack, evaluations included."""


@dataclass(frozen=True)
class Declaration:
    """What the owner of imported scores says of how they were made; None: nothing."""

    data: DeclaredData | None = None
    """`d4rl`: trained on D4RL's own file of the task, unchanged."""
    protocol: DeclaredProtocol | None = None
    episodes: int | None = None
    """Per evaluation."""
    physics: Physics | None = None
    """`d4rl`: MuJoCo up to 2.1.0; `modern`: any later one."""
    goals: GoalRule | None = None
    """Only of tasks whose rule of goals is the method's."""

    def __str__(self) -> str:
        """For people: `data d4rl, protocol last, 10 episodes, physics d4rl`; `nothing`."""
        said = (
            f"data {self.data}" if self.data else "",
            f"protocol {self.protocol}" if self.protocol else "",
            f"{self.episodes} episodes" if self.episodes else "",
            f"physics {self.physics}" if self.physics else "",
            f"goals {self.goals}" if self.goals else "",
        )
        return ", ".join(filter(None, said)) or "nothing"


VERIFIED, CONTENT_FITS, UNVERIFIED, MISMATCH = "verified", "content fits", "unverified", "mismatch"
"""What is found of a dataset; `DatasetRecord` says what each means."""
PLANNED, RUNNING, FINISHED, FAILED = "planned", "running", "finished", "failed"
"""States of a trial."""
IMPORTED = "imported"
"""Variant of scores that their owner brought (`bench import`): nothing of them was measured here. What the
owner says of how they were made stands in the configuration under `DECLARED`."""
DECLARED = "declared"
NOT_DECLARED = "not declared"
"""Physics or protocol of which the owner says nothing; so many episodes are 0."""


@dataclass(frozen=True)
class PhaseRecord:
    """A stage of a method, as a trial goes through it."""

    name: str
    iterations: int
    evaluated: bool
    """Evaluations fall into it."""


@dataclass(frozen=True)
class TrialRecord:
    """A cell with one training seed, as planned."""

    key: TrialKey
    config: dict[str, Any]
    """Everything that determines the number: task version, physics, dataset hash, budget, hyper-parameters
    with their sources, evaluation settings and protocol."""
    dataset: DatasetRecord
    task_version: int
    physics: str
    budget: float
    protocol: str
    episodes: int
    """Episodes per evaluation."""
    reduced: tuple[str, ...] = ()
    """What is below the preset (`budget 0.001`, `episodes 2`); empty for a full trial."""
    phases: tuple[PhaseRecord, ...] | None = None
    """Of its method, in order; None where it was planned before they were noted."""


@dataclass(frozen=True)
class EvaluationRecord:
    """One evaluation of one trial."""

    trial: TrialKey
    number: int
    """1, 2, ...; 0 and below are judgements made later by `bench evaluate`."""
    step: int
    """Training iterations of the evaluated phase done before it."""
    physics: str
    returns: tuple[float, ...]
    """Undiscounted return of every episode."""
    lengths: tuple[int, ...]
    """Steps of every episode."""
    scores: tuple[float, ...]
    """Normalised score of every episode."""
    seconds: float
    """Wall-clock seconds of the evaluation of the whole stack."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Training metrics averaged since the previous evaluation."""
    evaluated_at: datetime | None = None


PHASE_SECONDS = "phase_seconds:"
"""Begins the quantity of a duration that is a trial's whole phase; its name follows."""


@dataclass(frozen=True)
class TimingRecord:
    """One measured duration with its circumstances."""

    quantity: str
    """`training_seconds_per_1k_iterations`, `action_latency_median_seconds`, `action_latency_p95_seconds`,
    `trajectory_seconds`, `phase_seconds:<phase>`, `evaluation_seconds`, ..."""
    value: float
    algorithm: str
    variant: str
    task: str
    trial: TrialKey | None
    """None for `bench speed`, which times synthetic data."""
    stack_size: int
    concurrent_stacks: int
    device: str
    """`cpu: <model>` or `cuda: <model>`."""
    threads: int
    runner: str
    """`eager`, `graph` or `compiled`."""
    exclusive: bool
    """The machine did nothing else of ours; only such single-seed rows enter the papers' timing tables."""
    measured_at: datetime | None = None
    matmul_precision: Precision | None = None
    """That held; None where it was not noted."""


DIVERGED = "diverged"
"""Error of a trial whose loss or actions stopped being finite."""


@dataclass(frozen=True)
class FailureRecord:
    """Why a trial ended without a score."""

    trial: TrialKey
    step: int
    """Iterations of all phases done before it."""
    error: str
    """Exception type, or `diverged`."""
    message: str
    traceback: str
    last_metrics: dict[str, float] = field(default_factory=dict)
    failed_at: datetime | None = None


@dataclass(frozen=True)
class ExecutionRecord:
    """Where and with what a stack is worked on, told when its process begins."""

    started_at: datetime
    from_iteration: int
    """Iterations of all phases that were done before, in earlier stretches."""
    stack: tuple[int, ...]
    """Training seeds, side by side."""
    hostname: str
    cpu: str
    device: str
    """`cpu: <model>` or `cuda: <model>`."""
    gpu_driver: str | None
    threads: int
    runner: str
    """`eager`, `graph` or `compiled`."""
    precision: dict[str, Any]
    """Type of the numbers and torch's settings that change their last digits."""
    packages: dict[str, str]
    """Package name -> version in the worker's process."""
    simulator: str
    """`mujoco 3.4.0`."""
    code_sha256: str
    """Hash of the source files that the worker runs."""
    matmul_precision: Precision | None = None
    """That really held, whatever the configuration wants; None where it was not noted."""


FINAL = "final"
"""Role of the weights at the end of training."""
ILLUSTRATION = "illustration"
"""Role of the file with what a method shows of itself once it is trained on a 2D problem."""


@dataclass(frozen=True)
class WeightsRecord:
    """Stored weights of one trial."""

    trial: TrialKey
    role: str
    """`FINAL`, or the name of a part kept on its own (`behaviour`)."""
    path: str
    """Relative to the store's folder."""
    sha256: str
    bytes: int


@dataclass(frozen=True)
class FinishedRecord:
    """A trial is complete: nothing of it is left to run."""

    trial: TrialKey
    score: float | None
    """Score under the trial's protocol; None where the protocol gives none (`rat` with fewer than ten)."""
    training_seconds: float
    evaluation_seconds: float
    peak_memory_bytes: int
    iterations: int
    """Of all phases."""
    finished_at: datetime


ResultRecord = EvaluationRecord | TimingRecord | FailureRecord | WeightsRecord | FinishedRecord
"""What a worker sends to the driver while it works."""


@dataclass(frozen=True)
class BaselineScoreRecord:
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
    scores: tuple[BaselineScoreRecord, ...]
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


CellStatus = Literal["as expected", "below", "above", "missing", "unjudged"]
"""`below` alarms, `above` is only reported. `missing` (a seed of tonight failed or was not run) and
`unjudged` (the baseline gives no interval) are red."""


@dataclass(frozen=True)
class CellComparison:
    """One canary cell of one night, held against the baseline; a figure that there is not is None."""

    cell: CellKey
    status: CellStatus
    reason: str
    """Why it is missing or unjudged; empty otherwise."""
    baseline_seeds: int
    baseline_mean: float | None
    baseline_sd: float | None
    """Standard deviation between the baseline's seeds."""
    seeds: int
    """Of that night that have a score."""
    lost: int
    """That night's trials without a score: failed, diverged, or never run."""
    mean: float | None
    p_below: float | None
    """Probability of a mean this low or lower if nothing has changed; not adjusted for the other cells."""
    alarm_below: float | None
    """Mean below which the cell alarms when no other does."""
    t: float | None = None
    """Difference of the means in standard errors of its prediction; like the next one not stored."""
    p_above: float | None = None
    confirmation_seeds: int = 0
    """Scores of the fresh seeds that were run because of the alarm."""
    confirmation_mean: float | None = None
    confirmed: bool | None = None
    """Whether the fresh seeds fired too; None where there was no alarm, or where some of them were lost."""
    drift: float | None = None
    """Cumulative sum over the nights since the baseline (standard deviations)."""
    drifting: bool = False

    @property
    def name(self) -> str:
        """The cell's, for people."""
        return str(self.cell)


NightOutcome = Literal["green", "red"]
PrintedNumber = tuple[str, str, str, str]
"""Paper, algorithm, task and protocol of a number that a paper prints."""
Outcome = Literal["reproduced", "below", "above", "inconclusive", "not comparable"]
"""What a check says of a printed number."""


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
    outcome: NightOutcome | None = None
    report: dict[str, Any] | None = None
    """All that was found, as written to the night's `report.json`."""
    cells: tuple[CellComparison, ...] = ()
    verdicts: Mapping[PrintedNumber, Outcome] = field(default_factory=dict)
    """Of the night's check against the papers."""
