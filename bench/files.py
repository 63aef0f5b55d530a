"""Files that are either whole or not there, their hashes, and paths as people type them."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError
from bench.visible_text import quoted


def typed_path(text: str | Path) -> Path:
    """A path as a person typed it, with the home folder in the place of `~`.

    A shell leaves the `~` of `--store=~/x` to the program.

    Raises
    ------
    BenchError : there is no such home folder, or it holds the zero character, which no path can.
    """
    path = Path(text)
    if "\0" in str(text):
        raise BenchError(f"path {quoted(str(text))}", "No path can hold the zero character.", "")
    if not str(text).startswith("~"):  # of ./~ nothing is left in the path
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:
        home = path.parts[0]
        whose = f"there is no user {quoted(home[1:])}"
        if home == "~":
            whose = "HOME is not set, and this user has none"
        raise BenchError(
            f"the path {quoted(str(path))} begins with a home folder that is not known",
            f"It stands for {quoted(home)}: {whose}.",
            f"Type the whole path, or ./{path} for a file of that very name.",
        ) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    On any exception the temporary file is removed, so that nothing half-written remains.

    Raises
    ------
    OSError : it cannot be written, or something that is no file lies at `path`.
    """
    _require_file_or_nothing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from error
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; results are meant to be shared like any other file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        # A write that fails, as on a full disk, does not say of which file. Errors without a number are of
        # what is being written, a download say, and would lose their text.
        if error.errno is not None:
            error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_file_or_nothing(path: Path) -> None:
    # The rename would put a file in the place of a pipe or a device, for root even of /dev/null.
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def _flush_folder(folder: Path) -> None:
    # Without this a power cut may undo the rename although the data is on disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
