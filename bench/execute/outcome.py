"""What a complete stack leaves: weights, timings and scores of the seeds that came through."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save

from algorithms.base import Algorithm
from bench.data.reader import read_file
from bench.evaluation.illustration import illustrate
from bench.evaluation.latency import action_latency
from bench.evaluation.protocols import reported_score
from bench.execute.events import Outcome, Weights
from bench.execute.plan import StackPlan
from bench.hardware import device_name, peak_memory_bytes
from bench.records import FinishedRecord, TimingRecord, TrialRecord
from bench.training.trainer import Trainer

if TYPE_CHECKING:
    from bench.execute.stack import History

FINAL = "final"
"""Role of the weights at the end of training."""
ILLUSTRATION = "illustration"
"""Role of the file with what a method shows on a 2D problem."""


def outcome_of(plan: StackPlan, trainer: Trainer, history: History) -> Iterator[Outcome]:
    """What completes every seed that did not fail."""
    survivors = [slot for slot in range(len(plan.seeds)) if str(slot) not in history.failed]
    if not survivors:
        return
    timings = _timings(plan, trainer, history)
    for slot in survivors:
        trial = plan.trials[slot]
        # Cloned because the format wants tensors that do not share memory.
        weights = {name: value.clone() for name, value in trainer.algorithm.policy_state(slot).items()}
        yield Outcome(
            finished=_finished(plan, trainer, trial, slot, history),
            weights=save(weights),
            timings=tuple(
                _timing(plan, trial, name, value, trainer.runner) for name, value in timings.items()
            ),
        )


def illustrated(
    plan: StackPlan, algorithm: Algorithm, dataset: Path, metrics: list[dict[str, float]]
) -> Iterator[tuple[int, Weights]]:
    """Illustrations of a stack trained on a 2D problem, as files to keep, each with its slot.

    Their numbers are put into `metrics`, one dictionary per slot. Seeds that act in numbers that are not
    finite are left out.
    """
    raw = read_file(dataset, plan.task, plan.trials[0].dataset.sha256)
    shown = illustrate(algorithm, plan.task, raw)
    for slot, illustration in enumerate(shown):
        if illustration is not None:
            metrics[slot] |= illustration.numbers
            arrays = {name: tensor.contiguous() for name, tensor in illustration.arrays.items()}
            yield slot, Weights(plan.trials[slot].key, ILLUSTRATION, save(arrays))


def _timings(plan: StackPlan, trainer: Trainer, history: History) -> dict[str, float]:
    timings = {"evaluation_seconds": history.evaluation_seconds}
    for phase in trainer.algorithm.phases:
        seconds = history.phase_seconds.get(phase.name, 0.0)
        timings[f"phase_seconds:{phase.name}"] = seconds
        if phase.evaluated:
            timings["training_seconds_per_1k_iterations"] = 1000 * seconds / phase.iterations
    latency = action_latency(trainer.algorithm)
    timings["action_latency_median_seconds"] = latency.median_seconds
    timings["action_latency_p95_seconds"] = latency.p95_seconds
    return timings


def _timing(plan: StackPlan, trial: TrialRecord, quantity: str, value: float, runner: str) -> TimingRecord:
    return TimingRecord(
        quantity=quantity,
        value=value,
        algorithm=trial.key.algorithm,
        variant=trial.key.variant,
        task=trial.key.task,
        trial=trial.key,
        stack_size=1 if quantity.startswith("action_latency") else len(plan.seeds),
        concurrent_stacks=plan.concurrent_stacks,
        device=device_name(plan.device),
        threads=plan.threads,
        runner=runner,
        # A grid shares the machine; `bench speed` makes the rows that enter the papers' timing tables.
        exclusive=False,
        measured_at=datetime.now(UTC),
    )


def _finished(
    plan: StackPlan, trainer: Trainer, trial: TrialRecord, slot: int, history: History
) -> FinishedRecord:
    means = [float(np.mean(plan.task.normalised(entry["returns"][slot]))) for entry in history.evaluations]
    return FinishedRecord(
        trial=trial.key,
        score=reported_score(trial.protocol, means),
        training_seconds=sum(history.phase_seconds.values()),
        evaluation_seconds=history.evaluation_seconds,
        peak_memory_bytes=_peak_memory_bytes(plan.device),
        iterations=sum(phase.iterations for phase in trainer.algorithm.phases),
        finished_at=datetime.now(UTC),
    )


def _peak_memory_bytes(device: str) -> int:
    """Of the device where it has memory of its own, else of the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return peak_memory_bytes()
