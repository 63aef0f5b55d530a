"""What `check` and `compare` share: which suites are meant, and how what was found is delivered."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import typer

from bench.catalog import load_catalog
from bench.cli.output import aligned, print_lines, print_table
from bench.errors import BenchError, names_in
from bench.files import write_text
from bench.report.formats.check import NUMBERS, Section


def suites_named(names: str) -> list[str]:
    """The suites of a list as it was typed; none where it is empty.

    Raises
    ------
    BenchError : a suite is unknown, or the list names nothing.
    """
    chosen = list(names_in(names))
    if names and not chosen:
        raise BenchError(f"no suite named in {names!r}", "", "`bench list suites` shows all.")
    if chosen:
        catalog = load_catalog()
        for name in chosen:
            catalog.suite(name)
    return chosen


def deliver(
    format_: str,
    out: Path | None,
    sections: Callable[[bool], Iterable[Section]],
    formats: Mapping[str, Callable[[], str]],
    remark: str = "",
) -> None:
    """Print what was found, or write it to `out` and say so.

    Parameters
    ----------
    sections : the text, given whether it has room for whole names.
    formats : what makes each other format.
    """
    if out is None and format_ == "text":
        for number, section in enumerate(sections(not sys.stdout.isatty())):
            if number:
                typer.echo()
            _show(section)
    elif format_ == "text":
        parts = ("\n".join(_lines(section)) + "\n" for section in sections(True))
        _write("\n".join(parts), out, remark)
    else:
        _write(formats[format_](), out, remark)


def _show(section: Section) -> None:
    print_lines([section.heading])
    if section.rows:
        print_table(section.columns, section.rows, right=NUMBERS)
    print_lines(f"  {remark}" for remark in section.remarks)


def _lines(section: Section) -> Iterable[str]:
    yield section.heading
    if section.rows:
        yield from aligned(section.columns, section.rows, NUMBERS)
    yield from (f"  {remark}" for remark in section.remarks)


def _write(text: str, out: Path | None, remark: str) -> None:
    """Print `text`, or write it to `out` and say so.

    Raises
    ------
    BenchError : the file cannot be written.
    """
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        write_text(out, text)
    except OSError as error:
        what = f"cannot write {str(out)!r}"
        raise BenchError(what, f"{error.strerror}.", "Name another file with --out FILE.") from error
    typer.echo(f"Wrote {out}{remark}")
