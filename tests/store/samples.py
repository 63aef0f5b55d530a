"""Small records for the tests of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from bench.data.manifest import load_manifest
from bench.records import (
    BaselineRecord,
    BaselineScoreRecord,
    CellComparison,
    DatasetRecord,
    EvaluationRecord,
    ExecutionRecord,
    FailureRecord,
    FinishedRecord,
    NightRecord,
    NoteRecord,
    RunRecord,
    TimingRecord,
    TrialKey,
    TrialRecord,
    WeightsRecord,
    hash_of,
)

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
DATASET = DatasetRecord("hopper-medium-v2", "ab" * 32, 1_000_000, "unverified", "unverified")


def verified_dataset(task: str) -> DatasetRecord:
    """D4RL's own file of a task, as its hash says; of a task that D4RL does not know some file."""
    known = load_manifest().files.get(task)
    return DatasetRecord(task, known.sha256 if known else "ab" * 32, 1_000_000, "verified", "d4rl")


def run_record(run_id: str = "run-1", command: str = "bench run --suite quickstart") -> RunRecord:
    return RunRecord(
        run_id=run_id,
        command=command,
        started_at=NOON,
        code_version="0.1.0",
        code_commit="c" * 40,
        code_dirty=False,
        code_diff_sha256=None,
        packages={"torch": "2.13.0"},
        hardware={"hostname": "a-machine", "gpus": []},
    )


def trial_record(seed: int = 0, task: str = "hopper-medium-v2", **config: object) -> TrialRecord:
    config = {"discount": {"value": 0.99, "source": "Table 4"}, "dataset": DATASET.sha256, **config}
    key = TrialKey("dtql", "released", task, seed, hash_of(config))
    return TrialRecord(key, config, DATASET, 1, "d4rl", 0.001, "last", 3, ("budget 0.001", "episodes 3"))


def evaluation_record(key: TrialKey, number: int = 1, returns: tuple[float, ...] = (300.0, 250.5, 275.25)):
    return EvaluationRecord(
        trial=key,
        number=number,
        step=1000 * number,
        physics="d4rl",
        returns=returns,
        lengths=tuple(100 + i for i in range(len(returns))),
        scores=tuple(value / 30 for value in returns),
        seconds=2.5,
        metrics={"critic_loss": 0.25, "actor_loss": float("nan")},
        evaluated_at=NOON + timedelta(minutes=number),
    )


def timing_record(
    key: TrialKey | None, value: float = 3.5, measured_at: datetime | None = NOON
) -> TimingRecord:
    return TimingRecord(
        quantity="training_seconds_per_1k_iterations",
        value=value,
        algorithm="dtql",
        variant="released",
        task="hopper-medium-v2",
        trial=key,
        stack_size=2,
        concurrent_stacks=1,
        device="cpu: a processor",
        threads=1,
        runner="eager",
        exclusive=key is None,
        measured_at=measured_at,
    )


def failure_record(key: TrialKey, step: int = 700) -> FailureRecord:
    return FailureRecord(
        trial=key,
        step=step,
        error="diverged",
        message="critic_loss is NaN",
        traceback="Traceback (most recent call last):\n  ...\n",
        last_metrics={"critic_loss": float("inf")},
        failed_at=NOON + timedelta(hours=1),
    )


def weights_record(key: TrialKey, sha256: str = "cd" * 32) -> WeightsRecord:
    return WeightsRecord(key, "final", f"weights/{key.seed}.safetensors", sha256, 12_345)


def finished_record(key: TrialKey, score: float | None = 9.2) -> FinishedRecord:
    return FinishedRecord(key, score, 12.5, 2.5, 2**31, 1000, NOON + timedelta(hours=2))


def execution_record(seeds: tuple[int, ...] = (0, 1), from_iteration: int = 0, **changes: object):
    facts = {
        "started_at": NOON + timedelta(seconds=from_iteration),
        "from_iteration": from_iteration,
        "stack": seeds,
        "hostname": "node-1",
        "cpu": "a processor",
        "device": "cuda: a GPU",
        "gpu_driver": "NVIDIA 570.124.06, CUDA 12.8",
        "threads": 1,
        "runner": "graph",
        "precision": {"dtype": "float32", "deterministic_algorithms": False},
        "packages": {"python": "3.11.7", "torch": "2.12.0"},
        "simulator": "mujoco 3.4.0",
        "code_sha256": "a" * 64,
    }
    return ExecutionRecord(**facts | changes)


def baseline_record(name: str = "first", frozen_at: datetime = NOON, **changes: object) -> BaselineRecord:
    scores = tuple(
        BaselineScoreRecord(trial_record(seed).key, score)
        for seed, score in enumerate((9.25, 10.5, float("nan")))
    )
    facts = {
        "name": name,
        "frozen_at": frozen_at,
        "reason": "the release",
        "author": "Ada",
        "configuration": {"seeds": {"baseline": 3}},
        "fingerprints": {"losses": {"dtql released": "ab" * 32}},
        "scores": scores,
        "pace": ({"method": "dtql", "seconds": [1.5, 1.25]},),
    }
    return BaselineRecord(**facts | changes)


def note_record(text: str = "sums in another order", minutes: int = 1, **changes: object) -> NoteRecord:
    facts = {"baseline": "first", "written_at": NOON + timedelta(minutes=minutes), "author": "Ben"}
    return NoteRecord(text=text, **facts | changes)


def night_record(run_id: str = "run-1", day: date = date(2026, 11, 21), **changes: object) -> NightRecord:
    """A night that has ended; `begun(it)` is how it began."""
    cell = CellComparison(
        cell=trial_record().key.cell,
        status="below",
        reason="",
        baseline_seeds=3,
        baseline_mean=9.875,
        baseline_sd=0.5,
        seeds=1,
        lost=1,
        mean=3.5,
        p_below=0.0001,
        alarm_below=7.25,
        confirmation_seeds=6,
        confirmation_mean=9.5,
        confirmed=False,
        drift=1.25,
        drifting=False,
    )
    facts = {
        "date": day,
        "baseline": "first",
        "configuration_hash": "ef" * 32,
        "seeds": (100, 101),
        "started_at": NOON,
        "ended_at": NOON + timedelta(hours=3),
        "outcome": "red",
        "report": {"summary": ["one cell lost a seed"]},
        "cells": (cell,),
        "verdicts": {("dtql", "dtql", "hopper-medium-v2", "last"): "reproduced"},
    }
    return NightRecord(run_id, **facts | changes)


def begun(night: NightRecord) -> NightRecord:
    """The night as it began."""
    return replace(night, ended_at=None, outcome=None, report=None, cells=(), verdicts={})
