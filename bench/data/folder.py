"""The data folder: where dataset files lie, their copies on other machines, and what is known of them.

What is known, the hash first seen under each name and what checks found, is one small JSON file beside the
data, so that files are checked once and not at every run, and so that D4RL's habit of changing a file under
its name (D4RL issues 76 and 100) is noticed. Files are hashed whenever they are looked up: neither size nor
times say that a content is the one that was checked.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from bench.catalog import AddedDataset, D4RLDataset, Task
from bench.data.hdf5 import Identity, held, sha256_of_file
from bench.errors import BenchError, WorkFailedError
from bench.files import sha256_of, write_text, written_whole
from bench.store.process_lock import locked
from bench.visible_text import shortened

_LONGEST = 80
"""Characters of a folder's name in a message."""

NOT_REPLAYED = "unverified"


def data_folder() -> Path:
    """Folder of all datasets: `BENCH_DATA_DIR`, else D4RL's own `D4RL_DATASET_DIR`, else ~/.d4rl/datasets.

    D4RL's place is shared so that files it has downloaded are used and need not be fetched again.

    Raises
    ------
    BenchError : there is no such home folder, or the name is none that a folder can have.
    """
    for variable in ("BENCH_DATA_DIR", "D4RL_DATASET_DIR"):
        if folder := os.environ.get(variable):
            return _usable(variable, folder)
    try:
        return Path.home() / ".d4rl" / "datasets"
    except RuntimeError as error:
        raise BenchError(
            "no home folder: set BENCH_DATA_DIR",
            "Datasets lie in ~/.d4rl/datasets, and this user has no home folder.",
            "Type BENCH_DATA_DIR=FOLDER before the command.",
        ) from error


def _usable(variable: str, folder: str) -> Path:
    told = f"{variable}={shortened(folder, _LONGEST)}"
    try:
        path = Path(folder).expanduser().resolve()
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            raise PermissionError("It may not be read.")
        return path
    except RuntimeError as error:
        raise BenchError(
            f"no home folder: {told}", "It begins with ~.", f"Set {variable} to a folder by its full name."
        ) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BenchError(told, why, f"Set {variable} to a folder for datasets.") from error


def dataset_path(task: Task) -> Path:
    """File of a task's dataset, whether it is there or not.

    D4RL's files keep the name of their address, as D4RL names them; collected ones lie in `collected/`,
    generated ones in `generated/`. A user's own are known by their content, in several catalogues maybe by
    the same name: they lie in `by-hash/`.
    """
    if isinstance(task.dataset, AddedDataset):
        return by_hash(task.dataset.sha256)
    if isinstance(task.dataset, D4RLDataset):
        return data_folder() / task.dataset.file_name
    return data_folder() / task.dataset.source / f"{task.name}.hdf5"


def by_hash(sha256: str) -> Path:
    """Where the data folder keeps a file that is known by its content."""
    return data_folder() / "by-hash" / f"{sha256}.hdf5"


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


_ENTRIES = TypeAdapter(dict[str, Entry])


class Ledger:
    """The JSON file of a data folder: reads are plain, updates are locked and written whole."""

    def __init__(self, folder: Path | None = None, *, remembers: bool = True) -> None:
        """`remembers`: whether anything is written, so that files need not be checked anew the next time."""
        self._folder = (folder or data_folder()).resolve()
        self._remembers = remembers
        self.path = self._folder / ".bench-hashes.json"

    def known(self, path: Path) -> Entry | None:
        """The entry of a file that seems to be the same still, for lists; None where it is new or changed.

        It is not hashed: whoever uses the content must `look_up` the file.
        """
        entry = self._read().get(self._name(path))
        return entry if entry and entry == _seen(entry, Identity.of(path.stat())) else None

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
            seen = _seen(known, identity)
            return known if seen == known else self._store(path, seen)
        if known and not accept:
            raise BenchError(
                f"{path} is not the file it was",
                f"SHA-256 {known.sha256} was recorded on {known.first_seen[:10]}; now it is {found}.",
                "Put the old file back, or type `bench data verify TASK --accept` to take the new one.",
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self._store(path, _seen(Entry(found, 0, 0, now), identity))

    def note(self, path: Path, entry: Entry) -> Entry:
        """Keep the `entry` of a file to which a check has added what it found, and return it.

        Raises
        ------
        BenchError : the ledger is damaged or cannot be written.
        WorkFailedError : the file's content is no longer that of the entry.
        """
        if sha256_of_file(path) != entry.sha256:
            raise WorkFailedError(
                f"{path} changed while it was being checked", "", "Give the same command again."
            )
        return self._store(path, entry)

    def _store(self, path: Path, entry: Entry) -> Entry:
        # Data folders shared by many people are often read-only; then nothing is remembered, only found anew.
        if self._remembers and os.access(self._folder, os.W_OK):
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


def _seen(entry: Entry, identity: Identity) -> Entry:
    """The entry with what the file system says of its file now."""
    return replace(
        entry,
        size=identity.size,
        mtime_ns=identity.modified_ns,
        inode=identity.inode,
        changed_ns=identity.changed_ns,
    )


Obtain = Callable[[Task], Path]
"""Gives the path of a task's dataset, fetching or collecting it first where it is missing."""
Fetch = Callable[[], Iterable[bytes]]
"""Yields the content of the file from the machine that has it, piece by piece."""


def local_file(task: str, sha256: str, candidates: Sequence[Path], fetch: Fetch) -> Path:
    """Path of a file on this machine that holds exactly a task's dataset.

    The first of `candidates` with its content is used. Otherwise it is this machine's copy, in `by-hash/` of
    its data folder, which is fetched where it is missing or damaged: once, however many processes ask.

    Raises
    ------
    WorkFailedError : the copy cannot be written, or something else arrived.
    """
    for path in candidates:
        if _is_at(path, sha256):
            return path
    copy = by_hash(sha256)
    try:
        with _alone(copy):
            if not _is_at(copy, sha256):
                _fetch(task, sha256, copy, fetch)
    except OSError as error:
        raise WorkFailedError(
            f"the dataset of {task} could not be brought to {socket.gethostname()}",
            str(error),
            "Make room there, or start Ray there with BENCH_DATA_DIR set to another folder.",
        ) from error
    return copy


def _is_at(path: Path, sha256: str) -> bool:
    try:
        return path.is_file() and sha256_of_file(path) == sha256
    except BenchError:
        # What cannot be read is not what is looked for; there may be another, and else it is fetched.
        return False


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file's name; processes of this machine that want the same file wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), "name another folder with BENCH_DATA_DIR"):
        # Whoever wrote these was killed: it would still hold the lock.
        for stale in path.parent.glob(f".{path.name}.*.part"):
            stale.unlink()
        yield


def _fetch(task: str, sha256: str, path: Path, fetch: Fetch) -> None:
    with written_whole(path) as temporary:
        with temporary.open("wb") as file:
            for piece in fetch():
                file.write(piece)
        found = sha256_of(temporary)
        if found != sha256:
            raise WorkFailedError(
                f"the dataset of {task} did not arrive as it was when this run began",
                f"SHA-256 {sha256} was expected, {found} came.",
                f"Type `bench data verify {task}` on the machine that this run was started on.",
            )
