"""Training speed of the canary's methods, timed several times over with nothing else running."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from bench.catalog import Task
from bench.execute.speed import TRAINING
from bench.hardware import cpu_model, device_name, machine_is_idle, usable_cores
from bench.nightly.config import SpeedRates
from bench.nightly.pace import Circumstances, Pace
from bench.presets import load_preset
from bench.provenance import precision_settings
from bench.store.damage import restored
from bench.training.runners import chosen_runner
from bench.training.speed import time_training


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
        here = circumstances(device, f"{task.name}, {rates.iterations} iterations")
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


def pace_as_json(paces: Sequence[Pace]) -> tuple[dict[str, Any], ...]:
    """Plain values, for the store."""
    return tuple({**asdict(pace), "seconds": list(pace.seconds)} for pace in paces)


def pace_from_json(content: Sequence[Mapping[str, Any]]) -> tuple[Pace, ...]:
    """What `pace_as_json` gave.

    Raises
    ------
    DamagedStoreError : it is something else.
    """
    return tuple(restored(Pace, pace, "timings of a baseline") for pace in content)
