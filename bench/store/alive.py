"""Signs of life of drivers on this machine: a file that its process holds locked for as long as it lives."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError

SWEPT_AFTER_SECONDS = 600.0


@contextmanager
def sign_of_life(folder: Path, run_id: str) -> Iterator[None]:
    """Hold the run's file below `folder` locked; the kernel lets go of it however the process ends.

    Raises
    ------
    BenchError : the file cannot be made.
    """
    path = _path(folder, run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        advice = "Name another store with --store, or make room."
        raise BenchError(f"cannot write {path}", f"{error.strerror}.", advice) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        # Not before: this run may have come to continue the work of one that was killed.
        _sweep(path.parent)
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def is_gone(folder: Path, run_id: str) -> bool:
    """Whether the run's driver is certainly dead: its file is here and nobody holds it.

    A file that is missing says nothing: the driver may be on another machine.
    """
    return _is_free(_path(folder, run_id))


def _is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _sweep(drivers: Path) -> None:
    """Remove what killed drivers left, once their claims have expired anyway."""
    for path in drivers.glob(_path(drivers.parent, "*").name):
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue  # another driver sweeps too
        if age > SWEPT_AFTER_SECONDS and _is_free(path):
            path.unlink(missing_ok=True)


def _path(folder: Path, run_id: str) -> Path:
    # Machines may share the folder without sharing its locks; what another one holds must not look free.
    return folder / "drivers" / f"{run_id}@{socket.gethostname()}.lock"
