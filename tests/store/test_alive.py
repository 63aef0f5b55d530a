"""Signs of life: held while the process lives, free at once when it is killed, swept away later."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from bench.store.alive import SWEPT_AFTER_SECONDS, is_gone, sign_of_life

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from bench.store.alive import sign_of_life
with sign_of_life(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def held(folder, run_id):
    command = [sys.executable, "-c", HOLD, str(folder), run_id]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_process_is_gone_at_once_and_a_living_one_is_not(tmp_path):
    process = held(tmp_path, "run-1")
    assert not is_gone(tmp_path, "run-1")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert is_gone(tmp_path, "run-1")


def test_a_stopped_process_is_not_gone(tmp_path):
    process = held(tmp_path, "run-1")
    process.send_signal(signal.SIGSTOP)
    assert not is_gone(tmp_path, "run-1")
    process.kill()
    process.communicate()


def test_of_a_run_elsewhere_nothing_is_known(tmp_path):
    assert not is_gone(tmp_path, "run-1")
    with sign_of_life(tmp_path, "run-1"):
        pass
    assert not is_gone(tmp_path, "run-1")  # it ended in order, and holds no claims


def test_what_killed_processes_left_is_swept_away_later_and_nothing_else(tmp_path):
    living, killed = held(tmp_path, "living"), held(tmp_path, "killed")
    killed.kill()
    killed.communicate()
    with sign_of_life(tmp_path, "fresh"):
        assert is_gone(tmp_path, "killed")  # not yet: somebody may want to take its work over at once
    for path in (tmp_path / "drivers").iterdir():
        os.utime(path, (path.stat().st_mtime - 2 * SWEPT_AFTER_SECONDS,) * 2)
    with sign_of_life(tmp_path, "later"):
        assert is_gone(tmp_path, "killed")  # however long it had run: this one may go on with its work
    assert {path.name.partition("@")[0] for path in (tmp_path / "drivers").iterdir()} == {"living"}
    living.kill()
    living.communicate()


def test_of_a_driver_of_another_machine_nothing_is_known_in_a_folder_of_both(tmp_path, monkeypatch):
    """Many network file systems do not share locks between machines: its file looks free here."""
    here = held(tmp_path, "run-1")
    here.kill()
    here.communicate()
    assert is_gone(tmp_path, "run-1")
    monkeypatch.setattr("socket.gethostname", lambda: "another-machine")
    assert not is_gone(tmp_path, "run-1")
