"""Holds a dataset file against each thing that is known of it, and gives the identity that results are
stored with.

`verified`: the file is D4RL's own, by its SHA-256. `content fits`: every column that is trained on was held
against something that is known, and fits. `unverified`: something could not be held against anything.
`mismatch`: something differs. Collected and generated files can at best fit. Of a user's own file, which is
known by its hash alone, it only says that it is the one that was added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bench.catalog import AddedDataset, CollectedDataset, GeneratedDataset, Task
from bench.data.collect import digest_name, digest_of, recipe_of, shares
from bench.data.dataset import RawDataset, cut_rows, transitions_of
from bench.data.folder import Entry, Ledger
from bench.data.hdf5 import DatasetFile, held
from bench.data.manifest import DatasetFacts, KnownFile, Manifest, known_file, load_manifest
from bench.data.reader import opened_dataset, read_rows, require_added
from bench.data.replay import LARGEST_SHARE_OFF, Dynamics, states_of, worked_out
from bench.envs.bandit import generate, problem_named
from bench.errors import WorkFailedError
from bench.records import CONTENT_FITS, MISMATCH, UNVERIFIED, VERIFIED, DatasetRecord, hash_of

CHECKS_VERSION = 3
"""Raised when the checks change, so that files are checked again."""

TERMINALS_TOLERANCE = 1
"""The source of the counts does not say whether it counted a terminal at the very end."""
FORMULA_TOLERANCE = 1e-4
"""Of generated points and rewards: sine and cosine may round differently on another machine."""


@dataclass(frozen=True)
class VerificationReport:
    """What a file was held against, and the result."""

    task: str
    path: Path
    entry: Entry
    """What the ledger holds of the file now: hash, rows, verification, first seen, replay."""
    checks: tuple[FileCheck, ...]

    @property
    def status(self) -> str:
        """`verified`, `content fits`, `unverified` or `mismatch`."""
        return str(self.entry.verification)


def verify(
    task: Task, path: Path, *, accept: bool = False, ledger: Ledger | None = None
) -> VerificationReport:
    """Hash a file, check its content and note the result in the data folder's ledger.

    Parameters
    ----------
    accept : take a content that differs from the first one seen under this name.
    ledger : another than the data folder's, or that without remembering anything.

    Raises
    ------
    BenchError : the file cannot be read, is another task's, or changed since it was first seen.
    WorkFailedError : it changed while it was checked.
    """
    manifest = load_manifest()
    with opened_dataset(path, task) as file:
        sha256, raw = file.sha256, read_rows(file, task)
        checks = checks_of(file, raw, task, manifest)
        status = VERIFIED if is_known(file, known_file(task)) else status_of(checks)
    ledger = ledger or Ledger()
    entry = ledger.look_up(path, accept=accept)
    if entry.sha256 != sha256:
        raise WorkFailedError(
            f"{path} changed while it was being checked", "", "Give the same command again."
        )
    facts = _facts_hash(task, manifest)
    entry = ledger.note(path, replace(entry, rows=raw.rows, verification=status, facts=facts))
    return VerificationReport(task.name, path, entry, checks)


def dataset_record(task: Task, path: Path, ledger: Ledger | None = None) -> DatasetRecord:
    """Identity of a task's dataset for the store; hashes the file, and checks a content that is new.

    Parameters
    ----------
    ledger : as of `verify`.

    Raises
    ------
    BenchError, WorkFailedError : as `verify`.
    """
    ledger = ledger or Ledger()
    if task.added:
        with held(path) as file:
            require_added(file, task)
    entry = ledger.look_up(path)
    known = known_file(task)
    is_verified = known is not None and known.sha256 == entry.sha256
    # The ledger is a file that anybody may edit: what is `verified` it cannot decide.
    if entry.facts != _facts_hash(task, load_manifest()) or (entry.verification == VERIFIED) != is_verified:
        entry = verify(task, path, ledger=ledger).entry
    return record_of(task, entry)


def record_of(task: Task, entry: Entry) -> DatasetRecord:
    """Identity of a dataset, from the ledger's entry of a file that was verified."""
    assert entry.rows is not None and entry.verification is not None  # noted together by `verify`
    return DatasetRecord(task.name, entry.sha256, entry.rows, entry.verification, entry.replay)


def status_of(checks: tuple[FileCheck, ...]) -> str:
    """`mismatch`, `unverified` or `content fits`, by the worst outcome."""
    outcomes = {check.outcome for check in checks}
    if "mismatch" in outcomes:
        return MISMATCH
    return UNVERIFIED if "unknown" in outcomes else CONTENT_FITS


