"""Checkpoint folders: whatever is damaged, the state is one that was saved, or none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from random import Random

from tests.fuzz.mutation import damaged
from tests.fuzz.outcomes import Case, Place, WrongAcceptedError

IDENTITY = "dtql seeds 0-1"
GENERATIONS = 3


def saved(number: int) -> object:
    """The checkpoint of one moment."""
    import torch

    from bench.training.checkpoint import Checkpoint

    tensors = {"weights": torch.arange(60.0).reshape(4, 15) + number, "step": torch.tensor(number)}
    host = {"phase": 1, "step": 20 * number, "scores": [1.5 + number, None, float(number)], "note": "ä"}
    return Checkpoint.of(tensors, host)


def make(number: int, place: Place, random: Random) -> Case:
    """Input `number` of this target."""
    from bench.training.checkpoint import CheckpointFolder

    folder = place.work / "stack"
    writer = CheckpointFolder(folder, IDENTITY)
    for generation in range(GENERATIONS):
        writer.save(saved(generation))
    names = list(_NAMED)
    name = names[number] if number < len(names) else random.choice((*names, *["bytes"] * len(names)))
    if name == "bytes":
        path = random.choice(sorted(path for path in folder.iterdir() if path.is_file()))
        kind, content = damaged(path.read_bytes(), random)
        path.write_bytes(content)
        name = f"{path.suffix.lstrip('.')} bytes: {kind}"
    elif name == "a value of the JSON":
        name = _odd_value(
            folder / random.choice(("checkpoint.json", "checkpoint.json", "previous.json")), random
        )
    else:
        _NAMED[name](folder)
    return Case(name, lambda: _load(folder), may_change=("work/stack/*", "work/stack"))


def _load(folder: Path) -> None:
    """Load, and save over it as the stack that goes on would."""
    from bench.training.checkpoint import CheckpointFolder

    wanted = [saved(generation) for generation in range(GENERATIONS)]
    opened = CheckpointFolder(folder, IDENTITY)
    found, complaints = opened.load()
    if found is not None and found not in wanted:
        raise WrongAcceptedError(f"loaded what was never saved: {found.host}")
    if found != wanted[-1] and not complaints and (folder / "checkpoint.json").exists():
        raise WrongAcceptedError("passed over the newest checkpoint without a word")
    opened.save(saved(7))
    again, _ = CheckpointFolder(folder, IDENTITY).load()
    if again != saved(7):
        raise WrongAcceptedError("what was saved over the damage cannot be loaded")


def _write(name: str, content: bytes) -> object:
    return lambda folder: (folder / name).write_bytes(content)


def _edit(change: object) -> object:
    """The pointer's JSON changed."""

    def lay(folder: Path) -> None:
        path = folder / "checkpoint.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return lay


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*"))


def _odd_value(path: Path, random: Random) -> str:
    """Any one value of the JSON replaced."""
    content = json.loads(path.read_text())
    places = list(_places(content, ()))
    where = random.choice(places)
    inner = content
    for key in where[:-1]:
        inner = inner[key]
    odd = random.choice(
        (None, 0, 1, -1, 2.5, "", "x", [], {}, [None], {"a": 1}, True, 10**40, float("nan"), "../x",
        "/etc/passwd",
         "x" * 5000, "\ud800")
    )  # fmt: skip
    if random.random() < 0.2:
        del inner[where[-1]]
        odd = "nothing"
    else:
        inner[where[-1]] = odd
    path.write_text(json.dumps(content), encoding="utf-8")
    named = ".".join("n" if isinstance(key, int) else key for key in where)
    return f"{path.name}: {named} of {type(odd).__name__}"


def _places(value: object, at: tuple) -> object:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from _places(inner, (*at, key))


