"""Checkpoints of a stack: whole or absent, verified on load, one generation kept in reserve.

The process that trains packs its tensors into bytes, which may travel; the driver keeps them in a folder. It
holds `state-<n>.safetensors` files and `checkpoint.json`, which names the newest of them and the one
before, each with its hash and with what the host remembers, all of it under a hash of its own: nothing of a
checkpoint is believed that the hash does not cover. The JSON is renamed into place last, so at every instant
it points to complete files; the one before stays as `previous.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
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
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity
        self._damaged: set[int] = set()
        """Generations that were found damaged; they are not kept in reserve."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and drop all but the previous one."""
        known, _ = self._generations()
        previous = [generation for generation in known if generation.number not in self._damaged][:1]
        number = 1 + max((generation.number for generation in known), default=0)
        digest = hashlib.sha256(checkpoint.content).hexdigest()
        newest = _Generation(number, _state_name(number), digest, checkpoint.host)
        text = self._pointer([newest, *previous])
        for name in (newest.file, PREVIOUS, POINTER):
            _make_way(self.folder / name)
        with written_whole(self.folder / newest.file) as temporary:
            temporary.write_bytes(checkpoint.content)
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
        """States, and what processes killed while writing left behind."""
        found = [*self.folder.glob(_STATES), *self.folder.glob(".*.part")]
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
                return [], [f"{name} {error}; the stack starts anew"]
            except _UnreadableError as error:
                complaints.append(f"{name} {error}")
        complaints[-1] += "; the stack starts anew"
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
                raise _UnfitError("belongs to another stack")
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