def _facts_hash(task: Task, manifest: Manifest) -> str:
    file, facts = manifest.files.get(task.name), manifest.datasets.get(task.name)
    known = [entry.model_dump(mode="json") for entry in (file, facts, task.dataset) if entry is not None]
    return hash_of([CHECKS_VERSION, known, manifest.state_tolerance, task.physics])


@dataclass(frozen=True)
class FileCheck:
    """One thing looked at."""

    name: str
    expected: str
    """`unknown` where nothing is known."""
    found: str
    outcome: Literal["ok", "mismatch", "unknown", "other"]
    """`other`: of a file's hash and size, which may be other than D4RL's although its content is not."""


def is_known(file: DatasetFile, known: KnownFile | None) -> bool:
    """Whether a file is D4RL's own, byte for byte."""
    return known is not None and file.sha256 == known.sha256


def checks_of(file: DatasetFile, raw: RawDataset, task: Task, manifest: Manifest) -> tuple[FileCheck, ...]:
    """Everything that a file can be held against.

    D4RL's own file is known by its hash, which covers every column. Another one is held against the facts of
    the manifest and what its states say; collected ones against their task's recipe, their digests and their
    states; generated ones against their formula.
    """
    if isinstance(task.dataset, CollectedDataset):
        by_states = _state_checks(file, raw, task)
        # What states do not tell of a collected file, the digests of its columns do.
        told = (check for check in by_states if check.outcome != "unknown")
        return (*_recipe_checks(file, raw, task, task.dataset), *told)
    if isinstance(task.dataset, GeneratedDataset):
        return tuple(_formula_checks(file, raw, task.dataset))
    if isinstance(task.dataset, AddedDataset):
        return tuple(_added_checks(file, raw, task.dataset))
    known = manifest.files.get(task.name)
    identity = _identity_checks(file, known)
    if is_known(file, known):
        return (*identity, FileCheck("every column", "D4RL's", "covered by the hash", "ok"))
    facts = manifest.datasets.get(task.name)
    return (
        *identity,
        *_fact_checks(raw, task, facts),
        *_statistics_checks(raw, facts, manifest.state_tolerance),
        *_state_checks(file, raw, task),
    )


def _identity_checks(file: DatasetFile, known: KnownFile | None) -> tuple[FileCheck, ...]:
    if known is None:
        return (FileCheck("SHA-256", "unknown", f"{file.sha256[:12]}...", "unknown"),)
    pairs = (
        ("SHA-256", f"{known.sha256[:12]}...", f"{file.sha256[:12]}...", known.sha256 == file.sha256),
        ("bytes", f"{known.bytes:,}", f"{file.identity.size:,}", known.bytes == file.identity.size),
    )
    return tuple(
        FileCheck(name, wanted, found, "ok" if same else "other") for name, wanted, found, same in pairs
    )


def _fact_checks(raw: RawDataset, task: Task, facts: DatasetFacts | None) -> Iterator[FileCheck]:
    transitions = transitions_of(raw, task)
    found = {
        "rows": raw.rows,
        "transitions": len(transitions),
        "timeouts before the last row": int(cut_rows(raw)[:-1].sum()),
        "terminals": int(transitions.terminals.sum()),
    }
    if raw.next_observations is not None:
        yield FileCheck("layout", "rows or transitions", raw.layout, "ok")
        # Rows that were cut are not among ready-made transitions.
        del found["rows"], found["timeouts before the last row"]
    if facts is None:
        yield from (FileCheck(name, "unknown", f"{count:,}", "unknown") for name, count in found.items())
        return
    expected = {
        "rows": facts.rows,
        "transitions": facts.transitions,
        "timeouts before the last row": facts.timeout_contradictions,
        "terminals": facts.terminals,
    }
    for name, count in found.items():
        allowed = TERMINALS_TOLERANCE if name == "terminals" else 0
        near = abs(expected[name] - count) <= allowed
        yield _compared(name, f"{expected[name]:,}", f"{count:,}", near)


def _statistics_checks(
    raw: RawDataset, facts: DatasetFacts | None, tolerance: float
) -> tuple[FileCheck, ...]:
    """Mean and standard deviation of the observations, both in units of the expected standard deviation."""
    if facts is None:
        return (FileCheck("observations", "unknown", "", "unknown"),)
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


