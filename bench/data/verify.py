"""Holds a dataset file against what is known of it, and gives the identity that results are stored with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.catalog import CollectedDataset, GeneratedDataset, Task
from bench.data.collect import shares
from bench.data.dataset import RawDataset
from bench.data.ledger import Entry, Ledger
from bench.data.manifest import DatasetFacts, Manifest, load_manifest
from bench.data.problems2d import generate
from bench.data.reader import cut_rows, qlearning_dataset, read_file, read_metadata
from bench.records import DatasetRecord, hash_of

TERMINALS_TOLERANCE = 1
"""The source of the counts does not say whether it counted a terminal at the very end."""

FORMULA_TOLERANCE = 1e-4
"""Of generated points and rewards: sine and cosine may round differently on another machine."""


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    expected: str
    """`unknown` where nothing is known."""
    found: str
    outcome: Literal["ok", "mismatch", "unknown"]


@dataclass(frozen=True)
class VerificationReport:
    """What a file was held against, and the result."""

    task: str
    path: Path
    entry: Entry
    """What the ledger holds of the file now: hash, rows, first seen, replay."""
    checks: tuple[Check, ...]

    @property
    def status(self) -> str:
        """`mismatch` where anything differs, `unverified` where anything is unknown, else `verified`."""
        return status_of(self.checks)


def verify(task: Task, path: Path, *, accept: bool = False) -> VerificationReport:
    """Check a file's content against the facts known of it and note the result in the data folder's ledger.

    D4RL's files are held against the manifest, collected ones against their task's recipe, generated ones
    against their formula.

    Parameters
    ----------
    accept : take a content that differs from the first one seen under this name.

    Raises
    ------
    BenchError : the file cannot be read, is another task's, or changed since it was first seen.
    """
    manifest = load_manifest()
    raw = read_file(path, task)
    ledger = Ledger()
    entry = ledger.look_up(path, accept=accept)
    if isinstance(task.dataset, CollectedDataset):
        checks = _recipe_checks(raw, task, task.dataset, path)
    elif isinstance(task.dataset, GeneratedDataset):
        checks = _formula_checks(raw, task.dataset, path)
    else:
        checks = _fact_checks(raw, manifest.datasets.get(task.name), manifest.state_tolerance)
    entry = ledger.note(
        path, entry, rows=raw.rows, verification=status_of(checks), facts=_facts_hash(task, manifest)
    )
    return VerificationReport(task.name, path, entry, checks)


def dataset_record(task: Task, path: Path) -> DatasetRecord:
    """Identity of a task's dataset for the store; reads and hashes the file only where that was not done yet.

    Raises
    ------
    BenchError : as `verify`.
    """
    entry = Ledger().look_up(path)
    if entry.verification is None or entry.facts != _facts_hash(task, load_manifest()):
        entry = verify(task, path).entry
    return record_of(task, entry)


def record_of(task: Task, entry: Entry) -> DatasetRecord:
    """Identity of a dataset, from the ledger's entry of a file that was verified."""
    assert entry.rows is not None and entry.verification is not None  # noted together by `verify`
    return DatasetRecord(task.name, entry.sha256, entry.rows, entry.verification, entry.replay)


def status_of(checks: tuple[Check, ...]) -> str:
    """`mismatch`, `unverified` or `verified`, by the worst outcome."""
    outcomes = {check.outcome for check in checks}
    if "mismatch" in outcomes:
        return "mismatch"
    return "unverified" if "unknown" in outcomes else "verified"


def _facts_hash(task: Task, manifest: Manifest) -> str:
    facts = manifest.datasets.get(task.name)
    known = facts.model_dump(mode="json") if facts else task.dataset.model_dump(mode="json")
    return hash_of([known, manifest.state_tolerance, task.physics])


