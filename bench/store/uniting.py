"""What two stores know of the same trial, made one. Nothing here touches a database.

Nothing is lost, and nothing is chosen silently. An attempt that another one holds whole is the same attempt
at an earlier time and becomes part of it; every other attempt stays one of its own. Which attempt counts: the
finished one; else one that is still to be done, unless the other store knows of a failure that it does not
know; else the failed one. Among equals the store that is merged into comes first: it has the checkpoints.
Results that contradict each other raise `DisagreementError`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

from bench.records import FAILED, FINISHED, PLANNED, RUNNING, TrialKey
from bench.store.attempts import Attempt, DisagreementError, Piece, is_part, joined, joined_pieces, settle
from bench.store.disagreements import compare_facts, compare_results
from bench.store.models import Failure


@dataclass(frozen=True)
class TrialContent:
    """All that a store knows of a trial."""

    key: TrialKey
    facts: Mapping[str, Any]
    """What follows from the request, such as configuration, protocol and dataset (name, SHA-256)."""
    planned_at: datetime
    outcome: Mapping[str, Any]
    """The columns of `trials` that change while it is worked on, without the number of the attempt."""
    attempts: tuple[Attempt, ...]
    """By number; the last is the one that counts, and may be empty."""
    durations: tuple[Piece, ...]
    origin: str
    """Machine and store that the outcome comes from, for people."""
    trial_id: int | None = None
    """Its number in the store that is merged into."""

    @property
    def state(self) -> str:
        """`planned`, `running`, `finished` or `failed`."""
        return self.outcome["state"]

    @property
    def is_open(self) -> bool:
        """Whether something of it is left to do."""
        return self.state in (PLANNED, RUNNING)

    @property
    def current(self) -> Attempt:
        """The attempt that counts."""
        return self.attempts[-1]

    @property
    def run_ids(self) -> frozenset[str]:
        """Runs that its rows name."""
        pieces = [piece for attempt in self.attempts for piece in attempt.pieces]
        named = {piece.values["run_id"] for piece in (*pieces, *self.durations)}
        return frozenset(named | {self.outcome["run_id"]}) - {None}


class Verdict(Enum):
    """What a merge makes of a trial of another store."""

    CAME = "came"
    COMPLETED = "completed what was there"
    THERE = "was there already"
    HELD = "is being worked on"
    LEFT_OUT = "contradicts what is there"


@dataclass(frozen=True)
class Conflict:
    """Two stores that contradict each other; text for people."""

    subject: str
    what: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        subject = f"{self.subject}: " if self.subject else ""
        return f"{subject}{self.what} is {self.ours}, but {self.theirs}"


@dataclass(frozen=True)
class Folded:
    """A trial with what several stores know of it."""

    trial: TrialContent | None
    verdicts: tuple[Verdict, ...]
    """One for each of the other stores."""
    conflicts: tuple[Conflict, ...] = field(default=())


def fold(ours: TrialContent | None, others: Sequence[TrialContent]) -> Folded:
    """Unite a trial with what other stores know of it, one after the other; contradictions are left out."""
    verdicts, conflicts = [], []
    for theirs in others:
        before = ours
        try:
            ours = newcomer(theirs) if before is None else unite(before, theirs)
        except DisagreementError as error:
            verdicts.append(Verdict.LEFT_OUT)
            conflicts.append(_conflict(before, theirs, error))
            continue
        known = Verdict.THERE if ours == before else Verdict.COMPLETED
        verdicts.append(Verdict.CAME if before is None else known)
    return Folded(ours, tuple(verdicts), tuple(conflicts))


def newcomer(theirs: TrialContent) -> TrialContent:
    """A trial as it comes into a store that did not know it: nobody works on it there."""
    state = PLANNED if theirs.is_open else theirs.state
    return replace(theirs, outcome={**theirs.outcome, "state": state})


def unite(ours: TrialContent, theirs: TrialContent) -> TrialContent:
    """The trial with all that both stores know of it; equal to `ours` where nothing is new.

    Raises
    ------
    DisagreementError : both have finished it with different numbers, or mean different things by its key.
    """
    compare_facts(ours.facts, theirs.facts)
    if ours.state == theirs.state == FINISHED:
        compare_results(ours.current, theirs.current)
    goes_on, other_goes_on = _goes_on(ours, theirs), _goes_on(theirs, ours)
    earlier = list(ours.attempts[:-1] if goes_on else ours.attempts)
    own = len(earlier)
    places = [settle(earlier, attempt) for attempt in theirs.attempts[: -1 if other_goes_on else None]]
    if goes_on or other_goes_on:
        winner = _open_winner(ours, theirs, goes_on, other_goes_on)
        current = ours.current if goes_on else theirs.current
        if goes_on and other_goes_on:
            current = _gone_on_with(current, theirs.current, earlier)
        is_own = goes_on
    else:
        winner = _ended_winner(ours, theirs)
        place = own - 1 if winner is ours else places[-1]
        current, is_own = earlier[place], place < own
        earlier[place] = Attempt(0, ())  # so that the places of the others stay
    return replace(
        ours,
        attempts=_numbered(earlier[:own], earlier[own:], current, is_own),
        outcome=_outcome(ours, winner),
        durations=joined_pieces(ours.durations, theirs.durations),
        origin=winner.origin,
    )


def _goes_on(one: TrialContent, other: TrialContent) -> bool:
    """Whether the last attempt of `one` is still to be done, whatever `other` knows."""
    if not one.is_open or other.state == FINISHED:
        return False
    return (
        other.is_open
        or _failures(one) >= _failures(other)
        or not any(is_part(one.current, attempt) for attempt in other.attempts)
    )


def _failures(trial: TrialContent) -> frozenset[Hashable]:
    return frozenset().union(*(attempt.identities(Failure) for attempt in trial.attempts))


def _open_winner(
    ours: TrialContent, theirs: TrialContent, goes_on: bool, other_goes_on: bool
) -> TrialContent:
    """Whose outcome counts where something is left to do: ours, unless only theirs was ever begun."""
    if goes_on and other_goes_on:
        return theirs if ours.outcome["stack"] is None and theirs.outcome["stack"] is not None else ours
    return ours if goes_on else theirs


def _ended_winner(ours: TrialContent, theirs: TrialContent) -> TrialContent:
    state = FINISHED if FINISHED in (ours.state, theirs.state) else FAILED
    return ours if ours.state == state else theirs


def _gone_on_with(ours: Attempt, theirs: Attempt, earlier: list[Attempt]) -> Attempt:
    """Our attempt; theirs becomes part of it, or one of the earlier ones."""
    if is_part(theirs, ours) or is_part(ours, theirs):
        return joined(ours, theirs)
    settle(earlier, theirs)
    return ours


def _numbered(
    own: Sequence[Attempt], new: Sequence[Attempt], current: Attempt, is_own: bool
) -> tuple[Attempt, ...]:
    """The attempts with their numbers: our earlier ones keep theirs, new ones follow, the current is last."""
    numbered = [attempt for attempt in own if attempt.pieces]
    for attempt in new:
        if attempt.pieces:
            numbered.append(replace(attempt, number=_last(numbered) + 1))
    last = _last(numbered)
    number = current.number if is_own and current.number > last else last + 1
    return (*numbered, replace(current, number=number))


def _last(attempts: Sequence[Attempt]) -> int:
    return max((attempt.number for attempt in attempts), default=0)


def _outcome(ours: TrialContent, winner: TrialContent) -> Mapping[str, Any]:
    if winner is ours or not winner.is_open:
        return winner.outcome
    # A driver that has lost our trial must not find it free to be written.
    return {**winner.outcome, "state": ours.state if ours.is_open else PLANNED}


def _conflict(ours: TrialContent, theirs: TrialContent, error: DisagreementError) -> Conflict:
    key = theirs.key
    subject = (
        f"{key.algorithm} {key.variant} {key.task} seed {key.seed} (configuration {key.config_hash[:12]})"
    )
    return Conflict(subject, error.what, f"{error.ours} ({ours.origin})", f"{error.theirs} ({theirs.origin})")
