"""Exact layers of a night: what must come out the same to the last bit where nothing was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.catalog import Task


@dataclass(frozen=True)
class Fingerprints:
    """Taken once for a baseline and again every night."""

    machine: Mapping[str, str]
    """Processor, instruction set, threads and versions that the last digits depend on."""
    losses: Mapping[str, Any]
    datasets: Mapping[str, str | None]
    """SHA-256 by task; None where the file is not there."""
    simulators: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the store."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Fingerprints:
        """The same again."""
        raise NotImplementedError


@dataclass(frozen=True)
class ExactFinding:
    """One difference, in a plain sentence."""

    layer: Literal["losses", "datasets", "simulators"]
    name: str
    """`dtql released`, `collected-hopper-medium`, `hopper d4rl`."""
    sentence: str
    fails: bool
    """False where it is only told: two machines whose last digits need not agree."""


def fingerprints(tasks: Sequence[Task], *, methods: Sequence[str] | None = None) -> Fingerprints:
    """Losses of `methods` (default: all registered), hashes of the tasks' data files, simulator replays."""
    raise NotImplementedError


def differences(old: Fingerprints, new: Fingerprints) -> list[ExactFinding]:
    """What differs, worst first; empty where nothing does."""
    raise NotImplementedError
