"""Opens dataset files: the one place at which an HDF5 file becomes arrays.

A file is held open from its hash to its last array, so that the bytes that were hashed are the bytes that are
read. Only what lies in the file itself is read: HDF5 follows external links, virtual datasets and external
storage into any other file of the machine, which no hash of this one covers.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import TypeGuard

import h5py
import numpy as np

from bench.errors import BenchError, WorkFailedError
from bench.visible_text import shortened

LARGEST_COLUMN = 4 * 2**30
"""Bytes of a column in memory; ten times the largest of D4RL's."""
LARGEST_FILE = 16 * 2**30
"""Bytes of a file; a hole can make one of any size, and all of it would be hashed."""
LONGEST_TEXT = 64 * 2**10
"""Bytes of a text that says something of a file's making."""
MOST_SOFT_LINKS = 16
"""Soft links on the way to a member; more are a circle."""
RECENT_SECONDS = 2.0
"""A file that changed within this time may change again without another time stamp."""
_LONGEST_REASON = 200
_LONGEST_NAME = 60
_NAMES_TOLD = 12
_DAMAGE = (
    OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError,
    SystemError,
)  # fmt: skip
"""What h5py and NumPy raise over a file that is damaged or hostile."""


@dataclass(frozen=True)
class Identity:
    """What the file system tells a file by; `changed_ns`, unlike the other time, cannot be set back."""

    device: int
    inode: int
    size: int
    """Bytes."""
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """The identity in what `stat` gave."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True)
class _Held:
    """A file held open, equal to another one with the same identity."""

    identity: Identity
    stream: BufferedReader = field(compare=False)


class HeldFile:
    """A regular file, held open."""

    def __init__(self, path: Path, stream: BufferedReader, remedy: str) -> None:
        self.path = path
        self.remedy = remedy
        self.stream = stream
        self.identity = Identity.of(os.fstat(stream.fileno()))
        self._sha256: str | None = None

    @property
    def sha256(self) -> str:
        """Hash of the content, taken once in this process while the file stays as it is.

        Raises
        ------
        BenchError : the file cannot be read to its end.
        """
        if self._sha256 is None:
            held = _Held(self.identity, self.stream)
            recent = time.time() - self.identity.changed_ns / 1e9 < RECENT_SECONDS
            with damage_told(self):
                self._sha256 = _hash_of.__wrapped__(held) if recent else _hash_of(held)
            self.require_unchanged()
        return self._sha256

    def require_unchanged(self) -> None:
        """Raise where the content has changed since the file was opened, or may have."""
        now = Identity.of(os.fstat(self.stream.fileno()))
        if now == self.identity:
            return
        # A file that was only renamed, say, has another time of change and the same content.
        if self._sha256 is None or _hash_of.__wrapped__(_Held(now, self.stream)) != self._sha256:
            raise WorkFailedError(
                f"{self.path} changed while it was being read",
                "Its hash and what was read of it would be of different contents.",
                "Give the same command again when nothing writes to the file.",
            )


class DatasetFile(HeldFile):
    """An HDF5 file, held open; members are found by a path such as `infos/qpos`."""

    def __init__(self, path: Path, stream: BufferedReader, remedy: str) -> None:
        super().__init__(path, stream, remedy)
        with damage_told(self):
            self._content = h5py.File(stream, "r")

    def close(self) -> None:
        """End what HDF5 holds of it."""
        self._content.close()

    def members(self, group: str = "") -> list[str]:
        """Names of what lies in a group, by default at the top, in their order; none of what is no group."""
        with damage_told(self):
            found = self._member(group)
            names = sorted(found) if isinstance(found, h5py.Group) else []
            return [os.fsencode(name).decode(errors="replace") for name in names]

    def names(self) -> str:
        """What lies at the top, for a message."""
        names = self.members()
        told = [shortened(name, _LONGEST_NAME) for name in names[:_NAMES_TOLD]]
        more = [f"{len(names) - _NAMES_TOLD} more"] if len(names) > _NAMES_TOLD else []
        return ", ".join([*told, *more]) or "nothing"

    def __contains__(self, name: str) -> bool:
        return self._dataset(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a member, which is numbers and whole.

        Raises
        ------
        BenchError : it is no numbers, too large, or was never written to its end.
        """
        dataset = self._dataset(name)
        if dataset is None:
            raise BenchError(f"{self.path} lacks {name}", f"It has {self.names()}.", self.remedy)
        with damage_told(self):
            shape, dtype = dataset.shape, dataset.dtype
        if shape is None or dtype.kind not in "biuf" or h5py.check_enum_dtype(dtype) is not None:
            raise BenchError(
                f"{self.path} holds no numbers in {name}",
                f"Its type is {shortened(str(dtype), _LONGEST_NAME)}.",
                self.remedy,
            )
        # In numbers of Python's own, which do not overflow.
        size = dtype.itemsize * int(np.prod([int(length) for length in shape], dtype=object))
        if size > LARGEST_COLUMN:
            raise BenchError(
                f"{self.path} claims {name} of shape {shape}",
                f"That is {size / 2**30:,.0f} GiB; at most {LARGEST_COLUMN // 2**30} are read.",
                self.remedy,
            )
        with damage_told(self):
            missing = size > 0 and not _is_stored(dataset, size)
        if missing:
            raise BenchError(
                f"{self.path} holds less of {name} than its shape {shape} says",
                "What was never written would be read as zeros.",
                self.remedy,
            )
        return shape

    def read(self, name: str) -> np.ndarray:
        """A member's numbers, as stored; raises as `shape`."""
        self.shape(name)
        dataset = self._dataset(name)
        assert dataset is not None  # `shape` has found it
        with damage_told(self):
            return dataset[()]

    def texts(self, group: str) -> dict[str, str]:
        """The short texts of a group, by name; empty where there is no such group."""
        found = {}
        with damage_told(self):
            members = self._member(group)
            for name in members if isinstance(members, h5py.Group) else ():
                member = self._member(f"{group}/{name}")
                if _is_short_text(member):
                    found[name] = member.asstr()[()]
        return found

    def _dataset(self, name: str) -> h5py.Dataset | None:
        member = self._member(name)
        if member is not None and not isinstance(member, h5py.Dataset):
            raise BenchError(
                f"{self.path} holds no numbers in {name}", "It is a group, or something else.", self.remedy
            )
        return member

    def _member(self, name: str) -> h5py.Dataset | h5py.Group | None:
        """What `name` leads to, none of which may lie outside the file; None where there is no such name."""
        with damage_told(self):
            here, parts, followed = self._content["/"], name.split("/"), 0
            while parts:
                part = parts.pop(0).encode()
                if part in (b"", b"."):
                    continue
                if not isinstance(here, h5py.Group) or not here.id.links.exists(part):
                    if followed:
                        raise self._outside(name, "a link that leads nowhere")
                    return None
                kind = here.id.links.get_info(part).type
                if kind == h5py.h5l.TYPE_SOFT and followed < MOST_SOFT_LINKS:
                    target, followed = here.id.links.get_val(part).decode(), followed + 1
                    parts = [*target.split("/"), *parts]
                    here = self._content["/"] if target.startswith("/") else here
                elif kind == h5py.h5l.TYPE_HARD:
                    here = here[part]
                else:
                    raise self._outside(name, "a link that leaves the file, or leads in a circle")
            if isinstance(here, h5py.Dataset):
                self._require_own_storage(name, here.id.get_create_plist())
            return here

    def _require_own_storage(self, name: str, creation: h5py.h5p.PropDCID) -> None:
        # Before anything else is asked of the dataset: a virtual one that names itself ends the process.
        if creation.get_layout() == h5py.h5d.VIRTUAL:
            raise self._outside(name, "a virtual dataset, which is put together from others")
        if creation.get_external_count():
            raise self._outside(name, "a dataset that is stored in other files")

    def _outside(self, name: str, what: str) -> BenchError:
        return BenchError(
            f"{name} of {self.path} is {what}",
            "What is read must lie in the file itself, where its hash covers it.",
            self.remedy,
        )


