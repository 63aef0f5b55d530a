"""How fast a method trains on a device, on synthetic data of a task's dimensions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from algorithms.base import Phase
from bench.catalog import Task
from bench.hardware import synchronise
from bench.presets import Preset
from bench.training.batches import PackedDataset
from bench.training.trainer import Trainer, method_for

SYNTHETIC_ROWS = 10_000
WARM_UP_ITERATIONS = 20
FEWEST_ITERATIONS = 5
"""Of a program that a phase runs seldom."""
_SLOW = 5
"""Times the limit of time: an iteration that takes so long is not repeated."""


@dataclass(frozen=True)
class PhaseSpeed:
    """Duration of a phase's iterations; for the whole stack, not per seed."""

    phase: str
    seconds_per_1k_iterations: float
    """Each program weighed by how often the phase runs it."""
    evaluated: bool


@dataclass(frozen=True)
class ProgramSpeed:
    """Seconds of an iteration of one program of a phase; for the whole stack."""

    phase: Phase
    program: str
    seconds: float


def time_training(
    task: Task,
    preset: Preset,
    *,
    seeds: int = 1,
    device: str = "cpu",
    runner: str = "auto",
    iterations: int = 200,
    seconds: float = math.inf,
) -> list[PhaseSpeed]:
    """Time about `iterations` of every phase after a warm-up; data and draws included, evaluation not.

    Of several programs each gets its share of them, and counts as often as the phase runs it. `seconds`
    limits the warm-up of each, and its timing.
    """
    timed = program_speeds(
        task,
        preset,
        seeds=seeds,
        device=device,
        runner=runner,
        iterations=iterations,
        warm_up=WARM_UP_ITERATIONS,
        seconds=seconds,
    )
    by_phase: dict[str, tuple[Phase, dict[str, float]]] = {}
    for speed in timed:
        by_phase.setdefault(speed.phase.name, (speed.phase, {}))[1][speed.program] = speed.seconds
    return [
        PhaseSpeed(phase.name, 1000 * phase_seconds(phase, seconds) / phase.iterations, phase.evaluated)
        for phase, seconds in by_phase.values()
    ]


def phase_seconds(phase: Phase, seconds: Mapping[str, float]) -> float:
    """Seconds of a whole phase from those of an iteration of each of its programs."""
    return sum(count * seconds[program] for program, (_, count) in phase.occurrences.items())


def program_speeds(
    task: Task,
    preset: Preset,
    *,
    seeds: int,
    device: str,
    runner: str,
    iterations: int,
    warm_up: int = 1,
    seconds: float = math.inf,
) -> Iterator[ProgramSpeed]:
    """Time every program of every phase, about `iterations` of each phase in all.

    `seconds` is a limit of time for the warm-up of each program, and for its timing; one iteration is timed
    at least.
    """
    _take_a_first_derivative()
    algorithm = method_for(task, preset.algorithm, preset.values, tuple(range(seeds)), device)
    trainer = Trainer(algorithm, synthetic_data(task, device), runner=runner)
    for index, phase in enumerate(algorithm.phases):
        trainer.skip_to(index)
        for program, (_, count) in phase.occurrences.items():
            share = max(FEWEST_ITERATIONS, round(iterations * count / phase.iterations))
            spent = _seconds(trainer, program, device, share, warm_up, seconds)
            yield ProgramSpeed(phase, program, spent)


def _take_a_first_derivative() -> None:
    """Have PyTorch import what derivatives need: it takes as long as many iterations, and happens once."""
    variable = torch.ones((), requires_grad=True)
    torch.autograd.grad(variable * 1, variable, torch.ones(()))


def _seconds(
    trainer: Trainer, program: str, device: str, iterations: int, warm_up: int, limit: float
) -> float:
    """Seconds of an iteration of a program, after a warm-up, each within the limit of time."""
    # The first one compiles, captures a graph, or takes memory, which is little where it is slow anyway.
    first = _repeat(trainer, program, device, 1)
    if trainer.runner == "eager" and first >= _SLOW * limit:
        return first
    if warm_up > 1:
        _mean_within(trainer, program, device, warm_up - 1, limit)
    return _mean_within(trainer, program, device, iterations, limit)


def _mean_within(trainer: Trainer, program: str, device: str, iterations: int, limit: float) -> float:
    """Seconds of an iteration: of so many, or of as many as the limit leaves room for, one at least."""
    done, spent, few = 0, 0.0, 1
    while few:
        spent += _repeat(trainer, program, device, few)
        done += few
        room = max(0.0, limit - spent) * done / spent if spent else iterations
        few = int(min(iterations - done, room))
    return spent / done


def _repeat(trainer: Trainer, program: str, device: str, iterations: int) -> float:
    """Seconds of so many iterations of a program."""
    synchronise(device)
    started = time.perf_counter()
    trainer.repeat(program, iterations)
    synchronise(device)
    return time.perf_counter() - started


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
        next_actions=generator.uniform(-0.9, 0.9, (rows, task.action_dim)).astype(np.float32),
        ends=np.arange(1, rows + 1) % task.horizon == 0,
        device=device,
    )
