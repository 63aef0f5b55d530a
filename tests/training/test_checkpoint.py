"""Checkpoints: whole or absent, whatever happens while they are written."""

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.training.checkpoint import Checkpoint, CheckpointFolder, Delivered, SharedFolder

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


def bits_of(path, sample=1):
    """The content with one bit flipped, for every bit, or for one of so many."""
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), sample):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


@pytest.mark.parametrize(("name", "sample"), [("checkpoint.json", 7), ("state-2.safetensors", 3)])
def test_a_flipped_bit_anywhere_never_gives_another_content(tmp_path, name, sample):
    folder = CheckpointFolder(tmp_path, "a")
    hosts = [
        {"position": {"phase": 0, "step": step}, "history": {"returns": [0.1 + step, float("inf")]}}
        for step in range(2)
    ]
    saved = [
        Checkpoint.of({"weight": torch.full((3,), float(step))}, host) for step, host in enumerate(hosts)
    ]
    for checkpoint in saved:
        folder.save(checkpoint)
    noticed = 0
    for content in bits_of(tmp_path / name, sample):
        (tmp_path / name).write_bytes(content)
        loaded, complaints = CheckpointFolder(tmp_path, "a").load()
        if complaints:
            noticed += 1
            assert loaded == saved[0]
        else:
            assert loaded == saved[1]  # a letter that JSON reads either way, such as that of an exponent
    assert noticed >= 0.98 * len(list(bits_of(tmp_path / name, sample)))


def test_a_flipped_bit_in_the_only_checkpoint_is_said_and_it_starts_anew(tmp_path):
    folder = CheckpointFolder(tmp_path, "a")
    folder.save(Checkpoint.of(tensors(), {"number": 4}))
    path = tmp_path / "checkpoint.json"
    path.write_text(path.read_text().replace('"number": 4', '"number": 5'))
    assert folder.load() == (None, ["checkpoint.json is damaged (its hash differs); the stack starts anew"])


def signed(said):
    """A pointer with its right hash, whatever it says."""
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    return json.dumps(said | {"sha256": digest})


ENTRY = {"number": 1, "file": "state-1.safetensors", "sha256": "0" * 64, "host": {}}
WHOLE = {"format": 2, "identity": "a", "generations": [ENTRY]}
ODD_POINTERS = {
    "a list": "[1, 2]",
    "a number": "7",
    "no hash": json.dumps(WHOLE),
    "a hash that is a number": json.dumps(WHOLE | {"sha256": 5}),
    "no generations": signed({"format": 2, "identity": "a"}),
    "a generation that is a text": signed(WHOLE | {"generations": ["state-1.safetensors"]}),
    "generations that are a number": signed(WHOLE | {"generations": 1}),
    "nothing": signed(WHOLE | {"generations": []}),
    "the older one first": signed(
        WHOLE | {"generations": [ENTRY, ENTRY | {"number": 2, "file": "state-2.safetensors"}]}
    ),
    "a number as text": signed(WHOLE | {"generations": [ENTRY | {"number": "1"}]}),
    "a path elsewhere": signed(WHOLE | {"generations": [ENTRY | {"file": "../state-1.safetensors"}]}),
    "another file of the folder": signed(WHOLE | {"generations": [ENTRY | {"file": "checkpoint.json"}]}),
    "a host that is a list": signed(WHOLE | {"generations": [ENTRY | {"host": []}]}),
    "a key too many": signed(WHOLE | {"generations": [ENTRY | {"mode": 1}]}),
    "nested without end": "[" * 100_000,
    "a number too long": '{"format": ' + "1" * 5000 + "}",
    "not UTF-8": b'{"format": 2, "identity": "\xff"}',
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("content", ODD_POINTERS.values(), ids=ODD_POINTERS)
def test_a_pointer_of_another_shape_is_said_and_the_one_before_is_used(tmp_path, content):
    folder = CheckpointFolder(tmp_path, "a")
    for number in range(2):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    (tmp_path / "checkpoint.json").write_bytes(content.encode() if isinstance(content, str) else content)
    checkpoint, complaints = CheckpointFolder(tmp_path, "a").load()
    assert checkpoint.host == {"number": 0}
    assert len(complaints) == 1
    assert complaints[0].startswith("checkpoint.json is damaged")


@pytest.mark.parametrize("text", [json.dumps(WHOLE | {"format": 1}), signed(WHOLE | {"format": 3})])
def test_a_checkpoint_of_another_version_is_said_and_not_taken_up(tmp_path, text):
    folder = CheckpointFolder(tmp_path, "a")
    folder.save(Checkpoint.of(tensors(), {}))
    (tmp_path / "checkpoint.json").write_text(text)
    checkpoint, complaints = folder.load()
    assert checkpoint is None
    assert re.fullmatch(r"checkpoint.json is of an.* version of bench.*; the stack starts anew", *complaints)


def as_folder(path):
    path.unlink()
    path.mkdir()


def as_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("instead", [as_folder, as_link, as_pipe])
@pytest.mark.parametrize("name", ["checkpoint.json", "state-2.safetensors"])
def test_what_is_no_file_is_said_and_the_one_before_is_used(tmp_path, name, instead):
    folder = CheckpointFolder(tmp_path, "a")
    for number in range(2):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    instead(tmp_path / name)
    checkpoint, complaints = CheckpointFolder(tmp_path, "a").load()
    assert checkpoint.host == {"number": 0}
    assert len(complaints) == 1
    assert f"{name} is no file" in complaints[0]
    for number in (2, 3):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    assert CheckpointFolder(tmp_path, "a").load()[0].host == {"number": 3}
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(name)]
    assert name != "checkpoint.json" or sorted(left) == [name, f"{name}.aside-1"]
    folder.remove()
    assert not (tmp_path / "checkpoint.json").exists()


