"""Which code made a number: the checkout's commit with its changes, and a hash of the files that ran."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import algorithms
from bench.hardware import output_of
from bench.resources import resource

_WITHOUT_NUMBERS = {("bench", name) for name in ("benchmarks", "cli", "nightly", "report", "store")}


@dataclass(frozen=True)
class CodeState:
    """Which commit the code was at, and a hash of whatever differed from it."""

    commit: str
    dirty: bool
    diff_sha256: str | None


def code_state(root: Path) -> CodeState | None:
    """State of the checkout at `root`; None where it is none (an installed package) or git cannot say.

    The hash covers changes of tracked files and the content of untracked ones that git does not ignore.
    """
    # Asked only where the checkout begins: site-packages may lie inside somebody else's repository.
    if not (root / ".git").exists():
        return None
    commit = output_of("git", "-C", str(root), "rev-parse", "HEAD")
    changes = output_of("git", "-C", str(root), "diff", "--binary", "--no-ext-diff", "HEAD")
    untracked = output_of("git", "-C", str(root), "ls-files", "-z", "--others", "--exclude-standard")
    if commit is None or changes is None or untracked is None:
        return None
    files = [root / os.fsdecode(name) for name in sorted(untracked.split(b"\0")) if name]
    dirty = bool(changes or files)
    diff = _hash_of_changes(changes, root, files) if dirty else None
    return CodeState(commit.decode().strip(), dirty, diff)


def code_fingerprint() -> str:
    """SHA-256 over names and contents of the files that determine numbers: code, presets and tasks.yaml.

    The same for a checkout and for a package installed from it; no git is needed.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_source_files()):
        digest.update(name.encode() + b"\0" + _content_hash(path))
    return digest.hexdigest()


def _source_files() -> Iterator[tuple[str, Path]]:
    """Names as in the checkout, and where the files are.

    What only stores and shows numbers is left out: it may change while a grid runs.
    """
    for package in (Path(__file__).resolve().parent, Path(algorithms.__file__).resolve().parent):
        for pattern in ("*.py", "presets/*.yaml"):
            for path in package.rglob(pattern):
                name = path.relative_to(package.parent)
                if name.parts[:2] not in _WITHOUT_NUMBERS:
                    yield name.as_posix(), path
    yield "tasks.yaml", resource("tasks.yaml")


def _hash_of_changes(changes: bytes, root: Path, files: list[Path]) -> str:
    digest = hashlib.sha256(changes)
    for file in files:
        digest.update(os.fsencode(file.relative_to(root)) + b"\0")
        # A link may point anywhere, or nowhere; where it points is what git would keep of it.
        digest.update(os.fsencode(file.readlink()) if file.is_symlink() else _content_hash(file))
    return digest.hexdigest()


def _content_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
