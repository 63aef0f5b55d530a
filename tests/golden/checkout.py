"""Runs the code that is recorded or checked: this checkout, or another one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.golden.files import FOLDER, STORES, unpack

INSIDE = FOLDER / "inside"
HERE = FOLDER.parents[1]
VERSION = re.compile(r"\b[0-9a-f]{40}\b|\bcommit [0-9a-f]{7,12}\b")
"""What differs between two commits of the same behaviour."""
TIME = re.compile(r"\b(\d{4}[-\u2011]\d\d[-\u2011]\d\d)[T\s](\d\d:\d\d)(:\d\d(\.\d+)?)?(\+00:00|Z|\sUTC)?")
"""On a page with hyphens and spaces that do not break."""


class CheckoutFailedError(Exception):
    """The code that was to be looked at did not run."""


@dataclass(frozen=True)
class Place:
    """A folder in which commands of a checkout run; what is theirs of the machine is kept out of outputs."""

    checkout: Path
    folder: Path
    began: str
    """In UTC, to the minute: what is later is the time of looking."""

    def store(self, name: str) -> str:
        """A fresh copy of one of the synthetic stores, of the checkout's schema; what to type here."""
        (self.folder / f"{name}.sqlite").write_bytes(_upgraded(self.checkout, name))
        return f"{name}.sqlite"

    def fixture(self, name: str) -> str:
        """A copy of a store of a released schema."""
        shutil.copy(FOLDER.parent / "fixtures" / f"{name}.sqlite", self.folder)
        return f"{name}.sqlite"

    def bench(self, commands: Sequence[str | Sequence[str]], columns: int = 80) -> dict[str, Any]:
        """Exit code and output, as lines, of each command, by what was typed."""
        listed = [command.split() if isinstance(command, str) else command for command in commands]
        typed = {" ".join(command): command for command in listed}
        answers = json.loads(self.script("commands", json.dumps([list(c) for c in typed.values()]), columns))
        return {
            name: {part: self._plain(value) for part, value in answer.items()}
            for name, answer in zip(typed, answers, strict=True)
        }

    def script(self, name: str, given: str = "", columns: int = 80) -> str:
        """What one of the scripts that run inside a checkout prints."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        environment = kept | {
            "BENCH_DATA_DIR": str(self.folder / "data"),
            "COLUMNS": str(columns),
            "HOME": str(self.folder),
            "MPLCONFIGDIR": str(self.folder / "matplotlib"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(self.checkout),
            "PYTHONHASHSEED": "0",
            "TERM": "dumb",
            "TZ": "UTC",
        }
        command = [sys.executable, "-P", str(INSIDE / f"{name}.py")]
        ran = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=environment,
            check=False,
        )
        if ran.returncode:
            raise CheckoutFailedError(f"{name} in {self.checkout}:\n{ran.stderr[-3000:]}")
        return ran.stdout

    def files(self, pattern: str) -> dict[str, list[str]]:
        """Text files that commands left, by name, as lines."""
        found = sorted(path for path in self.folder.glob(pattern) if path.is_file())
        return {
            str(path.relative_to(self.folder)): self._plain(path.read_text("utf-8").splitlines())
            for path in found
        }

    def _plain(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._plain(line) for line in value]
        if not isinstance(value, str):
            return value
        value = value.replace(str(self.folder), "FOLDER").replace(str(self.checkout), "CHECKOUT")
        return TIME.sub(self._time, VERSION.sub("COMMIT", value))

    def _time(self, found: re.Match[str]) -> str:
        """A time as it stands if it was there before, otherwise NOW."""
        date = found[1].replace("\u2011", "-")
        return "NOW" if f"{date} {found[2]}" >= self.began else found[0]


@cache
def _upgraded(checkout: Path, name: str) -> bytes:
    """A synthetic store as the checkout's `bench db upgrade` leaves it."""
    with place_of(checkout) as place:
        path = place.folder / f"{name}.sqlite"
        unpack(STORES / f"{name}.sqlite.xz", path)
        place.bench([f"db upgrade --store {path.name}"])
        return path.read_bytes()


@contextmanager
def place_of(checkout: Path) -> Iterator[Place]:
    """A new, empty folder for commands of a checkout."""
    with TemporaryDirectory(prefix="golden-") as folder:
        began = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
        yield Place(checkout.resolve(), Path(folder).resolve(), began)
