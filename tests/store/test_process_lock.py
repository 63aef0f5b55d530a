"""Locks: held while the process lives, free at once when it is killed; what else lies there stays."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from bench.data.folder import Ledger, local_file
from bench.errors import BenchError
from bench.store.database import open_store, upgrade_store
from bench.store.process_lock import (
    SWEPT_AFTER_SECONDS,
    LockHeldError,
    held,
    is_alive,
    is_dead,
    locked,
)
from bench.store.writer import Writer
from tests.store.samples import run_record

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from bench.store.process_lock import held
with held(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""
NOTES = "what a person wrote\n"
ROWS = b"rows"
ROWS_SHA256 = hashlib.sha256(ROWS).hexdigest()


def holder(folder: Path, run_id: str) -> subprocess.Popen:
    """A process that holds a run's lock."""
    command = [sys.executable, "-c", HOLD, str(folder), run_id]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def killed(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def test_a_killed_process_is_dead_at_once_and_a_living_one_is_alive(tmp_path: Path) -> None:
    process = holder(tmp_path, "run-1")
    assert is_alive(tmp_path, "run-1")
    assert not is_dead(tmp_path, "run-1")
    killed(process)
    assert is_dead(tmp_path, "run-1")
    assert not is_alive(tmp_path, "run-1")


def test_a_stopped_process_lives(tmp_path: Path) -> None:
    process = holder(tmp_path, "run-1")
    process.send_signal(signal.SIGSTOP)
    assert is_alive(tmp_path, "run-1")
    killed(process)


def test_of_a_run_elsewhere_nothing_is_known(tmp_path: Path) -> None:
    assert not is_dead(tmp_path, "run-1")
    with held(tmp_path, "run-1"):
        assert is_alive(tmp_path, "run-1")
    assert not is_dead(tmp_path, "run-1")  # it ended in order, and holds no claims
    assert not is_alive(tmp_path, "run-1")


def test_what_killed_processes_left_is_swept_away_later_and_nothing_else(tmp_path: Path) -> None:
    living, dead = holder(tmp_path, "living"), holder(tmp_path, "dead")
    killed(dead)
    drivers, here = tmp_path / "drivers", socket.gethostname()
    with held(tmp_path, "fresh"):
        assert is_dead(tmp_path, "dead")  # not yet: somebody may want to take its work over at once
    (drivers / f"notes@{here}.lock").write_text(NOTES)
    (drivers / f"folder@{here}.lock").mkdir()
    (tmp_path / "elsewhere").touch()
    (drivers / f"link@{here}.lock").symlink_to(tmp_path / "elsewhere")
    for path in drivers.iterdir():
        os.utime(path, (path.lstat().st_mtime - 2 * SWEPT_AFTER_SECONDS,) * 2, follow_symlinks=False)
    with held(tmp_path, "later"):
        assert is_dead(tmp_path, "dead")  # however long it had run: this one may go on with its work
    assert {path.name.partition("@")[0] for path in drivers.iterdir()} == {
        "living",
        "notes",
        "folder",
        "link",
    }
    assert (drivers / f"notes@{here}.lock").read_text() == NOTES
    assert (tmp_path / "elsewhere").exists()
    killed(living)


def test_of_a_driver_of_another_machine_nothing_is_known_in_a_folder_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many network file systems do not share locks between machines: its file looks free here."""
    killed(holder(tmp_path, "run-1"))
    assert is_dead(tmp_path, "run-1")
    monkeypatch.setattr("socket.gethostname", lambda: "another-machine")
    assert not is_dead(tmp_path, "run-1")


@pytest.mark.parametrize(
    "run_id", ["../outside", "/outside", "a/../../outside", "nul\0", "x" * 300, "", ".."]
)
def test_a_run_of_any_name_in_a_store_leads_nowhere_else(tmp_path: Path, run_id: str) -> None:
    (tmp_path / f"outside@{socket.gethostname()}.lock").touch()  # free: its driver would be dead
    (tmp_path / "drivers").mkdir()
    assert not is_dead(tmp_path, run_id)
    assert not is_alive(tmp_path, run_id)


def link(path: Path) -> None:
    (path.parent / "behind.txt").write_text(NOTES)
    path.symlink_to(path.parent / "behind.txt")


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "made.txt")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def hard_link(path: Path) -> None:
    (path.parent / "behind.txt").write_text(NOTES)
    path.hardlink_to(path.parent / "behind.txt")


def notes(path: Path) -> None:
    path.write_text(NOTES)


def bound_socket(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as made:  # its name may have 107 characters
        made.bind(path.name)


NO_LOCKS = [link, link_to_nothing, link_to_itself, link_to_a_device, hard_link, notes, bound_socket,
            os.mkfifo, os.mkdir]  # fmt: skip


def write_into_a_store(folder: Path) -> None:
    with open_store(folder / "bench.sqlite") as store, Writer(store):
        pass


def upgrade(folder: Path) -> None:
    upgrade_store(folder / "bench.sqlite")


def note_a_file(folder: Path) -> None:
    Ledger(folder).look_up(folder / "rows")


def copy_a_file(folder: Path) -> None:
    local_file("hopper-medium-v2", ROWS_SHA256, [], lambda: [ROWS])


def begin_a_run(folder: Path) -> None:
    with held(folder, "run-1"):
        pass


LOCKS = {
    write_into_a_store: "bench.sqlite.lock",
    upgrade: "bench.sqlite.lock",
    note_a_file: ".bench-hashes.lock",
    copy_a_file: f"by-hash/{ROWS_SHA256}.lock",
    begin_a_run: f"drivers/run-1@{socket.gethostname()}.lock",
}


@pytest.mark.parametrize("no_lock", NO_LOCKS)
@pytest.mark.parametrize("use", LOCKS)
def test_what_is_no_lock_is_told_and_stays(tmp_path: Path, monkeypatch, empty: Path, use, no_lock) -> None:
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    shutil.copy(empty, tmp_path)
    (tmp_path / "rows").write_bytes(ROWS)
    path = tmp_path / LOCKS[use]
    path.parent.mkdir(exist_ok=True)
    no_lock(path)
    before = path.lstat()
    with pytest.raises(BenchError) as error:
        use(tmp_path)
    assert str(path) in error.value.what
    assert os.path.samestat(path.lstat(), before)
    assert [file.read_text() for file in (path, path.parent / "behind.txt") if file.is_file()] in (
        [],
        [NOTES],
        [NOTES, NOTES],
    )
    assert not (path.parent / "made.txt").exists()


def test_the_folder_of_drivers_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "drivers").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match="is a link"), held(tmp_path, "run-1"):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_took_the_place_of_a_run_s_lock_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "drivers" / f"run-1@{socket.gethostname()}.lock"
    with held(tmp_path, "run-1"):
        path.unlink()
        path.write_text(NOTES)
    assert path.read_text() == NOTES


def test_a_lock_of_another_user_that_can_only_be_read_is_locked_all_the_same(
    tmp_path: Path, monkeypatch
) -> None:
    """As in a folder of data that a group shares; root, as whom tests may run, can write everything."""
    path, opened = tmp_path / "lock", os.open
    path.touch()

    def refusing(name: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(name))
        return opened(name, flags, *mode)

    with locked(path, "leave it"):
        monkeypatch.setattr(os, "open", refusing)
        with (
            pytest.raises(LockHeldError, match="taken"),
            locked(path, "leave it", wait_seconds=0, problem="taken"),
        ):
            pass
    with locked(path, "leave it"):
        pass


def test_a_store_whose_lock_is_gone_works_on(tmp_path: Path) -> None:
    path = tmp_path / "bench.sqlite"
    with open_store(path) as store, Writer(store) as writer:
        (tmp_path / "bench.sqlite.lock").unlink()
        writer.begin_run(run_record())
        writer.end_run("run-1")
