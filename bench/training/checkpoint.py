"""Checkpoints of a stack: whole or absent, verified on load, one generation kept in reserve.

A folder holds `state-<n>.safetensors` files and `checkpoint.json`, which names the newest of them and the one
before, each with its hash. The JSON is renamed into place last, so at every instant it points to complete
files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from bench.files import sha256_of, write_text, written_whole

FORMAT = 1
POINTER = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """A saved moment of a stack: its tensors, and what the host remembers (JSON values)."""

    tensors: dict[str, Tensor]
    host: dict[str, Any]


class CheckpointFolder:
    """The checkpoints of one stack.

    Parameters
    ----------
    identity : what the checkpoint is of (configuration hash and seeds); another stack's is not loaded.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity

    def save(self, tensors: Mapping[str, Tensor], host: Mapping[str, object]) -> None:
        """Write a checkpoint and drop all but the previous one."""
        previous = self._generations()[:1]
        number = 1 + max((int(entry["number"]) for entry in previous), default=0)
        path = self.folder / f"state-{number}.safetensors"
        with written_whole(path) as temporary:
            # Copies in row-major order: the format allows neither shared memory nor strides.
            # Written by Python, because save_file hides that a disk is full behind an error of its own.
            temporary.write_bytes(save({name: _own_copy(tensor) for name, tensor in tensors.items()}))
        entry = {"number": number, "file": path.name, "sha256": sha256_of(path), "host": dict(host)}
        pointer = {"format": FORMAT, "identity": self.identity, "generations": [entry, *previous]}
        write_text(self.folder / POINTER, json.dumps(pointer, indent=1))
        kept = {generation["file"] for generation in (entry, *previous)}
        for stale in self._files():
            if stale.name not in kept:
                stale.unlink()

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest intact checkpoint, or None; and a sentence for each that had to be passed over."""
        complaints = []
        for entry in self._generations():
            path = self.folder / entry["file"]
            if not path.is_file():
                complaints.append(f"checkpoint {path.name} is missing")
            elif sha256_of(path) != entry["sha256"]:
                complaints.append(f"checkpoint {path.name} is damaged (its hash differs)")
            else:
                try:
                    return Checkpoint(load_file(path), entry["host"]), complaints
                except SafetensorError as error:
                    complaints.append(f"checkpoint {path.name} cannot be read ({error})")
        return None, complaints

    def remove(self) -> None:
        """Delete the folder's checkpoints; the stack is complete."""
        for path in (self.folder / POINTER, *self._files()):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        """States, and what processes killed while writing left behind."""
        return [*self.folder.glob("state-*.safetensors"), *self.folder.glob(".*.part")]

    def _generations(self) -> list[dict[str, Any]]:
        pointer = read_pointer(self.folder)
        if pointer is None or pointer["identity"] != self.identity:
            return []
        return pointer["generations"]


def _own_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def read_pointer(folder: Path) -> dict[str, Any] | None:
    """The folder's `checkpoint.json`, or None where there is none of this format."""
    path = folder / POINTER
    if not path.is_file():
        return None
    try:
        pointer = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        # Renamed into place whole, so this was not written by us; the caller starts the stack anew.
        return None
    return pointer if isinstance(pointer, dict) and pointer.get("format") == FORMAT else None
