"""How long the rest will take, from the stacks at work and the finished trials of like cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from sqlalchemy import select

from bench.records import FINISHED, PLANNED, RUNNING, TrialKey
from bench.store.database import Store
from bench.store.models import Trial
from bench.store.planning import KEY_COLUMNS, key_of
from bench.store.working import StackAtWork


@dataclass(frozen=True)
class TimeLeft:
    """An estimate, with what it rests on."""

    seconds: float | None
    """With as many stacks at once as are at work now, else one after the other; None: nothing is known."""
    finished_trials: int
    """That were measured for it."""
    unknown_trials: int
    """Trials left that nothing like has been seen of; they are not in the estimate."""


@dataclass(frozen=True)
class _Kind:
    """Trials that take about the same time; on other tasks too."""

    algorithm: str
    variant: str
    budget: float
    reduced: tuple[str, ...]


@dataclass(frozen=True)
class _Trial:
    key: TrialKey
    kind: _Kind
    state: str
    seconds: float | None
    """Its share of the time that its stack took; None where it has not finished."""


def time_left(store: Store, at_work: Sequence[StackAtWork]) -> TimeLeft:
    """Estimate the time that all trials take which are neither finished nor failed.

    A trial takes as long as those of its cell did, else as those of its method on other tasks.
    """
    trials = {trial.key: trial for trial in _trials(store)}
    running = [stack for stack in at_work if stack.stand is not None]
    under_way = {key for stack in running for key in stack.trials}
    waiting = [trial for trial in trials.values() if trial.state != FINISHED and trial.key not in under_way]
    means = _means(trials, running)
    shares = [means.get(trial.key.cell, means.get(trial.kind)) for trial in waiting]
    known = [share for share in shares if share is not None]
    rest = [stack.stand.seconds_left for stack in running]
    # However many work side by side, the last of the stacks at work must end.
    seconds = max((sum(rest) + sum(known)) / max(1, len(at_work)), *rest, 0.0)
    kinds = {trial.kind for trial in waiting}
    return TimeLeft(
        seconds=seconds if rest or known else None,
        finished_trials=sum(trial.state == FINISHED and trial.kind in kinds for trial in trials.values()),
        unknown_trials=len(shares) - len(known),
    )


def _trials(store: Store) -> Iterator[_Trial]:
    """Trials that are left, and finished ones of the same methods."""
    left = select(Trial.algorithm).where(Trial.state.in_((PLANNED, RUNNING)))
    columns = (
        Trial.state,
        Trial.stack,
        Trial.budget,
        Trial.reduced,
        Trial.training_seconds,
        Trial.evaluation_seconds,
    )
    chosen = select(*KEY_COLUMNS, *columns).where(
        Trial.algorithm.in_(left), Trial.state.in_((PLANNED, RUNNING, FINISHED))
    )
    with store.connect() as connection:
        rows = connection.execute(chosen).mappings().all()
    for row in rows:
        spent = None
        if row["state"] == FINISHED and row["training_seconds"] is not None:
            stack = row["stack"] or (row["seed"],)
            spent = (row["training_seconds"] + (row["evaluation_seconds"] or 0.0)) / len(stack)
        kind = _Kind(row["algorithm"], row["variant"], row["budget"], tuple(row["reduced"]))
        yield _Trial(key_of(row), kind, row["state"], spent)


def _means(trials: Mapping[TrialKey, _Trial], running: Sequence[StackAtWork]) -> dict[object, float]:
    """Mean seconds of a trial, by cell and by kind."""
    measured, expected = defaultdict(list), defaultdict(list)
    for trial in trials.values():
        if trial.seconds is not None:
            measured[trial.key.cell].append(trial.seconds)
            measured[trial.kind].append(trial.seconds)
    for stack in running:
        if stack.from_iteration == 0:
            share = (stack.seconds_since_claim + stack.stand.seconds_left) / len(stack.trials)
            for name in (stack.cell, trials[stack.trials[0]].kind):
                expected[name].append(share)
    # What has been measured goes before what is expected.
    return {name: mean(seconds) for name, seconds in (expected | measured).items()}
