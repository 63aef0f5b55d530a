"""A results database as large as a whole study: real names and presets, made-up scores.

Rows are inserted in bulk, because only reading, planning and single commits are measured on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert, select, update

from bench.catalog import Task, load_catalog
from bench.data.manifest import known_file
from bench.evaluation.protocols import reported_score
from bench.execute.grid import Cell, Request, left_out, plan_cells
from bench.provenance import describe_run, package_versions
from bench.records import FAILED, FINISHED, DatasetRecord, ExecutionRecord, TrialRecord, hash_of
from bench.store.database import open_store, transaction
from bench.store.models import Duration, Episode, Evaluation, Execution, Failure, Trial, Weights
from bench.store.planning import is_trial
from bench.store.writer import Writer

ALGORITHMS = ("dtql", "srpo", "edp", "bdpo")
METRICS = {
    "dtql": ("value_loss", "critic_loss", "diffusion_loss", "trust_region_loss", "actor_value", "actor_loss"),
    "srpo": ("value_loss", "critic_loss", "behaviour_loss", "policy_loss", "policy_value"),
    "edp-td3": ("diffusion_loss", "guidance_loss", "policy_loss", "critic_loss"),
    "edp-iql": ("diffusion_loss", "guidance_loss", "policy_loss", "critic_loss", "value_loss"),
    "bdpo": ("behaviour_loss", "path_divergence", "critics_loss", "diffusion_values_loss", "actor_loss"),
}
"""What the methods report with every evaluation."""
QUANTITIES = (
    "phase_seconds:pretrain",
    "phase_seconds:train",
    "evaluation_seconds",
    "training_seconds_per_1k_iterations",
    "action_latency_median_seconds",
    "action_latency_p95_seconds",
)
FAILED_OF = 40
"""One trial of so many has failed, in its last evaluation."""
STACK = 5
DEVICE = "cuda: NVIDIA H200"
_BEGAN = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
_ENDED = _BEGAN + timedelta(hours=3)


@dataclass(frozen=True)
class Size:
    """How large a store is: trials are methods x tasks x seeds."""

    tasks: int = 25
    seeds: int = 20
    evaluations: int = 100
    episodes: int = 10
    """Per evaluation."""

    @property
    def trials(self) -> int:
        """Trials of all methods."""
        return len(ALGORITHMS) * self.tasks * self.seeds

    @property
    def all_episodes(self) -> int:
        """Episodes of all trials."""
        return self.trials * self.evaluations * self.episodes

    def request(self) -> Request:
        """The grid of the store."""
        return Request(
            tasks=_tasks(self.tasks),
            algorithms=ALGORITHMS,
            seeds=tuple(range(self.seeds)),
            evaluations=self.evaluations,
            episodes=self.episodes,
        )


def dataset_of(task: Task) -> DatasetRecord:
    """A dataset as the store knows it, without its file."""
    known = known_file(task)
    sha256, found = (known.sha256, "verified") if known else (hash_of(task.name), "content fits")
    return DatasetRecord(task.name, sha256, task.rows or 1_000_000, found, "d4rl")


def make_store(path: Path, size: Size) -> None:
    """Make a store at `path` (a new file) whose trials have all been run."""
    request = size.request()
    random = np.random.default_rng(0)
    with open_store(path) as store, Writer(store) as writer:
        run = describe_run(f"bench run --seeds 0-{size.seeds - 1}")
        writer.begin_run(run)
        for cell in plan_cells(request):
            trials = cell.trials(request.seeds, dataset_of(cell.task))
            writer.plan(trials)
            with transaction(store.engine) as connection:
                _fill(connection, cell, trials, run.run_id, random)
        writer.end_run(run.run_id)


def _tasks(count: int) -> tuple[Task, ...]:
    """The first tasks that have a preset of every method."""
    tasks = tuple(load_catalog().tasks.values())
    request = Request(tasks, ALGORITHMS, seeds=(0,), suite="all")
    without = {task for _, task in left_out(request, plan_cells(request))}
    whole = tuple(task for task in tasks if task.name not in without)
    if count > len(whole):
        raise ValueError(f"{count} tasks asked for, but only {len(whole)} have presets of {ALGORITHMS}")
    return whole[:count]


def _fill(
    connection: Connection,
    cell: Cell,
    trials: Sequence[TrialRecord],
    run_id: str,
    random: np.random.Generator,
) -> None:
    level = random.uniform(20, 110)
    seeds = [trial.key.seed for trial in trials]
    for place, trial in enumerate(trials):
        trial_id = connection.scalars(select(Trial.id).where(is_trial(trial.key))).one()
        means = _evaluations(connection, cell, trial_id, run_id, level, random)
        first = place - place % STACK
        outcome = _result(connection, cell, trial, trial_id, run_id, means)
        outcome |= {"started_at": _BEGAN, "stack": seeds[first : first + STACK]}
        connection.execute(update(Trial).where(Trial.id == trial_id).values(outcome))
        executed = {"attempt": 1, "to_iteration": cell.evaluation_steps[-1], "outcome": outcome["state"]}
        executed |= vars(execution_of(outcome["stack"])) | {"stack": outcome["stack"], "ended_at": _ENDED}
        connection.execute(insert(Execution).values(trial_id=trial_id, run_id=run_id, **executed))


def _evaluations(
    connection: Connection, cell: Cell, trial_id: int, run_id: str, level: float, random: np.random.Generator
) -> list[float]:
    """Insert the evaluations of a trial with their episodes; return their mean scores."""
    count, reference = len(cell.evaluation_steps), cell.task.reference
    learned = 1 - np.exp(-5 * np.arange(1, count + 1) / count)
    scores = level * learned[:, None] + random.normal(0, 4, (count, cell.episodes))
    returns = reference.random + (reference.expert - reference.random) * scores / 100
    lengths = random.integers(1, cell.task.horizon + 1, scores.shape)
    values = random.normal(0, 1, (count, len(METRICS[cell.algorithm])))
    rows = [
        {
            "trial_id": trial_id,
            "run_id": run_id,
            "attempt": 1,
            "number": number,
            "step": step,
            "physics": cell.physics,
            "seconds": 12.5,
            "metrics": dict(zip(METRICS[cell.algorithm], metrics, strict=True)),
            "evaluated_at": _BEGAN + timedelta(minutes=number),
        }
        for number, (step, metrics) in enumerate(
            zip(cell.evaluation_steps, values.tolist(), strict=True), start=1
        )
    ]
    connection.execute(insert(Evaluation), rows)
    mine = select(Evaluation.id).where(Evaluation.trial_id == trial_id).order_by(Evaluation.number)
    ids = connection.scalars(mine).all()
    connection.execute(insert(Episode), list(_episodes(ids, returns, scores, lengths)))
    return scores.mean(axis=1).tolist()


def _episodes(
    ids: Sequence[int], returns: np.ndarray, scores: np.ndarray, lengths: np.ndarray
) -> Iterator[dict[str, Any]]:
    for row, evaluation_id in enumerate(ids):
        played = zip(returns[row].tolist(), scores[row].tolist(), lengths[row].tolist(), strict=True)
        for number, (return_, score, length) in enumerate(played, start=1):
            yield {
                "evaluation_id": evaluation_id,
                "number": number,
                "return_": return_,
                "return_is_nan": False,
                "score": score,
                "score_is_nan": False,
                "length": length,
            }


def _result(
    connection: Connection, cell: Cell, trial: TrialRecord, trial_id: int, run_id: str, means: list[float]
) -> dict[str, Any]:
    """Insert what a trial leaves when it ends, weights and timings or why it failed; return its result."""
    owner = {"trial_id": trial_id, "run_id": run_id}
    if trial_id % FAILED_OF == 0:
        failure = {"attempt": 1, "step": cell.evaluation_steps[-1], "error": "diverged", "traceback": ""}
        message = f"an action of evaluation {len(means)} is not finite"
        row = {**owner, **failure, "message": message, "last_metrics": {}, "failed_at": _ENDED}
        connection.execute(insert(Failure).values(row))
        return {"state": FAILED}
    connection.execute(insert(Duration), [{**owner, **row} for row in _durations(trial, _ENDED)])
    path = f"weights/{trial_id}-1-final.safetensors"
    facts = {"attempt": 1, "role": "final", "path": path, "sha256": hash_of(path), "size_bytes": 1_234_567}
    connection.execute(insert(Weights).values(**owner, **facts))
    score = reported_score(trial.protocol, means)
    seconds = {"training_seconds": 9000.0, "evaluation_seconds": 1250.0, "peak_memory_bytes": 2**31}
    return {"state": FINISHED, "score": score, "finished_at": _ENDED, **seconds}


def execution_of(stack: Sequence[int]) -> ExecutionRecord:
    """Work on a stack that begins, with facts as long as real ones."""
    return ExecutionRecord(
        started_at=_BEGAN,
        from_iteration=0,
        stack=tuple(stack),
        hostname="node-17",
        cpu="AMD EPYC 9654 96-Core Processor",
        device=DEVICE,
        gpu_driver="580.65.06",
        threads=1,
        runner="graph",
        precision={"numbers": "float32", "matmul": "highest", "tf32": False},
        packages=package_versions(),
        simulator="mujoco 3.4.0",
        code_sha256=hash_of("code"),
    )


def _durations(trial: TrialRecord, measured_at: datetime) -> Iterator[dict[str, Any]]:
    for quantity in QUANTITIES:
        yield {
            "algorithm": trial.key.algorithm,
            "variant": trial.key.variant,
            "task": trial.key.task,
            "quantity": quantity,
            "value": 1.25,
            "stack_size": STACK,
            "concurrent_stacks": 2,
            "device": DEVICE,
            "threads": 1,
            "runner": "graph",
            "exclusive": False,
            "measured_at": measured_at,
        }
