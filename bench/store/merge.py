"""Brings what several stores hold into one; contradictions are told, never resolved.

Every row has a natural key, the one under which it is recorded: a row comes where the key is not known yet,
and must be equal where it is. Of a trial, in one transaction:

- not begun here: it comes whole, with all of its attempts;
- finished in both: the results must be equal; later judgements and durations come along;
- finished in one: that one counts. Finished there, its last attempt comes: as the attempt that was begun here
  where it went on from that, else as the next one;
- finished in neither, but begun here: ours goes on, because the checkpoints lie here, and theirs stays there.

Rows are compared and written as they are, not recorded anew: recording marks them with the run and the moment
of who records, and says of a conflict only that there is one. Here people are told both values, of all
conflicts at once, before anything is written.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, union, update

from bench.errors import BenchError
from bench.records import UNVERIFIED, Progress, TrialKey
from bench.store.claims import database_now, seems_held
from bench.store.database import Store, open_store, opened_if_made
from bench.store.faults import explained
from bench.store.location import locate
from bench.store.merged_trials import (
    ContradictionError,
    Key,
    Row,
    Rows,
    TrialContent,
    Verdict,
    load_trial,
    newcomer,
    save_trial,
    unite,
    values_of,
)
from bench.store.models import (
    Base,
    Baseline,
    BaselineScore,
    Claim,
    Dataset,
    Duration,
    Evaluation,
    Execution,
    Failure,
    Night,
    NightCell,
    NightVerdict,
    Note,
    Run,
    Trial,
    Weights,
)
from bench.store.nights import baseline_ids
from bench.store.planning import KEY_COLUMNS, key_of
from bench.store.weight_files import copy_verified, require_no_links, require_weights_names
from bench.store.writer import Writer

_NEWS = (Verdict.CAME, Verdict.COMPLETED)


@dataclass(frozen=True, eq=False)
class _Kind:
    """Rows that trials share, or that have nothing to do with any."""

    table: Any
    key: tuple[str, ...]
    """Columns of the natural key; `baseline` is the name of one."""
    name: str
    """How people call one; a format of its columns."""
    open: Row = field(default_factory=dict)
    """What columns hold as long as nothing is known: that gives way to an answer."""
    parts: Mapping[str, type[Base]] = field(default_factory=dict)
    """Rows that belong to one of these; they stand in it as a tuple, in the order of their keys."""


_RUNS = _Kind(Run, ("run_id",), "run {run_id}", open={"ended_at": None})
_DATASETS = _Kind(
    Dataset,
    ("name", "sha256"),
    "dataset {name} ({sha256:.12}...)",
    open={"verification": UNVERIFIED, "replay": UNVERIFIED},
)
_BASELINES = _Kind(Baseline, ("name",), "baseline {name!r}", parts={"scores": BaselineScore})
_NOTES = _Kind(
    Note, ("baseline", "written_at", "author"), "the note of {written_at:%Y-%m-%d %H:%M} on {baseline!r}"
)
_NIGHTS = _Kind(
    Night,
    ("run_id",),
    "night {date} (run {run_id})",
    open={"ended_at": None, "outcome": None, "report": None, "cells": (), "verdicts": ()},
    parts={"cells": NightCell, "verdicts": NightVerdict},
)
_TIMINGS = _Kind(
    Duration,
    tuple(column.name for column in Duration.__table__.columns if column.name not in ("id", "trial_id")),
    "a timing of {algorithm} on {task}",
)
"""Of synthetic data."""
_KINDS = (_RUNS, _DATASETS, _BASELINES, _NOTES, _NIGHTS, _TIMINGS)
_NAMING_RUNS = (Trial, Evaluation, Failure, Weights, Execution, Duration, Baseline, Night)

Shared = Mapping[_Kind, Rows]
Doubted = frozenset[tuple[type[Base], Key]]
"""Rows of another store that contradict the one that is merged into, and what was made by such a run or is
about such a baseline: ours stay, and these stay behind."""


@dataclass(frozen=True)
class Source:
    """A store that is merged, as it is at one moment."""

    place: str
    folder: Path
    connection: Connection
    keys: frozenset[TrialKey]
    held: frozenset[TrialKey]
    """Trials that a driver works on."""
    shared: Shared

    def load(self, key: TrialKey) -> TrialContent:
        """All that it knows of one of its trials."""
        # Several stores are open: trouble with this one must not be told as another's.
        with explained(self.place, self.connection.engine):
            content = load_trial(self.connection, key, self.place)
        assert content is not None, "it is one of its trials"
        return content


@dataclass
class Survey:
    """What a merge would do, and when it is done, what it did."""

    conflicts: list[str] = field(default_factory=list)
    """For people; each names what differs, and both values."""
    verdicts: dict[str, dict[TrialKey, Verdict]] = field(default_factory=dict)
    """By place of the store, for each of its trials."""
    files_behind: dict[str, dict[TrialKey, Collection[tuple[str, str]]]] = field(default_factory=dict)
    """By place, names and hashes of files of weights of a trial that stay behind with an attempt at it."""
    shared: Shared | None = None
    """What is to be written first; None where all of it is there."""

    def count(self, place: str) -> Counter[Verdict]:
        """How many trials of a store met which fate."""
        return Counter(self.verdicts[place].values())

    @property
    def is_new(self) -> bool:
        """Whether there is anything to write."""
        return self.shared is not None or bool(self.news())

    @property
    def left_out(self) -> bool:
        """Whether anything stays behind that may come: it contradicts, or a driver works on it."""
        left = (Verdict.LEFT_OUT, Verdict.HELD)
        return bool(self.conflicts) or any(
            verdict in left for of in self.verdicts.values() for verdict in of.values()
        )

    def news(self) -> dict[TrialKey, list[str]]:
        """The trials to write, each with the places that know more of it."""
        news: dict[TrialKey, list[str]] = {}
        for place, verdicts in self.verdicts.items():
            for key, verdict in verdicts.items():
                if verdict in _NEWS:
                    news.setdefault(key, []).append(place)
        return news


@contextmanager
def opened(urls: Sequence[str], into: str) -> Iterator[list[Source]]:
    """The stores to merge, for reading; each is seen as it is at this moment, whatever is written to it.

    Raises
    ------
    BenchError : one is named twice, cannot be opened, or has another schema.
    """
    with ExitStack() as stack:
        for number, url in enumerate(urls):
            if any(_is_same(url, other) for other in (into, *urls[:number])):
                raise BenchError(f"store {locate(url)} is named twice", "", "Name each store once.")
        stores = [stack.enter_context(open_store(url, read_only=True)) for url in urls]
        yield [stack.enter_context(_source(store, ours=False)) for store in stores]


def survey(into: str, sources: Sequence[Source], show: Progress) -> Survey:
    """Compare all stores; writes nothing, and makes no store where none is yet.

    Raises
    ------
    BenchError : a store names a file of weights that is none of its own, or there is a link.
    """
    with ExitStack() as stack:
        store = stack.enter_context(opened_if_made(into))
        ours = None if store is None else stack.enter_context(_source(store, ours=True))
        _require_weight_files(sources, locate(into).folder)
        known = {kind: {} for kind in _KINDS} if ours is None else ours.shared
        shared, found = known, Survey()
        doubted: dict[str, Doubted] = {}
        for source in sources:
            shared, errors, doubted[source.place] = unite_shared(shared, source.shared)
            found.conflicts += [
                f"{error.what} is {error.ours}, but {error.theirs} in {source.place}" for error in errors
            ]
            found.verdicts[source.place], found.files_behind[source.place] = {}, {}
        keys = dict.fromkeys(key for source in sources for key in sorted(source.keys, key=str))
        for done, key in enumerate(keys, start=1):
            _survey_trial(key, ours, [s for s in sources if key in s.keys], doubted, found)
            show(done, len(keys))
    found.shared = shared if shared != known else None
    return found


def merge(store: Store, writer: Writer, plan: Survey, sources: Sequence[Source], show: Progress) -> None:
    """Write what is new into `store`, one transaction per trial, and note in `plan` what became of each.

    What drivers have changed since the survey is respected: the trials are looked at again.
    """
    by_place = {source.place: source for source in sources}
    if plan.shared is not None:
        with writer.transaction() as connection:
            save_shared(connection, plan.shared)
    news = plan.news()
    for done, (key, places) in enumerate(news.items(), start=1):
        others = [by_place[place].load(key) for place in places]
        with writer.transaction() as connection:
            folded = merge_trial(connection, others, store)
        plan.conflicts += folded.conflicts
        for place, verdict in zip(places, folded.verdicts, strict=True):
            plan.verdicts[place][key] = verdict
        show(done, len(news))


def copy_weights(plan: Survey, sources: Sequence[Source], folder: Path) -> dict[str, str]:
    """Copy the files of weights that `folder`, of the store that is merged into, does not have yet.

    Returns what is wrong with each that could not be brought.
    """
    problems: dict[str, str] = {}
    for source in sources:
        chosen = select(*KEY_COLUMNS, Weights.path, Weights.sha256).join(Trial, Trial.id == Weights.trial_id)
        with explained(source.place, source.connection.engine):
            rows = source.connection.execute(chosen).mappings().all()
        for row in rows:
            key, file = key_of(row), (row["path"], row["sha256"])
            verdict, stays = plan.verdicts[source.place][key], plan.files_behind[source.place].get(key, ())
            known = verdict is Verdict.THERE and (folder / row["path"]).is_file()
            if known or verdict not in (*_NEWS, Verdict.THERE) or file in stays:
                continue
            problem = copy_verified(*file, source.folder, folder)
            if problem:
                problems[str(source.folder / row["path"])] = problem
    return problems


def conflict_error(conflicts: Collection[str]) -> BenchError:
    """The error that lists them all; nothing was written."""
    count = f"{len(conflicts)} contradictions" if len(conflicts) > 1 else "a contradiction"
    return BenchError(
        f"the stores cannot be merged: {count} between them, and nothing was written",
        "\n  ".join(conflicts),
        "Merge the rest, and leave these as they are, with: --leave-out-conflicts",
    )


def merge_trial(connection: Connection, others: Sequence[TrialContent], store: Store) -> Folded:
    """Bring into `store` what others know of one trial, unless somebody works on it there."""
    key = others[0].key
    ours = load_trial(connection, key, str(store.location))
    if key in _held_trials(connection, store.folder):
        return Folded(ours, (Verdict.HELD,) * len(others))
    folded = fold(ours, others)
    if folded.trial is not None and folded.trial != ours:
        save_trial(connection, ours, folded.trial)
    return folded


@dataclass(frozen=True)
class Folded:
    """A trial with what several stores know of it."""

    trial: TrialContent | None
    verdicts: tuple[Verdict, ...]
    """One for each of the other stores."""
    conflicts: tuple[str, ...] = ()


def fold(ours: TrialContent | None, others: Sequence[TrialContent]) -> Folded:
    """Unite a trial with what other stores know of it, one after the other; contradictions are left out."""
    verdicts, conflicts = [], []
    for theirs in others:
        if ours is None:
            ours, verdict = newcomer(theirs), Verdict.CAME
        else:
            try:
                ours, verdict = unite(ours, theirs)
            except ContradictionError as error:
                verdict = Verdict.LEFT_OUT
                conflicts.append(_told(ours, theirs, error))
        verdicts.append(verdict)
    return Folded(ours, tuple(verdicts), tuple(conflicts))


def _told(ours: TrialContent, theirs: TrialContent, error: ContradictionError) -> str:
    key = theirs.key
    trial = f"{key.algorithm} {key.variant} {key.task} seed {key.seed} (configuration {key.config_hash[:12]})"
    values = f"{error.ours} ({ours.origin}), but {error.theirs} ({theirs.origin})"
    return f"{trial}: {error.what} is {values}"


def load_shared(connection: Connection, *, ours: bool) -> Shared:
    """What a store holds of every kind; of another store than `ours` only those runs that any row names.

    That a merge has happened there, for one, concerns only that store.
    """
    return {kind: dict(_rows_of(connection, kind, ours=ours)) for kind in _KINDS}


def _rows_of(connection: Connection, kind: _Kind, *, ours: bool) -> Iterator[tuple[Key, Row]]:
    chosen = select(kind.table.__table__)
    if kind is _RUNS and not ours:
        chosen = chosen.where(Run.run_id.in_(union(*(select(table.run_id) for table in _NAMING_RUNS))))
    if kind is _TIMINGS:
        chosen = chosen.where(Duration.trial_id.is_(None))
    names = {number: name for name, number in baseline_ids(connection).items()}
    parts = {name: _parts_by_owner(connection, table) for name, table in kind.parts.items()}
    for stored in connection.execute(chosen).mappings().all():
        row = values_of(stored) | {name: found.get(stored["id"], ()) for name, found in parts.items()}
        if "baseline_id" in stored:
            row["baseline"] = names[stored["baseline_id"]]
        yield tuple(row[name] for name in kind.key), row


def _parts_by_owner(connection: Connection, table: type[Base]) -> dict[int, tuple[Row, ...]]:
    owner, *_ = key = list(table.__table__.primary_key)
    rows = connection.execute(select(table.__table__).order_by(*key)).mappings().all()
    return {
        number: tuple(values_of(row) for row in of)
        for number, of in groupby(rows, lambda row: row[owner.name])
    }


def unite_shared(ours: Shared, theirs: Shared) -> tuple[Shared, list[ContradictionError], Doubted]:
    """Both together, what of theirs contradicts ours, and which of their rows stay behind."""
    united = {kind: dict(rows) for kind, rows in ours.items()}
    errors: list[ContradictionError] = []
    doubted: set[tuple[type[Base], Key]] = set()
    for kind in _KINDS:
        for key, row in theirs[kind].items():
            of_doubted = {(Run, (row.get("run_id"),)), (Baseline, (row.get("baseline"),))} & doubted
            if kind is not _RUNS and of_doubted:
                doubted.add((kind.table, key))
                continue
            try:
                united[kind][key] = _united(kind, united[kind][key], row) if key in united[kind] else row
            except ContradictionError as error:
                errors.append(error)
                doubted.add((kind.table, key))
    return united, errors, frozenset(doubted)


def _united(kind: _Kind, ours: Row, theirs: Row) -> Row:
    united = dict(ours)
    for name, value in ours.items():
        other = theirs[name]
        if name in kind.open and kind.open[name] in (value, other):
            united[name] = other if value == kind.open[name] else value
        elif value != other:
            shown = _different_parts(value, other) if name in kind.parts else (value, other)
            raise ContradictionError(f"{name} of {kind.name.format_map(ours)}", *shown)
    return united


def _different_parts(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[object, object]:
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            return one, other
    return f"of length {len(ours)}", f"of length {len(theirs)}"


def save_shared(connection: Connection, wanted: Shared) -> None:
    """Write what the store does not have yet; a contradiction that has come up since is left as it is."""
    stored = load_shared(connection, ours=True)
    for kind in _KINDS:
        baselines = baseline_ids(connection)
        for key, row in unite_shared(stored, wanted)[0][kind].items():
            before = stored[kind].get(key)
            if row == before:
                continue
            values = {name: value for name, value in row.items() if name not in (*kind.parts, "baseline")}
            if "baseline" in row:
                values["baseline_id"] = baselines[row["baseline"]]
            number = next(iter(kind.table.__table__.primary_key))
            mine = (getattr(kind.table, name) == row[name] for name in kind.key)
            statement = insert(kind.table) if before is None else update(kind.table).where(*mine)
            owner = connection.scalar(statement.values(values).returning(number))
            for name, table in kind.parts.items():
                if row[name] and (before is None or not before[name]):
                    column = next(iter(table.__table__.primary_key))
                    connection.execute(insert(table), [{column.name: owner, **part} for part in row[name]])


@contextmanager
def _source(store: Store, *, ours: bool) -> Iterator[Source]:
    with store.connect() as connection:
        keys = connection.execute(select(*KEY_COLUMNS)).mappings()
        yield Source(
            place=str(store.location),
            folder=store.folder,
            connection=connection,
            keys=frozenset(key_of(row) for row in keys),
            held=_held_trials(connection, store.folder),
            shared=load_shared(connection, ours=ours),
        )


def _require_weight_files(sources: Sequence[Source], folder: Path) -> None:
    for source in sources:
        names = source.connection.scalars(select(Weights.path)).all()
        require_weights_names(names, source.place)
        require_no_links(source.folder, names)
    require_no_links(folder)


def _is_same(one: str, other: str) -> bool:
    first, second = locate(one), locate(other)
    if first.file is None or second.file is None:
        return first.url == second.url
    return os.path.realpath(first.file) == os.path.realpath(second.file)


def _survey_trial(
    key: TrialKey,
    ours: Source | None,
    holders: Sequence[Source],
    doubted: Mapping[str, Doubted],
    found: Survey,
) -> None:
    """Find what would become of a trial that `holders` know."""
    mine = ours if ours is not None and key in ours.keys else None
    others: list[tuple[str, TrialContent]] = []
    for source in holders:
        doubts = doubted[source.place]
        if key in source.held or (mine is not None and key in mine.held):
            found.verdicts[source.place][key] = Verdict.HELD
        # Reading a trial with all its episodes takes milliseconds, which is saved where nothing can differ.
        elif len(holders) == 1 and mine is None and not doubts:
            found.verdicts[source.place][key] = Verdict.CAME
        else:
            content = source.load(key)
            if not doubts.isdisjoint(content.shared_rows):
                found.verdicts[source.place][key] = Verdict.LEFT_OUT
            else:
                others.append((source.place, content))
    if others:
        folded = fold(None if mine is None else mine.load(key), [content for _, content in others])
        found.conflicts += folded.conflicts
        for (place, content), verdict in zip(others, folded.verdicts, strict=True):
            found.verdicts[place][key] = verdict
            found.files_behind[place][key] = content.files - (
                folded.trial.files if folded.trial is not None else frozenset()
            )


def _held_trials(connection: Connection, folder: Path) -> frozenset[TrialKey]:
    """Trials that a driver works on at present; `folder` is the store's."""
    chosen = select(*KEY_COLUMNS, Claim.run_id, Claim.heartbeat_at).join(Trial, Trial.id == Claim.trial_id)
    now = database_now(connection)
    rows: Sequence[Any] = connection.execute(chosen).all()
    return frozenset(key_of(row._mapping) for row in rows if seems_held(row, folder, now))
