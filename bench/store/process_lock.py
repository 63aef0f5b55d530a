"""Locks that a process holds for as long as it lives: of a store, of a driver's run, of a file of data.

A lock is an empty file that its holder has locked with flock; the kernel lets go of it however the process
ends, so the file means nothing on its own. Whatever else lies at its path is never followed, changed or
removed.

The package filelock is not used: it has no kernel lock that several share, as the writers of a store do; it
cannot look at a lock without taking it, by which a driver's death is known at once; where flock is missing
it makes files instead that outlive their process; and before version 4 it emptied what lay at the path.
"""

from __future__ import annotations

import fcntl
import glob
import math
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import BenchError
from bench.store.location import Location

WAIT_SECONDS = 10.0
"""A new store is made, or an old one upgraded, in far less."""
SWEPT_AFTER_SECONDS = 7 * 86_400.0
"""Until then the work of a driver that was killed is taken over at once: its file says that it died."""
DRIVERS = "drivers"
"""Folder of the drivers' locks, below the store's."""
_LOOK_SECONDS = 0.05
# Neither a link nor its end, and no waiting for the other end of a pipe.
_AS_IT_IS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_OTHER_STORE = "name another store with --store"


class LockHeldError(BenchError):
    """Another process holds the lock in a way that keeps this one out."""


@contextmanager
def locked(
    path: Path,
    otherwise: str,
    *,
    shared: bool = False,
    wait_seconds: float = math.inf,
    problem: str = "",
) -> Iterator[int]:
    """Hold the lock at `path`, which is made where it is missing and stays; yields its descriptor.

    Parameters
    ----------
    otherwise : what a person can do who cannot have it: "name another store".
    shared : together with others that share it.
    wait_seconds : for those that hold it.
    problem : what is said where they hold it for longer.

    Raises
    ------
    LockHeldError : others hold it for longer.
    BenchError : something that is no lock lies there, or none can be made.
    """
    descriptor = _opened(path, otherwise)
    try:
        until = time.monotonic() + wait_seconds
        while not _taken(descriptor, path, otherwise, shared=shared, wait=wait_seconds == math.inf):
            if time.monotonic() >= until:
                raise LockHeldError(problem, "", f"Wait until it has ended, or {otherwise}.")
            time.sleep(_LOOK_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def writing(location: Location) -> Iterator[None]:
    """Hold the store as one of its writers; transactions keep these in order.

    Raises
    ------
    LockHeldError : it is being upgraded.
    """
    with _store_locked(location, "upgraded", shared=True, wait_seconds=WAIT_SECONDS):
        yield


@contextmanager
def upgrading(location: Location) -> Iterator[None]:
    """Hold the store with nobody writing.

    Raises
    ------
    LockHeldError : somebody writes.
    """
    with _store_locked(location, "written", shared=False, wait_seconds=0.0):
        yield


@contextmanager
def held(folder: Path, run_id: str) -> Iterator[None]:
    """Hold the lock of a run below the store's `folder`: its driver lives.

    Raises
    ------
    BenchError : it cannot be made.
    """
    drivers = folder / DRIVERS
    if drivers.is_symlink():
        raise _no_lock(drivers, "a link")
    path = _path(folder, run_id)
    try:
        drivers.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error, _OTHER_STORE) from error
    with locked(path, _OTHER_STORE) as descriptor:
        yield
        # Not before: this run may have come to continue the work of one that was killed.
        _sweep(drivers)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), os.fstat(descriptor)):
                path.unlink()


def is_dead(folder: Path, run_id: str) -> bool:
    """Whether the run's driver is certainly dead: its lock is here and nobody holds it.

    A lock that is missing says nothing: the driver may be on another machine.
    """
    return is_held(_path(folder, run_id)) is False


def is_alive(folder: Path, run_id: str) -> bool:
    """Whether the run's driver certainly lives, on this machine."""
    return is_held(_path(folder, run_id)) is True


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock at `path`; None where no lock of bench is there to tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _AS_IT_IS)
    except (OSError, ValueError):  # missing, no right to look, or no name of a file
        return None
    try:
        if _kind_of(os.fstat(descriptor)):
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _store_locked(location: Location, done: str, *, shared: bool, wait_seconds: float) -> Iterator[None]:
    """The lock beside an SQLite file; a server keeps order by itself, so there this does nothing."""
    if location.file is None:
        yield
        return
    path = location.file.with_name(location.file.name + ".lock")
    problem = f"store {location} is being {done} by another process"
    with locked(path, _OTHER_STORE, shared=shared, wait_seconds=wait_seconds, problem=problem):
        yield


def _opened(path: Path, otherwise: str) -> int:
    """A descriptor of the lock at `path`, made where nothing is there."""
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _AS_IT_IS, 0o666)
        except PermissionError:
            # Of another user, in a folder that several share: to lock it, reading is enough.
            descriptor = os.open(path, os.O_RDONLY | _AS_IT_IS)
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise _no_lock(path, "a link" if path.is_symlink() else "a folder") from error
        raise _unwritable(path, error, otherwise) from error
    status = os.fstat(descriptor)
    if kind := _kind_of(status):
        os.close(descriptor)
        raise _no_lock(path, kind)
    return descriptor


def _no_lock(path: Path, kind: str) -> BenchError:
    return BenchError(
        f"{path} is {kind}", "A lock of bench belongs there; what is there stays.", "Move it away."
    )


def _unwritable(path: Path, error: OSError, otherwise: str) -> BenchError:
    return BenchError(f"cannot write {path}", f"{error.strerror}.", f"Make room there, or {otherwise}.")


def _kind_of(status: os.stat_result) -> str:
    """What lies there where it is no lock; empty for a lock."""
    if not stat.S_ISREG(status.st_mode):
        return "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
    return "a file with content" if status.st_size else ""


def _taken(descriptor: int, path: Path, otherwise: str, *, shared: bool, wait: bool) -> bool:
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, mode if wait else mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks
        advice = f"{otherwise[0].upper()}{otherwise[1:]}."
        raise BenchError(f"{path} cannot be locked", f"{error.strerror}.", advice) from error
    return True


def _sweep(drivers: Path) -> None:
    """Remove the locks that killed drivers left long ago."""
    for path in drivers.glob(f"*@{glob.escape(socket.gethostname())}.lock"):
        with suppress(FileNotFoundError):  # another driver sweeps too
            age = time.time() - path.lstat().st_mtime
            if age > SWEPT_AFTER_SECONDS and is_held(path) is False:
                path.unlink()


def _path(folder: Path, run_id: str) -> Path:
    # Machines may share the folder without sharing its locks; what another one holds must not look free.
    # The name comes out of a store: it stays in this folder whatever it says.
    return folder / DRIVERS / f"{run_id}@{socket.gethostname()}.lock".replace("/", "_")
