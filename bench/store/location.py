"""Where a store is: a path or a database URL as typed by a person. Imports nothing heavy."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.files import typed_path

DEFAULT_STORE = "results/bench.sqlite"
STORE_VARIABLE = "BENCH_STORE"
"""Names the store of every command that is told of none."""
SERVER_EXAMPLE = "For example: --store postgresql+psycopg://user@host/name"
_EITHER_EXAMPLE = f"For example: --store {DEFAULT_STORE} or --store postgresql+psycopg://user@host/name"
_SQLITE = ("sqlite", "sqlite+pysqlite")
_DRIVER = "postgresql+psycopg"
_SERVER = ("postgresql", _DRIVER)
"""The first is how PostgreSQL's own tools write it."""


@dataclass(frozen=True)
class Location:
    """A store's place, not yet opened."""

    url: str
    """SQLAlchemy URL."""
    path: Path | None
    """The file of an SQLite store as it was named; None for a server."""

    @property
    def file(self) -> Path | None:
        """The file of an SQLite store, the same by whatever links it is reached."""
        if self.path is None:
            return None
        # Unlike `resolve` it lets a link to itself pass, which opening refuses with better words.
        real = Path(os.path.realpath(self.path))
        return self.path if real == self.path.absolute() else real

    @property
    def folder(self) -> Path:
        """Folder of weights, checkpoints and locks: beside the SQLite file, `results` for a server."""
        return self.file.parent if self.file else Path("results")

    def __str__(self) -> str:
        return str(self.path) if self.path else without_password(self.url)


def locate(url_or_path: str | Path) -> Location:
    """Read what a person typed after `--store`: a path, or the URL of an SQLite file or PostgreSQL database.

    Raises
    ------
    BenchError : no such kind of URL; an in-memory database, which would be lost with the process.
    """
    text = str(url_or_path)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _file(text)
    if scheme in _SQLITE:
        return _sqlite(text, rest)
    if scheme in _SERVER:
        return _server(text, rest)
    meant = f"Did you mean: --store {_DRIVER}://{without_password('://' + rest)[3:]}"
    raise BenchError(
        f"{without_password(text)!r} is no database URL that bench knows",
        "Results are kept in SQLite files and in PostgreSQL databases.",
        meant if scheme.lower().startswith(("postgre", "psycopg", "pg")) else _EITHER_EXAMPLE,
    )


def without_password(text: str) -> str:
    """A URL, or an argument with a URL in it, without its password."""
    text = re.sub(r"(:/+[^:/@]*):.*@", r"\1@", text, flags=re.DOTALL)
    return re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1...", text)


def _file(text: str) -> Location:
    if re.match(r"(sqlite|postgres|file)[\w+]*:", text):
        raise BenchError(f"{without_password(text)!r} is no database URL", "", _EITHER_EXAMPLE)
    path = typed_path(text)
    return Location(f"sqlite:///{path}", path)


def _sqlite(text: str, rest: str) -> Location:
    name, asks, _ = rest.removeprefix("/").partition("?")
    if name in ("", ":memory:"):
        raise BenchError(f"store {text!r} lives in memory only", "Its results would be lost.",
                         f"Name a file, for example --store {DEFAULT_STORE}")  # fmt: skip
    if asks:
        raise BenchError(f"store {text!r} has settings behind a '?'", "An SQLite store takes none.",
                         f"Type: --store {name}")  # fmt: skip
    path = typed_path(name)
    return Location(f"sqlite:///{path}", path)


def _server(text: str, rest: str) -> Location:
    if rest.partition("?")[0].count("@") > 1:
        raise BenchError(
            f"{without_password(text)!r} holds more than one '@'",
            "Only the one between password and host may stand as it is.",
            "Write those of the password as %40.",
        )
    return Location(f"{_DRIVER}://{rest}", None)
