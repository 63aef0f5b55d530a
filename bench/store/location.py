"""Where a store is: a path or a database URL as typed by a person. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

DEFAULT_STORE = "results/bench.sqlite"
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Location:
    """A store's place, not yet opened."""

    url: str
    """SQLAlchemy URL."""
    path: Path | None
    """The file of an SQLite store; None for a server."""

    @property
    def folder(self) -> Path:
        """Folder of the weights: beside the SQLite file, `results` for a server."""
        return self.path.parent if self.path else Path("results")

    def __str__(self) -> str:
        return str(self.path) if self.path else _without_password(self.url)


def locate(url_or_path: str | Path) -> Location:
    """Read what a person typed after `--store`: a path, or any SQLAlchemy URL.

    Raises
    ------
    BenchError : an in-memory database, which would be lost with the process.
    """
    text = str(url_or_path)
    if "://" not in text:
        path = Path(text)
        return Location(_SQLITE + str(path), path)
    if not text.startswith("sqlite"):
        return Location(text, None)
    name = text.split("://", 1)[1].removeprefix("/").partition("?")[0]
    if name in ("", ":memory:"):
        raise BenchError(f"store {text!r} lives in memory only", "Its results would be lost.",
                         f"Name a file, for example --store {DEFAULT_STORE}")  # fmt: skip
    return Location(_SQLITE + name, Path(name))


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    login, at, host = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{at}{host}"
