"""Which file systems are known to be a network's, and that only writing there is warned of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.store import sqlite
from bench.store.database import open_store, upgrade_store
from bench.store.sqlite import warn_of_network

# (mount point, kind) as a machine may have them, in the order of its mounts.
MOUNTS = [
    ("/proc", "proc"),
    ("/", "ext4"),
    ("/home", "nfs4"),
    ("/home/me/local disk", "xfs"),
    ("/scratch", "lustre"),
    ("/old", "nfs"),
    ("/windows", "cifs"),
    ("/azure", "smb3"),
    ("/far", "fuse.sshfs"),
    ("/gpfs", "gpfs"),
    ("/beegfs", "beegfs_nodev"),
    ("/ceph", "ceph"),
    ("/host", "9p"),
    ("/gluster", "fuse.glusterfs"),
    ("/afs", "afs"),
    ("/docker", "overlay"),
    ("/backup", "fuse.bindfs"),
    ("/tab\tand\\backslash", "tmpfs"),
]


def warned_of(path: str, mounts: list[tuple[str, str]], monkeypatch, caplog) -> str:
    """Kind of file system that writing the file at `path` warns of; empty where it does not."""
    told = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: told)
    caplog.clear()
    warn_of_network(Path(path))
    return caplog.records[0].args[1] if caplog.records else ""


@pytest.mark.parametrize(
    ("path", "warned"),
    [
        ("/results/bench.sqlite", ""),
        ("/homes/bench.sqlite", ""),
        ("/home/me/bench.sqlite", "nfs4"),
        ("/home/me/local disk/bench.sqlite", ""),
        ("/scratch/me/bench.sqlite", "lustre"),
        ("/old/x", "nfs"),
        ("/windows/x", "cifs"),
        ("/azure/x", "smb3"),
        ("/far/x", "fuse.sshfs"),
        ("/gpfs/x", "gpfs"),
        ("/beegfs/x", "beegfs_nodev"),
        ("/ceph/x", "ceph"),
        ("/host/x", "9p"),
        ("/gluster/x", "fuse.glusterfs"),
        ("/afs/x", "afs"),
        ("/docker/x", ""),
        ("/backup/x", ""),
        ("/tab\tand\\backslash/x", ""),
    ],
)
def test_the_longest_mount_point_says_what_a_path_lies_on(
    path: str, warned: str, monkeypatch, caplog
) -> None:
    assert warned_of(path, MOUNTS, monkeypatch, caplog) == warned


def test_a_later_mount_on_the_same_point_hides_the_earlier_one(monkeypatch, caplog) -> None:
    hidden = [*MOUNTS, ("/home", "btrfs")]
    assert warned_of("/home/me/bench.sqlite", hidden, monkeypatch, caplog) == ""
    hidden.append(("/home", "nfs"))
    assert warned_of("/home/me/bench.sqlite", hidden, monkeypatch, caplog) == "nfs"


def test_the_machine_is_read_as_findmnt_reads_it(tmp_path: Path, monkeypatch, caplog) -> None:
    if shutil.which("findmnt") is None:
        pytest.skip("findmnt is not installed")
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", tmp_path]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    # Whatever it lies on: each kind that this machine has is for once one of a network's.
    kinds = {mount.fstype for mount in psutil.disk_partitions(all=True)}
    monkeypatch.setattr(sqlite, "NETWORK", kinds)
    warn_of_network(tmp_path)
    assert caplog.records[0].args[1] == told


@pytest.fixture
def on_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the machine says, for this test, lies on NFS."""
    mount = SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [mount])
    return tmp_path


def test_writing_on_a_network_is_warned_of_once_and_reading_is_not(on_the_network: Path, caplog) -> None:
    path = on_the_network / "bench.sqlite"
    open_store(path).close()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    for words in (
        str(path),
        "nfs4",
        str(on_the_network),
        "locks",
        "write-ahead log",
        "postgresql+psycopg://",
    ):
        assert words in record.getMessage()
    caplog.clear()
    open_store(path, read_only=True).close()
    assert caplog.records == []
    upgrade_store(path)
    assert len(caplog.records) == 1


def test_a_local_disk_is_not_warned_of(on_the_network: Path, tmp_path_factory, caplog) -> None:
    open_store(tmp_path_factory.mktemp("local") / "bench.sqlite").close()
    assert caplog.records == []


SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")


@pytest.fixture
def sshfs(tmp_path: Path) -> Iterator[Path]:
    """A real network file system: a folder of this machine through sshfs."""
    if os.geteuid() != 0 or shutil.which("sshfs") is None or not SFTP_SERVER.exists():
        pytest.skip("needs root, sshfs and sftp-server")
    served, mounted = tmp_path / "served", tmp_path / "mounted"
    served.mkdir()
    mounted.mkdir()
    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    server = subprocess.Popen([SFTP_SERVER], stdin=to_server, stdout=from_server)
    client = subprocess.Popen(
        ["sshfs", "-f", "-o", "passive", f":{served}", mounted], stdin=to_client, stdout=from_client
    )
    for descriptor in (to_server, from_client, to_client, from_server):
        os.close(descriptor)
    until = time.monotonic() + 20
    while not mounted.is_mount():
        assert client.poll() is None, "sshfs ended"
        assert time.monotonic() < until, "sshfs did not mount"
        time.sleep(0.05)
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)
    client.wait(timeout=20)
    server.wait(timeout=20)


@pytest.mark.slow
def test_a_real_network_file_system_is_warned_of_on_standard_error(sshfs: Path) -> None:
    path = sshfs / "bench.sqlite"
    program = "import sys; from bench.store.database import open_store; open_store(sys.argv[1]).close()"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stderr.startswith(f"bench: store {path} lies on a network file system (fuse.sshfs, mounted")
    assert done.stderr.count("network file system") == 1
    read = subprocess.run(
        [sys.executable, "-m", "bench", "status", "--store", path], capture_output=True, text=True, check=True
    )
    assert read.stderr == ""
