"""Which file system a path lies on, and a word of warning where it is one of a network."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LOG = logging.getLogger(__name__)
_MOUNTS = Path("/proc/self/mountinfo")
# Kinds of file systems that several machines may hold at once; through FUSE they are `fuse.<kind>`.
_NETWORK = """
    9p afs beegfs beegfs_nodev ceph ceph-fuse cifs coda davfs gcsfuse gfs2 glusterfs goofys gpfs juicefs
    lustre moosefs nfs nfs4 ocfs2 orangefs panfs pvfs2 rclone s3fs smb2 smb3 smbfs sshfs virtiofs wekafs
"""


@dataclass(frozen=True)
class Mount:
    """One mounted file system."""

    point: Path
    kind: str
    """As the kernel names it: `ext4`, `nfs4`, `fuse.sshfs`."""

    @property
    def is_network(self) -> bool:
        """Whether other machines may hold the same files."""
        return self.kind.removeprefix("fuse.") in _NETWORK.split()


def read_mounts(mountinfo: str) -> list[Mount]:
    """The mounts in the text of `/proc/<pid>/mountinfo` (proc(5)), in their order."""
    mounts = []
    for line in mountinfo.splitlines():
        place, _, device = line.partition(" - ")
        # Field 5 is the mount point; spaces, tabs, newlines and backslashes in it are octal.
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place.split()[4])
        mounts.append(Mount(Path(point), device.split()[0]))
    return mounts


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that an absolute path lies on: the longest mount point, the last where several lie there."""
    above = [mount for mount in mounts if path.is_relative_to(mount.point)]
    longest = max((len(mount.point.parts) for mount in above), default=0)
    return next((mount for mount in reversed(above) if len(mount.point.parts) == longest), None)


def warn_of_network(path: Path) -> None:
    """Log a warning where the SQLite file at `path` is to be written on a network file system."""
    if not _MOUNTS.exists():  # not on Linux
        return
    mount = mount_of(path.resolve(), read_mounts(os.fsdecode(_MOUNTS.read_bytes())))
    if mount is not None and mount.is_network:
        _LOG.warning(
            "bench: store %s lies on a network file system (%s, mounted at %s)\n"
            "  SQLite's locks are not reliable between machines there, and its write-ahead log cannot be\n"
            "  shared by them: two machines that write this file may damage it.\n"
            "  Let one machine alone use it, or name a local disk or a server:\n"
            "  --store postgresql+psycopg://user@host/name",
            path,
            mount.kind,
            mount.point,
        )
