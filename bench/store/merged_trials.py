"""All that a store knows of a trial, and what two stores know of the same one, made one.

The rule, and why rows are not recorded anew: `bench.store.merge`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby, zip_longest
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from bench.records import FINISHED, PLANNED, RUNNING, TrialKey, first_difference, what_determines
from bench.store.damage import require_consistent
from bench.store.models import (
    Base,
    Claim,
    Dataset,
    Duration,
    Episode,
    Evaluation,
    Execution,
    Failure,
    Run,
    Trial,
    Weights,
)
from bench.store.planning import is_trial

Row = Mapping[str, Any]
"""Columns by name, without the numbers of rows, which every store gives anew."""
Key = tuple[Any, ...]
"""A natural key."""
Rows = Mapping[Key, Row]
_NUMBERS = ("id", "trial_id", "dataset_id", "baseline_id", "night_id", "evaluation_id", "attempt")
_FACTS = ("config", "task_version", "physics", "budget", "protocol", "episodes", "reduced")
_OUTCOME = ("state", "run_id", "score", "score_is_nan", "training_seconds", "evaluation_seconds",
            "peak_memory_bytes", "stack", "started_at", "finished_at")  # fmt: skip
"""Columns of `trials` that change while a trial is worked on, besides the number of the attempt."""
_PLANNED = tuple(
    column.name
    for column in Trial.__table__.columns
    if column.name not in (*TrialKey.__dataclass_fields__, *_NUMBERS, *_FACTS, *_OUTCOME)
)
"""All its other columns, so that a new one comes over, too."""
_KEYS: dict[type[Base], tuple[str, ...]] = {
    Evaluation: ("number",),
    Failure: ("failed_at",),
    Weights: ("role",),
    Execution: ("started_at",),
    Duration: ("quantity", "run_id", "measured_at"),
}
"""Tables whose rows belong to a trial, with the natural keys that they have within an attempt."""
_MAY_DIFFER = {
    Evaluation: ("run_id", "seconds", "metrics", "evaluated_at"),
    Weights: ("run_id", "path", "size_bytes"),
}
"""When and how fast the same was found, and under which name it is kept, is no contradiction."""
_ENDS = ("ended_at", "outcome", "to_iteration", "peak_memory_bytes")
"""What an execution does not have yet while it runs."""
_EPISODE = tuple(column for column in Episode.__table__.columns if column.name != "evaluation_id")


class Verdict(Enum):
    """What a merge makes of a trial of another store."""

    CAME = "came"
    COMPLETED = "completed what was there"
    THERE = "was there already"
    BEHIND = "was begun here too, and is not finished there"
    HELD = "is being worked on"
    LEFT_OUT = "contradicts what is there"


class ContradictionError(Exception):
    """Two stores hold different values under the same natural key."""

    def __init__(self, what: str, ours: object, theirs: object) -> None:
        super().__init__(what, ours, theirs)
        self.what, self.ours, self.theirs = what, str(ours), str(theirs)


@dataclass(frozen=True)
class TrialContent:
    """All that a store knows of a trial."""

    key: TrialKey
    trial_id: int
    """Its number there."""
    facts: Row
    """What follows from the request, such as configuration, protocol and dataset (name, SHA-256)."""
    planned: Row
    """When that was, and the phases of its method."""
    outcome: Row
    """`_OUTCOME`."""
    attempt: int
    """The one that counts, which may be without rows."""
    rows: Rows
    """By table, attempt (None of durations) and natural key; evaluations with their episodes."""
    origin: str
    """Machine and store that the outcome comes from, for people."""

    @property
    def state(self) -> str:
        """`planned`, `running`, `finished` or `failed`."""
        return self.outcome["state"]

    @property
    def is_open(self) -> bool:
        """Whether something of it is left to do."""
        return self.state in (PLANNED, RUNNING)

    @property
    def is_begun(self) -> bool:
        """Whether anything was done on it."""
        return bool(self.rows) or self.state != PLANNED or self.attempt > 1 or bool(self.outcome["stack"])

    def of(self, attempt: int | None, *, judged: bool = False) -> dict[Key, Row]:
        """Rows of an attempt by table and natural key: what was made in it, or was `judged` of it later."""
        return {
            (table, *key): row
            for (table, number, *key), row in self.rows.items()
            if number == attempt and judged == (table is Evaluation and row["number"] < 1)
        }

    @property
    def shared_rows(self) -> Iterator[tuple[type[Base], Key]]:
        """Rows that it shares with others: its dataset and the runs that worked on it."""
        yield Dataset, tuple(self.facts["dataset"].rsplit(" ", 1))
        for run_id in {self.outcome["run_id"], *(row["run_id"] for row in self.rows.values())} - {None}:
            yield Run, (run_id,)

    @property
    def files(self) -> frozenset[tuple[str, str]]:
        """Name and SHA-256 of its files of weights."""
        return frozenset((row["path"], row["sha256"]) for key, row in self.rows.items() if key[0] is Weights)


def load_trial(connection: Connection, key: TrialKey, place: str) -> TrialContent | None:
    """All that the store at `place` knows of a trial; None where it does not know it."""
    dataset = (Dataset.name.label("dataset_name"), Dataset.sha256.label("dataset_sha256"))
    chosen = (
        select(Trial.__table__, *dataset, Run.hardware)
        .join(Dataset, Dataset.id == Trial.dataset_id)
        .join(Run, Run.run_id == Trial.run_id)
        .where(is_trial(key))
    )
    row = connection.execute(chosen).mappings().first()
    if row is None:
        return None
    require_consistent(row)
    return TrialContent(
        key=key,
        trial_id=row["id"],
        facts={name: row[name] for name in _FACTS}
        | {"dataset": f"{row['dataset_name']} {row['dataset_sha256']}"},
        planned={name: row[name] for name in _PLANNED},
        outcome={name: row[name] for name in _OUTCOME},
        attempt=row["attempt"],
        rows=dict(_rows_of_trial(connection, row["id"])),
        origin=f"{row['hardware'].get('hostname', 'unknown machine')}, {place}",
    )


def _rows_of_trial(connection: Connection, trial_id: int) -> Iterator[tuple[Key, Row]]:
    for table, natural_key in _KEYS.items():
        columns = table.__table__.columns
        chosen = select(table.__table__).where(columns["trial_id"] == trial_id).order_by(columns["id"])
        rows = connection.execute(chosen).mappings().all()
        episodes = _episodes(connection, [row["id"] for row in rows]) if table is Evaluation else {}
        for row in rows:
            values = values_of(row)
            if table is Evaluation:
                values["episodes"] = episodes.get(row["id"], ())
            yield (table, row.get("attempt"), *(row[name] for name in natural_key)), values


def _episodes(connection: Connection, evaluation_ids: list[int]) -> dict[int, tuple[tuple[Any, ...], ...]]:
    # Not joined: a server that has not yet counted its rows would read through all episodes for each trial.
    chosen = (
        select(Episode.evaluation_id, *_EPISODE)
        .where(Episode.evaluation_id.in_(evaluation_ids))
        .order_by(Episode.evaluation_id, Episode.number)
    )
    rows = connection.execute(chosen).all()
    return {
        evaluation_id: tuple(tuple(row[1:]) for row in of)
        for evaluation_id, of in groupby(rows, key=lambda row: row[0])
    }


def unite(ours: TrialContent, theirs: TrialContent) -> tuple[TrialContent, Verdict]:
    """The trial as both stores know it, and what became of theirs.

    Raises
    ------
    ContradictionError : both have finished it with different numbers, or mean different things by its key.
    """
    facts, others = (
        {**trial.facts, "config": what_determines(trial.facts["config"])} for trial in (ours, theirs)
    )
    if facts != others:
        raise ContradictionError(*first_difference(facts, others))
    # Planned by an earlier version, it has none noted.
    phases = ours.planned["phases"] or theirs.planned["phases"]
    known = replace(ours, planned={**ours.planned, "phases": phases})
    if not ours.is_begun:
        if theirs.is_begun:
            came = newcomer(theirs)
            known = replace(
                known, outcome=came.outcome, attempt=came.attempt, rows=came.rows, origin=came.origin
            )
        return known, Verdict.THERE if known == ours else Verdict.COMPLETED
    current, other = ours.of(ours.attempt), theirs.of(theirs.attempt)
    if theirs.state != FINISHED:
        if known != ours:
            return known, Verdict.COMPLETED
        is_here = all(ours.rows.get(key) == row for key, row in theirs.rows.items())
        return ours, Verdict.THERE if is_here else Verdict.BEHIND
    if ours.state == FINISHED:
        _compare_results(ours, theirs)
        united = known
    else:
        attempt = ours.attempt if _went_on(current, other) else ours.attempt + 1
        united = replace(known, outcome=theirs.outcome, attempt=attempt, origin=theirs.origin)
    rows = dict(ours.rows)
    for (table, *key), row in other.items():
        _put(rows, (table, united.attempt, *key), row)
    for (table, *key), row in theirs.of(None).items():
        _put(rows, (table, None, *key), row)
    _add_judgements(rows, united.attempt, theirs)
    united = replace(united, rows=rows)
    return united, Verdict.THERE if united == ours else Verdict.COMPLETED


def newcomer(theirs: TrialContent) -> TrialContent:
    """A trial as it comes into a store that has not begun it: nobody works on it there."""
    state = PLANNED if theirs.is_open else theirs.state
    return replace(theirs, outcome={**theirs.outcome, "state": state})


def _went_on(ours: Rows, theirs: Rows) -> bool:
    """Whether their attempt is ours at a later time: it holds all that ours does."""
    if not ours.keys() <= theirs.keys():
        return False
    try:
        for key, row in ours.items():
            _same(key, row, theirs[key])
    except ContradictionError:
        return False
    return True


def _put(rows: dict[Key, Row], key: Key, row: Row) -> None:
    rows[key] = _same(key, rows[key], row) if key in rows else row


def _same(key: Key, ours: Row, theirs: Row) -> Row:
    """Our row; of an execution of which they have seen the end, theirs.

    Raises
    ------
    ContradictionError : they do not say the same.
    """
    table = key[0]
    may_differ = _MAY_DIFFER.get(table, ())
    if table is Execution and None in (ours["outcome"], theirs["outcome"]):
        may_differ = _ENDS
    for name, value in ours.items():
        if value != theirs[name] and name not in may_differ:
            words = " ".join(str(part) for part in key[1:] if not isinstance(part, int))
            raise ContradictionError(f"{name} of {table.__tablename__} {words}", value, theirs[name])
    return theirs if table is Execution and ours["outcome"] is None else ours


def _add_judgements(rows: dict[Key, Row], attempt: int, theirs: TrialContent) -> None:
    """Later judgements of the same weights; a number only says which was made first in its store."""
    judged = [row for key, row in rows.items() if key[0] is Evaluation and row["number"] < 1]
    for row in theirs.of(theirs.attempt, judged=True).values():
        if not any({**row, "number": 0} == {**other, "number": 0} for other in judged):
            taken = {other["number"] for other in judged}
            number = row["number"] if row["number"] not in taken else min(0, *taken) - 1
            judged.append({**row, "number": number})
            rows[Evaluation, attempt, number] = judged[-1]


def _compare_results(ours: TrialContent, theirs: TrialContent) -> None:
    """Refuse two finished trials with different results, and name the first difference."""
    scores = [(trial.outcome["score"], trial.outcome["score_is_nan"]) for trial in (ours, theirs)]
    if scores[0] != scores[1]:
        raise ContradictionError("score", *map(_number, scores))
    made, others = ours.of(ours.attempt), theirs.of(theirs.attempt)
    for key in sorted({number for table, number in {*made, *others} if table is Evaluation}):
        _compare_evaluations(key, made.get((Evaluation, key)), others.get((Evaluation, key)))
    for table, role in sorted(made.keys() & others.keys(), key=str):
        if table is Weights and made[table, role]["sha256"] != others[table, role]["sha256"]:
            hashes = (rows[table, role]["sha256"] for rows in (made, others))
            raise ContradictionError(f"SHA-256 of the weights {role!r}", *hashes)


def _compare_evaluations(number: int, ours: Row | None, theirs: Row | None) -> None:
    if ours is None or theirs is None:
        made = ("none" if row is None else f"step {row['step']}" for row in (ours, theirs))
        raise ContradictionError(f"evaluation {number}", *made)
    for name in ("step", "physics"):
        if ours[name] != theirs[name]:
            raise ContradictionError(f"{name} of evaluation {number}", ours[name], theirs[name])
    for episode, (one, other) in enumerate(zip_longest(ours["episodes"], theirs["episodes"]), start=1):
        if one != other:
            raise ContradictionError(
                f"evaluation {number}, episode {episode}", _episode(one), _episode(other)
            )


def _episode(row: Key | None) -> str:
    if row is None:
        return "none"
    _, return_, return_is_nan, score, score_is_nan, length = row
    parts = _number((return_, return_is_nan)), _number((score, score_is_nan))
    return f"return {parts[0]}, score {parts[1]}, length {length}"


def _number(columns: tuple[float | None, bool]) -> str:
    value, is_nan = columns
    return "NaN" if is_nan else repr(value)


def save_trial(connection: Connection, stored: TrialContent | None, wanted: TrialContent) -> None:
    """Write what the store does not have of a trial yet; its runs and its dataset are there."""
    trial_id = _insert_trial(connection, wanted) if stored is None else stored.trial_id
    values = {**wanted.outcome, "attempt": wanted.attempt, "phases": wanted.planned["phases"]}
    connection.execute(update(Trial).where(Trial.id == trial_id).values(values))
    new: dict[Any, list[dict[str, Any]]] = {}
    before = {} if stored is None else stored.rows
    for (table, attempt, *key), row in wanted.rows.items():
        owner = {"trial_id": trial_id} | ({} if attempt is None else {"attempt": attempt})
        known = before.get((table, attempt, *key))
        if known is None:
            new.setdefault(table, []).append({**row, **owner})
        elif known != row:
            same = owner | dict(zip(_KEYS[table], key, strict=True))
            mine = (table.__table__.columns[name] == value for name, value in same.items())
            connection.execute(update(table).where(*mine).values(dict(row)))
    for table, rows in new.items():
        if table is Evaluation:
            _insert_evaluations(connection, rows)
        else:
            connection.execute(insert(table), rows)
    if not wanted.is_open:
        connection.execute(delete(Claim).where(Claim.trial_id == trial_id))


def _insert_trial(connection: Connection, trial: TrialContent) -> int:
    name, sha256 = trial.facts["dataset"].rsplit(" ", 1)
    dataset = select(Dataset.id).where(Dataset.name == name, Dataset.sha256 == sha256).scalar_subquery()
    facts = {name: trial.facts[name] for name in _FACTS}
    values = {**vars(trial.key), **facts, **trial.planned, **trial.outcome}
    values |= {"dataset_id": dataset, "attempt": trial.attempt}
    return connection.scalars(insert(Trial).values(values).returning(Trial.id)).one()


def _insert_evaluations(connection: Connection, rows: Sequence[Row]) -> None:
    own = [{name: value for name, value in row.items() if name != "episodes"} for row in rows]
    returning = insert(Evaluation).returning(Evaluation.id, sort_by_parameter_order=True)
    names = [column.name for column in _EPISODE]
    episodes = [
        dict(zip(names, episode, strict=True), evaluation_id=number)
        for number, row in zip(connection.scalars(returning, own).all(), rows, strict=True)
        for episode in row["episodes"]
    ]
    if episodes:
        connection.execute(insert(Episode), episodes)


def values_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as it says the same in every store."""
    return {name: value for name, value in row.items() if name not in _NUMBERS}
