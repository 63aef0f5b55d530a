"""Checkpoints of a stack: whole or absent, verified on load, one generation kept in reserve.

The process that trains packs its tensors into bytes, which travel to the driver; or it delivers them into a
folder that all machines share, and only their name and hash travel. The driver keeps them in a folder. It
holds `state-<n>.safetensors` files and `checkpoint.json`, which names the newest of them and the one
before, each with its hash and with what the host remembers, all of it under a hash of its own: nothing of a
checkpoint is believed that the hash does not cover. The JSON is renamed into place last, so at every instant
it points to complete files; the one before stays as `previous.json`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from bench.files import write_text, written_whole

FORMAT = 2
"""Of format 1 the hash covered the tensors alone; such a checkpoint is not taken up."""
POINTER = "checkpoint.json"
PREVIOUS = "previous.json"
_STATES = "state-*.safetensors"
_DELIVERIES = "delivered-*.safetensors"
_MARK = "shared-checkpoints.txt"
_MARK_SECONDS = 10.0
"""That another driver may take to write what it has begun."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved moment of a stack: its tensors as a safetensors file, and what the host remembers."""

    content: bytes
    host: dict[str, Any]
    """JSON values."""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], host: Mapping[str, Any]) -> Checkpoint:
        """Pack tensors; they may change afterwards."""
        # Copies in row-major order: the format allows neither shared memory nor strides.
        return cls(save({name: _own_copy(tensor) for name, tensor in tensors.items()}), dict(host))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, on the CPU."""
        return load(self.content)

    @property
    def sha256(self) -> str:
        """Of the tensors as a file."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Delivered:
    """A state that lies in the folder of its stack already, for the driver to keep without reading it."""

    file: str
    sha256: str
    """Of the file."""
    host: dict[str, Any]

    def __post_init__(self) -> None:
        if not Path(self.file).match(_DELIVERIES) or Path(self.file).name != self.file:
            raise ValueError(f"{self.file!r} is no name of a delivery")


@dataclass(frozen=True)
class SharedFolder:
    """A folder that several machines see under one path, for the checkpoints of one store.

    A mark in it names the store, and tells the folder from others at that path: of a machine that does not
    share it, for example.
    """

    path: Path
    mark: str

    @property
    def owner(self) -> str:
        """The store whose checkpoints it holds."""
        return self.mark.partition("\n")[0]

    @classmethod
    def marked(cls, path: Path, owner: str) -> SharedFolder:
        """The folder with its mark; both are made where they are missing, the mark for a store.

        Raises
        ------
        OSError : it cannot be written.
        """
        path.mkdir(parents=True, exist_ok=True)
        try:
            with (path / _MARK).open("x", encoding="utf-8") as file:
                file.write(f"{owner}\n{secrets.token_hex(16)}\n")
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            pass  # of this driver's last run, or of another driver
        until = time.monotonic() + _MARK_SECONDS
        while not (mark := _mark_in(path)):
            if time.monotonic() > until:
                raise OSError(errno.EINVAL, "Empty", str(path / _MARK))
            time.sleep(0.1)
        return cls(path, mark)

    def is_seen_here(self) -> bool:
        """Whether it lies at this path on this machine too."""
        return _mark_in(self.path) == self.mark


def _mark_in(folder: Path) -> str:
    try:
        return (folder / _MARK).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


@dataclass(frozen=True)
class _Generation:
    """One checkpoint as the pointer names it."""

    number: int
    file: str
    sha256: str
    """Of the file."""
    host: dict[str, Any]

    def __post_init__(self) -> None:
        # A name of our own making and no other: it is opened, and others of its kind are deleted.
        if type(self.number) is not int or self.number < 1 or self.file != _state_name(self.number):
            raise ValueError("it names another file than its own")
        if not isinstance(self.host, dict):
            raise TypeError("it does not hold what the host remembers")


class _UnreadableError(Exception):
    """A file is there, but cannot be believed: why, to be read after its name."""


class _UnfitError(_UnreadableError):
    """A file is whole, but nothing in this folder can be taken up."""