@contextmanager
def held(path: Path, remedy: str = "", absent: str = "") -> Iterator[HeldFile]:
    """Hold a regular file open and see, at the end, that it did not change meanwhile.

    Parameters
    ----------
    remedy, absent : what a person is to do about a file that is no good, and one that is not there.

    Raises
    ------
    BenchError : it is no regular file, or may not be read.
    WorkFailedError : it has changed when the block ends.
    """
    with _stream(path, remedy, absent) as stream:
        file = HeldFile(path, stream, remedy)
        yield file
        file.require_unchanged()


@contextmanager
def opened(path: Path, remedy: str, absent: str = "") -> Iterator[DatasetFile]:
    """As `held`, for an HDF5 file.

    Raises
    ------
    BenchError : as `held`; it is not HDF5, or damaged.
    """
    with _stream(path, remedy, absent) as stream, closing(DatasetFile(path, stream, remedy)) as file:
        yield file
        file.require_unchanged()


def sha256_of_file(path: Path) -> str:
    """Hash of a file's content, taken once in this process while the file stays as it is.

    Raises
    ------
    BenchError : it is no regular file, or cannot be read.
    """
    with held(path) as file:
        return file.sha256


@contextmanager
def damage_told(file: HeldFile) -> Iterator[None]:
    """Turn whatever HDF5 says of a damaged file into one error; for calls of h5py, and nothing else."""
    try:
        yield
    except BenchError:
        raise
    except _DAMAGE as error:
        raise _damaged(file, error) from error


