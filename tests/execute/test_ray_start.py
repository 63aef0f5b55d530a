"""`bench run` through Ray on odd machines: strange working folders, no home, no room; and who listens."""

import fcntl
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bench.execute import ray_start
from bench.execute.ray_tune import last_exception
from bench.store.process_lock import is_held
from tests.execute.processes import descendants
from tests.execute.sameness import rows
from tests.execute.tiny import ROOT, ended, typed

EXITS = "import sys\nsys.exit('usage: bench.py FILE')\n"
RAISES = "raise RuntimeError('not the module that was meant')\n"


@pytest.fixture
def strange_folder(tmp_path):
    """A researcher's own folder: packages and modules of their own under the names of ours and of others."""
    folder = tmp_path / "strange"
    for name, content in (("algorithms", ""), ("bench", EXITS)):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(content)
    for name in ("gymnasium", "types", "random", "torch", "ray"):
        (folder / f"{name}.py").write_text(RAISES)
    return folder


def installed_bench(arguments, folder, data, **environment):
    """The command as it is installed, which does not look into the folder it is started from."""
    values = os.environ | {"BENCH_DATA_DIR": str(data), "OMP_NUM_THREADS": "1"} | environment
    values = {name: value for name, value in values.items() if value is not None}
    command = [sys.executable, "-P", "-m", "bench", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=values, start_new_session=True, **pipes)


def one_trial(executor, store="bench.sqlite"):
    return typed("--executor", executor, "--seeds", "0", "--store", store)


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_nothing_is_imported_from_the_folder_one_stands_in(executor, strange_folder, tiny_data):
    code, output = ended(installed_bench(one_trial(executor), strange_folder, tiny_data))
    assert code == 0, output
    assert "Traceback" not in output
    assert rows(strange_folder / "bench.sqlite", "SELECT state FROM trials") == [("finished",)]


@pytest.mark.slow
def test_a_checkout_that_is_run_where_it_lies_runs_on_its_workers_too(tiny_data, tmp_path):
    """Whatever bench is installed beside it."""
    checkout = tmp_path / "checkout"
    unneeded = shutil.ignore_patterns(".*", "tests", "docs", "demo", "__pycache__")
    shutil.copytree(ROOT, checkout, ignore=unneeded)
    with (checkout / "bench" / "execute" / "stack.py").open("a") as file:
        file.write("# One line more.\n")
    values = os.environ | {"BENCH_DATA_DIR": str(tiny_data), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench", *one_trial("ray")]
    done = subprocess.run(command, cwd=checkout, env=values, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr


BROKEN_WORKER = """
import os, sys
if any("default_worker.py" in part for part in sys.orig_argv):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == {name!r}:
                {deed}
    sys.meta_path.insert(0, Finder())
"""
NOT_THERE = "raise ModuleNotFoundError(f'No module named {name!r}')"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "deed", "told"),
    [
        ("algorithms.base", NOT_THERE, "No module named 'algorithms.base'"),
        ("bench.execute", NOT_THERE, "No module named 'bench.execute'"),
        ("bench.execute", "os._exit(3)", "no worker can reach"),
        ("bench.execute.ray_tune", "os._exit(3)", "no worker gets as far"),
    ],
)
def test_a_worker_that_cannot_import_ends_the_run_with_the_reason(name, deed, told, tmp_path, tiny_data):
    """Which is no failure of a trial: none had been begun, and the same command goes on with all of them."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN_WORKER.format(name=name, deed=deed))
    process = installed_bench(one_trial("ray"), tmp_path, tiny_data, PYTHONPATH=str(tmp_path))
    code, output = ended(process)
    assert code == 1, output
    assert told in output
    assert "Traceback" not in output
    assert rows(tmp_path / "bench.sqlite", "SELECT message FROM failures") == []
    assert rows(tmp_path / "bench.sqlite", "SELECT state FROM trials WHERE state = 'finished'") == []


CUT_OFF = """
import sys
from pathlib import Path
if any("default_worker.py" in part for part in sys.orig_argv):
    class Finder:
        asked = 0
        def find_spec(self, name, path=None, target=None):
            if name == "bench.execute.stack":
                import ray
                self.get, ray.get = ray.get, self.cut_off
        def cut_off(self, *arguments, **options):
            from ray.exceptions import RaySystemError
            if sys._getframe(1).f_globals["__name__"] == "bench.execute.ray_mailbox":
                self.asked += 1
                mark = Path({mark!r})
                if self.asked == 3 and not mark.exists():
                    mark.touch()
                    raise RaySystemError("the network is down")
            return self.get(*arguments, **options)
    sys.meta_path.insert(0, Finder())
