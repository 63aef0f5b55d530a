"""Datasets on machines that share no folder with the driver's: each comes over once, known by its content."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.data.paths import data_folder
from bench.errors import WorkFailedError
from bench.files import sha256_of, written_whole

Fetch = Callable[[], Iterable[bytes]]
"""Yields the content of the file from the machine that has it, piece by piece."""


@dataclass(frozen=True)
class WantedFile:
    """A dataset file by its content."""

    name: str
    """Task whose file it is, for messages."""
    sha256: str
    size: int
    """Bytes."""

    def is_at(self, path: Path) -> bool:
        """Whether exactly this content lies there."""
        return path.is_file() and path.stat().st_size == self.size and sha256_of(path) == self.sha256


def local_file(wanted: WantedFile, candidates: Sequence[Path], fetch: Fetch) -> Path:
    """Path of a file on this machine that holds exactly what is wanted.

    The first of `candidates` with this content is used. Otherwise it is this machine's copy, in `by-hash/` of
    its data folder, which is fetched where it is missing or damaged: once, however many processes ask.

    Raises
    ------
    WorkFailedError : the copy cannot be written, or something else arrived.
    """
    for path in candidates:
        if wanted.is_at(path):
            return path
    copy = data_folder() / "by-hash" / f"{wanted.sha256}.hdf5"
    try:
        with _alone(copy):
            if not wanted.is_at(copy):
                _fetch(wanted, copy, fetch)
    except OSError as error:
        raise WorkFailedError(
            f"the dataset of {wanted.name} could not be brought to {socket.gethostname()}",
            str(error),
            "Make room there, or start Ray there with BENCH_DATA_DIR set to another folder.",
        ) from error
    return copy


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file's name; processes of this machine that want the same file wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Whoever wrote these was killed: it would still hold the lock.
        for stale in path.parent.glob(f".{path.name}.*.part"):
            stale.unlink()
        yield


def _fetch(wanted: WantedFile, path: Path, fetch: Fetch) -> None:
    with written_whole(path) as temporary:
        with temporary.open("wb") as file:
            for piece in fetch():
                file.write(piece)
        found = sha256_of(temporary)
        if found != wanted.sha256:
            raise WorkFailedError(
                f"the dataset of {wanted.name} did not arrive as it was when this run began",
                f"SHA-256 {wanted.sha256} was expected, {found} came.",
                f"Type `bench data verify {wanted.name}` on the machine that this run was started on.",
            )