def _damaged(file: HeldFile, error: Exception) -> BenchError:
    size = f"{file.identity.size:,} bytes"
    if "truncated" in str(error):
        why = f"It is truncated, as an interrupted download leaves it: {size}."
    elif "signature" in str(error):
        why = f"It is not an HDF5 file ({size})."
    else:
        said = shortened(" ".join(str(error).split()), _LONGEST_REASON) or type(error).__name__
        why = f"It is damaged. HDF5 says: {said}"
    return BenchError(f"{file.path} cannot be read", why, file.remedy)


@contextmanager
def _stream(path: Path, remedy: str, absent: str) -> Iterator[BufferedReader]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BenchError(f"{path} is no file", "It is a folder, a pipe or a device.", remedy)
        # Should a pipe take its place meanwhile, opening it does not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BenchError(f"no dataset file {path}", "", absent) from error
    except PermissionError as error:
        raise BenchError(f"{path} may not be read", str(error), "Change its permissions.") from error
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read", str(error), remedy) from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BenchError(f"{path} is no file", "It is a folder, a pipe or a device.", remedy)
        if status.st_size > LARGEST_FILE:
            size = f"It has {status.st_size / 2**30:,.0f} GiB"
            raise BenchError(f"{path} is no dataset", f"{size}; D4RL's largest has half a GiB.", remedy)
        yield stream


@lru_cache(maxsize=64)
def _hash_of(held: _Held) -> str:
    held.stream.seek(0)
    return hashlib.file_digest(held.stream, "sha256").hexdigest()


def _is_short_text(member: h5py.Dataset | h5py.Group | None) -> TypeGuard[h5py.Dataset]:
    if not isinstance(member, h5py.Dataset) or member.shape != ():
        return False
    return h5py.check_string_dtype(member.dtype) is not None and member.dtype.itemsize <= LONGEST_TEXT


def _is_stored(dataset: h5py.Dataset, size: int) -> bool:
    """Whether every number of a dataset is in the file."""
    creation = dataset.id.get_create_plist()
    if creation.get_layout() != h5py.h5d.CHUNKED:
        return dataset.id.get_storage_size() >= size
    pieces = [-(-int(length) // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    return dataset.id.get_num_chunks() == int(np.prod(pieces, dtype=object))
