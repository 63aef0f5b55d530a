"""Attempts at a trial as two stores know them: which are the same, and what they are together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bench.store.models import Base, Evaluation, Execution, Failure, Weights

_ENDS = ("ended_at", "outcome", "to_iteration", "peak_memory_bytes")
"""What an execution does not have yet while it runs."""


class DisagreementError(Exception):
    """Two stores hold different results under the same natural key."""

    def __init__(self, what: str, ours: object, theirs: object) -> None:
        super().__init__(what, ours, theirs)
        self.what, self.ours, self.theirs = what, str(ours), str(theirs)


@dataclass(frozen=True)
class Piece:
    """A row that belongs to a trial."""

    table: type[Base]
    identity: tuple[Hashable, ...]
    """Two rows with the same one say the same; they may differ in when and how fast it was found."""
    values: Mapping[str, Any]
    """Its columns without its own number, the trial's, and the attempt's."""
    episodes: tuple[tuple[Any, ...], ...] = ()
    row_id: int | None = None
    """Where the store that is merged into has it; None for what is yet to be written."""
    outdated: bool = False
    """The stored row lacks what `values` say by now."""


@dataclass(frozen=True)
class Attempt:
    """All that one attempt at a trial left."""

    number: int
    pieces: tuple[Piece, ...]
    score: tuple[float | None, bool] | None = None
    """Columns of the score (NaN, see `bench.store.columns`); None where it has not finished."""
    stored_as: int | None = None
    """Its number in the store that is merged into, as yet."""

    @cached_property
    def evaluations(self) -> frozenset[Hashable]:
        """Those made in training; judgements made later are no part of what the attempt is."""
        made = (piece for piece in self.pieces if piece.table is Evaluation and piece.values["number"] >= 1)
        return frozenset(piece.identity for piece in made)

    @cached_property
    def rows(self) -> frozenset[Hashable]:
        """What all of its rows say."""
        return frozenset((piece.table, piece.identity) for piece in self.pieces)

    def identities(self, table: type[Base]) -> frozenset[Hashable]:
        """What its rows of a table say."""
        return frozenset(piece.identity for piece in self.pieces if piece.table is table)


def is_part(part: Attempt, whole: Attempt) -> bool:
    """Whether `whole` may be `part` at a later time: it holds all of its results."""
    if part.score is not None:
        same = part.score == whole.score and part.evaluations == whole.evaluations
        return same and part.identities(Weights) <= whole.identities(Weights)
    if not part.evaluations and not part.identities(Execution) <= whole.identities(Execution):
        # Begun, and cut off before the first result: only where it ran tells whether it is the same.
        return False
    return part.evaluations <= whole.evaluations and all(
        part.identities(table) <= whole.identities(table) for table in (Failure, Weights)
    )


def settle(attempts: list[Attempt], attempt: Attempt) -> int:
    """Put an attempt among others: into the one that it is a part of, or that is a part of it, or at the end.

    Returns its place; those of the others stay.
    """
    wholes = {place for place, other in enumerate(attempts) if is_part(attempt, other)}
    fitting = wholes | {place for place, other in enumerate(attempts) if is_part(other, attempt)}
    if not fitting:
        attempts.append(attempt)
        return len(attempts) - 1

    def order(place: int) -> tuple[bool, int, int]:
        # One that lacks nothing comes first, so that what was merged before is found again.
        return place not in wholes, len(attempt.rows - attempts[place].rows), place

    place = min(fitting, key=order)
    attempts[place] = joined(attempts[place], attempt)
    return place


def joined(ours: Attempt, theirs: Attempt) -> Attempt:
    """Our attempt with what theirs has beyond it; one is a part of the other.

    Raises
    ------
    DisagreementError : rows about the same execution contradict each other.
    """
    score = theirs.score if ours.score is None else ours.score
    return replace(ours, pieces=joined_pieces(ours.pieces, theirs.pieces), score=score)


def joined_pieces(ours: Sequence[Piece], theirs: Iterable[Piece]) -> tuple[Piece, ...]:
    """Our rows, completed with theirs.

    Raises
    ------
    DisagreementError : two executions or durations with the same natural key differ.
    """
    pieces = {(piece.table, piece.identity): piece for piece in ours}
    for piece in theirs:
        key = (piece.table, piece.identity)
        if key not in pieces:
            pieces[key] = _with_free_number(piece, pieces.values())
        elif piece.table not in (Evaluation, Failure, Weights):
            pieces[key] = _completed(pieces[key], piece)
    return tuple(pieces.values())


def _with_free_number(piece: Piece, others: Iterable[Piece]) -> Piece:
    """A judgement made elsewhere under a number that was also used here gets the next one (0, -1, ...)."""
    if piece.table is not Evaluation:
        return piece
    taken = {other.values["number"] for other in others if other.table is Evaluation}
    if piece.values["number"] not in taken:
        return piece
    return replace(piece, values={**piece.values, "number": min(0, *taken) - 1})


def _completed(ours: Piece, theirs: Piece) -> Piece:
    """An execution of which one store may have seen the end; otherwise the two rows are the same."""
    ended, other = (theirs, ours) if ours.values.get("outcome") is None else (ours, theirs)
    for name, value in ended.values.items():
        open_yet = name in _ENDS and other.values["outcome"] is None
        if other.values[name] != value and not open_yet:
            what = f"{name} of {ours.table.__tablename__} {_shown(ours.identity)}"
            raise DisagreementError(what, ours.values[name], theirs.values[name])
    if ended.values == ours.values:
        return ours
    return replace(ours, values=ended.values, outdated=ours.row_id is not None)


def _shown(identity: tuple[Hashable, ...]) -> str:
    return " ".join(str(part) for part in identity)