def _state_checks(file: DatasetFile, raw: RawDataset, task: Task) -> tuple[FileCheck, ...]:
    """Rewards, terminals and actions by the states in the file; unknown where it holds none."""
    states = states_of(file, raw, task)
    ready_made = raw.next_observations is not None
    if isinstance(states, str):
        names = ("rewards", "actions", "next_observations") if ready_made else ("rewards", "actions")
        return tuple(FileCheck(name, "unknown", states, "unknown") for name in names)
    found = worked_out(states, raw, task)
    successors = [_rows_checked("next_observations", found.successors_off, found)] if ready_made else []
    return (
        *successors,
        _rows_checked("observations by states", found.observations_off, found),
        *_outcome_checks(found),
        _compared(
            "actions by physics",
            f"{task.physics}, off in {LARGEST_SHARE_OFF:.1%} at most",
            f"off in {found.steps_off:,} of {found.steps:,} steps",
            found.steps > 0 and found.steps_off <= LARGEST_SHARE_OFF * found.steps,
        ),
    )


def _outcome_checks(found: Dynamics) -> tuple[FileCheck, ...]:
    names = "rewards by states", "terminals by states"
    if isinstance(found.outcomes, str):
        return tuple(FileCheck(name, "unknown", found.outcomes, "unknown") for name in names)
    rewards = _rows_checked(names[0], found.outcomes.rewards_off, found)
    if found.outcomes.terminals_off is None:
        why = "D4RL's files of this task do not follow its ends."
        return rewards, FileCheck(names[1], "unknown", why, "unknown")
    return rewards, _rows_checked(names[1], found.outcomes.terminals_off, found)


def _rows_checked(name: str, off: int, found: Dynamics) -> FileCheck:
    return _compared(name, f"{found.rows:,} rows", f"{off:,} differ" if off else "all agree", off == 0)


def _recipe_checks(
    file: DatasetFile, raw: RawDataset, task: Task, recipe: CollectedDataset
) -> Iterator[FileCheck]:
    """A collected file says what it was made from; fewer rows than usual are allowed, the identity tells."""
    expected = {
        "environment": task.environment,
        "recipe": recipe.recipe,
        "policies": ", ".join(f"{name}: {rows} rows" for name, rows in shares(recipe, raw.rows)),
        "physics": task.physics,
    }
    found = file.texts("metadata")
    yield FileCheck("rows", f"{recipe.transitions:,} by default", f"{raw.rows:,}", "ok")
    for name, value in expected.items():
        yield _compared(name, value, found.get(name, "not stated"), found.get(name) == value)
    columns = recipe_of(task, recipe.seed).columns
    digests = {column: found.get(digest_name(column)) for column in columns}
    if None in digests.values():
        yield FileCheck("digests of columns", "unknown", "collected before there were any", "unknown")
        return
    for column, digest in digests.items():
        same = column in file and digest_of(file.read(column)) == digest
        name = column.removeprefix("infos/")
        yield _compared(name, "as collected", "as collected" if same else "altered", same)


def _added_checks(file: DatasetFile, raw: RawDataset, added: AddedDataset) -> Iterator[FileCheck]:
    """A file of the user's own is the one that was added; nothing is known of how its content was made."""
    wanted, found = (f"{sha256[:12]}..." for sha256 in (added.sha256, file.sha256))
    yield _compared("SHA-256", wanted, found, file.sha256 == added.sha256)
    yield _compared("rows", f"{added.rows:,}", f"{raw.rows:,}", raw.rows == added.rows)


def _formula_checks(file: DatasetFile, raw: RawDataset, recipe: GeneratedDataset) -> Iterator[FileCheck]:
    """A generated file holds what the formula gives again; fewer rows than usual are allowed."""
    described = file.texts("metadata")
    yield FileCheck("rows", f"{recipe.rows:,} by default", f"{raw.rows:,}", "ok")
    for name, value in {"problem": recipe.problem, "seed": str(recipe.seed)}.items():
        yield _compared(name, value, described.get(name, "not stated"), described.get(name) == value)
    again = generate(recipe, raw.rows)
    terminal = problem_named(recipe.problem).terminal
    columns = {
        "observations": (raw.observations, np.zeros_like(raw.observations)),
        "actions": (raw.actions, again.actions),
        "rewards": (raw.rewards, again.rewards),
        "terminals": (raw.terminals, np.full(raw.rows, terminal)),
        "timeouts": (cut_rows(raw), np.full(raw.rows, not terminal)),
    }
    for name, (found, expected) in columns.items():
        furthest = float(np.abs(found.astype(np.float64) - expected).max())
        limit = f"within {FORMULA_TOLERANCE:g}"
        yield _compared(name, limit, f"off by {furthest:.1g}", furthest <= FORMULA_TOLERANCE)


def _compared(name: str, expected: str, found: str, equal: bool) -> FileCheck:
    return FileCheck(name, expected, found, "ok" if equal else "mismatch")
