"""Timings of a method with nothing else running."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from bench.catalog import Task
from bench.envs import make_simulator
from bench.evaluation.latency import action_latency, trajectory_seconds
from bench.hardware import (
    device_name,
    machine_is_idle,
    matmul_precision,
    prepare_process,
    set_matmul_precision,
    usable_cores,
)
from bench.presets import load_preset
from bench.records import Precision, TimingRecord
from bench.training.runners import chosen_runner
from bench.training.speed import time_training
from bench.training.trainer import method_for

TRAINING = "training_seconds_per_1k_iterations"
TIMED_SECONDS = 5.0
"""Of a program, at most, and as much for its warm-up: on a CPU an iteration may take a second."""


def measure(
    algorithm: str,
    task: Task,
    variant: str,
    *,
    seeds: int,
    iterations: int,
    device: str,
    threads: int | None,
    runner: str,
) -> list[TimingRecord]:
    """Seconds per 1k iterations of every phase, action latency (s), and seconds of one trajectory.

    The phase in which evaluations fall gives the plain quantity; others carry their name.
    """
    threads = threads or usable_cores()
    prepare_process(threads)
    preset = load_preset(algorithm, task, variant)
    set_matmul_precision(cast(Precision, preset.precision.value), device)
    exclusive = machine_is_idle()
    speeds = time_training(
        task, preset, seeds=seeds, device=device, runner=runner, iterations=iterations, seconds=TIMED_SECONDS
    )
    quantities = {
        TRAINING if speed.evaluated else f"{TRAINING}:{speed.phase}": (speed.seconds_per_1k_iterations, seeds)
        for speed in speeds
    }
    latency = action_latency(method_for(task, algorithm, preset.values, (0,), device))
    quantities["action_latency_median_seconds"] = (latency.median_seconds, 1)
    quantities["action_latency_p95_seconds"] = (latency.p95_seconds, 1)
    if (physics := task.physics) != "none":
        with make_simulator(task.environment, physics, 1) as simulator:
            seconds = trajectory_seconds(method_for(task, algorithm, preset.values, (0,), device), simulator)
        quantities["trajectory_seconds"] = (seconds, 1)
    # Whoever came in the meantime may still be there.
    exclusive = exclusive and machine_is_idle()
    return [
        TimingRecord(
            quantity=quantity,
            value=value,
            algorithm=algorithm,
            variant=preset.variant,
            task=task.name,
            trial=None,
            stack_size=stack_size,
            concurrent_stacks=1,
            device=device_name(device),
            threads=threads,
            runner=chosen_runner(runner, device),
            exclusive=exclusive,
            measured_at=datetime.now(UTC),
            matmul_precision=matmul_precision(device),
        )
        for quantity, (value, stack_size) in quantities.items()
    ]
