"""Standard output and standard error of a command: what they cannot hold is spelled, what acts is shown."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from bench.visible_text import SPELLED_OUT, register_spelling, visible, visible_json


class _Readable:
    """A stream of text to which control characters come only in a form that can be seen.

    Rich, whose colours and bars are such characters, finds the stream itself under the name that it looks
    for; whoever prints text of others through Rich makes it visible before.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever the stream has)
        if name == "buffer":  # what is written there would go past this class
            raise AttributeError(name)
        return getattr(self.rich_proxied_file, name)


@contextmanager
def readable_output() -> Iterator[None]:
    """Within, no character stops a command and none that came from outside acts on the terminal."""
    register_spelling()
    _occupy_closed_streams()
    before = sys.stdout, sys.stderr
    errors = [getattr(stream, "errors", None) for stream in before]
    for stream in before:
        _set_errors(stream, SPELLED_OUT)
    sys.stdout, sys.stderr = map(_Readable, before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream, handler in zip(before, errors, strict=True):
            _set_errors(stream, handler)


def printable(text: str) -> str:
    """`text` as it will stand in standard output: so wide are the columns of a table."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return visible(text).encode(encoding, SPELLED_OUT).decode(encoding)


def print_exactly(text: str) -> None:
    """Print what a program will read, character for character; on a terminal nothing of it acts there."""
    stream = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    (sys.stdout if stream.isatty() else stream).write(text)
    sys.stdout.flush()


def print_json(document: bytes | str) -> None:
    """Print a JSON document, in whose strings nothing is invisible."""
    print(visible_json(document.decode() if isinstance(document, bytes) else document).rstrip("\n"))


def stop_printing() -> None:
    """Send what is still to be printed nowhere: Python would try it once more as it ends, and tell."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _occupy_closed_streams() -> None:
    # Under the number of a closed standard stream the next file, a database say, would be opened, and what
    # a library prints would be written into it.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "r+"), encoding="utf-8"))


def _set_errors(stream: IO[str], handler: str | None) -> None:
    if isinstance(stream, io.TextIOWrapper) and handler:
        stream.reconfigure(errors=handler)
