"""What must work on macOS too, played on Linux in a process of its own that lacks what macOS lacks.

And that Windows is refused.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli import stores
from tests.execute.tiny import TASK, TRANSITIONS, typed

CHECKOUT = Path(__file__).resolve().parents[1]

AS_ON_MACOS = """
import builtins, collections, errno, fcntl, importlib, io, json, os, pkgutil, platform, resource, select
import signal, socket, sys, time, types, urllib.request
# Packages of others choose their ways by the platform when they are imported: theirs to get right.
for name in sys.argv[1].split(","):
    importlib.import_module(name)
import psutil
ABSENT = {
    os: "sched_getaffinity sched_setaffinity fdatasync posix_fallocate posix_fadvise pipe2 memfd_create "
        "eventfd pidfd_open copy_file_range splice getrandom setns unshare O_TMPFILE O_PATH O_DIRECT "
        "posix_fadvise sched_setscheduler sched_getparam setresuid getresuid getxattr setxattr",
    select: "epoll",
    time: "CLOCK_BOOTTIME",
    resource: "prlimit RLIMIT_NICE RLIMIT_OFILE",
    signal: "sigwaitinfo sigtimedwait SIGRTMIN SIGPWR SIGCLD",
    socket: "SOCK_CLOEXEC SOCK_NONBLOCK AF_NETLINK AF_PACKET SO_PEERCRED",
    fcntl: "F_OFD_SETLK F_OFD_SETLKW F_ADD_SEALS F_SETPIPE_SZ",
    psutil.Process: "cpu_affinity io_counters",
}
for owner, names in ABSENT.items():
    for name in names.split():
        if hasattr(owner, name):
            delattr(owner, name)
psutil.virtual_memory = lambda: types.SimpleNamespace(total=16 * 2**30)
psutil.disk_partitions = lambda all=False: [types.SimpleNamespace(mountpoint="/", fstype="apfs")]
times = collections.namedtuple("scputimes", "user nice system idle")
psutil.cpu_times = lambda: times(*[spent * time.monotonic() for spent in (0.4, 0.0, 0.1, 0.5)])
platform.libc_ver = lambda: ("", "")
import threadpoolctl
threadpoolctl.ThreadpoolController._load_libraries = lambda self: None  # it chose its way, as others do
sys.platform = "darwin"

def without_proc(real):
    def call(path, *arguments, **options):
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(("/proc", "/dev/shm")):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
        return real(path, *arguments, **options)
    return call

