"""Evaluates stored weights again, in episodes that no evaluation has used."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.envs import physics_under, simulator_for
from bench.errors import WorkFailedError
from bench.evaluation.rollout import roll_out
from bench.evaluation.stored import load_method
from bench.hardware import prepare_process
from bench.records import EvaluationRecord, Physics, TrialRecord
from bench.store.database import Store
from bench.store.queries import next_reevaluation


def reevaluate(
    store: Store, trial_id: int, *, episodes: int | None, physics: Physics | None, threads: int
) -> EvaluationRecord:
    """Roll out the final weights of a trial in episodes that no evaluation has used.

    Raises
    ------
    BenchError : as `load_method`; a physics that the task cannot have.
    """
    prepare_process(threads)
    stored = load_method(store, trial_id)
    record, task, algorithm = stored.trial.record, stored.task, stored.algorithm
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


def _trained_iterations(record: TrialRecord) -> int:
    return int(record.config["evaluation"]["steps"][-1])
