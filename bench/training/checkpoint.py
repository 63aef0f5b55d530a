"""Checkpoints of a stack: whole or absent, verified on load, one generation kept in reserve.

The process that trains packs its tensors into bytes, which may travel; the driver keeps them in a folder. It
holds `state-<n>.safetensors` files and `checkpoint.json`, which names the newest of them and the one
before, each with its hash. The JSON is renamed into place last, so at every instant it points to complete
files; the one before stays as `previous.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from bench.files import write_text, written_whole

FORMAT = 1
POINTER = "checkpoint.json"
PREVIOUS = "previous.json"


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
        previous = [entry for entry in known if entry["number"] not in self._damaged][:1]
        number = 1 + max((int(entry["number"]) for entry in known), default=0)
        path = self.folder / f"state-{number}.safetensors"
        with written_whole(path) as temporary:
            temporary.write_bytes(checkpoint.content)
        digest = hashlib.sha256(checkpoint.content).hexdigest()
        entry = {"number": number, "file": path.name, "sha256": digest, "host": checkpoint.host}
        pointer = {"format": FORMAT, "identity": self.identity, "generations": [entry, *previous]}
        if known:
            older = pointer | {"generations": known}
            write_text(self.folder / PREVIOUS, json.dumps(older, indent=1))
        write_text(self.folder / POINTER, json.dumps(pointer, indent=1))
        kept = {generation["file"] for generation in (entry, *previous)}
        for stale in self._files():
            if stale.name not in kept:
                stale.unlink(missing_ok=True)

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest intact checkpoint, or None; and a sentence for each that had to be passed over."""
        generations, complaints = self._generations()
        for entry in generations:
            path = self.folder / entry["file"]
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                complaints.append(f"checkpoint {path.name} is missing")
            else:
                if hashlib.sha256(content).hexdigest() == entry["sha256"]:
                    return Checkpoint(content, entry["host"]), complaints
                complaints.append(f"checkpoint {path.name} is damaged (its hash differs)")
            self._damaged.add(entry["number"])
        return None, complaints

    def remove(self) -> None:
        """Delete the folder's checkpoints; the stack is complete."""
        for path in (self.folder / POINTER, self.folder / PREVIOUS, *self._files()):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        """States, and what processes killed while writing left behind."""
        return [*self.folder.glob("state-*.safetensors"), *self.folder.glob(".*.part")]

    def _generations(self) -> tuple[list[dict[str, Any]], list[str]]:
        """What the pointer names, the newest first; and what is wrong with it."""
        pointer = self._read(POINTER)
        if pointer is None:
            return [], []
        complaints = []
        if not pointer:
            # Renamed into place whole, so something else wrote or damaged it.
            complaints.append(f"{POINTER} is damaged")
            pointer = self._read(PREVIOUS)
        if not pointer:
            return [], [f"{POINTER} is damaged; the stack starts anew"]
        if pointer.get("format") != FORMAT:
            return [], [f"{POINTER} is of another version of bench; the stack starts anew"]
        if pointer["identity"] != self.identity:
            return [], [f"{POINTER} belongs to another stack; this one starts anew"]
        return pointer["generations"], complaints

    def _read(self, name: str) -> dict[str, Any] | None:
        """What one of the JSON files holds; empty where it is damaged, None where it is missing."""
        try:
            found = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _own_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
