"""Ctrl-C, SIGTERM and SIGHUP at any moment of a command: the exit code, a sentence, and nothing half-done."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.execute.sameness import faults_of, rows
from tests.execute.tiny import ROOT, TASK, completed, ended, started, typed, usual_signals

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
BEGIN = "import os, signal, sys, time\nfrom bench.signals import handled_signals, saving_at_signals\n"


def script(body, *, before=""):
    """A process that runs these lines as a command's; they may send signals to themselves."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    code = f"{before}\n{BEGIN}with handled_signals():\n{lines}"
    options = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 60, "preexec_fn": usual_signals}
    return subprocess.run([sys.executable, "-c", code], **options)


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_signal_ends_a_command_that_has_nothing_to_save_with_a_sentence(number):
    done = script(f"os.kill(os.getpid(), {int(number)})\ntime.sleep(30)")
    assert (done.returncode, done.stderr) == (CODES[number], "Interrupted. The same command continues.\n")


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_command_that_ends_as_interrupted_tells_by_which_signal(number):
    body = f"with saving_at_signals(lambda: None):\n    os.kill(os.getpid(), {int(number)})\nsys.exit(130)"
    assert script(body).returncode == CODES[number]


@pytest.mark.parametrize("seconds", [0.3, 30])
def test_an_import_is_not_broken_off_by_an_exception_which_it_would_tell_as_its_own(tmp_path, seconds):
    """As modules written in C do."""
    (tmp_path / "written_in_c.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        f"    end = time.monotonic() + {seconds}\n"
        "    while time.monotonic() < end:\n"
        "        time.sleep(0.01)\n"
        "except KeyboardInterrupt:\n"
        "    raise ImportError('initialization failed') from None\n"
    )
    done = script(f"sys.path.insert(0, {str(tmp_path)!r})\nimport written_in_c\ntime.sleep(30)")
    assert (done.returncode, done.stderr) == (130, "Interrupted. The same command continues.\n")


def test_a_library_whose_own_process_the_signal_ended_is_no_defect():
    """A terminal signals all processes of a command; GLFW's import asks one of its own what to load."""
    body = """
from importlib import util
from bench.cli import main
class Loader:
    def create_module(self, spec): return None
    def exec_module(self, module):
        os.kill(os.getpid(), signal.SIGINT)
        raise ImportError("Failed to load a shared library.")
class Finder:
    def find_spec(self, name, path=None, target=None):
        return util.spec_from_loader(name, Loader()) if name == "bench.cli.status" else None
sys.meta_path.insert(0, Finder())
main(["status", "--store", "none.sqlite"])
"""
    done = script(body)
    assert (done.returncode, done.stderr) == (130, "Interrupted. The same command continues.\n")


def test_what_was_started_with_nohup_outlives_its_terminal():
    ignored = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)"
    done = script("os.kill(os.getpid(), signal.SIGHUP)\nprint('goes on')", before=ignored)
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def test_a_second_ctrl_c_ends_at_once_although_work_is_being_saved():
    body = """
with saving_at_signals(lambda: print("saving", flush=True)):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)  # as `timeout` does: in the same moment
    print("still saving", flush=True)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGHUP)  # a terminal that closes may say so twice
    print("still saving", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("never")
"""
    done = script(body)
    assert (done.returncode, done.stdout.split("\n")) == (130, ["saving", *["still saving"] * 2, ""])


