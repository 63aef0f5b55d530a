"""Gets D4RL's files, whole and known by their SHA-256 or not at all, and sees to it that a task's dataset is
there.

A file may be had from D4RL's own server, from mirrors, and from folders that hold it under some name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import h5py
import pooch
import requests

from bench.catalog import D4RLDataset, Task
from bench.data.collect import collect, write_generated
from bench.data.folder import Ledger, data_folder, dataset_path
from bench.data.manifest import KnownFile, known_file
from bench.data.reader import obtain, read_file
from bench.errors import BenchError, WorkFailedError
from bench.files import sha256_of, written_whole
from bench.records import Progress
from bench.store.location import without_password
from bench.visible_text import quoted

TIMEOUTS = (10, 60)
"""Seconds to connect and between two pieces, so that being offline is found out soon."""
CHUNK = 1 << 20
"""Bytes per piece."""
MOST_NAMED = 3
"""Files of a folder that are named though they are not the one looked for."""

VARIABLE = "BENCH_D4RL_MIRRORS"
ORIGIN = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
"""Where D4RL's addresses begin; a mirror stands in for this part."""
DEEPEST = 2
"""Levels of folders below the named one that are looked through."""
_SUFFIXES = (".hdf5", ".h5")


@dataclass(frozen=True)
class Fetched:
    """A task's file, and where it was got."""

    path: Path
    source: str | None
    """Address or path; None where it was there already."""


def ensure_dataset(task: Task, progress: Progress | None = None) -> Path:
    """Path of a task's dataset, which is fetched, collected or generated first where it is missing.

    `progress` is called with bytes (fetched) or rows (collected), done and in all.

    Raises
    ------
    BenchError : it is missing and cannot be had; the message says where to put it and which collected twin to
        use meanwhile.
    """
    path = dataset_path(task)
    if path.is_file():
        return path
    if task.added:
        raise BenchError(
            f"the dataset of {task.name} is missing",
            f"It is a file of your own, and belongs at {path}.",
            obtain(task),
        )
    if not isinstance(task.dataset, D4RLDataset):
        if task.generated:
            write_generated(task, path)
        else:
            collect(task, path, progress=progress)
        # Made anew on purpose: another content than that of a file since removed is no error.
        Ledger().look_up(path, accept=True)
        return path
    return fetch(task, progress).path


def fetch(
    task: Task, progress: Progress | None = None, *, overwrite: bool = False, source: str | None = None
) -> Fetched:
    """Get a D4RL file under the task's name: only one whose SHA-256 is the known one gets there.

    Tried in order: files of the data folder under another name, the mirrors of `BENCH_D4RL_MIRRORS`, D4RL's
    server. `progress` is called with bytes done and in all.

    Parameters
    ----------
    overwrite : get it anew where a file is there already; that one stays until the new one is whole.
    source : a folder or an address that is asked in the place of mirrors and of D4RL's server.

    Raises
    ------
    BenchError : the task's data is not D4RL's, a mirror is odd, or the folder cannot be written.
    WorkFailedError : another file is there already, or nothing gave the file; each one's reason is told.
    """
    if not isinstance(task.dataset, D4RLDataset):
        raise BenchError(
            f"{task.name} has no address",
            f"Its data is {task.dataset.source}, not downloaded.",
            obtain(task),
        )
    path, known = dataset_path(task), known_file(task)
    if path.is_file() and not overwrite:
        _require_known(task, path, known)
        return Fetched(path, None)
    attempt = _Attempt(task, task.dataset, path, known, progress)
    try:
        found = attempt.source() if source is None else attempt.named(source)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written", str(error), "Make room, or set BENCH_DATA_DIR to another folder."
        ) from error
    if found is None:
        raise _not_to_be_had(task, task.dataset.url, path, attempt.reasons)
    return Fetched(path, found)


