"""The data folder: folders that cannot be, and files that reach a machine once and whole."""

import hashlib
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from bench.data.folder import data_folder, local_file
from bench.errors import BenchError, WorkFailedError


@pytest.mark.parametrize("variable", ["BENCH_DATA_DIR", "D4RL_DATASET_DIR"])
@pytest.mark.parametrize(
    "folder",
    ["~nosuchuser", "~nosuchuser/d4rl", "x" * 5000, "x/" * 2600, "x" * 300],
    ids=["no such user", "below no such user", "a long name", "a long path", "a name of 300"],
)
def test_a_folder_that_cannot_be(monkeypatch, variable, folder):
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    monkeypatch.setenv(variable, folder)
    with pytest.raises(BenchError, match=variable) as caught:
        data_folder()
    assert caught.value.do_this.startswith(f"Set {variable} to a folder")
    assert len(str(caught.value)) < 400


def test_without_a_home_one_has_to_be_named(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("BENCH_DATA_DIR", "D4RL_DATASET_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(homeless))
    with pytest.raises(BenchError, match="no home folder: set BENCH_DATA_DIR"):
        data_folder()


def test_a_folder_that_may_not_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    assert data_folder() == tmp_path.resolve()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(BenchError, match="may not be read"):
        data_folder()


def test_a_folder_that_is_yet_to_be_made(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "a" / "b"))
    assert data_folder() == (tmp_path / "a" / "b").resolve()


CONTENT = bytes(range(256)) * 400
PIECES = [CONTENT[i : i + 30_000] for i in range(0, len(CONTENT), 30_000)]
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WANTED = ("hopper-medium-v2", SHA256)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The data folder of this machine."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def never():
    raise AssertionError("nothing is to be fetched")


def test_a_candidate_is_used_for_its_content_not_for_its_name(tmp_path, folder):
    other, shorter, right = tmp_path / "other", tmp_path / "shorter", tmp_path / "right"
    other.write_bytes(CONTENT[:-1] + b"?")
    shorter.write_bytes(CONTENT[:-1])
    right.write_bytes(CONTENT)
    endless, pipe = tmp_path / "endless", tmp_path / "pipe"
    endless.touch()
    os.truncate(endless, 10**12)
    os.mkfifo(pipe)
    wrong = [tmp_path / "missing", tmp_path, other, shorter, endless, pipe]
    assert local_file(*WANTED, [*wrong, right], never) == right
    assert not folder.exists()


def test_a_file_that_is_nowhere_is_fetched_once(tmp_path, folder):
    path = local_file(*WANTED, [tmp_path / "missing"], lambda: iter(PIECES))
    assert path == folder / "by-hash" / f"{SHA256}.hdf5"
    assert path.read_bytes() == CONTENT
    assert local_file(*WANTED, [], never) == path


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"?", b""])
def test_a_damaged_copy_is_fetched_again(damage):
    path = local_file(*WANTED, [], lambda: iter(PIECES))
    path.write_bytes(damage)
    assert local_file(*WANTED, [], lambda: iter(PIECES)).read_bytes() == CONTENT


def test_another_content_than_was_promised_is_refused_and_not_kept(folder):
    with pytest.raises(WorkFailedError, match="hopper-medium-v2 did not arrive as it was") as refused:
        local_file(*WANTED, [], lambda: iter([*PIECES, b"!"]))
    assert SHA256 in refused.value.why
    assert hashlib.sha256(CONTENT + b"!").hexdigest() in refused.value.why
    assert [path.suffix for path in (folder / "by-hash").iterdir()] == [".lock"]


def test_a_sender_that_breaks_off_leaves_nothing(folder):
    def broken():
        yield PIECES[0]
        raise ConnectionResetError("the other machine is gone")

    with pytest.raises(WorkFailedError, match="the other machine is gone"):
        local_file(*WANTED, [], broken)
    assert [path.suffix for path in (folder / "by-hash").iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made_is_told(folder):
    folder.write_text("a file where the data folder should be")
    with pytest.raises(WorkFailedError, match="BENCH_DATA_DIR"):
        local_file(*WANTED, [], lambda: iter(PIECES))


def _ask(log: Path, seconds: float) -> None:
    def slowly():
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        for piece in PIECES:
            time.sleep(seconds)
            yield piece

    assert local_file(*WANTED, [], slowly).read_bytes() == CONTENT


def test_processes_that_ask_at_once_fetch_once(tmp_path):
    log = tmp_path / "fetched"
    fork = multiprocessing.get_context("fork")
    asking = [fork.Process(target=_ask, args=(log, 0.05)) for _ in range(4)]
    for process in asking:
        process.start()
    for process in asking:
        process.join(60)
    assert [process.exitcode for process in asking] == [0] * 4
    assert len(log.read_text().split()) == 1


def test_a_fetch_that_is_killed_is_taken_over_and_cleared_away(tmp_path, folder):
    log = tmp_path / "fetched"
    fetching = multiprocessing.get_context("fork").Process(target=_ask, args=(log, 60))
    fetching.start()
    while not any(folder.glob("by-hash/.*.part")):
        assert fetching.is_alive()
        time.sleep(0.01)
    os.kill(fetching.pid, signal.SIGKILL)
    fetching.join(60)
    path = local_file(*WANTED, [], lambda: iter(PIECES))
    assert path.read_bytes() == CONTENT
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".hdf5", ".lock"]
