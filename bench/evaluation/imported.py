"""Scores of elsewhere as trials: what a file says of each seed, with what its owner declares of all.

Such a trial has the variant `imported` and a dataset of which no file is known, so that nothing takes it for
one that was measured here: its task version, physics, protocol and episodes are what the owner declares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bench.catalog import Catalog, Task
from bench.data.score_files import ScoreRow
from bench.errors import BenchError
from bench.evaluation.protocols import reported_score
from bench.records import (
    DECLARED,
    IMPORTED,
    NOT_DECLARED,
    UNVERIFIED,
    DatasetRecord,
    Declaration,
    EvaluationRecord,
    TrialKey,
    TrialRecord,
    config_hash,
)
from bench.store.importing import ImportedTrial
from bench.visible_text import count, quoted

AGREE_WITHIN = 0.05
"""Score points by which a score may differ from the mean of its own episodes, for it may be rounded."""


def imported_trials(
    rows: Sequence[ScoreRow], name: str, declared: Declaration, catalog: Catalog, *, returns: bool = False
) -> list[ImportedTrial]:
    """One trial per task and seed, in the order of the file.

    Parameters
    ----------
    name : the method's in the store.
    returns : scores are undiscounted returns, still to be normalised.

    Raises
    ------
    BenchError : an unknown task, the same evaluation twice, a score that its episodes contradict, or another
        number of episodes than declared.
    """
    seeds: dict[tuple[str, int], list[ScoreRow]] = {}
    for row in rows:
        seeds.setdefault((row.task, row.seed), []).append(row)
    found, conditions = [], dict[str, TrialRecord]()
    for (task_name, seed), of in seeds.items():
        if task_name not in conditions:
            task = _task(catalog, task_name, of[0].where)
            together = [row for row in rows if row.task == task_name]
            conditions[task_name] = _cell(name, task, declared, together)
        cell = conditions[task_name]
        found.append(_trial(cell, seed, _in_order(of), catalog.tasks[task_name], returns=returns))
    return found


def _task(catalog: Catalog, name: str, where: str) -> Task:
    try:
        task = catalog.task(name)
    except BenchError as error:
        raise BenchError(f"{where}: {error.what}", error.why, error.do_this) from error
    if task.generated:
        what = f"{where}: {quoted(name)} is a 2D problem"
        raise BenchError(what, "Those are shown, and have no score.", "Leave its rows out.")
    return task


def _cell(name: str, task: Task, declared: Declaration, rows: Sequence[ScoreRow]) -> TrialRecord:
    """What the trials of a task have in common, with the seed 0."""
    if declared.data == "d4rl" and task.dataset.source != "d4rl":
        what = f"--data d4rl for {task.name}"
        raise BenchError(what, "D4RL has no such task.", "Import its rows by themselves, without --data.")
    told = {len(row.episode_returns) for row in rows if row.episode_returns}
    episodes = declared.episodes if declared.episodes is not None else max(told, default=0)
    if told and told != {episodes}:
        what = f"{task.name}: {' and '.join(map(str, sorted(told)))} episodes per evaluation in the file"
        said = "They differ" if declared.episodes is None else f"--episodes says {episodes}"
        raise BenchError(
            what, f"{said}.", "Every evaluation has the returns of as many episodes as declared."
        )
    protocol, physics = declared.protocol or NOT_DECLARED, declared.physics or NOT_DECLARED
    # Where the evaluations are there, the score is taken by a protocol.
    if protocol == NOT_DECLARED and any(row.step is not None for row in rows):
        protocol = "last"
    evaluation: dict[str, Any] = {"episodes": episodes, "protocol": protocol}
    if task.goals == "by_method" and declared.goals is not None:
        evaluation["goals"] = declared.goals
    config = {
        "algorithm": name,
        "variant": IMPORTED,
        "task": task.name,
        "task_version": task.version,
        "physics": physics,
        "evaluation": evaluation,
        DECLARED: {key: value for key, value in asdict(declared).items() if value is not None},
    }
    dataset = DatasetRecord(task.name, "", 0, UNVERIFIED, UNVERIFIED)
    key = TrialKey(name, IMPORTED, task.name, 0, config_hash(config))
    return TrialRecord(key, config, dataset, task.version, physics, 1.0, protocol, episodes)


def _in_order(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """The evaluations of a seed by their steps."""
    steps = [row.step for row in rows]
    twice = next((row for row, step in zip(rows, steps, strict=True) if steps.count(step) > 1), None)
    if twice is not None:
        step = "" if twice.step is None else f" at step {twice.step:,}"
        others = " and ".join(row.where for row in rows if row.step == twice.step)
        what = f"{others}: seed {twice.seed} of {twice.task} twice{step}"
        do_this = "Keep one row per seed; for a learning curve add a column step."
        raise BenchError(what, "", do_this)
    if len(rows) > 1 and None in steps:
        where = next(row.where for row in rows if row.step is None)
        raise BenchError(f"{where}: no step", "Other rows of its seed have one.", "Give every row one.")
    return sorted(rows, key=lambda row: row.step or 0)


def _trial(
    cell: TrialRecord, seed: int, rows: Sequence[ScoreRow], task: Task, *, returns: bool
) -> ImportedTrial:
    key = cell.key.cell.trial(seed)
    record = TrialRecord(**{**vars(cell), "key": key})
    scores = [_score(row, task, returns=returns) for row in rows]
    told = any(row.step is not None or row.episode_returns for row in rows)
    evaluations = tuple(
        _evaluation(record, number, row, score, task)
        for number, (row, score) in enumerate(zip(rows, scores, strict=True), start=1)
        if told
    )
    score: float | None = scores[-1]
    if len(rows) > 1:
        score = reported_score(record.protocol, scores)
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return ImportedTrial(record, score, evaluations, max(seconds, default=None))


def _score(row: ScoreRow, task: Task, *, returns: bool) -> float:
    """The normalised score of a row: of its episodes where they are told, which is not rounded."""
    score = math.nan
    if row.score is not None:
        score = float(task.normalised(row.score)) if returns else row.score
    if not row.episode_returns:
        return score
    of_episodes = float(np.mean(task.normalised(row.episode_returns)))
    if row.score is not None and abs(score - of_episodes) > AGREE_WITHIN:
        what = f"{row.where}: score {score:.2f}, but its episodes' returns give {of_episodes:.2f}"
        unit = "Scores are normalised by the task's reference, 0 as random and 100 as expert."
        raise BenchError(what, unit, "Correct either, or leave the column score out.")
    return of_episodes


def _evaluation(
    record: TrialRecord, number: int, row: ScoreRow, score: float, task: Task
) -> EvaluationRecord:
    """With its episodes; where only their mean is known, that stands for one of length 0."""
    returns = row.episode_returns or (_return(score, task),)
    return EvaluationRecord(
        trial=record.key,
        number=number,
        step=row.step or 0,
        physics=record.physics,
        returns=returns,
        lengths=(0,) * len(returns),
        scores=tuple(map(float, task.normalised(row.episode_returns))) if row.episode_returns else (score,),
        seconds=0.0,
    )


def _return(score: float, task: Task) -> float:
    return task.reference.random + score * (task.reference.expert - task.reference.random) / 100


def undeclared(declared: Declaration, tasks: Iterable[Task]) -> tuple[str, ...]:
    """The options by which something is still to be declared before anything can be compared."""
    needed = ["data", "protocol", "episodes", "physics"]
    needed += ["goals"] if any(task.goals == "by_method" for task in tasks) else []
    return tuple(f"--{name}" for name in needed if getattr(declared, name) is None)


def remarks(trials: Sequence[ImportedTrial], tasks: Mapping[str, Task], *, returns: bool) -> list[str]:
    """What the owner ought to look at again: NaN, and scores that look like another unit."""
    scores = [trial.score for trial in trials if trial.score is not None]
    finite = [score for score in scores if math.isfinite(score)]
    found = []
    if len(finite) < len(scores):
        found.append(
            f"{len(scores) - len(finite)} of {len(trials)} scores are no finite numbers: stored as seeds that"
            " diverged. They are in no mean, and where there are any neither better nor equivalent is said."
        )
    without = len(trials) - len(scores)
    if without:
        protocol = trials[0].record.protocol
        found.append(
            f"{count(without, 'seed')} without enough evaluations for protocol {protocol}: no score."
        )
    if finite and max(finite) > 200 and not returns:
        found.append(
            f"The highest score is {max(finite):,.1f}, where 100 is an expert: if these are returns,"
            " import them again with --returns --replace."
        )
    if len(finite) > 2 and 0 < max(finite) <= 1.5 and min(finite) >= -0.5:
        found.append("No score is above 1.5: if these are fractions, multiply them by 100.")
    if any(task.collected for task in tasks.values()):
        found.append(
            "Tasks collected here have no file that all share: their scores are shown, not compared."
        )
    return found