"""


@pytest.mark.slow
def test_a_worker_that_cannot_reach_its_driver_has_its_stack_taken_up_again(tmp_path, tiny_data):
    (tmp_path / "sitecustomize.py").write_text(CUT_OFF.format(mark=str(tmp_path / "was cut off")))
    process = installed_bench(one_trial("ray"), tmp_path, tiny_data, PYTHONPATH=str(tmp_path))
    code, output = ended(process)
    assert code == 0, output
    assert (tmp_path / "was cut off").exists()
    assert "seed 0: its process was lost (bench.execute.messages.ChannelError: the driver cannot be" in output
    assert "retry 1 of 3" in output
    assert "Other drivers" not in output
    assert rows(tmp_path / "bench.sqlite", "SELECT state FROM trials") == [("finished",)]


def listeners(processes):
    """Addresses at which these processes listen for TCP, in the kernel's own writing."""
    sockets = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(str(descriptor.readlink()))
            except OSError:
                continue  # it has been closed
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                found.append(local.partition(":")[0])
    return found


NO_HOME = """
import pwd
def nobody(user): raise KeyError(user)
pwd.getpwuid = nobody
"""


def test_ray_of_a_run_here_listens_to_this_machine_alone_and_leaves_nothing(tiny_data, tmp_path):
    """Also for a user that the machine does not know and that has no home, as a container's may be."""
    (tmp_path / "sitecustomize.py").write_text(NO_HOME)
    # Short, for Ray's sockets lie below it.
    temporary = Path(tempfile.mkdtemp(prefix="t-"))
    command = typed("--executor", "ray", "--seeds", "0", "--store", "b.sqlite", train_iterations=4000)
    environment = {
        "HOME": None,
        "PYTHONPATH": str(tmp_path),
        "RAY_TMPDIR": str(temporary),
        "RAY_AUTH_MODE": None,
    }
    process = installed_bench(command, tmp_path, tiny_data, **environment)
    while not any(tmp_path.glob("checkpoints/*")) and not rows_of(tmp_path / "b.sqlite"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    found = listeners([process.pid, *descendants(process.pid)])
    assert len(found) >= 4
    here = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert set(found) <= here
    process.terminate()
    code, output = ended(process)
    assert code == 143, output
    temporary.rmdir()


def rows_of(store):
    made = store.exists() and rows(store, "SELECT 1 FROM sqlite_master WHERE name = 'executions'")
    return made and rows(store, "SELECT 1 FROM executions")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"RAY_TMPDIR": "/proc/nowhere"}, "/proc/nowhere"),
        pytest.param({"RAY_TMPDIR": "{folder}/" + "long/" * 30}, "RAY_TMPDIR", marks=pytest.mark.slow),
    ],
)
def test_a_machine_on_which_ray_does_not_start_is_told_in_a_sentence(environment, told, tiny_data, tmp_path):
    environment = {name: value.format(folder=tmp_path) for name, value in environment.items()}
    for value in environment.values():
        if value.startswith(str(tmp_path)):
            Path(value).mkdir(parents=True)
    code, output = ended(installed_bench(one_trial("ray"), tmp_path, tiny_data, **environment))
    assert code in (1, 2), output
    assert "Ray does not start on this machine" in output
    assert told in output
    assert "--executor local" in output
    assert "Traceback" not in output


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    old = time.time() - 2 * ray_start.NEW_SECONDS
    for name in ("bench-killed", "bench-at-work", "bench-other", "another"):
        (tmp_path / name / "session").mkdir(parents=True)
        if name != "bench-other":
            (tmp_path / name / ray_start.LOCK).touch()
        os.utime(tmp_path / name, (old, old))
    (tmp_path / "bench-new").mkdir()
    (tmp_path / "bench-new" / ray_start.LOCK).touch()
    (tmp_path / "bench-link").symlink_to(tmp_path / "another")
    with (tmp_path / "bench-at-work" / ray_start.LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with ray_start.scratch_folder() as mine:
            assert mine.parent == tmp_path
            assert is_held(mine / ray_start.LOCK)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"bench-at-work", "bench-other", "another", "bench-new", "bench-link"}


def test_a_long_usual_folder_gives_way_to_one_whose_sockets_fit(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr(ray_start.tempfile, "tempdir", str(long))
    with ray_start.scratch_folder() as folder:
        assert len(str(folder)) < 40


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "Failure # 1\nTraceback ...\n  File x\nImportError: no module 'a'\n\n",
            "ImportError: no module 'a'",
        ),
        ("ray.exceptions.RayError: one\n  ValueError: two\nand more", "ValueError: two"),
        ("The actor died.", "The actor died."),
        ("", "it does not say why"),
    ],
)
def test_the_reason_of_a_lost_worker_is_the_last_exception_that_is_named(text, reason):
    assert last_exception(text) == reason


def test_nothing_stands_behind_the_last_line_on_a_terminal():
    script = (
        "from bench.cli.output import readable_output\n"
        "from bench.execute import ray_start\n"
        "with readable_output():\n"
        "    from ray.autoscaler._private import cli_logger\n"
        "    ray_start._leave_colours_alone()\n"
        "    print('the last line')\n"
    )
    terminal, stdout = pty.openpty()
    subprocess.run([sys.executable, "-c", script], stdout=stdout, check=True)
    os.close(stdout)
    shown = os.read(terminal, 1000)
    os.close(terminal)
    assert shown == b"the last line\r\n"