class _Attempt:
    """Tries one source after another, and keeps the reasons of those that failed."""

    def __init__(
        self, task: Task, dataset: D4RLDataset, path: Path, known: KnownFile | None, progress: Progress | None
    ) -> None:
        self._task, self._dataset, self._path, self._known = task, dataset, path, known
        self._progress = progress
        self.reasons: list[str] = []

    def source(self) -> str | None:
        """What gave the file, which is at its place then; None where nothing did."""
        named = mirrors()
        if found := self._from_folder(data_folder(), own=True):
            return found
        for mirror in named:
            if found := self._from_mirror(mirror):
                return found
        return self._from_addresses([self._dataset.url])

    def named(self, text: str) -> str | None:
        """As `source`, of a folder or an address that a person names."""
        mirror = _mirror(text, "--from {}")
        return self._from_folder(data_folder(), own=True) or self._from_mirror(mirror)

    def _from_mirror(self, mirror: str | Path) -> str | None:
        if isinstance(mirror, Path):
            return self._from_folder(mirror, own=False)
        return self._from_addresses(addresses(self._dataset, mirror, self._task.name))

    def _from_addresses(self, urls: list[str]) -> str | None:
        for url in urls:
            try:
                self._take(partial(_download, url))
            except requests.RequestException as error:
                self.reasons.append(f"{url}: {_reason(error)}")
                if isinstance(error, requests.ConnectionError | requests.Timeout):
                    return None  # Another name on the same machine would be waited for just as long.
            except BenchError as error:
                self.reasons.append(f"{url}: {error.what} {error.why}".rstrip())
            except ValueError as error:  # What pooch and requests make of headers that are none.
                self.reasons.append(f"{url}: its answer cannot be read: {error}")
            else:
                return url
        return None

    def _from_folder(self, folder: Path, *, own: bool) -> str | None:
        """The file out of a folder: by its SHA-256, whatever its name; by its name only from a mirror."""
        names = (self._dataset.file_name, f"{self._task.name}.hdf5")
        try:
            found = files_like(folder, names, self._known.bytes if self._known else None)
        except OSError as error:
            if not own:  # The data folder need not be there yet.
                self.reasons.append(f"{folder}: {error.strerror}")
            return None
        reasons = []
        for path in found:
            if path == self._path:
                continue
            try:
                reason = self._doubt(path, own=own)
                if reason is None:
                    self._take_local(path)
                    return str(path)
            except BenchError as error:
                reason = f"{path}: {error.what} {error.why}".rstrip()
            reasons.append(reason)
        if not found and not own:
            name = self._dataset.file_name
            reasons.append(f"{folder}: holds no {name}, nor its content by another name")
        if len(reasons) > MOST_NAMED:
            reasons[MOST_NAMED:] = [f"{folder}: holds {len(reasons) - MOST_NAMED} more of the kind"]
        self.reasons += reasons
        return None

    def _doubt(self, path: Path, *, own: bool) -> str | None:
        """Why a file is not taken; None where it is the known one, or one that a mirror names so."""
        if self._known is None:
            return f"there is {path}: if it is the file, move it to {self._path}" if own else None
        try:
            difference = _difference(path, self._known)
        except OSError as error:
            return f"{path}: {error.strerror}"
        if difference is None:
            return None
        where = f"; to use it all the same, move it to {self._path}" if own and h5py.is_hdf5(path) else ""
        return f"there is {path}, but it is {difference}{where}"

    def _take_local(self, source: Path) -> None:
        """Link the file to its place, which takes neither room nor time, or copy it."""
        if self._known is not None and _linked(source, self._path):
            return
        with source.open("rb") as opened:
            self._take(lambda file: shutil.copyfileobj(opened, file, CHUNK))

    def _take(self, write: Callable[[_Counted], None]) -> None:
        """Have the file written, and let it have its name if it is the known one."""
        with written_whole(self._path) as temporary:
            with temporary.open("wb") as file:
                write(_Counted(file, self._known.bytes if self._known else None, self._progress))
            if self._known is None:
                read_file(temporary, self._task)
            elif difference := _difference(temporary, self._known):
                raise WorkFailedError(f"it gave {difference}")


class _Counted:
    """A file to write to, which tells how far it is and takes no more bytes than it is known to have."""

    def __init__(self, file: BinaryIO, size: int | None, progress: Progress | None) -> None:
        self._file, self._size, self._progress = file, size, progress
        self._done = 0

    def write(self, piece: bytes) -> int:
        self._done += len(piece)
        if self._size is not None and self._done > self._size:
            raise WorkFailedError(f"it gave another file, of more than the known {self._size:,} bytes")
        if self._progress:
            self._progress(self._done, self._size or 0)
        return self._file.write(piece)

    def flush(self) -> None:
        self._file.flush()


