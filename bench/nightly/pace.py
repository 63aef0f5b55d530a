"""Training speed against the baseline's, on the same machine only.

Seconds per 1,000 iterations are timed several times, for the baseline and again tonight. A quantity alarms
when tonight's are larger than the baseline's by more than a stated slack: Mann and Whitney's one-sided rank
test of log(tonight) against log(baseline) + log(1 + slack), adjusted by Holm. Ranks assume nothing of what a
busy machine does to the tails, and the slack is what a machine may differ by from one night to the next.

The test cannot give a P-value below 1 / C(n + m, n): too few repeats can never alarm. This is said instead of
passing for a good result.
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import count
from typing import Any, Literal

import numpy as np
import torch
from scipy import stats

from bench.catalog import Task
from bench.execute.speed import TRAINING
from bench.hardware import cpu_model, device_name, machine_is_idle, usable_cores
from bench.nightly.alarms import alarming
from bench.nightly.config import SpeedRates
from bench.presets import load_preset
from bench.provenance import precision_settings
from bench.store.damage import restored
from bench.training.runners import chosen_runner
from bench.training.speed import time_training

Status = Literal["as expected", "slower", "faster", "missing", "not compared"]
"""`slower` alarms; `missing` (the baseline has it, tonight has not) is red; `faster` is reported."""


@dataclass(frozen=True)
class Circumstances:
    """Where and how what was timed; seconds are comparable only where all of it is equal."""

    hostname: str
    cpu: str
    device: str
    """`cpu: <model>` or `cuda: <model>`."""
    threads: int
    runner: str
    """`eager`, `graph` or `compiled`."""
    precision: str
    """`float32`, with torch's settings where they differ from its defaults."""
    work: str
    """What is timed: `hopper-medium-v2, 20 iterations`."""


@dataclass(frozen=True)
class Pace:
    """Repeated timings of one quantity of one method."""

    method: str
    quantity: str
    """As in TimingRecord: `training_seconds_per_1k_iterations`, also with a phase."""
    seconds: tuple[float, ...]
    """One per repeat."""
    circumstances: Circumstances
    exclusive: bool
    """The machine was otherwise idle during all repeats."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the store."""
        return {**asdict(self), "seconds": list(self.seconds)}


@dataclass(frozen=True)
class PaceComparison:
    """One quantity of one night; a figure that there is not is None."""

    method: str
    quantity: str
    status: Status
    reason: str
    """Why it is missing or not compared; empty otherwise."""
    baseline_median: float | None
    """Seconds."""
    median: float | None
    p_slower: float | None
    """Probability of timings this slow or slower if at most `slack` slower; not adjusted."""
    p_faster: float | None


def time_methods(
    methods: Sequence[tuple[str, str]],
    task: Task,
    rates: SpeedRates,
    *,
    device: str,
    on_step: Callable[[str], None] = lambda name: None,
) -> tuple[Pace, ...]:
    """Seconds per 1,000 iterations of every phase of each method and variant, `rates.repeats` times.

    All cores are used, on synthetic data of the task's dimensions; the repeats go round the methods, so that
    a disturbance of a minute does not fall on one of them alone.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    try:
        idle = machine_is_idle()
        seconds = _timed(methods, task, rates, device, on_step)
        idle = idle and machine_is_idle()
        here = circumstances(device, f"{task.name}, {rates.iterations} iterations of its programs")
    finally:
        torch.set_num_threads(before)
    return tuple(Pace(*key, tuple(times), here, idle) for key, times in seconds.items())


def _timed(
    methods: Sequence[tuple[str, str]],
    task: Task,
    rates: SpeedRates,
    device: str,
    on_step: Callable[[str], None],
) -> dict[tuple[str, str], list[float]]:
    """Seconds by method and quantity."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for repeat in range(rates.repeats):
        for method, variant in methods:
            on_step(f"speed of {method}, {repeat + 1} of {rates.repeats}")
            preset = load_preset(method, task, variant)
            for speed in time_training(task, preset, device=device, iterations=rates.iterations):
                quantity = TRAINING if speed.evaluated else f"{TRAINING}:{speed.phase}"
                key = (method if variant == "released" else f"{method} {variant}", quantity)
                seconds.setdefault(key, []).append(speed.seconds_per_1k_iterations)
    return seconds


def circumstances(device: str, work: str) -> Circumstances:
    """Where and how this process times what."""
    return Circumstances(
        hostname=socket.gethostname(),
        cpu=cpu_model(),
        device=device_name(device),
        threads=torch.get_num_threads(),
        runner=chosen_runner("auto", device),
        precision=json.dumps(precision_settings(), sort_keys=True),
        work=work,
    )


