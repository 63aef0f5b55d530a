"""What belongs to no single trial: runs, datasets, timings of synthetic data, baselines and nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select, union, update

from bench.store.attempts import DisagreementError
from bench.store.models import (
    Baseline,
    Dataset,
    Duration,
    Evaluation,
    Execution,
    Failure,
    Night,
    Run,
    Trial,
    Weights,
)
from bench.store.night_rows import NightlyRows, load_nightly, save_nightly, unite_nightly

Rows = dict[Any, dict[str, Any]]
"""Natural key -> columns, without the number of the row."""

_UNKNOWN = "unverified"
_ANSWERS = ("verification", "replay")
_NAMING_RUNS = (Trial, Evaluation, Failure, Weights, Execution, Duration, Baseline, Night)


@dataclass(frozen=True)
class SharedRows:
    """These rows of one store, or of several together."""

    runs: Rows
    """By run_id."""
    datasets: Rows
    """By `name SHA-256`."""
    timings: Rows
    """By all of their columns."""
    nightly: NightlyRows = field(default_factory=NightlyRows)


@dataclass(frozen=True)
class Rejected:
    """Rows that contradict those of the store that is merged into, by natural key; those there stay."""

    runs: Mapping[str, DisagreementError]
    datasets: Mapping[str, DisagreementError]
    nightly: Sequence[DisagreementError] = ()

    @property
    def errors(self) -> tuple[DisagreementError, ...]:
        """All contradictions."""
        return (*self.runs.values(), *self.datasets.values(), *self.nightly)


def load_shared(connection: Connection, *, ours: bool) -> SharedRows:
    """Read them all; of another store than `ours` only those runs that any row names.

    That a merge has happened there, for one, concerns only that store.
    """
    chosen = select(Run.__table__)
    if not ours:
        chosen = chosen.where(Run.run_id.in_(union(*(select(table.run_id) for table in _NAMING_RUNS))))
    runs = connection.execute(chosen).mappings()
    datasets = connection.execute(select(Dataset.__table__)).mappings()
    timings = connection.execute(select(Duration.__table__).where(Duration.trial_id.is_(None))).mappings()
    return SharedRows(
        runs={row["run_id"]: dict(row) for row in runs},
        datasets={f"{row['name']} {row['sha256']}": _without_id(row) for row in datasets},
        timings={tuple(_without_id(row).items()): _without_id(row) for row in timings},
        nightly=load_nightly(connection),
    )


def unite_shared(ours: SharedRows, theirs: SharedRows) -> tuple[SharedRows, Rejected]:
    """Both together, and what of theirs contradicts ours."""
    runs, bad_runs = _united(ours.runs, theirs.runs, _run)
    datasets, bad_datasets = _united(ours.datasets, theirs.datasets, _dataset)
    nightly, bad_nightly = unite_nightly(ours.nightly, theirs.nightly, bad_runs)
    shared = SharedRows(runs, datasets, theirs.timings | ours.timings, nightly)
    return shared, Rejected(bad_runs, bad_datasets, bad_nightly)


def save_shared(connection: Connection, shared: SharedRows) -> None:
    """Write what the store does not have yet; a contradiction that has come up since is left as it is."""
    stored = load_shared(connection, ours=True)
    for run_id, row in shared.runs.items():
        if run_id not in stored.runs:
            connection.execute(insert(Run).values(row))
        elif row["ended_at"] is not None:
            open_yet = update(Run).where(Run.run_id == run_id, Run.ended_at.is_(None))
            connection.execute(open_yet.values(ended_at=row["ended_at"]))
    for key, row in shared.datasets.items():
        if key not in stored.datasets:
            connection.execute(insert(Dataset).values(row))
            continue
        mine = update(Dataset).where(Dataset.name == row["name"], Dataset.sha256 == row["sha256"])
        for name in _ANSWERS:
            open_yet = mine.where(getattr(Dataset, name) == _UNKNOWN)
            connection.execute(open_yet.values({name: row[name]}))
    timings = [row for key, row in shared.timings.items() if key not in stored.timings]
    if timings:
        connection.execute(insert(Duration), timings)
    save_nightly(connection, shared.nightly)


def _without_id(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


def _united(ours: Rows, theirs: Rows, unite: Any) -> tuple[Rows, dict[Any, DisagreementError]]:  # noqa: ANN401
    united, rejected = dict(ours), {}
    for key, row in theirs.items():
        try:
            united[key] = unite(ours[key], row) if key in ours else row
        except DisagreementError as error:
            rejected[key] = error
    return united, rejected


def _run(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    for name, value in ours.items():
        if theirs[name] != value and not (name == "ended_at" and None in (value, theirs[name])):
            raise DisagreementError(f"{name} of run {ours['run_id']}", value, theirs[name])
    return {**ours, "ended_at": ours["ended_at"] or theirs["ended_at"]}


def _dataset(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """An answer replaces `unverified`; two different ones contradict each other."""
    united = dict(ours)
    for name, value in theirs.items():
        open_yet = name in _ANSWERS and _UNKNOWN in (value, ours[name])
        if value != ours[name] and not open_yet:
            what = f"{name} of dataset {ours['name']} ({ours['sha256'][:12]}...)"
            raise DisagreementError(what, ours[name], value)
        if ours[name] == _UNKNOWN and name in _ANSWERS:
            united[name] = value
    return united