os.stat, os.lstat, os.open = without_proc(os.stat), without_proc(os.lstat), without_proc(os.open)
io.open = builtins.open = without_proc(io.open)
"""

EVERY_IMPORT = """
import algorithms, bench
names = [m.name for p in (algorithms, bench) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
names = [name for name in names if not name.endswith(("__main__", "migrations.env"))]  # these run at once
for name in names:
    importlib.import_module(name)
from bench.hardware import describe_hardware, peak_memory_bytes, usable_cores
told = {"modules": len(names), "cores": usable_cores(), "of": os.cpu_count(), "peak": peak_memory_bytes()}
print(json.dumps(told | describe_hardware()))
"""

EVERY_COMMAND = """
from bench.cli import main
for command in json.loads(sys.argv[2]):
    try:
        main(command)
        raise RuntimeError("main always exits")
    except SystemExit as stop:
        print("ENDED", stop.code, *command)
"""

# Imported before the platform changes, so that only this project's own code meets what is changed.
PACKAGES = (
    "psutil,numpy,scipy.stats,torch,h5py,mujoco,gymnasium,pandas,pyarrow.parquet,matplotlib.pyplot,sqlalchemy,"
    "sqlalchemy.dialects.sqlite,alembic.command,alembic.autogenerate,pydantic,typer,rich.console,jinja2,waitress,"
    "yaml,pooch,requests,safetensors.torch,safetensors.numpy,threadpoolctl,importlib.metadata,asyncio,"
    "multiprocessing,concurrent.futures.thread,http.server,ray"
)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="plays macOS on Linux")


def looking(folder: Path) -> list[list[str]]:
    """Commands that show something, of a good store."""
    store, other = stores.store(folder), folder / "other.sqlite"
    reading = [stores.aimed(command, store, other) for command in stores.READING.values()]
    return [
        ["--version"],
        *(["list", what] for what in ("tasks", "suites", "tables", "algorithms")),
        ["show", "bdpo", "hopper-medium-v2"],
        ["report", "--store", str(store), "--format", "html", "--out", str(folder / "page")],
        *(command for command in reading if command[:2] != ["db", "merge"]),
    ]


def working(folder: Path) -> list[list[str]]:
    """From no data to a report."""
    store = ["--store", str(folder / "run.sqlite")]
    timed = ["--algos", "bc", "--tasks", "hopper-medium-v2", "--iterations", "10", "--threads", "1"]
    return [
        ["data", "collect", TASK, "--transitions", str(TRANSITIONS), "--threads", "1"],
        *(["data", command, TASK] for command in ("list", "info")),
        ["data", "verify", TASK, "--replay"],
        [*typed("--executor", "local", "--seeds", "0,1"), *store],
        ["evaluate", "1", "--episodes", "2", *store],
        ["speed", *timed, *store],
        ["status", *store],
        ["report", *store],
        ["check", *store],
        ["db", "export", str(folder / "episodes.parquet"), "--what", "episodes", *store],
    ]


@dataclass(frozen=True)
class Played:
    """What a process did that lacks what macOS lacks: how it described the machine, how commands ended."""

    machine: dict[str, Any]
    looked: list[list[str]]
    worked: list[list[str]]
    ended: list[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Everything in one process, because to import all packages takes longest."""
    folder = tmp_path_factory.mktemp("macos")
    looked, worked = looking(folder), working(folder)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            AS_ON_MACOS + EVERY_IMPORT + EVERY_COMMAND,
            PACKAGES,
            json.dumps(looked + worked),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env=os.environ | {"BENCH_DATA_DIR": str(folder / "data")},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    machine, *lines = done.stdout.splitlines()
    print(done.stdout, done.stderr)  # shown where a test fails
    ended = [line.removeprefix("ENDED ") for line in lines if line.startswith("ENDED")]
    return Played(json.loads(machine), looked, worked, ended)


def successes(commands: list[list[str]]) -> list[str]:
    return [" ".join(["0", *command]) for command in commands]


@on_linux
def test_every_module_is_imported_and_the_machine_described(played: Played) -> None:
    told = played.machine
    assert told["modules"] > 150
    assert told["cores"] == told["of"] >= 1  # no process is bound to some of them
    assert told["memory_gib"] == 16.0
    assert told["cpu"]
    # In the unit of macOS; taken for KiB it were at least a thousand times as much.
    assert told["peak"] < 2**24


@on_linux
def test_list_show_check_and_report_work(played: Played) -> None:
    assert played.ended[: len(played.looked)] == successes(played.looked)


@on_linux
def test_data_is_collected_trained_on_judged_and_reported(played: Played) -> None:
    assert played.ended[len(played.looked) :] == successes(played.worked)


ON_WINDOWS = """
import sys
for name in ("fcntl", "resource", "termios"):
    sys.modules[name] = None  # to import it is an ImportError
import signal
del signal.SIGHUP, signal.SIGALRM, signal.setitimer, signal.pthread_sigmask
sys.platform = "win32"
from bench.__main__ import main
main()
"""


@pytest.mark.parametrize("arguments", [["list", "tasks"], ["--help"], []])
def test_windows_is_refused_in_one_line(arguments):
    done = subprocess.run(
        [sys.executable, "-c", ON_WINDOWS, *arguments],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("bench: Windows is not supported") and "WSL" in line
