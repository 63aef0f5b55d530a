"""Where two stores contradict each other about a trial, in words that a person understands."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from bench.records import SOURCES
from bench.store.attempts import Attempt, DisagreementError, Piece, is_part
from bench.store.models import Base, Evaluation, Weights


def compare_facts(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuse two meanings of one key, such as another configuration under the same hash.

    Raises
    ------
    DisagreementError : names the first difference.
    """
    one, other = ({**facts, "config": _without_sources(facts["config"])} for facts in (ours, theirs))
    if one != other:
        raise DisagreementError(*_first_difference("", one, other))


def first_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, object, object]:
    """Where two different configurations differ first (`hyperparameters.discount`), and both values there."""
    return _first_difference("", _without_sources(ours), _without_sources(theirs))


def compare_results(ours: Attempt, theirs: Attempt) -> None:
    """Refuse two finished attempts of which neither holds all results of the other.

    Raises
    ------
    DisagreementError : names the first difference: score, episode, or weights.
    """
    if is_part(theirs, ours) or is_part(ours, theirs):
        return
    if ours.score != theirs.score:
        raise DisagreementError("score", _number(ours.score), _number(theirs.score))
    one, other = _by(ours, Evaluation, "number"), _by(theirs, Evaluation, "number")
    for number in sorted({*one, *other}):
        if number >= 1:
            _compare_evaluations(number, one.get(number), other.get(number))
    one, other = _by(ours, Weights, "role"), _by(theirs, Weights, "role")
    for role in sorted({*one, *other}):
        first, second = (
            pieces[role].values["sha256"] if role in pieces else "none" for pieces in (one, other)
        )
        if first != second:
            raise DisagreementError(f"SHA-256 of the weights {role!r}", first, second)


def _without_sources(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where values come from changes no number."""
    return {name: value for name, value in config.items() if name != SOURCES}


def _first_difference(path: str, ours: object, theirs: object) -> tuple[str, object, object]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in (*ours, *theirs):
            if ours.get(name) != theirs.get(name):
                below = f"{path}.{name}" if path else name
                return _first_difference(below, ours.get(name), theirs.get(name))
    return path, ours, theirs


def _by(attempt: Attempt, table: type[Base], name: str) -> dict[Any, Piece]:
    return {piece.values[name]: piece for piece in attempt.pieces if piece.table is table}


def _compare_evaluations(number: int, ours: Piece | None, theirs: Piece | None) -> None:
    if ours is None or theirs is None:
        made = ("none" if piece is None else f"step {piece.values['step']}" for piece in (ours, theirs))
        raise DisagreementError(f"evaluation {number}", *made)
    for name in ("step", "physics"):
        if ours.values[name] != theirs.values[name]:
            raise DisagreementError(f"{name} of evaluation {number}", ours.values[name], theirs.values[name])
    for episode, (one, other) in enumerate(zip_longest(ours.episodes, theirs.episodes), start=1):
        if one != other:
            raise DisagreementError(f"evaluation {number}, episode {episode}", _episode(one), _episode(other))


def _episode(row: tuple[Any, ...] | None) -> str:
    if row is None:
        return "none"
    _, return_, return_is_nan, score, score_is_nan, length = row
    parts = _number((return_, return_is_nan)), _number((score, score_is_nan))
    return f"return {parts[0]}, score {parts[1]}, length {length}"


def _number(columns: tuple[float | None, bool] | None) -> str:
    assert columns is not None, "it has finished"
    value, is_nan = columns
    return "NaN" if is_nan else repr(value)