def test_a_missing_pointer_is_said_where_there_was_one(tmp_path):
    folder = CheckpointFolder(tmp_path, "a")
    for number in range(2):
        folder.save(Checkpoint.of(tensors(number), {"number": number}))
    (tmp_path / "checkpoint.json").unlink()
    checkpoint, complaints = folder.load()
    assert (checkpoint.host, complaints) == ({"number": 0}, ["checkpoint.json is missing"])
    (tmp_path / "previous.json").unlink()
    assert folder.load() == (None, ["checkpoint.json is missing; the stack starts anew"])


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


# States that another process writes, and the driver keeps by name


def delivered(folder, number):
    """As from a worker's process, which sees the same folder."""
    return CheckpointFolder(folder, "a").deliver(Checkpoint.of(tensors(number), {"number": number}))


def test_what_was_delivered_is_kept_by_its_name_as_what_was_saved(tmp_path):
    by_name, by_content = tmp_path / "by name", tmp_path / "by content"
    for number in range(3):
        CheckpointFolder(by_name, "a").keep(delivered(by_name, number))
        CheckpointFolder(by_content, "a").save(Checkpoint.of(tensors(number), {"number": number}))
    named, saved = ({path.name: path.read_bytes() for path in one.iterdir()} for one in (by_name, by_content))
    assert named == saved
    checkpoint, complaints = CheckpointFolder(by_name, "a").load()
    assert (checkpoint.host, complaints) == ({"number": 2}, [])
    assert_same_bits(checkpoint.tensors(), tensors(2))


def test_a_delivery_counts_for_nothing_until_it_is_kept(tmp_path):
    """Its writer was killed before it could name it, or was refused: the next one clears it away."""
    folder = CheckpointFolder(tmp_path, "a")
    folder.keep(delivered(tmp_path, 1))
    lost = delivered(tmp_path, 2)
    assert folder.load()[0].host == {"number": 1}
    folder.keep(delivered(tmp_path, 3))
    assert not (tmp_path / lost.file).exists()
    assert folder.load()[0].host == {"number": 3}
    with pytest.raises(FileNotFoundError):
        folder.keep(lost)
    assert folder.load()[0].host == {"number": 3}
    delivered(tmp_path, 4)
    folder.remove()
    assert not tmp_path.exists()


def test_a_delivery_that_was_damaged_on_its_way_gives_the_one_before(tmp_path):
    folder = CheckpointFolder(tmp_path, "a")
    folder.keep(delivered(tmp_path, 1))
    second = delivered(tmp_path, 2)
    flipped(tmp_path / second.file)
    folder.keep(second)
    checkpoint, complaints = folder.load()
    assert checkpoint.host == {"number": 1}
    assert len(complaints) == 1


def test_a_delivery_is_kept_once_however_often_it_is_named(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path, "a")
    folder.keep(delivered(tmp_path, 1))
    second = delivered(tmp_path, 2)

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        # When the pointer is to be written; afterwards the same message is dealt with again.
        broken.setattr("bench.training.checkpoint.write_text", full)
        with pytest.raises(OSError, match="No space left"):
            folder.keep(second)
    assert folder.load()[0].host == {"number": 1}
    for _ in range(2):
        folder.keep(second)
    assert [entry["host"]["number"] for entry in pointer(tmp_path)["generations"]] == [2, 1]
    assert folder.load()[0].host == {"number": 2}


@pytest.mark.parametrize("name", ["../delivered-0.safetensors", "/etc/passwd", "state-1.safetensors", ""])
def test_no_other_file_is_taken_for_a_delivery(name):
    with pytest.raises(ValueError, match="no name of a delivery"):
        Delivered(name, "0" * 64, {})


def test_a_shared_folder_is_known_by_its_mark_and_not_by_its_path(tmp_path):
    here = SharedFolder.marked(tmp_path / "here", "the store")
    assert here.is_seen_here()
    assert SharedFolder.marked(tmp_path / "here", "another store") == here
    assert here.owner == "the store"
    # As on a machine where other things, or another driver's checkpoints, lie at that path.
    (tmp_path / "here").rename(tmp_path / "away")
    assert not here.is_seen_here()
    SharedFolder.marked(tmp_path / "here", "the store")
    assert not here.is_seen_here()
