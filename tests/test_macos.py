"""What must work on macOS too, played on Linux in a process of its own that lacks what macOS lacks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import stores

CHECKOUT = Path(__file__).resolve().parents[1]

AS_ON_MACOS = """
import builtins, errno, importlib, io, json, os, pkgutil, resource, select, sys, time, types, urllib.request
# Packages of others choose their ways by the platform when they are imported: theirs to get right.
for name in sys.argv[1].split(","):
    importlib.import_module(name)
import psutil
ABSENT = {
    os: "sched_getaffinity sched_setaffinity fdatasync posix_fallocate posix_fadvise pipe2 memfd_create "
        "eventfd pidfd_open copy_file_range splice getrandom setns unshare O_TMPFILE O_PATH O_DIRECT",
    select: "epoll",
    time: "CLOCK_BOOTTIME",
    resource: "prlimit",
    psutil.Process: "cpu_affinity",
}
for owner, names in ABSENT.items():
    for name in names.split():
        if hasattr(owner, name):
            delattr(owner, name)
psutil.virtual_memory = lambda: types.SimpleNamespace(total=16 * 2**30)
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


def on_macos(code, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_MACOS + code, PACKAGES, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="plays macOS on Linux")
def test_every_module_is_imported_and_the_machine_described(tmp_path):
    told = json.loads(on_macos(EVERY_IMPORT, cwd=tmp_path)[-1])
    assert told["modules"] > 150
    assert told["cores"] == told["of"] >= 1  # no process is bound to some of them
    assert told["memory_gib"] == 16.0
    assert told["cpu"]
    assert (
        told["peak"] < 2**24
    )  # in the unit of macOS; taken for KiB it were at least a thousand times as much


@pytest.mark.skipif(sys.platform != "linux", reason="plays macOS on Linux")
def test_list_show_check_and_report_work(tmp_path):
    store, other = stores.store(tmp_path), tmp_path / "other.sqlite"
    reading = [stores.aimed(command, store, other) for command in stores.READING.values()]
    wanted = [
        ["--version"],
        *(["list", what] for what in ("tasks", "suites", "tables", "algorithms")),
        ["show", "bdpo", "hopper-medium-v2"],
        ["report", "--store", str(store), "--format", "html", "--out", str(tmp_path / "page")],
        *(command for command in reading if command[:2] != ["db", "merge"]),
    ]
    ended = [line for line in on_macos(EVERY_COMMAND, json.dumps(wanted), cwd=tmp_path) if "ENDED" in line]
    assert ended == [" ".join(["ENDED", "0", *command]) for command in wanted]
