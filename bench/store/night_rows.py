"""Baselines, notes and nights as merging sees them: by natural keys, without the numbers of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select, update

from bench.store.attempts import DisagreementError
from bench.store.models import (
    Base,
    Baseline,
    BaselineScore,
    Night,
    NightCell,
    NightVerdict,
    Note,
)

Rows = Mapping[Any, Mapping[str, Any]]
"""Natural key -> columns; parts of a whole (the scores of a baseline) stand in it as sorted tuples."""

_SCORES, _CELLS, _VERDICTS = "scores", "cells", "verdicts"
_NUMBERS = ("id", "baseline_id", "night_id")


@dataclass(frozen=True)
class NightlyRows:
    """These rows of one store, or of several together."""

    baselines: Rows = field(default_factory=dict)
    """By name."""
    notes: Rows = field(default_factory=dict)
    """By baseline, time and author."""
    nights: Rows = field(default_factory=dict)
    """By run_id."""


def load_nightly(connection: Connection) -> NightlyRows:
    """Read them all."""
    scores = _parts(connection, BaselineScore, "baseline_id")
    cells, verdicts = (_parts(connection, table, "night_id") for table in (NightCell, NightVerdict))
    names: dict[int, str] = {}
    baselines, notes, nights = {}, {}, {}
    for row in connection.execute(select(Baseline.__table__)).mappings():
        names[row["id"]] = row["name"]
        baselines[row["name"]] = _values(row) | {_SCORES: scores.get(row["id"], ())}
    for row in connection.execute(select(Note.__table__)).mappings():
        baseline = names[row["baseline_id"]]
        notes[baseline, row["written_at"], row["author"]] = _values(row) | {"baseline": baseline}
    for row in connection.execute(select(Night.__table__)).mappings():
        parts = {_CELLS: cells.get(row["id"], ()), _VERDICTS: verdicts.get(row["id"], ())}
        nights[row["run_id"]] = _values(row) | parts | {"baseline": names[row["baseline_id"]]}
    return NightlyRows(baselines, notes, nights)


def unite_nightly(
    ours: NightlyRows, theirs: NightlyRows, doubted_runs: Collection[str]
) -> tuple[NightlyRows, list[DisagreementError]]:
    """Both together, and what of theirs contradicts ours.

    Notes and nights of a baseline that contradicts ours are about another one, and stay behind with it; so
    does what was made by a run that means something else here.
    """
    contradictions: list[DisagreementError] = []
    trusted = {name: row for name, row in theirs.baselines.items() if row["run_id"] not in doubted_runs}
    baselines, bad = _united(ours.baselines, trusted, _baseline, contradictions)
    known = {name for name in trusted if name not in bad}
    of_known = {key: row for key, row in theirs.notes.items() if row["baseline"] in known}
    notes, _ = _united(ours.notes, of_known, _note, contradictions)
    of_known = {
        run_id: row
        for run_id, row in theirs.nights.items()
        if row["baseline"] in known and run_id not in doubted_runs
    }
    nights, _ = _united(ours.nights, of_known, _night, contradictions)
    return NightlyRows(baselines, notes, nights), contradictions


def save_nightly(connection: Connection, wanted: NightlyRows) -> None:
    """Write what the store does not have yet."""
    stored = load_nightly(connection)
    for name, row in wanted.baselines.items():
        if name not in stored.baselines:
            _insert(connection, Baseline, _own(row), "baseline_id", {BaselineScore: row[_SCORES]})
    ids = {row.name: row.id for row in connection.execute(select(Baseline.name, Baseline.id))}
    for key, row in wanted.notes.items():
        if key not in stored.notes:
            connection.execute(insert(Note).values(_own(row) | {"baseline_id": ids[row["baseline"]]}))
    for run_id, row in wanted.nights.items():
        parts = {NightCell: row[_CELLS], NightVerdict: row[_VERDICTS]}
        values = _own(row) | {"baseline_id": ids[row["baseline"]]}
        if run_id not in stored.nights:
            _insert(connection, Night, values, "night_id", parts)
        elif stored.nights[run_id]["outcome"] is None and row["outcome"] is not None:
            ended = update(Night).where(Night.run_id == run_id).values(values).returning(Night.id)
            _insert_parts(connection, "night_id", connection.scalar(ended), parts)


def _parts(connection: Connection, table: type[Base], whole: str) -> dict[int, tuple[Any, ...]]:
    """Rows of a table by the number of what they belong to, in the order of their keys."""
    chosen = select(table.__table__).order_by(*table.__table__.primary_key.columns)
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in connection.execute(chosen).mappings():
        found.setdefault(row[whole], []).append(_values(row))
    return {number: tuple(rows) for number, rows in found.items()}


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _NUMBERS}


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the row itself."""
    return {
        name: value for name, value in row.items() if name not in (_SCORES, _CELLS, _VERDICTS, "baseline")
    }


def _insert(
    connection: Connection,
    table: Any,  # noqa: ANN401 (a mapped class with an id)
    values: Mapping[str, Any],
    whole: str,
    parts: Mapping[type[Base], Iterable[Mapping[str, Any]]],
) -> None:
    number = connection.scalar(insert(table).values(values).returning(table.id))
    _insert_parts(connection, whole, number, parts)


def _insert_parts(
    connection: Connection,
    whole: str,
    number: int | None,
    parts: Mapping[type[Base], Iterable[Mapping[str, Any]]],
) -> None:
    for table, of_table in parts.items():
        rows = [{whole: number, **part} for part in of_table]
        if rows:
            connection.execute(insert(table), rows)


def _united(
    ours: Rows,
    theirs: Rows,
    unite: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]],
    contradictions: list[DisagreementError],
) -> tuple[dict[Any, Mapping[str, Any]], set[Hashable]]:
    """Both together, and the keys under which theirs contradict ours."""
    united, bad = dict(ours), set()
    for key, row in theirs.items():
        try:
            united[key] = unite(ours[key], row) if key in ours else row
        except DisagreementError as error:
            contradictions.append(error)
            bad.add(key)
    return united, bad


def _baseline(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Mapping[str, Any]:
    _require_equal(ours, theirs, f"baseline {ours['name']!r}")
    return ours


def _note(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Mapping[str, Any]:
    _require_equal(ours, theirs, f"the note of {ours['written_at']:%Y-%m-%d %H:%M} on {ours['baseline']!r}")
    return ours


def _night(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Mapping[str, Any]:
    """A night that goes on in one store may have ended in the other."""
    if None in (ours["outcome"], theirs["outcome"]):
        return ours if theirs["outcome"] is None else theirs
    _require_equal(ours, theirs, f"night {ours['date']} (run {ours['run_id']})")
    return ours


def _require_equal(ours: Mapping[str, Any], theirs: Mapping[str, Any], of: str) -> None:
    for name, value in ours.items():
        if value == theirs[name]:
            continue
        if isinstance(value, tuple):
            raise DisagreementError(f"{name} of {of}", *_first_difference(value, theirs[name]))
        raise DisagreementError(f"{name} of {of}", value, theirs[name])


def _first_difference(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[object, object]:
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            return one, other
    return f"of length {len(ours)}", f"of length {len(theirs)}"
