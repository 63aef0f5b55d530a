"""A Ray cluster of two nodes on this machine that share no file: the second sees empty folders instead."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SECOND_HOSTNAME = "second-node"
START_SECONDS = 60
RAY = Path(sys.executable).with_name("ray")
# A process-id namespace of its own, because killing its first process is what losing a machine is: everything
# on it ends at one instant.
NAMESPACES = ("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass
class Cluster:
    """Two running nodes, one CPU each; the test's process is on the first one's machine."""

    address: str
    hidden: Path
    """Folder that is empty on the second node, apart from what is written there."""
    second: subprocess.Popen

    def on_second(self, path: Path) -> Path:
        """A path as the second node sees it."""
        (inner,) = Path(f"/proc/{self.second.pid}/task/{self.second.pid}/children").read_text().split()
        return Path(f"/proc/{inner}/root") / path.relative_to("/")

    @contextmanager
    def frozen_second(self) -> Iterator[None]:
        """What a long pause of the second machine does: nothing answers, then everything goes on."""
        pids = _descendants(self.second.pid)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def lose_second(self) -> None:
        """What a power cut does to the second machine."""
        self.second.kill()
        self.second.wait()


@contextmanager
def two_nodes(hidden: Path) -> Iterator[Cluster]:
    """Start both nodes; while they run, `bench run --address` needs nothing else in its environment.

    Parameters
    ----------
    hidden : folder of the driver (data, store) that the second node must not see. Its own data lies at the
        same place, in memory.
    """
    skip_without_namespaces()
    # Short, because the path of a socket may have 107 characters.
    session = Path(tempfile.mkdtemp(prefix="ray-"))
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        head = ["--head", f"--port={port}", f"--temp-dir={session}", "--include-dashboard=false"]
        first = _started(_ray_start(*head), hidden / "first.log", dict(os.environ))
        second = None
        try:
            _wait_until_up(first, hidden / "first.log")
            joining = _second_machine(f"127.0.0.1:{port}", [hidden, session, Path("/dev/shm")])
            home = str(hidden / "home")
            own = os.environ | {"HOME": home, "BENCH_DATA_DIR": str(hidden / "data-of-second")}
            second = _started(joining, hidden / "second.log", own)
            _wait_until_up(second, hidden / "second.log")
            yield Cluster(f"127.0.0.1:{port}", hidden, second)
        finally:
            if second is not None:
                second.kill()
                second.wait()
            _end_session(first)
            shutil.rmtree(session, ignore_errors=True)


def skip_without_namespaces() -> None:
    """Skip where this user may not hide folders from a process."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("a second machine is played with Linux namespaces; `unshare` is missing")
    if subprocess.run([*_namespaces(), "true"], capture_output=True).returncode != 0:
        pytest.skip("a second machine is played with Linux namespaces; this user may not make them")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def _namespaces() -> list[str]:
    return [*NAMESPACES, *([] if os.geteuid() == 0 else ["--map-root-user"])]


def _second_machine(address: str, hidden: list[Path]) -> list[str]:
    hide = [f"mount -t tmpfs none {shlex.quote(str(path))}" for path in hidden]
    join = shlex.join(_ray_start(f"--address={address}"))
    return [*_namespaces(), "sh", "-c", " && ".join([*hide, f"hostname {SECOND_HOSTNAME}", f"exec {join}"])]


def _ray_start(*arguments: str) -> list[str]:
    size = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=100000000"]
    # Any free port: both nodes' workers have one address here.
    ports = ["--min-worker-port=0", "--max-worker-port=0"]
    return [str(RAY), "start", "--block", "--disable-usage-stats", *size, *ports, *arguments]


def _started(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen:
    with log.open("w") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )


def _wait_until_up(node: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while "Ray runtime started" not in log.read_text():
        assert node.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def _end_session(node: subprocess.Popen) -> None:
    """End a node and every process that it started, and nothing else."""
    for pid in (node.pid, *_of_session(node.pid)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    node.wait()


def _descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _of_session(leader: int) -> list[int]:
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything; the session is the fourth field after it.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended in the meantime
        if int(fields[3]) == leader:
            members.append(int(stat.parent.name))
    return members