def test_a_signal_that_comes_as_the_process_ends_changes_nothing():
    body = "import atexit\natexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))\nprint('done')"
    done = script(body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_signal_that_comes_between_import_and_work_is_not_lost():
    """It was noted while something was imported; by the time it is looked at, there is work to save."""
    body = """
from importlib import util
class Loader:
    def create_module(self, spec): return None
    def exec_module(self, module): os.kill(os.getpid(), signal.SIGTERM)
class Finder:
    def find_spec(self, name, path=None, target=None):
        return util.spec_from_loader(name, Loader()) if name == "noted" else None
sys.meta_path.insert(0, Finder())
import noted
with saving_at_signals(lambda: print("saving", flush=True)):
    time.sleep(0.3)
sys.exit(130)
"""
    done = script(body)
    assert (done.returncode, done.stdout) == (143, "saving\n")


# The commands


def wait_until_handled(process):
    """Until then Python itself starts, and no code of ours can do anything about it."""
    mask = 1 << (signal.SIGHUP - 1)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if int(status.partition("SigCgt:")[2].split()[0], 16) & mask:
            return
        time.sleep(0.002)


def sent(command, data, number, seconds, whom=os.kill):
    """Exit code and output of a command that got a signal so long after its first line."""
    process = started(command, data)
    wait_until_handled(process)
    time.sleep(seconds)
    if process.poll() is None:
        whom(process.pid, number)
    return ended(process)


def run_command(store, executor, iterations):
    return typed("--executor", executor, "--seeds", "0-1", "--store", store, "--checkpoint-seconds", "0.2",
                 train_iterations=iterations)  # fmt: skip


def check(executor, data, folder, moments, iterations=150, *, ends_with=None):
    """Send each signal in turn; at the end the same command must complete what is left.

    With `ends_with` it is the same but for this executor.
    """
    store = folder / "bench.sqlite"
    command = run_command(store, executor, iterations)
    for index, seconds in enumerate(moments):
        number = list(CODES)[index % 3]
        # Also as a terminal and `timeout` do: to all processes of the command.
        whom = os.killpg if index % 2 else os.kill
        code, output = sent(command, data, number, seconds, whom)
        told = f"{number.name} after {seconds:.2f} s: {code}\n{output}"
        assert code in (CODES[number], 0), told
        assert code == 0 or "Interrupted" in output, told
        assert "Traceback" not in output, told
        assert [*folder.rglob("*.part")] == [], told
    code, output = completed(run_command(store, ends_with or executor, iterations), data)
    assert code == 0, output
    assert faults_of(store) == []
    assert rows(store, "SELECT COUNT(*) FROM trials WHERE state = 'finished'") == [(2,)]


def test_a_run_bears_each_signal_in_its_first_seconds(tiny_data, tmp_path):
    check("local", tiny_data, tmp_path, [0.3, 0.9, 2.0])


@pytest.mark.slow
def test_a_run_bears_each_signal_at_every_moment(tiny_data, tmp_path):
    check("local", tiny_data, tmp_path, [0.05 * step for step in range(120)], iterations=20_000)


@pytest.mark.slow
def test_a_run_through_ray_bears_each_signal_at_every_moment(tiny_data, tmp_path):
    check("ray", tiny_data, tmp_path, [0.25 * step for step in range(60)], iterations=20_000)


@pytest.mark.slow
def test_a_run_through_ray_bears_a_signal_while_ray_starts(tiny_data, tmp_path):
    # That the same command goes on is asked of every moment in the slow tests; Ray takes long to start.
    check("ray", tiny_data, tmp_path, [3.0], iterations=40, ends_with="local")


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_a_collection_that_is_broken_off_leaves_no_file(tmp_path, seconds):
    out = tmp_path / "data.hdf5"
    command = ["data", "collect", TASK, "--transitions", "100000", "--out", str(out)]
    code, output = sent(command, tmp_path, signal.SIGINT, seconds)
    assert (code, "Interrupted" in output, "Traceback" in output) == (130, True, False), output
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_terminal_is_closed_saves_its_state(tiny_data, tmp_path):
    """What it prints has nowhere to go any more."""
    store = tmp_path / "bench.sqlite"
    command = run_command(store, "local", 20_000)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.environ |= {"BENCH_DATA_DIR": str(tiny_data), "OMP_NUM_THREADS": "1"}
        os.execv(sys.executable, [sys.executable, "-m", "bench", *command])
    os.set_blocking(terminal, False)
    while not any(tmp_path.glob("checkpoints/*/checkpoint.json")):
        drained(terminal)
        time.sleep(0.02)
    os.close(terminal)  # the kernel sends SIGHUP
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert rows(store, "SELECT DISTINCT outcome FROM executions") == [("stopped",)]


def test_a_run_whose_output_nobody_reads_any_more_saves_its_state(tiny_data, tmp_path):
    """`bench run | tee log`: Ctrl-C ends both, and `tee` is gone first."""
    store = tmp_path / "bench.sqlite"
    process = started(run_command(store, "local", 20_000), tiny_data)
    while not any(tmp_path.glob("checkpoints/*/checkpoint.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) in (130, 141)
    assert rows(store, "SELECT DISTINCT outcome FROM executions") == [("stopped",)]


def drained(terminal):
    try:
        return os.read(terminal, 65536)
    except BlockingIOError:
        return b""
