"""What is known of the files in the data folder: the hash first seen under each name, and what checks found.

It is one small JSON file beside the data, so that large files are hashed once and not at every run, and so
that D4RL's habit of changing a file under its name (D4RL issues 76 and 100) is noticed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.data.paths import data_folder
from bench.errors import BenchError
from bench.files import sha256_of, write_text

NOT_REPLAYED = "unverified"


@dataclass(frozen=True)
class Entry:
    """One file, as it was when last looked at."""

    sha256: str
    size: int
    """Bytes."""
    mtime_ns: int
    first_seen: str
    """UTC, ISO 8601."""
    rows: int | None = None
    verification: str | None = None
    """`verified`, `unverified` or `mismatch`; None before the first check."""
    facts: str | None = None
    """Hash of the facts the check was made against: other facts, another check."""
    replay: str = NOT_REPLAYED
    """Physics found by a one-step replay: `d4rl`, `modern`, `neither`, or `unverified` (not replayed)."""


class Ledger:
    """The JSON file of a data folder: reads are plain, updates are locked and written whole."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = (folder or data_folder()).resolve()
        self.path = self._folder / ".bench-hashes.json"

    def known(self, path: Path) -> Entry | None:
        """The entry of a file as it is now, without hashing it; None where it is new or has changed."""
        status = path.stat()
        entry = self._read().get(self._name(path))
        same = entry and (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)
        return entry if same else None

    def look_up(self, path: Path, *, accept: bool = False) -> Entry:
        """The entry of a file, made at first sight; the file is hashed only where its size or time changed.

        Parameters
        ----------
        accept : take a changed content as the new one, as after fetching or collecting it on purpose.

        Raises
        ------
        BenchError : the content is another one than at first sight; both hashes are told.
        """
        if unchanged := self.known(path):
            return unchanged
        status, known, found = path.stat(), self._read().get(self._name(path)), sha256_of(path)
        if known and known.sha256 == found:
            return self._store(path, replace(known, mtime_ns=status.st_mtime_ns))
        if known and not accept:
            raise BenchError(
                f"{path} is not the file it was",
                f"SHA-256 {known.sha256} was recorded on {known.first_seen[:10]}; now it is {found}.",
                "Put the old file back, or type `bench data verify TASK --accept` to take the new one.",
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self._store(path, Entry(found, status.st_size, status.st_mtime_ns, now))

    def note(
        self,
        path: Path,
        entry: Entry,
        *,
        rows: int | None = None,
        verification: str | None = None,
        facts: str | None = None,
        replay: str | None = None,
    ) -> Entry:
        """Add what a check found to a file's `entry` and return it; what is not given stays."""
        found = {"rows": rows, "verification": verification, "facts": facts, "replay": replay}
        entry = replace(
            self.look_up(path), **{key: value for key, value in found.items() if value is not None}
        )
        return self._store(path, entry)

    def _store(self, path: Path, entry: Entry) -> Entry:
        # Data folders shared by many people are often read-only; then nothing is remembered, only found anew.
        if os.access(self._folder, os.W_OK):
            with self._locked():
                entries = self._read() | {self._name(path): entry}
                content = {name: asdict(entries[name]) for name in sorted(entries)}
                write_text(self.path, json.dumps(content, indent=1) + "\n")
        return entry

    def _read(self) -> dict[str, Entry]:
        if not self.path.is_file():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: Entry(**values) for name, values in content.items()}
        except (json.JSONDecodeError, TypeError, AttributeError) as error:
            raise BenchError(
                f"{self.path} is damaged", str(error), "Delete it: the files are hashed and checked again."
            ) from error

    def _name(self, path: Path) -> str:
        path = path.resolve()
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else str(path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Several workers may meet the same new file at once; without this one's entry would undo another's.
        with (self._folder / ".bench-hashes.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
