"""Which file systems are known to be a network's, and that only writing there is warned of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.store.database import open_store, upgrade_store
from bench.store.filesystem import mount_of, read_mounts

# Lines as kernels write them; proc(5) explains the fields. The sixth to eighth vary in number.
MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:40 / /home rw,relatime shared:20 - nfs4 server:/export/home rw,vers=4.2,addr=10.0.0.1
41 40 8:17 / /home/me/local\040disk rw,noatime - xfs /dev/sdb1 rw
42 27 0:42 / /scratch rw shared:22 master:3 - lustre 10.0.0.2@tcp:/scratch rw,flock
43 27 0:43 / /old rw - nfs server:/old rw,vers=3
44 27 0:44 / /windows rw - cifs //server/share rw
45 27 0:45 / /azure rw - smb3 //server/share rw
46 27 0:46 / /far rw,nosuid - fuse.sshfs me@host: rw,user_id=0
47 27 0:47 / /gpfs rw - gpfs gpfs0 rw
48 27 0:48 / /beegfs rw - beegfs beegfs_nodev rw
49 27 0:49 / /ceph rw - ceph 10.0.0.3:/ rw
50 27 0:50 / /host rw - 9p host rw,trans=virtio
51 27 0:51 / /gluster rw - fuse.glusterfs server:/volume rw
52 27 0:52 / /afs rw - afs none rw
53 27 0:53 / /docker rw - overlay overlay rw,lowerdir=/a,upperdir=/b
54 27 0:54 / /backup rw - fuse.bindfs /somewhere rw
55 27 0:55 / /tab\011and\134backslash rw - tmpfs tmpfs rw
56 40 0:56 / /home rw - btrfs /dev/sdc rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/results/bench.sqlite", "ext4", False),
        ("/homes/bench.sqlite", "ext4", False),
        ("/home/me/local disk/bench.sqlite", "xfs", False),
        ("/scratch/me/bench.sqlite", "lustre", True),
        ("/old/x", "nfs", True),
        ("/windows/x", "cifs", True),
        ("/azure/x", "smb3", True),
        ("/far/x", "fuse.sshfs", True),
        ("/gpfs/x", "gpfs", True),
        ("/beegfs/x", "beegfs", True),
        ("/ceph/x", "ceph", True),
        ("/host/x", "9p", True),
        ("/gluster/x", "fuse.glusterfs", True),
        ("/afs/x", "afs", True),
        ("/docker/x", "overlay", False),
        ("/backup/x", "fuse.bindfs", False),
        ("/tab\tand\\backslash/x", "tmpfs", False),
        # A later mount on the same point hides the earlier one, which was nfs4.
        ("/home/me/bench.sqlite", "btrfs", False),
    ],
)
def test_the_longest_mount_point_says_what_a_path_lies_on(path: str, kind: str, network: bool) -> None:
    mount = mount_of(Path(path), read_mounts(MOUNTINFO))
    assert (mount.kind, mount.is_network) == (kind, network)


def test_a_home_of_the_network_is_one() -> None:
    before_the_last_mount = MOUNTINFO.rpartition("\n")[0]
    mount = mount_of(Path("/home/me/bench.sqlite"), read_mounts(before_the_last_mount))
    assert (mount.kind, mount.is_network) == ("nfs4", True)


def test_the_kernel_is_read_as_findmnt_reads_it(tmp_path: Path) -> None:
    if shutil.which("findmnt") is None:
        pytest.skip("findmnt is not installed")
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", tmp_path]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    mounts = read_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    assert mount_of(tmp_path.resolve(), mounts).kind == told.strip()


@pytest.fixture
def on_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the kernel says, for this test, lies on NFS."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(rf"40 27 0:40 / {tmp_path} rw - nfs4 server:/export rw" + "\n")
    monkeypatch.setattr("bench.store.filesystem._MOUNTS", mountinfo)
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
