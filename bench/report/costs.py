"""What training and acting cost: measured alone by `bench speed`, or in a grid beside other work."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.records import FINISHED, TimingRecord
from bench.report.measured import Measured, ReportData
from bench.report.speed_table import LATENCY, SECONDS_PER_1K, alone

EVALUATED = ("train", "policy")
"""Phases in which evaluations fall: their pace is stored without a phase's name."""
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Circumstances:
    """What timings must share to be held against each other."""

    device: str
    threads: int
    runner: str

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.device.partition(': ')[2] or self.device}, {threads}, runner {self.runner}"


@dataclass(frozen=True)
class Costs:
    """What cells cost; None where that was not measured.

    `alone`: one seed and nothing else running, with the preset's own sizes. `shared`: as it was in the grid.
    """

    alone: Callable[[Measured], float | None]
    shared: Callable[[Measured], float | None]
    circumstances: Circumstances | None
    """Of the measurements alone."""


def training_hours(data: ReportData, tasks: Sequence[str]) -> Costs:
    """Hours that one seed takes to train.

    Alone: the preset's iterations of every phase at the phase's measured pace. Shared: the hours of the stack
    divided by the seeds side by side in it.
    """
    timings, circumstances = _comparable(data.timings, tasks)

    def paced(entry: Measured) -> float | None:
        phases = data.phase_iterations.get((entry.algorithm, entry.variant, entry.task))
        return None if entry.reduced or not phases else _hours(phases.items(), _values(timings, entry))

    def grid(entry: Measured) -> float | None:
        origins = [data.origins.get(trial.trial_id) for trial in entry.trials if trial.state == FINISHED]
        hours = [
            origin.training_seconds / max(1, len(origin.stack or ())) / _SECONDS_PER_HOUR
            for origin in origins
            if origin is not None and origin.training_seconds
        ]
        return statistics.median(hours) if hours else None

    return Costs(paced, grid, circumstances)


def action_milliseconds(data: ReportData, tasks: Sequence[str]) -> Costs:
    """Median milliseconds for one action of one policy."""
    timings, circumstances = _comparable(data.timings, tasks)

    def measured(entry: Measured) -> float | None:
        values = [] if entry.reduced else _values(timings, entry).get(LATENCY, [])
        return 1000 * statistics.median(values) if values else None

    def grid(entry: Measured) -> float | None:
        values = [data.latencies[t.trial_id] for t in entry.trials if t.trial_id in data.latencies]
        return 1000 * statistics.median(values) if values else None

    return Costs(measured, grid, circumstances)


def _comparable(
    timings: Iterable[TimingRecord], tasks: Sequence[str]
) -> tuple[list[TimingRecord], Circumstances | None]:
    """Timings alone on the tasks, of the circumstances that most of them share."""
    usable = [t for t in timings if alone(t) and t.task in tasks and t.value > 0]
    if not usable:
        return [], None
    chosen = Counter(map(_circumstances, usable)).most_common(1)[0][0]
    return [timing for timing in usable if _circumstances(timing) == chosen], chosen


def _circumstances(timing: TimingRecord) -> Circumstances:
    return Circumstances(timing.device, timing.threads, timing.runner)


def _values(timings: Iterable[TimingRecord], entry: Measured) -> dict[str, list[float]]:
    """Timings of a cell by quantity."""
    found: dict[str, list[float]] = {}
    for timing in timings:
        if (timing.algorithm, timing.variant, timing.task) == (entry.algorithm, entry.variant, entry.task):
            found.setdefault(timing.quantity, []).append(timing.value)
    return found


def _hours(phases: Iterable[tuple[str, int]], paces: dict[str, list[float]]) -> float | None:
    seconds = 0.0
    for phase, iterations in phases:
        name = SECONDS_PER_1K if phase in EVALUATED else f"{SECONDS_PER_1K}:{phase}"
        if iterations and name not in paces:
            return None
        if iterations:
            seconds += iterations / 1000 * statistics.median(paces[name])
    return seconds / _SECONDS_PER_HOUR