def _folder_instead(name: str) -> object:
    def lay(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return lay


def _swapped(folder: Path) -> None:
    first, second = _states(folder)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def _linked_state(folder: Path) -> None:
    newest = _states(folder)[-1]
    newest.rename(folder.parent / "moved")
    newest.symlink_to("../moved")


_NAMED = {
    "nothing": lambda folder: None,
    "a value of the JSON": None,
    "step another": _edit(lambda content: content["generations"][0]["host"].update(step=41)),
    "a score another": _edit(lambda content: content["generations"][0]["host"]["scores"].__setitem__(0,
    99.0)),
    "a score more": _edit(lambda content: content["generations"][0]["host"]["scores"].append(1.0)),
    "host empty": _edit(lambda content: content["generations"][0].update(host={})),
    "host a list": _edit(lambda content: content["generations"][0].update(host=[1])),
    "host of the older": _edit(
        lambda content: content["generations"][0].update(host=content["generations"][1]["host"])
    ),
    "generations swapped": _edit(lambda content: content["generations"].reverse()),
    "generations none": _edit(lambda content: content.update(generations=[])),
    "generations an object": _edit(lambda content: content.update(generations={"0": 1})),
    "generations texts": _edit(lambda content: content.update(generations=["a", "b"])),
    "number a text": _edit(lambda content: content["generations"][0].update(number="x")),
    "number unhashable": _edit(lambda content: content["generations"][0].update(number=[1])),
    "file outside": _edit(lambda content: content["generations"][0].update(file="../../outside/x")),
    "file a folder": _edit(lambda content: content["generations"][0].update(file=".")),
    "file a device": _edit(lambda content: content["generations"][0].update(file="/dev/zero")),
    "file with zero byte": _edit(lambda content: content["generations"][0].update(file="a\x00b")),
    "file a number": _edit(lambda content: content["generations"][0].update(file=7)),
    "file too long": _edit(lambda content: content["generations"][0].update(file="x" * 5000)),
    "hash of nothing": _edit(lambda content: content["generations"][0].update(sha256="")),
    "hash a number": _edit(lambda content: content["generations"][0].update(sha256=7)),
    "format another": _edit(lambda content: content.update(format=99)),
    "identity another": _edit(lambda content: content.update(identity="another")),
    "identity missing": _edit(lambda content: content.pop("identity")),
    "pointer empty": _write("checkpoint.json", b""),
    "pointer a list": _write("checkpoint.json", b"[]"),
    "pointer a number": _write("checkpoint.json", b"7"),
    "pointer null": _write("checkpoint.json", b"null"),
    "pointer too deep": _write("checkpoint.json", b"[" * 100_000),
    "pointer not UTF-8": _write("checkpoint.json", b"\xff\xfe{}"),
    "pointer an odd number": _write("checkpoint.json", b'{"format": 1' + b"0" * 5000 + b"}"),
    "pointer missing": lambda folder: (folder / "checkpoint.json").unlink(),
    "pointer a folder": _folder_instead("checkpoint.json"),
    "previous a folder": _folder_instead("previous.json"),
    "previous missing": lambda folder: (folder / "previous.json").unlink(),
    "pointer and previous damaged": lambda folder: [
        (folder / name).write_bytes(b"{") for name in ("checkpoint.json", "previous.json")
    ],
    "newest state missing": lambda folder: _states(folder)[-1].unlink(),
    "states missing": lambda folder: [path.unlink() for path in _states(folder)],
    "states swapped": _swapped,
    "a state linked": _linked_state,
    "newest state a folder": lambda folder: _folder_instead(_states(folder)[-1].name)(folder),
    "newest state a pipe": lambda folder: (_states(folder)[-1].unlink(),
    os.mkfifo(folder / "state-3.safetensors")),
    "a state from another stack": lambda folder: shutil.copy(_states(folder)[0],
    folder / "state-99.safetensors"),
    "odd neighbours": lambda folder: [
        (folder / name).write_bytes(b"x") for name in ("state-x.safetensors", "state-.safetensors", ".x.part")
    ],
    "no rights": lambda folder: (folder / "checkpoint.json").chmod(0),
}  # fmt: skip
