"""Datasets on machines that share no folder with the driver's: each comes over once, known by its content."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.data.hdf5 import sha256_of_file
from bench.data.paths import data_folder
from bench.errors import BenchError, WorkFailedError
from bench.files import sha256_of, written_whole
from bench.store.process_lock import locked

Fetch = Callable[[], Iterable[bytes]]
"""Yields the content of the file from the machine that has it, piece by piece."""


def local_file(task: str, sha256: str, candidates: Sequence[Path], fetch: Fetch) -> Path:
    """Path of a file on this machine that holds exactly a task's dataset.

    The first of `candidates` with its content is used. Otherwise it is this machine's copy, in `by-hash/` of
    its data folder, which is fetched where it is missing or damaged: once, however many processes ask.

    Raises
    ------
    WorkFailedError : the copy cannot be written, or something else arrived.
    """
    for path in candidates:
        if _is_at(path, sha256):
            return path
    copy = data_folder() / "by-hash" / f"{sha256}.hdf5"
    try:
        with _alone(copy):
            if not _is_at(copy, sha256):
                _fetch(task, sha256, copy, fetch)
    except OSError as error:
        raise WorkFailedError(
            f"the dataset of {task} could not be brought to {socket.gethostname()}",
            str(error),
            "Make room there, or start Ray there with BENCH_DATA_DIR set to another folder.",
        ) from error
    return copy


def _is_at(path: Path, sha256: str) -> bool:
    try:
        return path.is_file() and sha256_of_file(path) == sha256
    except BenchError:
        # What cannot be read is not what is looked for; there may be another, and else it is fetched.
        return False


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file's name; processes of this machine that want the same file wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), "name another folder with BENCH_DATA_DIR"):
        # Whoever wrote these was killed: it would still hold the lock.
        for stale in path.parent.glob(f".{path.name}.*.part"):
            stale.unlink()
        yield


def _fetch(task: str, sha256: str, path: Path, fetch: Fetch) -> None:
    with written_whole(path) as temporary:
        with temporary.open("wb") as file:
            for piece in fetch():
                file.write(piece)
        found = sha256_of(temporary)
        if found != sha256:
            raise WorkFailedError(
                f"the dataset of {task} did not arrive as it was when this run began",
                f"SHA-256 {sha256} was expected, {found} came.",
                f"Type `bench data verify {task}` on the machine that this run was started on.",
            )