def pace_from_json(content: Sequence[Mapping[str, Any]]) -> tuple[Pace, ...]:
    """What `Pace.as_json` gave, one after the other.

    Raises
    ------
    DamagedStoreError : it is something else.
    """
    return tuple(restored(Pace, pace, "timings of a baseline") for pace in content)


def compare_pace(
    baseline: Sequence[Pace], tonight: Sequence[Pace], *, rate: float, slack: float
) -> tuple[PaceComparison, ...]:
    """One comparison per quantity of the baseline, then those that it does not have.

    Parameters
    ----------
    rate : probability of any false alarm in a night in which nothing is slower by more than the slack.
    slack : as a share of the baseline's seconds.
    """
    before, now = _by_quantity(baseline), _by_quantity(tonight)
    keys = list(dict.fromkeys([*before, *now]))
    found = [_compared(key, before.get(key), now.get(key), rate / max(1, len(keys)), slack) for key in keys]
    slower = alarming([one.p_slower for one in found], rate)
    faster = alarming([one.p_faster for one in found], rate)
    return tuple(
        replace(one, status="slower" if slow else "faster") if slow or fast else one
        for one, slow, fast in zip(found, slower, faster, strict=True)
    )


def smallest_p(baseline: int, tonight: int) -> float:
    """Smallest one-sided P-value that the rank test can give with so many repeats."""
    return 1 / math.comb(baseline + tonight, tonight)


def repeats_needed(quantities: int, rate: float) -> int:
    """Repeats for the baseline and again tonight with which one slower quantity among so many can alarm."""
    return next(repeats for repeats in count(1) if smallest_p(repeats, repeats) * quantities <= rate)


def _by_quantity(paces: Sequence[Pace]) -> dict[tuple[str, str], Pace]:
    return {(pace.method, pace.quantity): pace for pace in paces}


def _compared(
    key: tuple[str, str], before: Pace | None, now: Pace | None, level: float, slack: float
) -> PaceComparison:
    """One quantity on its own; `as expected` where it has a P-value."""
    status, reason = _obstacle(before, now, level)
    p_slower = p_faster = None
    if before is not None and now is not None and not reason:
        old, new = np.log(before.seconds), np.log(now.seconds)
        p_slower = _rank_test(new, old + math.log1p(slack))
        p_faster = _rank_test(old, new + math.log1p(slack))
    return PaceComparison(
        method=key[0],
        quantity=key[1],
        status=status,
        reason=reason,
        baseline_median=None if before is None else _median(before.seconds),
        median=None if now is None else _median(now.seconds),
        p_slower=p_slower,
        p_faster=p_faster,
    )


def _obstacle(before: Pace | None, now: Pace | None, level: float) -> tuple[Status, str]:
    """Why two timings are not compared; no reason where they are."""
    if now is None or not _usable(now.seconds):
        return "missing", "there is no timing of tonight"
    if before is None or not _usable(before.seconds):
        return "not compared", "the baseline has no timing of it"
    if differing := _differing(before.circumstances, now.circumstances):
        return "not compared", f"timings of different machines or settings are not comparable: {differing}"
    if not (before.exclusive and now.exclusive):
        busy = "tonight" if before.exclusive else "at the baseline"
        return "not compared", f"the machine was not idle {busy}"
    repeats = len(before.seconds), len(now.seconds)
    if smallest_p(*repeats) > level:
        least = f"{smallest_p(*repeats):.2g}, and {level:.2g} is needed: {repeats_needed(1, level)} of each"
        return "not compared", f"{repeats[1]} repeats against {repeats[0]} give no P-value below {least}"
    return "as expected", ""


def _usable(seconds: Sequence[float]) -> bool:
    return len(seconds) > 0 and all(math.isfinite(second) and second > 0 for second in seconds)


def _differing(before: Circumstances, now: Circumstances) -> str:
    """`threads 2, now 1`; empty where all is equal."""
    pairs = [(one.name, getattr(before, one.name), getattr(now, one.name)) for one in fields(before)]
    return "; ".join(f"{name} {old}, now {new}" for name, old, new in pairs if old != new)


def _rank_test(larger: np.ndarray, smaller: np.ndarray) -> float:
    """One-sided P-value of the first sample being larger."""
    ties = len(np.unique(np.concatenate((larger, smaller)))) < len(larger) + len(smaller)
    method = "asymptotic" if ties else "exact"
    return float(stats.mannwhitneyu(larger, smaller, alternative="greater", method=method).pvalue)


def _median(seconds: Sequence[float]) -> float | None:
    return float(np.median(seconds)) if _usable(seconds) else None
