"""Where the output of `bench check` goes."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import typer

from bench.errors import BenchError


def print_lines(lines: Iterable[str], indent: str = "") -> None:
    """Print lines, folded to the terminal's width; in a pipe as they are."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for line in lines:
        text = textwrap.fill(
            line,
            width,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        typer.echo(text)


def write_output(text: str, out: Path | None, remark: str = "") -> None:
    """Print `text`, or write it to `out` and say so.

    Raises
    ------
    BenchError : the file cannot be written.
    """
    if out is None:
        typer.echo(text, nl=False)
        return
    from bench.files import write_text

    try:
        write_text(out, text)
    except OSError as error:
        what = f"cannot write {str(out)!r}"
        raise BenchError(what, f"{error.strerror}.", "Name another file with --out FILE.") from error
    typer.echo(f"Wrote {out}{remark}")
