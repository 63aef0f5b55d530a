"""Verifies a dataset file, and gives the identity that results are stored with.

`verified`: the file is D4RL's own, by its SHA-256. `content fits`: every column that is trained on was held
against something that is known, and fits. `unverified`: something could not be held against anything.
`mismatch`: something differs. Collected and generated files can at best fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.catalog import Task
from bench.data.facts import Check, checks_of, is_known
from bench.data.ledger import Entry, Ledger
from bench.data.manifest import Manifest, known_file, load_manifest
from bench.data.reader import opened_dataset, read_rows
from bench.errors import WorkFailedError
from bench.records import CONTENT_FITS, MISMATCH, UNVERIFIED, VERIFIED, DatasetRecord, hash_of

RULES = 3
"""Raised when the checks change, so that files are checked again."""


@dataclass(frozen=True)
class VerificationReport:
    """What a file was held against, and the result."""

    task: str
    path: Path
    entry: Entry
    """What the ledger holds of the file now: hash, rows, verification, first seen, replay."""
    checks: tuple[Check, ...]

    @property
    def status(self) -> str:
        """`verified`, `content fits`, `unverified` or `mismatch`."""
        return str(self.entry.verification)


def verify(task: Task, path: Path, *, accept: bool = False) -> VerificationReport:
    """Hash a file, check its content and note the result in the data folder's ledger.

    Parameters
    ----------
    accept : take a content that differs from the first one seen under this name.

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
    ledger = Ledger()
    entry = ledger.look_up(path, accept=accept)
    if entry.sha256 != sha256:
        raise WorkFailedError(
            f"{path} changed while it was being checked", "", "Give the same command again."
        )
    facts = _facts_hash(task, manifest)
    entry = ledger.note(path, entry, rows=raw.rows, verification=status, facts=facts)
    return VerificationReport(task.name, path, entry, checks)


def dataset_record(task: Task, path: Path) -> DatasetRecord:
    """Identity of a task's dataset for the store; hashes the file, and checks a content that is new.

    Raises
    ------
    BenchError, WorkFailedError : as `verify`.
    """
    entry = Ledger().look_up(path)
    known = known_file(task)
    is_verified = known is not None and known.sha256 == entry.sha256
    # The ledger is a file that anybody may edit: what is `verified` it cannot decide.
    if entry.facts != _facts_hash(task, load_manifest()) or (entry.verification == VERIFIED) != is_verified:
        entry = verify(task, path).entry
    return record_of(task, entry)


def record_of(task: Task, entry: Entry) -> DatasetRecord:
    """Identity of a dataset, from the ledger's entry of a file that was verified."""
    assert entry.rows is not None and entry.verification is not None  # noted together by `verify`
    return DatasetRecord(task.name, entry.sha256, entry.rows, entry.verification, entry.replay)


def status_of(checks: tuple[Check, ...]) -> str:
    """`mismatch`, `unverified` or `content fits`, by the worst outcome."""
    outcomes = {check.outcome for check in checks}
    if "mismatch" in outcomes:
        return MISMATCH
    return UNVERIFIED if "unknown" in outcomes else CONTENT_FITS


def _facts_hash(task: Task, manifest: Manifest) -> str:
    file, facts = manifest.files.get(task.name), manifest.datasets.get(task.name)
    known = [entry.model_dump(mode="json") for entry in (file, facts, task.dataset) if entry is not None]
    return hash_of([RULES, known, manifest.state_tolerance, task.physics])
