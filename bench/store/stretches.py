"""Stretches of work on a trial: where, when and with what each was done, and what changed between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from bench.records import ExecutionRecord, RunRecord
from bench.store.models import Execution, Run

_OF_THE_WORKER = ("hostname", "cpu", "device", "gpu_driver", "threads", "runner", "stack", "simulator")
_OF_THE_CODE = ("code_version", "code_commit", "code_diff_sha256")
HASH_LENGTH = 12
"""Characters of a hash that tell two apart."""


@dataclass(frozen=True)
class Stretch:
    """One process's work on a trial, during one run of a command."""

    record: ExecutionRecord
    attempt: int
    run: RunRecord
    ended_at: datetime | None
    """None while it goes on, and where it was cut off."""
    outcome: str | None
    """`finished`, `stopped` (with its state saved) or `failed`; None as above."""
    to_iteration: int | None
    """Iterations of all phases done at its end."""
    peak_memory_bytes: int | None


def stretches_of(connection: Connection, trial_id: int) -> list[Stretch]:
    """All stretches of work on a trial, of every attempt, in the order in which they began."""
    runs = [getattr(Run, field.name).label(f"of_run_{field.name}") for field in fields(RunRecord)]
    chosen = (
        select(Execution.__table__, *runs)
        .join(Run, Run.run_id == Execution.run_id)
        .where(Execution.trial_id == trial_id)
        .order_by(Execution.attempt, Execution.started_at, Execution.id)
    )
    return [_stretch(row) for row in connection.execute(chosen).mappings()]


def changes(before: Stretch, after: Stretch) -> Iterator[str]:
    """What may change last digits and differs between two stretches: `torch 2.12.0 -> 2.13.0`."""
    old, new = before.record, after.record
    for name in _OF_THE_WORKER:
        yield from _change(name.replace("_", " "), getattr(old, name), getattr(new, name))
    yield from _changes(old.precision, new.precision)
    yield from _changes(old.packages, new.packages)
    for name in _OF_THE_CODE:
        yield from _change(name.replace("_", " "), getattr(before.run, name), getattr(after.run, name))
    yield from _change("hash of the code", old.code_sha256, new.code_sha256)


def _changes(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        yield from _change(name, old.get(name), new.get(name))


def _change(name: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{name} {_text(old)} -> {_text(new)}"


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    text = str(value)
    is_hash = len(text) >= 40 and all(character in "0123456789abcdef" for character in text)
    return text[:HASH_LENGTH] if is_hash else text


def _stretch(row: RowMapping) -> Stretch:
    facts: dict[str, Any] = {field.name: row[field.name] for field in fields(ExecutionRecord)}
    return Stretch(
        record=ExecutionRecord(**facts | {"stack": tuple(row["stack"])}),
        run=RunRecord(**{field.name: row[f"of_run_{field.name}"] for field in fields(RunRecord)}),
        **{
            name: row[name]
            for name in ("attempt", "ended_at", "outcome", "to_iteration", "peak_memory_bytes")
        },
    )
