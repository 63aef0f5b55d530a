"""Brings what several stores hold into one; contradictions are told, never resolved."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, select

from bench.errors import BenchError
from bench.records import TrialKey
from bench.store.database import Store, open_store, opened_if_made
from bench.store.faults import explained
from bench.store.location import locate
from bench.store.models import Trial, Weights
from bench.store.planning import KEY_COLUMNS, key_of
from bench.store.shared_rows import Rejected, SharedRows, load_shared, unite_shared
from bench.store.trial_rows import held_trials, load
from bench.store.uniting import Conflict, TrialContent, Verdict, fold
from bench.store.weight_files import copy_verified, require_no_links, require_weights_names
from bench.store.writer import Writer

Show = Callable[[int, int], None]
"""Is told how many trials are done, and of how many."""

_NEWS = (Verdict.CAME, Verdict.COMPLETED)


@dataclass(frozen=True)
class Source:
    """A store that is merged, as it is at one moment."""

    place: str
    folder: Path
    connection: Connection
    keys: frozenset[TrialKey]
    held: frozenset[TrialKey]
    """Trials that a driver works on."""
    shared: SharedRows

    def load(self, key: TrialKey) -> TrialContent:
        """All that it knows of one of its trials."""
        # Several stores are open: trouble with this one must not be told as another's.
        with explained(self.place, self.connection.engine):
            content = load(self.connection, key, self.place, ours=False)
        assert content is not None, "it is one of its trials"
        return content


@dataclass(frozen=True)
class Survey:
    """What a merge would do."""

    conflicts: tuple[Conflict, ...]
    verdicts: Mapping[str, Mapping[TrialKey, Verdict]]
    """By place of the store, for each of its trials."""
    shared: SharedRows | None
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
        """Whether anything stays behind: it contradicts, or a driver works on it."""
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
            if any(_same(url, other) for other in (into, *urls[:number])):
                raise BenchError(f"store {locate(url)} is named twice", "", "Name each store once.")
        stores = [stack.enter_context(open_store(url, read_only=True)) for url in urls]
        yield [stack.enter_context(_source(store, ours=False)) for store in stores]


def survey(into: str, sources: Sequence[Source], show: Show) -> Survey:
    """Compare all stores; writes nothing, and makes no store where none is yet.

    Raises
    ------
    BenchError : a store names a file of weights that is none of its own, or there is a link.
    """
    with ExitStack() as stack:
        store = stack.enter_context(opened_if_made(into))
        ours = None if store is None else stack.enter_context(_source(store, ours=True))
        _require_kept_files(sources, locate(into).folder)
        shared, rejected, conflicts = _survey_shared(ours, sources)
        verdicts: dict[str, dict[TrialKey, Verdict]] = {source.place: {} for source in sources}
        keys = dict.fromkeys(key for source in sources for key in sorted(source.keys, key=str))
        for done, key in enumerate(keys, start=1):
            holders = [source for source in sources if key in source.keys]
            for source, verdict in zip(
                holders, _survey_trial(key, ours, holders, rejected, conflicts), strict=True
            ):
                verdicts[source.place][key] = verdict
            show(done, len(keys))
    known = ours.shared if ours else SharedRows({}, {}, {})
    return Survey(tuple(conflicts), verdicts, shared if shared != known else None)


def merge(writer: Writer, plan: Survey, sources: Sequence[Source], show: Show) -> Survey:
    """Write what is new, one transaction per trial; return what became of each.

    What drivers have changed since the survey is respected: the trials are looked at again.
    """
    by_place = {source.place: source for source in sources}
    verdicts = {place: dict(of) for place, of in plan.verdicts.items()}
    conflicts = list(plan.conflicts)
    if plan.shared is not None:
        writer.merge_shared(plan.shared)
    news = plan.news()
    for done, (key, places) in enumerate(news.items(), start=1):
        folded = writer.merge_trial([by_place[place].load(key) for place in places])
        conflicts += folded.conflicts
        for place, verdict in zip(places, folded.verdicts, strict=True):
            verdicts[place][key] = verdict
        show(done, len(news))
    return replace(plan, verdicts=verdicts, conflicts=tuple(conflicts))


def bring_weights(plan: Survey, sources: Sequence[Source], folder: Path) -> dict[str, str]:
    """Copy the files of weights that `folder`, of the store that is merged into, does not have yet.

    Returns what is wrong with each that could not be brought.
    """
    faults: dict[str, str] = {}
    for source in sources:
        verdicts = plan.verdicts[source.place]
        chosen = select(*KEY_COLUMNS, Weights.path, Weights.sha256).join(Trial, Trial.id == Weights.trial_id)
        with explained(source.place, source.connection.engine):
            rows = source.connection.execute(chosen).mappings().all()
        for row in rows:
            verdict = verdicts[key_of(row)]
            known = verdict is Verdict.THERE and (folder / row["path"]).is_file()
            if known or verdict not in (*_NEWS, Verdict.THERE):
                continue
            fault = copy_verified(row["path"], row["sha256"], source.folder, folder)
            if fault:
                faults[str(source.folder / row["path"])] = fault
    return faults


def conflict_error(conflicts: Collection[Conflict]) -> BenchError:
    """The error that lists them all; nothing was written."""
    count = f"{len(conflicts)} contradictions" if len(conflicts) > 1 else "a contradiction"
    return BenchError(
        f"the stores cannot be merged: {count} between them, and nothing was written",
        "\n  ".join(str(conflict) for conflict in conflicts),
        "Merge the rest, and leave these as they are, with: --leave-out-conflicts",
    )


@contextmanager
def _source(store: Store, *, ours: bool) -> Iterator[Source]:
    with store.connect() as connection:
        keys = connection.execute(select(*KEY_COLUMNS)).mappings()
        yield Source(
            place=str(store.location),
            folder=store.folder,
            connection=connection,
            keys=frozenset(key_of(row) for row in keys),
            held=held_trials(connection, store.folder),
            shared=load_shared(connection, ours=ours),
        )


def _require_kept_files(sources: Sequence[Source], folder: Path) -> None:
    for source in sources:
        names = source.connection.scalars(select(Weights.path)).all()
        require_weights_names(names, source.place)
        require_no_links(source.folder, names)
    require_no_links(folder)


def _same(one: str, other: str) -> bool:
    first, second = locate(one), locate(other)
    if first.file is None or second.file is None:
        return first.url == second.url
    return os.path.realpath(first.file) == os.path.realpath(second.file)


def _survey_shared(
    ours: Source | None, sources: Sequence[Source]
) -> tuple[SharedRows, dict[str, Rejected], list[Conflict]]:
    """All shared rows together, what is rejected of each store, and why."""
    shared = ours.shared if ours else SharedRows({}, {}, {})
    rejected: dict[str, Rejected] = {}
    conflicts: list[Conflict] = []
    for source in sources:
        shared, rejected[source.place] = unite_shared(shared, source.shared)
        doubted = rejected[source.place]
        conflicts += [
            Conflict("", error.what, error.ours, f"{error.theirs} in {source.place}")
            for error in doubted.errors
        ]
    return shared, rejected, conflicts


def _survey_trial(
    key: TrialKey,
    ours: Source | None,
    holders: Sequence[Source],
    rejected: Mapping[str, Rejected],
    conflicts: list[Conflict],
) -> list[Verdict]:
    """What would become of a trial that `holders` know."""
    known = ours is not None and key in ours.keys
    if known and key in ours.held:
        return [Verdict.HELD] * len(holders)
    verdicts: dict[str, Verdict] = {}
    others = []
    for source in holders:
        if key in source.held:
            verdicts[source.place] = Verdict.HELD
            continue
        doubted = rejected[source.place]
        # Reading a trial with all its episodes takes milliseconds, which is saved where nothing can differ.
        if len(holders) == 1 and not known and not doubted.runs and not doubted.datasets:
            return [Verdict.CAME]
        content = source.load(key)
        if content.run_ids & set(doubted.runs) or content.facts["dataset"] in doubted.datasets:
            verdicts[source.place] = Verdict.LEFT_OUT
        else:
            others.append((source.place, content))
    mine = load(ours.connection, key, ours.place, ours=True) if known else None
    folded = fold(mine, [content for _, content in others])
    conflicts += folded.conflicts
    verdicts |= zip((place for place, _ in others), folded.verdicts, strict=True)
    return [verdicts[source.place] for source in holders]
