"""A small disk of its own that a test may fill, for real: a tmpfs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of `size` (`512k`) at `folder`; skips the test where mounting is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk can only be mounted by root: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily, so that a process that failed to end cannot keep the disk.
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Take all room that is left; return the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        block = bytes(1 << 16)
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]
    return ballast


def free_bytes(disk: Path) -> int:
    """Room that is left."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize
