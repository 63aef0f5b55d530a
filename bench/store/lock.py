"""One writing process per SQLite file."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError
from bench.store.location import Location


@contextmanager
def only_writer(location: Location) -> Iterator[None]:
    """Hold the store for writing; a server keeps order by itself, so there this does nothing.

    The kernel lets go of the lock when the process ends, however it ends; the file `<store>.lock` stays and
    means nothing on its own.

    Raises
    ------
    BenchError : another process writes; says which one.
    """
    if location.path is None:
        yield
        return
    path = location.path.with_name(location.path.name + ".lock")
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "unknown"
            raise BenchError(
                f"store {location} is being written by another process ({holder})",
                "",
                "Wait until it has ended, or name another store with --store.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise BenchError(
            f"cannot write {path}", f"{error.strerror}.", "Name another store with --store."
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
