"""Checkpoints: whole or absent, whatever happens while they are written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.training.checkpoint import Checkpoint, CheckpointFolder

ROOT = Path(__file__).parents[2]


def tensors(number=0):
    generator = torch.Generator().manual_seed(number)
    base = torch.randn(3, 4, generator=generator)
    return {
        "single": base,
        "double": torch.randn(2, 3, generator=generator, dtype=torch.float64),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0]),
        "counter": torch.tensor(number, dtype=torch.int64),
        "alive": torch.tensor([True, False]),
        "scalar": torch.tensor(0.1, dtype=torch.float64),
        "view": base[1:],  # shares memory with another entry
        "turned": base.T,
        "empty": torch.zeros(0, 3),
    }


def pointer(folder):
    return json.loads((folder / "checkpoint.json").read_text())


def assert_same_bits(loaded, expected):
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape, name
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_round_trip(tmp_path):
    folder = CheckpointFolder(tmp_path / "stack", "dtql seeds 0-1")
    assert folder.load() == (None, [])
    host = {"phase": 1, "step": 20, "scores": [1.5, 2.0], "note": "ä"}
    folder.save(Checkpoint.of(tensors(), host))
    checkpoint, complaints = CheckpointFolder(tmp_path / "stack", "dtql seeds 0-1").load()
    assert complaints == []
    assert checkpoint.host == host
    assert_same_bits(checkpoint.tensors(), tensors())
    assert torch.signbit(checkpoint.tensors()["odd"][2])


def test_newest_of_two_generations(tmp_path):
    folder = CheckpointFolder(tmp_path, "a")
    for number in range(5):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
        assert folder.load()[0].host == {"number": number}
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 4  # two states and two pointers; nothing half-written
    assert {entry["host"]["number"] for entry in pointer(tmp_path)["generations"]} == {3, 4}


def newest(folder):
    return folder / pointer(folder)["generations"][0]["file"]


def torn(path):
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [torn, flipped, Path.unlink])
def test_damaged_newest_gives_the_one_before(tmp_path, damage):
    folder = CheckpointFolder(tmp_path, "a")
    for number in range(2):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    name = newest(tmp_path).name
    damage(tmp_path / name)
    checkpoint, complaints = folder.load()
    assert checkpoint.host == {"number": 0}
    assert_same_bits(checkpoint.tensors(), tensors(0))
    assert len(complaints) == 1
    assert name in complaints[0]
    # Saving goes on from there, and never writes over what the pointer names.
    folder.save(Checkpoint.of(tensors(2), {"number": 2}))
    assert folder.load()[0].host == {"number": 2}


def test_a_damaged_generation_is_not_kept_in_reserve(tmp_path):
    folder = CheckpointFolder(tmp_path, "a")
    for number in range(2):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    torn(newest(tmp_path))
    folder.load()
    folder.save(Checkpoint.of(tensors(2), {"number": 2}))
    torn(newest(tmp_path))
    assert folder.load()[0].host == {"number": 0}


def test_both_damaged_gives_none_and_two_complaints(tmp_path):
    folder = CheckpointFolder(tmp_path, "a")
    for number in range(2):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    for path in tmp_path.glob("state-*"):
        torn(path)
    checkpoint, complaints = folder.load()
    assert checkpoint is None
    assert len(complaints) == 2


def test_another_stack_is_not_loaded(tmp_path):
    CheckpointFolder(tmp_path, "seeds 0-1").save(Checkpoint.of(tensors(), {}))
    checkpoint, complaints = CheckpointFolder(tmp_path, "seeds 0-4").load()
    assert checkpoint is None
    assert "another stack" in complaints[0]


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"format": 999, "identity": "a"})])
def test_unreadable_pointer_gives_none(tmp_path, content):
    folder = CheckpointFolder(tmp_path, "a")
    folder.save(Checkpoint.of(tensors(), {}))
    (tmp_path / "checkpoint.json").write_text(content)
    checkpoint, complaints = folder.load()
    assert checkpoint is None
    assert "starts anew" in complaints[0]
    folder.save(Checkpoint.of(tensors(1), {"number": 1}))
    assert folder.load()[0].host == {"number": 1}


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_pointer_gives_the_checkpoint_before(tmp_path, content):
    folder = CheckpointFolder(tmp_path, "a")
    for number in range(3):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    (tmp_path / "checkpoint.json").write_text(content)
    checkpoint, complaints = folder.load()
    assert checkpoint.host == {"number": 1}
    assert checkpoint.content == Checkpoint.of(tensors(1), {}).content
    assert "checkpoint.json is damaged" in complaints[0]
    for number in (3, 4):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    next(tmp_path.glob("state-4.*")).write_bytes(b"")
    assert folder.load()[0].host == {"number": 3}
    folder.remove()
    assert not tmp_path.exists()


def test_remove(tmp_path):
    folder = CheckpointFolder(tmp_path / "stack", "a")
    folder.remove()  # nothing there
    folder.save(Checkpoint.of(tensors(), {}))
    folder.remove()
    assert not (tmp_path / "stack").exists()
    assert folder.load() == (None, [])


def test_failed_write_leaves_the_last_checkpoint(tmp_path):
    folder = CheckpointFolder(tmp_path, "a")
    folder.save(Checkpoint.of(tensors(), {"number": 0}))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TypeError):
        folder.save(Checkpoint.of(tensors(1), {"number": object()}))  # no JSON value
    assert folder.load()[0].host == {"number": 0}
    assert set(before) <= set(tmp_path.iterdir())


KILLED_SAVES = """
# Children save checkpoint after checkpoint and are killed: before their n-th operation on a file (which
# audit events announce), or at some moment. The parent then loads what they left.
import os, signal, sys, time
from pathlib import Path
import torch
from bench.training.checkpoint import Checkpoint, CheckpointFolder

torch.set_num_threads(1)
EVENTS = {"open", "os.rename", "os.remove", "os.chmod", "tempfile.mkstemp", "os.mkdir"}

def save_forever(folder, fatal_event):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in EVENTS and str(folder) in str(arguments[0]):
            seen += 1
            if seen == fatal_event:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    checkpoint, _ = folder_of(folder).load()
    number = -1 if checkpoint is None else checkpoint.host["number"]
    while True:
        number += 1
        state = {"x": torch.full((200, 100), float(number)), "n": torch.tensor(number)}
        folder_of(folder).save(Checkpoint.of(state, {"number": number}))

def folder_of(path):
    return CheckpointFolder(path, "a")

def check(path, expected):
    checkpoint, complaints = folder_of(path).load()
    assert complaints == [], complaints
    if not expected and checkpoint is None:
        return -1
    number = checkpoint.host["number"]
    assert torch.equal(checkpoint.tensors()["x"], torch.full((200, 100), float(number)))
    assert checkpoint.tensors()["n"] == number
    return number

def killed(path, fatal_event, seconds):
    child = os.fork()
    if child == 0:
        save_forever(path, fatal_event)
    if fatal_event is None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL

base = Path(sys.argv[1])
for fatal_event in range(1, 61):  # from an empty folder, through the first saves
    killed(base / f"fresh-{fatal_event}", fatal_event, 0)
    number = check(base / f"fresh-{fatal_event}", fatal_event > 20)
assert number >= 1, number
last = -1
for round_ in range(1, 61):  # always the same folder, with what the killed left in it
    killed(base / "again", None if round_ % 8 == 0 else round_, 0.05)
    number = check(base / "again", last >= 0)
    assert number >= last, (number, last)
    last = number
assert last > 10, last
folder_of(base / "again").save(Checkpoint.of({"x": torch.zeros(1)}, {}))
assert len(list((base / "again").iterdir())) == 4, "what the killed left behind is swept away"
print("survived", last)
"""


def test_killed_at_any_moment(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", KILLED_SAVES, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert "survived" in result.stdout
