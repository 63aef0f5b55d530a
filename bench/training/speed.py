"""How fast a method trains on a device, on synthetic data of a task's dimensions."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from bench.catalog import Task
from bench.hardware import synchronise
from bench.presets import Preset, Setting
from bench.training.batches import PackedDataset
from bench.training.trainer import Trainer, method_for

SYNTHETIC_ROWS = 10_000
WARM_UP_ITERATIONS = 20


@dataclass(frozen=True)
class PhaseSpeed:
    """Duration of a phase's iterations; for the whole stack, not per seed."""

    phase: str
    seconds_per_1k_iterations: float
    evaluated: bool


def time_training(
    task: Task,
    preset: Preset,
    *,
    seeds: int = 1,
    device: str = "cpu",
    runner: str = "auto",
    iterations: int = 200,
) -> list[PhaseSpeed]:
    """Time `iterations` of every phase after a warm-up; data and draws included, evaluation not."""
    shortened = replace(preset, hyperparameters=_shortened(preset, WARM_UP_ITERATIONS + iterations))
    algorithm = method_for(task, preset.algorithm, shortened.values, tuple(range(seeds)), device)
    trainer = Trainer(algorithm, synthetic_data(task, device), runner=runner)
    speeds = []
    for phase in algorithm.phases:
        trainer.advance(WARM_UP_ITERATIONS)
        synchronise(device)
        started = time.perf_counter()
        trainer.advance(phase.iterations - WARM_UP_ITERATIONS)
        synchronise(device)
        seconds = time.perf_counter() - started
        done = phase.iterations - WARM_UP_ITERATIONS
        speeds.append(PhaseSpeed(phase.name, 1000 * seconds / done, phase.evaluated))
    return speeds


def synthetic_data(task: Task, device: str, rows: int = SYNTHETIC_ROWS) -> PackedDataset:
    """Random transitions of a task's dimensions; speed does not depend on their values."""
    generator = np.random.default_rng(0)
    shape = (rows, task.observation_dim)
    return PackedDataset.pack(
        generator.standard_normal(shape, dtype=np.float32),
        generator.uniform(-0.9, 0.9, (rows, task.action_dim)).astype(np.float32),
        generator.standard_normal(shape, dtype=np.float32),
        generator.standard_normal(rows, dtype=np.float32),
        np.zeros(rows, dtype=bool),
        device=device,
    )


def _shortened(preset: Preset, iterations: int) -> dict[str, Setting]:
    # A count of 0 is a stage that is left out, so it is not timed either.
    counts = {
        name: replace(preset.hyperparameters[name], value=iterations)
        for name in preset.step_counts
        if preset.hyperparameters[name].value
    }
    return {**preset.hyperparameters, **counts}
