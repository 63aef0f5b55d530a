"""Where a D4RL file may be had besides D4RL's own server: mirrors, and folders with it under some name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bench.catalog import D4RLDataset
from bench.errors import BenchError
from bench.store.location import without_password
from bench.visible_text import quoted

VARIABLE = "BENCH_D4RL_MIRRORS"
ORIGIN = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
"""Where D4RL's addresses begin; a mirror stands in for this part."""
DEEPEST = 2
"""Levels of folders below the named one that are looked through."""
_SUFFIXES = (".hdf5", ".h5")


def mirrors() -> list[str | Path]:
    """The mirrors that `BENCH_D4RL_MIRRORS` names, separated by commas: addresses, and folders as paths.

    Raises
    ------
    BenchError : one is neither an address that can be asked nor a folder.
    """
    texts = (text.strip() for text in os.environ.get(VARIABLE, "").split(","))
    return [_mirror(text) for text in texts if text]


def addresses(dataset: D4RLDataset, mirror: str) -> list[str]:
    """Every address to try below a mirror: as D4RL lays its files out, then the file's name alone."""
    laid_out = dataset.url.removeprefix(ORIGIN).lstrip("/") if dataset.url.startswith(ORIGIN) else None
    return [f"{mirror}/{name}" for name in dict.fromkeys((laid_out, dataset.file_name)) if name]


def files_like(folder: Path, names: tuple[str, ...], size: int | None) -> list[Path]:
    """HDF5 files in a folder or its subfolders of one of the `names`, however written, or of `size` bytes.

    Raises
    ------
    OSError : the folder cannot be looked through.
    """
    plain = {_plain(name) for name in names}
    found = []
    for place, folders, files in os.walk(folder, onerror=_failed_at(folder), followlinks=True):
        if len(Path(place).relative_to(folder).parts) >= DEEPEST:
            folders.clear()
        for name in files:
            path = Path(place, name)
            if path.suffix.lower() not in _SUFFIXES or not path.is_file():
                continue
            if _plain(name) in plain or path.stat().st_size == size:
                found.append(path)
    return sorted(found)


def _failed_at(folder: Path) -> Callable[[OSError], None]:
    def failed(error: OSError) -> None:
        # Subfolders that are closed to this user hold nothing for them.
        if Path(error.filename) == folder:
            raise error

    return failed


def _plain(name: str) -> str:
    """A name as people mistype it: `hopper_medium-v2.hdf5` and `Hopper-medium-v2.h5` are the same."""
    return Path(name.lower().replace("_", "-")).stem


def _mirror(text: str) -> str | Path:
    try:
        parts = urlsplit(text)
        named = parts.hostname, parts.port
    except ValueError as error:
        raise _odd(text, f"It is no address: {error}.") from error
    if parts.scheme in ("http", "https"):
        if not named[0]:
            raise _odd(text, "It names no host.")
        if any(character.isspace() or not character.isprintable() for character in text):
            raise _odd(text, "An address holds no space.", "Separate mirrors by commas.")
        if parts.query or parts.fragment:
            raise _odd(text, "Behind '?' or '#' no file's name can follow.")
        return text.rstrip("/")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise _odd(text, f"It names a machine, {parts.netloc!r}.", "For example: file:///mnt/d4rl")
        return _folder(text, unquote(parts.path))
    if "://" in text:
        raise _odd(text, f"Files are not fetched by {parts.scheme or 'nothing'}.")
    return _folder(text, text)


def _folder(text: str, name: str) -> Path:
    if "\0" in name:
        raise _odd(text, "It holds a null byte.")
    try:
        folder = Path(name).expanduser()
        there, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError) as error:
        raise _odd(text, f"{getattr(error, 'strerror', None) or error}.") from error
    if is_file:
        raise _odd(text, "It is a file.", f"Name its folder: {folder.parent}")
    # A folder that is not mounted today is passed over; anything else that is not there is a slip.
    if not there and not folder.is_absolute():
        raise _odd(text, "It is no folder that is there, and an address begins with http:// or https://.")
    return folder


def _odd(text: str, why: str, do_this: str = "") -> BenchError:
    example = "For example: https://host/d4rl, /mnt/d4rl, or both with a comma between them."
    return BenchError(f"mirror {quoted(without_password(text))} in {VARIABLE}", why, do_this or example)
