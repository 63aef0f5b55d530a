"""Files that are kept beside the database, such as weights: where they may lie, and are they what was stored?

A store names its files; what a store says is not believed. A name is `weights/<plain name>.safetensors` and
nothing else, neither the folder nor the file is a link, and what is used are the very bytes that were hashed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from bench.errors import BenchError
from bench.files import written_whole
from bench.records import WeightsRecord
from bench.visible_text import quoted

FOLDER = "weights"
"""Below the store's folder."""
SUFFIX = ".safetensors"
MISSING = "is missing"
CHANGED = "is not what was stored: its SHA-256 differs"
_LINK = "is a link, or lies behind one; files of a store are never looked for elsewhere"
_NO_FILE = "is no regular file"
_NO_NAME = f"is no name of a file of weights: these are {FOLDER}/NAME{SUFFIX}"
_LONGEST = 255
"""Bytes of a file's name on all usual file systems."""


def weights_name(stem: str) -> str:
    """The name, below the store's folder, of the file with this stem."""
    return f"{FOLDER}/{stem}{SUFFIX}"


def is_weights_name(name: object) -> bool:
    """Whether a store's file may have this name: `weights/<plain name>.safetensors`, as of `weights_name`."""
    folder, slash, file = name.partition("/") if isinstance(name, str) else ("", "", "")
    return (
        (folder, slash) == (FOLDER, "/")
        and file.endswith(SUFFIX)
        and file.isprintable()
        and not file.startswith(".")
        and not {"/", "\\"} & set(file)
        and len(os.fsencode(file)) <= _LONGEST
    )


def require_weights_names(names: Iterable[object], place: str) -> None:
    """Refuse a store, called `place`, that names a file which none of its own can be.

    Raises
    ------
    BenchError : it quotes the first such name.
    """
    for name in names:
        if not is_weights_name(name):
            raise BenchError(
                f"store {place} says that weights lie at {quoted(name)}",
                f"That {_NO_NAME}.",
                "It was not written by bench, or was changed since: take a copy from whoever made it.",
            )


def require_no_links(folder: Path, names: Iterable[str] = ()) -> None:
    """Refuse a store's folder whose folder of weights, or one of these files, is a link.

    Raises
    ------
    BenchError : it names the link.
    """
    for path in (folder / FOLDER, *(folder / name for name in names)):
        if path.is_symlink():
            raise BenchError(
                f"{path} is a link",
                "Weights are never read or written behind one.",
                "Put what it leads to in its place. The folder of a whole store may be a link.",
            )


def read_verified(folder: Path, record: WeightsRecord) -> tuple[bytes, str]:
    """The content of a record's file, below the store's folder, and what is wrong with it.

    The fault is to be read after the file's name, and empty where the content is what was stored; otherwise
    there is no content.
    """
    return _read(folder, record.path, record.sha256)


def copy_verified(name: str, sha256: str, source: Path, target: Path) -> str:
    """Copy a kept file from one store's folder into another's, verified by its hash.

    What is in its place with another content stays.

    Parameters
    ----------
    name : its path below either folder.

    Returns
    -------
    What is wrong with the file, to be read after its name; empty where nothing is.
    """
    _, there = _read(target, name, sha256)
    if there == CHANGED:
        return f"is another one in {target}"
    if there != MISSING:
        return there
    content, fault = _read(source, name, sha256)
    if not fault:
        with written_whole(target / name) as temporary:
            temporary.write_bytes(content)
    return fault


def _read(folder: Path, name: str, sha256: str) -> tuple[bytes, str]:
    if not is_weights_name(name):
        return b"", _NO_NAME
    if (folder / FOLDER).is_symlink():
        return b"", _LINK
    try:
        # Without O_NONBLOCK a pipe in its place would be waited for.
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return b"", MISSING
    except OSError as error:
        return b"", _LINK if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b"", _NO_FILE
    with os.fdopen(descriptor, "rb") as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        return b"", CHANGED
    return content, ""
