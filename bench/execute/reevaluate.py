"""Evaluates stored weights again, in episodes that no evaluation has used."""

from __future__ import annotations

from datetime import UTC, datetime

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from algorithms.base import Algorithm
from bench.catalog import load_catalog
from bench.envs import physics_under, simulator_for
from bench.errors import BenchError, WorkFailedError
from bench.evaluation.rollout import roll_out
from bench.hardware import prepare_process
from bench.records import FINAL, EvaluationRecord, Physics, TrialRecord
from bench.store.database import Store
from bench.store.queries import find_trial, next_reevaluation, weights_of
from bench.store.weight_files import read_verified
from bench.training.trainer import method_for


def reevaluate(
    store: Store, trial_id: int, *, episodes: int | None, physics: Physics | None, threads: int
) -> EvaluationRecord:
    """Roll out the final weights of a trial in episodes that no evaluation has used.

    Raises
    ------
    BenchError : no such trial, no weights, weights that are not those that were stored.
    """
    stored = find_trial(store, trial_id)
    record = stored.record
    weights = _verified_weights(store, trial_id)
    prepare_process(threads)
    task = load_catalog().task(record.key.task)
    seeds = (record.key.seed,)
    algorithm = method_for(task, record.key.algorithm, record.config["hyperparameters"], seeds)
    _require_fitting(weights, algorithm, trial_id)
    algorithm.load_policy_state(0, weights)
    number = next_reevaluation(store, trial_id)
    chosen = physics_under(task, physics) if physics else record.physics
    count = episodes or record.episodes
    with simulator_for(task, chosen, count, threads) as simulator:
        goals = record.config["evaluation"].get("goals")
        rollouts = roll_out(algorithm, simulator, evaluation=number, episodes=count, goals=goals)
    if not rollouts.finite.all():
        raise WorkFailedError(f"trial {trial_id} acts in numbers that are not finite", "", "Train it again.")
    returns = rollouts.returns[0]
    return EvaluationRecord(
        trial=record.key,
        number=number,
        step=_trained_iterations(record),
        physics=chosen,
        returns=tuple(returns.tolist()),
        lengths=tuple(rollouts.lengths[0].tolist()),
        scores=tuple(task.normalised(returns).tolist()),
        seconds=rollouts.seconds,
        evaluated_at=datetime.now(UTC),
    )


def _verified_weights(store: Store, trial_id: int) -> dict[str, torch.Tensor]:
    record = weights_of(store, trial_id).get(FINAL)
    if record is None:
        raise BenchError(
            f"trial {trial_id} has no weights",
            "Only finished trials have.",
            "`bench status` shows what is left.",
        )
    path = store.folder / record.path
    # What is loaded are the bytes that were hashed, not the file that lies there a moment later.
    content, fault = read_verified(store.folder, record)
    if fault:
        raise BenchError(f"{path} {fault}", f"It holds the weights of trial {trial_id}.", "Put it back.")
    try:
        return load(content)
    except SafetensorError as error:
        raise _useless(trial_id, f"They are no safetensors: {error}.") from error


def _require_fitting(weights: dict[str, torch.Tensor], algorithm: Algorithm, trial_id: int) -> None:
    # Loading alone would stretch a tensor of another shape over the network's.
    wanted = {name: tuple(value.shape) for name, value in algorithm.policy_state(0).items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != wanted:
        differing = ", ".join(sorted({name for name, _ in found.items() ^ wanted.items()})[:4])
        raise _useless(trial_id, f"Names or shapes differ from its network's: {differing[:200]}.")


def _useless(trial_id: int, why: str) -> BenchError:
    return BenchError(f"the weights of trial {trial_id} cannot be used", why, "Train it again.")


def _trained_iterations(record: TrialRecord) -> int:
    return int(record.config["evaluation"]["steps"][-1])