def _fact_checks(raw: RawDataset, facts: DatasetFacts | None, tolerance: float) -> tuple[Check, ...]:
    transitions = qlearning_dataset(raw)
    found = {
        "rows": raw.rows,
        "observation dimensions": raw.observations.shape[1],
        "action dimensions": raw.actions.shape[1],
        "transitions": len(transitions),
        "timeouts before the last row": int(cut_rows(raw)[:-1].sum()),
        "terminals": int(transitions.terminals.sum()),
    }
    if facts is None:
        return tuple(Check(name, "unknown", f"{count:,}", "unknown") for name, count in found.items())
    expected = {
        "rows": facts.rows,
        "observation dimensions": facts.observation_dim,
        "action dimensions": facts.action_dim,
        "transitions": facts.transitions,
        "timeouts before the last row": facts.timeout_contradictions,
        "terminals": facts.terminals,
    }
    counts = (
        _compared(name, f"{expected[name]:,}", f"{found[name]:,}", _close(name, expected[name], found[name]))
        for name in found
    )
    return (*counts, *_state_checks(raw, facts, tolerance))


def _close(name: str, expected: int, found: int) -> bool:
    return abs(expected - found) <= (TERMINALS_TOLERANCE if name == "terminals" else 0)


def _state_checks(raw: RawDataset, facts: DatasetFacts, tolerance: float) -> tuple[Check, ...]:
    """Mean and standard deviation of the observations, both in units of the expected standard deviation."""
    expected_std = np.asarray(facts.state_std)
    mean = raw.observations.mean(axis=0, dtype=np.float64)
    std = raw.observations.std(axis=0, dtype=np.float64)
    # Kitchen's goals never change: a dimension without spread is compared in its own unit.
    unit = np.where(expected_std > 0, expected_std, 1.0)
    mean_off = float((np.abs(mean - facts.state_mean) / unit).max())
    std_off = float((np.abs(std - expected_std) / unit).max())
    limit = f"within {tolerance:g} sd"
    return (
        _compared("state mean", limit, f"off by {mean_off:.2g} sd", mean_off <= tolerance),
        _compared("state deviation", limit, f"off by {std_off:.2g} sd", std_off <= tolerance),
    )


def _recipe_checks(raw: RawDataset, task: Task, recipe: CollectedDataset, path: Path) -> tuple[Check, ...]:
    """A collected file says what it was made from; fewer rows than usual are allowed, the identity tells."""
    policies = ", ".join(f"{role}: {rows} rows" for role, rows in shares(recipe, raw.rows))
    expected = {
        "environment": task.environment,
        "recipe": recipe.recipe,
        "policies": policies,
        "physics": task.physics,
    }
    found = read_metadata(path)
    described = (
        _compared(name, expected[name], found.get(name, "not stated"), found.get(name) == expected[name])
        for name in expected
    )
    return (Check("rows", f"{recipe.transitions:,} by default", f"{raw.rows:,}", "ok"), *described)


def _formula_checks(raw: RawDataset, recipe: GeneratedDataset, path: Path) -> tuple[Check, ...]:
    """A generated file holds what the formula gives again; fewer rows than usual are allowed."""
    found = read_metadata(path)
    expected = {"problem": recipe.problem, "seed": str(recipe.seed)}
    again = generate(recipe, raw.rows)
    furthest = max(
        float(np.abs(raw.actions - again.actions).max()), float(np.abs(raw.rewards - again.rewards).max())
    )
    return (
        Check("rows", f"{recipe.rows:,} by default", f"{raw.rows:,}", "ok"),
        *(
            _compared(name, value, found.get(name, "not stated"), found.get(name) == value)
            for name, value in expected.items()
        ),
        _compared(
            "points and rewards",
            f"within {FORMULA_TOLERANCE:g}",
            f"off by {furthest:.1g}",
            furthest <= FORMULA_TOLERANCE,
        ),
    )


def _compared(name: str, expected: str, found: str, equal: bool) -> Check:
    return Check(name, expected, found, "ok" if equal else "mismatch")
