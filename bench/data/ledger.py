"""What is known of the files in the data folder: the hash first seen under each name, and what checks found.

It is one small JSON file beside the data, so that files are checked once and not at every run, and so that
D4RL's habit of changing a file under its name (D4RL issues 76 and 100) is noticed. Files are hashed whenever
they are looked up: neither size nor times say that a content is the one that was checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from bench.data.hdf5 import Identity, held, sha256_of_file
from bench.data.paths import data_folder
from bench.errors import BenchError, WorkFailedError
from bench.files import write_text
from bench.store.process_lock import locked

NOT_REPLAYED = "unverified"


@dataclass(frozen=True)
class Entry:
    """One file, as it was when last looked at."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    sha256: str
    size: int
    """Bytes."""
    mtime_ns: int
    first_seen: str
    """UTC, ISO 8601."""
    rows: int | None = None
    verification: str | None = None
    """`verified`, `content fits`, `unverified` or `mismatch`; None before the first check."""
    facts: str | None = None
    """Hash of the facts the check was made against: other facts, another check."""
    replay: str = NOT_REPLAYED
    """Physics found by a one-step replay: `d4rl`, `modern`, `neither`, or `unverified` (not replayed)."""
    inode: int | None = None
    changed_ns: int | None = None
    """With size and time a hint that the file is the same still, for lists; None of older versions."""

    @property
    def told_by(self) -> tuple[int | None, ...]:
        """What the file system said of the file."""
        return self.inode, self.size, self.mtime_ns, self.changed_ns


_ENTRIES = TypeAdapter(dict[str, Entry])


class Ledger:
    """The JSON file of a data folder: reads are plain, updates are locked and written whole."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = (folder or data_folder()).resolve()
        self.path = self._folder / ".bench-hashes.json"

    def known(self, path: Path) -> Entry | None:
        """The entry of a file that seems to be the same still, for lists; None where it is new or changed.

        It is not hashed: whoever uses the content must `look_up` the file.
        """
        entry = self._read().get(self._name(path))
        return entry if entry and entry.told_by == _told_by(Identity.of(path.stat())) else None

    def look_up(self, path: Path, *, accept: bool = False) -> Entry:
        """The entry of a file, which is hashed; made at first sight.

        Parameters
        ----------
        accept : take a changed content as the new one, as after fetching or collecting it on purpose.

        Raises
        ------
        BenchError : the content is another one than at first sight; both hashes are told. The file cannot be
            read, the ledger is damaged or cannot be written.
        WorkFailedError : the file changes while it is hashed.
        """
        with held(path) as file:
            found, identity = file.sha256, file.identity
        known = self._read().get(self._name(path))
        if known and known.sha256 == found:
            same = known.told_by == _told_by(identity)
            return known if same else self._store(path, _seen(known, identity))
        if known and not accept:
            raise BenchError(
                f"{path} is not the file it was",
                f"SHA-256 {known.sha256} was recorded on {known.first_seen[:10]}; now it is {found}.",
                "Put the old file back, or type `bench data verify TASK --accept` to take the new one.",
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self._store(path, _seen(Entry(found, 0, 0, now), identity))

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
        """Add what a check found to a file's `entry` and return it; what is not given stays.

        Raises
        ------
        BenchError : the ledger is damaged or cannot be written.
        WorkFailedError : the file's content is no longer that of the entry.
        """
        if sha256_of_file(path) != entry.sha256:
            raise WorkFailedError(
                f"{path} changed while it was being checked", "", "Give the same command again."
            )
        found = {"rows": rows, "verification": verification, "facts": facts, "replay": replay}
        known = {key: value for key, value in found.items() if value is not None}
        return self._store(path, replace(entry, **known))

    def _store(self, path: Path, entry: Entry) -> Entry:
        # Data folders shared by many people are often read-only; then nothing is remembered, only found anew.
        if os.access(self._folder, os.W_OK):
            try:
                with self._locked():
                    entries = self._read() | {self._name(path): entry}
                    content = {name: asdict(entries[name]) for name in sorted(entries)}
                    write_text(self.path, json.dumps(content, indent=1) + "\n")
            except OSError as error:
                raise BenchError(
                    f"{self.path} cannot be written",
                    str(error),
                    "Make room, or free the folder of what lies there.",
                ) from error
        return entry

    def _read(self) -> dict[str, Entry]:
        if not os.path.lexists(self.path):
            return {}
        if not self.path.is_file():
            raise BenchError(f"{self.path} is no file", "Hashes of datasets are kept there.", "Move it away.")
        try:
            return _ENTRIES.validate_json(self.path.read_bytes())
        except OSError as error:
            raise BenchError(
                f"{self.path} cannot be read", str(error), "Change its permissions, or move it away."
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = " ".join(str(part) for part in first["loc"])
            raise BenchError(
                f"{self.path} is damaged",
                f"It holds the hashes first seen of the files beside it. {place}: {first['msg']}",
                "Restore it from a backup, or move it away: then the files are hashed and checked anew, and "
                "a change before that goes unnoticed.",
            ) from error

    def _name(self, path: Path) -> str:
        path = path.resolve()
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else str(path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Several workers may meet the same new file at once; without this one's entry would undo another's.
        with locked(self._folder / ".bench-hashes.lock", "name another folder with BENCH_DATA_DIR"):
            yield


def _told_by(identity: Identity) -> tuple[int, ...]:
    return identity.inode, identity.size, identity.modified_ns, identity.changed_ns


def _seen(entry: Entry, identity: Identity) -> Entry:
    """The entry with what the file system says of its file now."""
    return replace(
        entry,
        size=identity.size,
        mtime_ns=identity.modified_ns,
        inode=identity.inode,
        changed_ns=identity.changed_ns,
    )
