"""What a command prints: streams that hold any text and let none act, tables and lines, numbers in words."""

from __future__ import annotations

import errno
import io
import math
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.records import StackProgress
from bench.text_tables import TextColumn, text_table
from bench.visible_text import SPELLED_OUT, register_spelling, visible, visible_json, visible_line

# The streams


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
    sys.stdout, sys.stderr = map(_Readable, before)
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


def console_of(stream: IO[str]) -> Console:
    """A console for bars that move.

    It is given the stream itself: while bars are shown Rich wraps the standard streams in its own, and then
    looks for what is proxied only one wrap deep.
    """
    return Console(file=getattr(stream, "rich_proxied_file", stream), highlight=False)


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


# Tables and lines, on a terminal and in a pipe


Row = Sequence[str]
NARROW = 12
"""Characters: holds any step count with its commas, and every short word."""


def print_table(
    columns: Row, rows: Sequence[Row], right: Sequence[str] = (), narrow: Sequence[str] = ()
) -> None:
    """Print rows under their columns; the columns named in `right` are aligned to the right.

    On a terminal long cells are folded to its width, except names (the first column) and numbers; those of
    `narrow` columns are folded at NARROW characters. In a pipe every row is one line, columns two spaces
    apart, so that grep and awk see whole rows.
    """
    console = Console(highlight=False)
    columns, right, narrow = ([printable(name) for name in names] for names in (columns, right, narrow))
    rows = [[printable(cell) for cell in row] for row in rows]
    if console.is_terminal:
        console.print(_folded(columns, rows, right, narrow))
    else:
        print("\n".join(aligned(columns, rows, right)))


def _folded(columns: Row, rows: Sequence[Row], right: Sequence[str], narrow: Sequence[str]) -> Table:
    """Columns fold to the terminal's width; a name and a number are whole, a narrow one's words are."""
    shown = []
    for name in columns:
        longest_word = max(map(len, name.split()), default=0)
        is_narrow = name in narrow
        shown.append(
            TextColumn(
                name,
                right=name in right,
                whole=(name in right or name == columns[0]) and not is_narrow,
                least=longest_word if is_narrow else None,
                most=max(NARROW, longest_word) if is_narrow else None,
            )
        )
    table = text_table(shown)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def line_width(stream: IO[str] | None = None) -> int:
    """Characters of a line that is printed: as many as the terminal has; in a pipe it is never folded."""
    stream = sys.stdout if stream is None else stream
    return shutil.get_terminal_size().columns if stream.isatty() else sys.maxsize


def print_lines(lines: Iterable[str], stream: IO[str] | None = None) -> None:
    """Print lines; on a terminal folded at spaces, further in than they begin, in a pipe as they are."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        folded = textwrap.fill(
            line,
            line_width(stream),
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
        print(folded, file=stream)


def print_command(command: str) -> None:
    """Print a command for copying, indented; on a narrow terminal its lines go on as a shell's do."""
    if not command.startswith("bench "):  # a sentence in its place
        print_lines([f"  {command}"])
        return
    words = [shlex.quote(word) for word in shlex.split(command)]
    line = "  "
    for number, word in enumerate(words):
        ends = 0 if number == len(words) - 1 else len(" \\")
        if line.strip() and cell_len(f"{line}{word}") + ends > line_width():
            print(f"{line}\\")
            line = "    "
        line += f"{word} "
    print(line.rstrip())


def aligned(columns: Row, rows: Sequence[Row], right: Sequence[str] = ()) -> list[str]:
    """Rows under their columns as lines, columns two spaces apart."""
    lines = [[visible_line(cell) for cell in row] for row in (columns, *rows)]
    # A terminal gives two places to an ideograph, and none to an accent of its own.
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    to_the_right = [column in right for column in columns]

    def padded(cell: str, width: int, is_right: bool) -> str:
        blanks = " " * (width - cell_len(cell))
        return blanks + cell if is_right else cell + blanks

    return ["  ".join(map(padded, line, widths, to_the_right)).rstrip() for line in lines]


# Durations, times, sizes and numbers as people read them


_FEW_VALUES = 6
"""Longer lists are shown by their ends."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def value_text(value: object) -> str:
    """A setting's value; long lists by their ends."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list) and len(value) > _FEW_VALUES:
        return f"{value_text(value[:2])}, ..., {value_text(value[-1])} ({len(value)} in all)"
    if isinstance(value, list):
        return ", ".join(value_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """`0:02:10`, `2 days, 3:00:00`; below ten seconds with one digit more: `2.5 s`."""
    return f"{seconds:.1f} s" if 0 <= seconds < 10 else str(timedelta(seconds=round(seconds)))


def roughly(seconds: float) -> str:
    """`40 s`, `25 min`, `7.5 h`, `18 days`, `3.4 years`: an estimate has no more digits."""
    for unit, length, until in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{seconds / length:.{1 if unit == 'h' else 0}f} {unit}"
    days = seconds / 86_400
    return f"{days:,.0f} days" if days < 700 else f"{days / 365.25:,.1f} years"


def left_words(seconds: float) -> str:
    """`about 14 h left`, `almost done`."""
    return f"about {roughly(seconds)} left" if seconds > 0 else "almost done"


def moment(time: datetime) -> str:
    """`2025-03-01 12:00:00 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(number: float) -> str:
    """`1.2 GiB`."""
    power = min(int(math.log(max(number, 1), 1024)), len(_UNITS) - 1)
    return f"{number / 1024**power:.{1 if power else 0}f} {_UNITS[power]}"


def short(text: str, length: int) -> str:
    """The text's first line, with an ellipsis where more follows or it is longer than `length`."""
    line = text.partition("\n")[0]
    if line == text and len(line) <= length:
        return text
    return f"{line[: length - 1]}…"


SETTLED_SECONDS = 2.0
"""Of training, before a rate is told: the first iteration takes far longer than others."""


def progress_text(progress: StackProgress) -> str:
    """`train 12,000/60,000 iterations, 412 it/s, 0:02:10 to go`, or where in an evaluation."""
    left = timedelta(seconds=round(progress.seconds_left))
    if progress.activity.startswith("evaluation"):
        return f"{progress.activity}, {left} to go"
    done = f"{progress.activity} {progress.iterations_done:,}/{progress.iterations_total:,} iterations"
    rate = progress.iterations_per_second
    if not rate or progress.iterations_done / rate < SETTLED_SECONDS:
        return done
    return f"{done}, {rate:,.{0 if rate >= 10 else 1}f} it/s, {left} to go"
