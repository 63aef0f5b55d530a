"""Stored weights: damaged or hostile safetensors under `bench evaluate`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from random import Random

from tests.fuzz.mutation import damaged
from tests.fuzz.outcomes import Case, Place
from tests.fuzz.stores import STORE, WRITTEN, set_cell


def make(number: int, place: Place, random: Random) -> Case:
    """Input `number` of this target."""
    shutil.copytree(place.material / "stores" / "weights", place.work / "weights")
    store = Path(shutil.copy(place.material / "stores" / STORE, place.work / STORE))
    path = next((place.work / "weights").glob("*seed-0*"))
    names = list(_NAMED)
    name = names[number // 2] if number < 2 * len(names) else random.choice((*names, *["bytes"] * len(names)))
    # With the hash that was stored, damage is found; with a hash that fits, the content has to be looked at.
    fitting = bool(number % 2) if number < 2 * len(names) else random.random() < 0.5
    original = path.read_bytes()
    if name == "bytes":
        kind, content = damaged(original, random)
        path.write_bytes(content)
        name = f"bytes: {kind}"
    else:
        _NAMED[name](path, random)
    same = path.is_file() and path.stat().st_size < 1 << 24 and path.read_bytes() == original
    expect = "accepted" if same and not path.is_symlink() else "either" if fitting or same else "refused"
    if fitting and path.is_file() and not same and path.stat().st_size < 1 << 24:
        set_cell(store, "weights", "sha256", hashlib.sha256(path.read_bytes()).hexdigest(), "trial_id = 1")
        set_cell(store, "weights", "size_bytes", path.stat().st_size, "trial_id = 1")
        name += ", with its hash"
    command = ["evaluate", "1", "--episodes", "1", "--store", str(store)]
    return Case(name, command, expect, WRITTEN)


def _header(change: object) -> object:
    """The JSON at the file's head changed."""

    def lay(path: Path, _: Random) -> None:
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        first = next(name for name in header if name != "__metadata__")
        header = change(header, first) or header
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])

    return lay


def _write(content: bytes) -> object:
    return lambda path, _: path.write_bytes(content)


def _tensors(change: object) -> object:
    """Other tensors, well stored."""

    def lay(path: Path, _: Random) -> None:
        from safetensors.torch import load, save

        tensors = load(path.read_bytes())
        path.write_bytes(save({name: tensor.contiguous() for name, tensor in change(tensors).items()}))

    return lay


def _instead(make_it: object) -> object:
    def lay(path: Path, _: Random) -> None:
        path.unlink()
        make_it(path)

    return lay


def _each(change: object) -> object:
    return _tensors(lambda tensors: {name: change(value) for name, value in tensors.items()})


_NAMED = {
    "nothing": lambda path, _: None,
    "empty": _write(b""),
    "a web page": _write(b"<html>404</html>" * 50),
    "a pickle": _write(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello\x94."),
    "an endless header": _write((2**63 - 1).to_bytes(8, "little") + b"{}"),
    "no header": _write((0).to_bytes(8, "little")),
    "header a list": _write((2).to_bytes(8, "little") + b"[]"),
    "no tensors": _tensors(lambda tensors: {}),
    "a tensor less": _tensors(lambda tensors: dict(list(tensors.items())[1:])),
    "a tensor more": _tensors(lambda tensors: tensors | {"odd": next(iter(tensors.values())).clone()}),
    "tensors renamed": _tensors(lambda tensors: {f"odd.{name}": value for name, value in tensors.items()}),
    "tensors transposed": _each(lambda value: value.transpose(-1, -2) if value.ndim > 1 else value),
    "tensors longer": _each(lambda value: value.repeat(2, *[1] * (value.ndim - 1)) if value.ndim else value),
    "tensors scalar": _each(lambda value: value.flatten()[0]),
    "not a number": _each(lambda value: value * float("nan")),
    "infinite": _each(lambda value: value + float("inf")),
    "enormous": _each(lambda value: value * 1e37),
    "integers": _each(lambda value: value.int()),
    "double": _each(lambda value: value.double()),
    "complex": _each(lambda value: value.cfloat()),
    "booleans": _each(lambda value: value.bool()),
    "an unknown type": _header(lambda header, first: header[first].update(dtype="F128")),
    "offsets beyond": _header(lambda header, first: header[first].update(data_offsets=[0, 2**40])),
    "offsets backwards": _header(lambda header, first: header[first].update(data_offsets=[100, 4])),
    "a shape beyond": _header(lambda header, first: header[first].update(shape=[2**40, 2**40])),
    "a negative shape": _header(lambda header, first: header[first].update(shape=[-1])),
    "metadata odd": _header(lambda header, first: header.update(__metadata__={"a": "b" * 1000})),
    "metadata a number": _header(lambda header, first: header.update(__metadata__=7)),
    "a folder": _instead(lambda path: path.mkdir()),
    "a pipe": _instead(lambda path: os.mkfifo(path)),
    "missing": _instead(lambda path: None),
    "a link to /dev/zero": _instead(lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": _instead(lambda path: path.symlink_to("nothing")),
    "a huge hole": _instead(lambda path: (path.touch(), os.truncate(path, 10**12))),
    "a link to itself": _instead(lambda path: path.symlink_to(path.name)),
    "no rights": lambda path, _: path.chmod(0),
}  # fmt: skip