class CheckpointFolder:
    """The checkpoints of one stack.

    Parameters
    ----------
    identity : what the checkpoint is of (configuration hash and seeds); another stack's is not loaded.
    of : what they are called that they are of, in sentences for people.
    """

    def __init__(self, folder: Path, identity: str, of: str = "stack") -> None:
        self.folder = folder
        self.identity = identity
        self._of = of
        self._damaged: set[int] = set()
        """Generations that were found damaged; they are not kept in reserve."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and drop all but the previous one."""

        def write(path: Path) -> None:
            with written_whole(path) as temporary:
                temporary.write_bytes(checkpoint.content)

        self._keep(checkpoint.sha256, checkpoint.host, write)

    def deliver(self, checkpoint: Checkpoint) -> Delivered:
        """Write a checkpoint's state for another process, which may be on another machine, to keep."""
        name = _DELIVERIES.replace("*", secrets.token_hex(8))
        with written_whole(self.folder / name) as temporary:
            temporary.write_bytes(checkpoint.content)
        return Delivered(name, checkpoint.sha256, checkpoint.host)

    def keep(self, delivered: Delivered) -> None:
        """Keep a state that was delivered as `save` does, by its name alone; again it changes nothing.

        Raises
        ------
        FileNotFoundError : it is not there.
        """
        known, _ = self._generations()
        if known and not (self.folder / delivered.file).exists() and known[0].sha256 == delivered.sha256:
            return

        def rename(path: Path) -> None:
            try:
                (self.folder / delivered.file).replace(path)
            except FileNotFoundError:
                # An earlier attempt was broken off, by a full disk say, before the pointer named it.
                if not path.is_file():
                    raise

        self._keep(delivered.sha256, delivered.host, rename)

    def _keep(self, digest: str, host: dict[str, Any], put: Callable[[Path], None]) -> None:
        """Name what `put` puts at a path as the newest checkpoint; drop all but the previous one."""
        known, _ = self._generations()
        previous = [generation for generation in known if generation.number not in self._damaged][:1]
        number = 1 + max((generation.number for generation in known), default=0)
        newest = _Generation(number, _state_name(number), digest, host)
        text = self._pointer([newest, *previous])
        for name in (newest.file, PREVIOUS, POINTER):
            _make_way(self.folder / name)
        put(self.folder / newest.file)
        if known:
            write_text(self.folder / PREVIOUS, self._pointer(known))
        write_text(self.folder / POINTER, text)
        kept = {generation.file for generation in (newest, *previous)}
        for stale in self._files():
            if stale.name not in kept:
                stale.unlink(missing_ok=True)

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest intact checkpoint, or None; and a sentence for each that had to be passed over."""
        generations, complaints = self._generations()
        for generation in generations:
            try:
                content = _content(self.folder / generation.file)
                if hashlib.sha256(content).hexdigest() == generation.sha256:
                    return Checkpoint(content, generation.host), complaints
                complaints.append(f"checkpoint {generation.file} is damaged (its hash differs)")
            except FileNotFoundError:
                complaints.append(f"checkpoint {generation.file} is missing")
            except _UnreadableError as error:
                complaints.append(f"checkpoint {generation.file} {error}")
            self._damaged.add(generation.number)
        return None, complaints

    def remove(self) -> None:
        """Delete the folder's checkpoints; the stack is complete."""
        # The reserve goes first: alone it would be taken for what is left of a damaged checkpoint.
        for path in (self.folder / PREVIOUS, self.folder / POINTER, *self._files()):
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        """States, and what processes left behind that were killed while writing, or before it was kept."""
        found = [path for kind in (_STATES, _DELIVERIES, ".*.part") for path in self.folder.glob(kind)]
        return [path for path in found if path.is_symlink() or not path.is_dir()]

    def _generations(self) -> tuple[list[_Generation], list[str]]:
        """What the pointer names, the newest first; and what is wrong with it."""
        complaints: list[str] = []
        for name in (POINTER, PREVIOUS):
            try:
                return self._read(name), complaints
            except FileNotFoundError:
                if name == POINTER and not self._is_begun():
                    return [], []
                if name == POINTER:
                    complaints.append(f"{POINTER} is missing")
            except _UnfitError as error:
                return [], [f"{name} {error}; the {self._of} starts anew"]
            except _UnreadableError as error:
                complaints.append(f"{name} {error}")
        complaints[-1] += f"; the {self._of} starts anew"
        return [], complaints

    def _is_begun(self) -> bool:
        """Whether there was a pointer once: killed in its very first save, a process leaves but a state."""
        others = (path for path in self.folder.glob(_STATES) if path.name != _state_name(1))
        return (self.folder / PREVIOUS).exists() or any(others)

    def _pointer(self, generations: Sequence[_Generation]) -> str:
        """The text of a pointer, with the hash of all that it says."""
        said = {
            "format": FORMAT,
            "identity": self.identity,
            "generations": [asdict(generation) for generation in generations],
        }
        return json.dumps(said | {"sha256": _hash_of(said)}, indent=1)

    def _read(self, name: str) -> list[_Generation]:
        """What one of the pointers says.

        Raises
        ------
        FileNotFoundError : there is none.
        _UnreadableError : it is damaged, of another version of bench, or another stack's.
        """
        content = _content(self.folder / name)
        try:
            found = json.loads(content.decode("utf-8"))
            if "sha256" not in found and found["format"] == 1:
                raise _UnfitError("is of an older version of bench, whose hash did not cover all of it")
            digest = found.pop("sha256")
            if digest != _hash_of(found):
                raise _UnreadableError("is damaged (its hash differs)")
            if found["format"] != FORMAT:
                raise _UnfitError("is of another version of bench")
            if found["identity"] != self.identity:
                raise _UnfitError(f"belongs to another {self._of}")
            generations = [_Generation(**entry) for entry in found["generations"]]
            numbers = [generation.number for generation in generations]
            if not numbers or numbers != sorted(set(numbers), reverse=True):
                raise ValueError("it does not name its checkpoints from the newest on")
            return generations
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise _UnreadableError("is damaged (it does not hold what a checkpoint does)") from error


def _state_name(number: int) -> str:
    return f"state-{number}.safetensors"


def _hash_of(said: Mapping[str, Any]) -> str:
    # Metrics may be NaN, which JSON proper does not have; Python's has.
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _content(path: Path) -> bytes:
    """What a file of ours holds; a link is not followed, and no pipe is waited for.

    Raises
    ------
    FileNotFoundError : nothing is there.
    _UnreadableError : it is no file, or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _UnreadableError("is no file, but a folder, a link or a device")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise _UnreadableError(f"cannot be read ({error.strerror})") from error


def _make_way(path: Path) -> None:
    """Rename what is no file where one is to be written, a folder or a link: it may be somebody's."""
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            return
    except (FileNotFoundError, NotADirectoryError):
        return
    asides = (path.with_name(f"{path.name}.aside-{number}") for number in count(1))
    path.rename(next(aside for aside in asides if not os.path.lexists(aside)))


def _own_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
