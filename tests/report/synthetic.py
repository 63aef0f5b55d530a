"""Synthetic stores whose truth is known, for `bench check` itself.

What is in them comes from `benchmarks.synthetic_study`: every number of the papers' main tables on
locomotion and AntMaze has a population of seeds and episodes, ours moved by planted differences. A store
holds our seeds of one such study as `bench run` would have left them: planned, claimed, evaluated episode by
episode and finished through the `Writer`, on verified data, with the paper's budget, protocol, episodes and
variant under D4RL's physics. Many studies of one shape are put into one store one after another, by replacing
its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import bindparam, select, update

from bench.catalog import Catalog, Task
from bench.records import EvaluationRecord, FinishedRecord, TrialKey, TrialRecord, hash_of
from bench.report.measured import Measured, SeedScore
from bench.store.database import open_store, transaction
from bench.store.models import Episode, Evaluation, Trial
from bench.store.writer import Writer
from benchmarks.full_store import dataset_of
from benchmarks.synthetic_study import Study, evaluations_of
from tests.store.samples import run_record

STEPS = 1000
"""Training iterations between evaluations."""


def write_store(path: Path, study: Study, catalog: Catalog) -> Path:
    """A new store at `path` with every trial of the study."""
    with open_store(path) as store, Writer(store) as writer:
        run = run_record()
        writer.begin_run(run)
        for entry in study.data.measured:
            task = catalog.task(entry.task)
            planned = [_trial(entry, task, trial.seed) for trial in entry.trials]
            writer.plan(planned)
            writer.claim(planned[0].key.cell, {trial.seed for trial in entry.trials}, len(planned))
            for trial, record in zip(entry.trials, planned, strict=True):
                episodes = study.data.final_episodes[trial.trial_id]
                for evaluation in _evaluations(record.key, entry, task, trial, episodes):
                    writer.record(evaluation)
                writer.record(_finished(record.key, entry, trial))
        writer.end_run(run.run_id)
    return path


def refill(path: Path, study: Study, catalog: Catalog) -> None:
    """Replace the scores of a store that `write_store` made of a study of the same shape."""
    episodes, trials = Episode.__table__, Trial.__table__
    this_episode = (episodes.c.evaluation_id == bindparam("at"), episodes.c.number == bindparam("episode"))
    numbers = {"score": bindparam("new_score"), "return_": bindparam("new_return")}
    with open_store(path) as store, transaction(store.engine) as connection:
        made = connection.execute(select(Evaluation.trial_id, Evaluation.number, Evaluation.id))
        id_of = {(trial_id, number): id_ for trial_id, number, id_ in made}
        rows = list(_episode_rows(study, catalog, id_of))
        connection.execute(update(episodes).where(*this_episode).values(numbers), rows)
        scores = [
            {"at": trial.trial_id, "new_score": trial.score}
            for entry in study.data.measured
            for trial in entry.trials
        ]
        this_trial = trials.c.id == bindparam("at")
        connection.execute(update(trials).where(this_trial).values(score=bindparam("new_score")), scores)


def _trial(entry: Measured, task: Task, seed: int) -> TrialRecord:
    config = {"task": entry.task, "protocol": entry.protocol, "episodes": entry.episodes}
    return TrialRecord(
        key=TrialKey(entry.algorithm, entry.variant, entry.task, seed, hash_of(config)),
        config=config,
        dataset=dataset_of(task),
        task_version=entry.task_version,
        physics=entry.physics,
        budget=entry.budget,
        protocol=entry.protocol,
        episodes=entry.episodes,
        reduced=entry.reduced,
    )


def _evaluations(
    key: TrialKey, entry: Measured, task: Task, trial: SeedScore, episodes: tuple[float, ...]
) -> Iterator[EvaluationRecord]:
    for number, scores in enumerate(evaluations_of(trial, episodes), start=1):
        yield EvaluationRecord(
            trial=key,
            number=number,
            step=STEPS * number,
            physics=entry.physics,
            returns=_returns(task, scores),
            lengths=(task.horizon,) * len(scores),
            scores=scores,
            seconds=1.0,
            metrics={},
            evaluated_at=entry.started_at,
        )


def _returns(task: Task, scores: tuple[float, ...]) -> tuple[float, ...]:
    span = task.reference.expert - task.reference.random
    return tuple(task.reference.random + span * score / 100 for score in scores)


def _episode_rows(
    study: Study, catalog: Catalog, id_of: Mapping[tuple[int, int], int]
) -> Iterator[dict[str, float]]:
    """Trials have the numbers in the store that they have in the study."""
    for entry in study.data.measured:
        task = catalog.task(entry.task)
        for trial in entry.trials:
            evaluations = evaluations_of(trial, study.data.final_episodes[trial.trial_id])
            for number, scores in enumerate(evaluations, start=1):
                place = {"at": id_of[trial.trial_id, number]}
                for episode, pair in enumerate(zip(scores, _returns(task, scores), strict=True), start=1):
                    yield place | {"episode": episode, "new_score": pair[0], "new_return": pair[1]}


def _finished(key: TrialKey, entry: Measured, trial: SeedScore) -> FinishedRecord:
    return FinishedRecord(key, trial.score, 1.0, 1.0, 2**30, STEPS, entry.finished_at)
