"""Works off one stack from its plan to the results of its trials; an exception is their failure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import torch
from safetensors.torch import save

from bench.evaluation.latency import action_latency
from bench.evaluation.protocols import reported_score
from bench.execute.history import History
from bench.execute.messages import (
    ChannelError,
    Completed,
    DriverChannel,
    StackPlan,
    TrialFinished,
    failures_of,
)
from bench.execute.stack import Stack
from bench.hardware import device_name, matmul_precision, peak_memory_bytes
from bench.records import PHASE_SECONDS, FinishedRecord, TimingRecord, TrialRecord
from bench.training.trainer import Trainer

OUT_OF_GPU_MEMORY = (
    "Ask for fewer seeds per stack (--seeds-per-stack) or more GPU per stack (--gpus-per-stack)."
)
OUT_OF_MEMORY = (
    "Ask for fewer seeds per stack (--seeds-per-stack), or for fewer stacks at once (more --cpus-per-stack)."
)


def run_plan(plan: StackPlan, channel: DriverChannel) -> None:
    """Work off one stack; an exception is sent as the failure of all its trials.

    Raises
    ------
    ChannelError : without a taker for results there is no point in going on, and what the driver could not
        give is no failure of the trials.
    """
    stack = None
    try:
        stack = Stack(plan, channel)
        complete(stack, channel)
    except ChannelError:
        raise
    except Exception as error:  # noqa: BLE001
        # The one place where everything is caught: nothing may end a stack without a word in the store.
        step = stack.iterations if stack else 0
        for failure in failures_of(plan, error, step=step, advice=_advice(error)):
            channel.send(failure)


def complete(stack: Stack, channel: DriverChannel) -> bool:
    """Work until every trial has its outcome (True), or was asked to stop (False, with its state saved)."""
    if not stack.run():
        return False
    for finished in outcomes_of(stack.plan, stack.trainer, stack.history):
        channel.send(finished)
    channel.send(Completed(stack.plan.title))
    return True


def _advice(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return OUT_OF_GPU_MEMORY
    # torch has no type of its own for the memory of the machine.
    return OUT_OF_MEMORY if isinstance(error, MemoryError) or "allocate memory" in str(error) else ""


def outcomes_of(plan: StackPlan, trainer: Trainer, history: History) -> Iterator[TrialFinished]:
    """What completes every seed that did not fail: weights, timings and score."""
    survivors = [slot for slot in range(len(plan.seeds)) if str(slot) not in history.failed]
    if not survivors:
        return
    timings = _timings(plan, trainer, history)
    for slot in survivors:
        trial = plan.trials[slot]
        # Cloned because the format wants tensors that do not share memory.
        weights = {name: value.clone() for name, value in trainer.algorithm.policy_state(slot).items()}
        yield TrialFinished(
            finished=_finished(plan, trainer, trial, slot, history),
            weights=save(weights),
            timings=tuple(
                _timing(plan, trial, name, value, trainer.runner) for name, value in timings.items()
            ),
        )


def _timings(plan: StackPlan, trainer: Trainer, history: History) -> dict[str, float]:
    timings = {"evaluation_seconds": history.evaluation_seconds}
    for phase in trainer.algorithm.phases:
        seconds = history.phase_seconds.get(phase.name, 0.0)
        timings[f"{PHASE_SECONDS}{phase.name}"] = seconds
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
        matmul_precision=matmul_precision(plan.device),
    )


def _finished(
    plan: StackPlan, trainer: Trainer, trial: TrialRecord, slot: int, history: History
) -> FinishedRecord:
    means = [float(np.mean(plan.task.normalised(entry["returns"][slot]))) for entry in history.evaluations]
    metrics = [entry["metrics"][slot] for entry in history.evaluations]
    rank = trial.config["evaluation"].get("selected_rank")
    return FinishedRecord(
        trial=trial.key,
        score=reported_score(trial.protocol, means, metrics, rank),
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
