"""Writers of an SQLite file and an upgrade of its schema keep out of each other's way."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError
from bench.store.location import Location

PATIENCE_SECONDS = 10.0
"""A new store is made, or an old one upgraded, in far less."""


class StoreHeldError(BenchError):
    """Another process holds the store in a way that keeps this one out."""


@contextmanager
def writing(location: Location) -> Iterator[None]:
    """Hold the store as one of its writers; transactions keep these in order.

    Raises
    ------
    StoreHeldError : it is being upgraded.
    """
    problem = f"store {location} is being upgraded by another process"
    with _locked(location, fcntl.LOCK_SH, problem, PATIENCE_SECONDS):
        yield


@contextmanager
def upgrading(location: Location) -> Iterator[None]:
    """Hold the store with nobody writing.

    Raises
    ------
    StoreHeldError : somebody writes.
    """
    problem = f"store {location} is being written by another process"
    with _locked(location, fcntl.LOCK_EX, problem, 0.0):
        yield


@contextmanager
def _locked(location: Location, mode: int, problem: str, patience_seconds: float) -> Iterator[None]:
    """The kernel lets go when the process ends, however it ends; `<store>.lock` means nothing on its own.

    A server keeps order by itself, so there this does nothing.
    """
    if location.path is None:
        yield
        return
    with _opened(location.path.with_name(location.path.name + ".lock")) as descriptor:
        until = time.monotonic() + patience_seconds
        while not _got(descriptor, mode):
            if time.monotonic() >= until:
                advice = "Wait until it has ended, or name another store with --store."
                raise StoreHeldError(problem, "", advice)
            time.sleep(0.05)
        yield


def _got(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