def _linked(source: Path, path: Path) -> bool:
    """Whether the file could be linked: not to another disk, on some file systems, or over another file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(source.resolve(), path)
    except OSError:
        return False
    return True


def _download(url: str, file: _Counted) -> None:
    pooch.HTTPDownloader(chunk_size=CHUNK, timeout=TIMEOUTS)(url, file, None)


def _difference(path: Path, known: KnownFile) -> str | None:
    """How a file differs from the known one; None where it is the known one."""
    found = sha256_of(path)
    if found == known.sha256:
        return None
    kind = "another file" if h5py.is_hdf5(path) else "no HDF5 file"
    size = path.stat().st_size
    sizes = f"{size:,} bytes, D4RL's has {known.bytes:,}" if size != known.bytes else "of the same size"
    return f"{kind}: {sizes}; SHA-256 {found}, known {known.sha256}"


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError):
        return f"answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off before the end"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection, or it was lost"
    return str(error)


def _require_known(task: Task, path: Path, known: KnownFile | None) -> None:
    try:
        difference = _difference(path, known) if known else None
    except OSError as error:
        raise BenchError(f"{path} cannot be read", f"{error.strerror}.", "Change its permissions.") from error
    if difference:
        raise WorkFailedError(
            f"the file of {task.name} that is there is not D4RL's",
            f"{path} is {difference}.",
            f"`bench data fetch {task.name} --overwrite` gets D4RL's own in its place; "
            f"`bench data verify {task.name}` says how the contents differ.",
        )


def _not_to_be_had(task: Task, url: str, path: Path, reasons: list[str]) -> WorkFailedError:
    meanwhile = f"; meanwhile use its collected twin: --tasks {task.twin}" if task.twin else ""
    return WorkFailedError(
        f"the dataset of {task.name} is missing and could not be fetched",
        "\n  ".join(f"{reason}." for reason in reasons),
        f"Name another place with --from or in {VARIABLE}, or get {url} and put it at {path}{meanwhile}.",
    )


def mirrors() -> list[str | Path]:
    """The mirrors that `BENCH_D4RL_MIRRORS` names, separated by commas: addresses, and folders as paths.

    Raises
    ------
    BenchError : one is neither an address that can be asked nor a folder.
    """
    texts = (text.strip() for text in os.environ.get(VARIABLE, "").split(","))
    return [_mirror(text, f"mirror {{}} in {VARIABLE}") for text in texts if text]


def addresses(dataset: D4RLDataset, mirror: str, task: str) -> list[str]:
    """Every address to try below a mirror: as D4RL lays its files out, the file's name alone, the task's."""
    laid_out = dataset.url.removeprefix(ORIGIN).lstrip("/") if dataset.url.startswith(ORIGIN) else None
    names = dict.fromkeys((laid_out, dataset.file_name, f"{task}.hdf5"))
    return [f"{mirror}/{name}" for name in names if name]


def files_like(folder: Path, names: tuple[str, ...], size: int | None) -> list[Path]:
    """HDF5 files in a folder or its subfolders of one of the `names`, however written, or of `size` bytes.

    Raises
    ------
    OSError : the folder cannot be looked through.
    """
    plain = {_plain(name) for name in names}
    found = []
    for place, folders, files in os.walk(folder, onerror=_failed_at(folder), followlinks=True):
        if len(Path(place).relative_to(folder).parts) >= DEEPEST:
            folders.clear()
        for name in files:
            path = Path(place, name)
            if path.suffix.lower() not in _SUFFIXES or not path.is_file():
                continue
            if _plain(name) in plain or path.stat().st_size == size:
                found.append(path)
    return sorted(found)


def _failed_at(folder: Path) -> Callable[[OSError], None]:
    def failed(error: OSError) -> None:
        # Subfolders that are closed to this user hold nothing for them.
        if Path(error.filename) == folder:
            raise error

    return failed


def _plain(name: str) -> str:
    """A name as people mistype it: `hopper_medium-v2.hdf5` and `Hopper-medium-v2.h5` are the same."""
    return Path(name.lower().replace("_", "-")).stem


def _mirror(text: str, told: str) -> str | Path:
    """What a person names as a place of files; `told` is what errors call it, with {} where the text goes."""
    odd = partial(_odd, told.format(quoted(without_password(text))))
    try:
        parts = urlsplit(text)
        named = parts.hostname, parts.port
    except ValueError as error:
        raise odd(f"It is no address: {error}.") from error
    if parts.scheme in ("http", "https"):
        if not named[0]:
            raise odd("It names no host.")
        if any(character.isspace() or not character.isprintable() for character in text):
            raise odd("An address holds no space.", "Separate mirrors by commas.")
        if parts.query or parts.fragment:
            raise odd("Behind '?' or '#' no file's name can follow.")
        return text.rstrip("/")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise odd(f"It names a machine, {parts.netloc!r}.", "For example: file:///mnt/d4rl")
        return _folder(unquote(parts.path), odd)
    if "://" in text:
        raise odd(f"Files are not fetched by {parts.scheme or 'nothing'}.")
    return _folder(text, odd)


def _folder(name: str, odd: Callable[..., BenchError]) -> Path:
    if "\0" in name:
        raise odd("It holds a null byte.")
    try:
        folder = Path(name).expanduser()
        there, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError) as error:
        raise odd(f"{getattr(error, 'strerror', None) or error}.") from error
    if is_file:
        raise odd("It is a file.", f"Name its folder: {folder.parent}")
    # A folder that is not mounted today is passed over; anything else that is not there is a slip.
    if not there and not folder.is_absolute():
        raise odd("It is no folder that is there, and an address begins with http:// or https://.")
    return folder


def _odd(what: str, why: str, do_this: str = "") -> BenchError:
    example = f"For example: https://host/d4rl or /mnt/d4rl; in {VARIABLE} both, with a comma between them."
    return BenchError(what, why, do_this or example)
