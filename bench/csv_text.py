"""CSV as every command writes it: whole numbers, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

_RUNS = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet takes for a formula."""
_NUMBER = re.compile(r"[-+]?\d[\d.,]*([eE][-+]?\d+)?( ± [\d.,]+)?")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A header and one line per row, ended by a line feed.

    Numbers stand as Python writes them, to the last digit; None is empty. A text that begins as a formula
    does gets an apostrophe before it, which spreadsheets take for "this is text"; one that is a number
    (`-0.8`, `-0.8 ± 0.1`) gets none.
    """
    lines: list[str] = []
    # Python quotes just those line ends in a cell that end its lines; readers want both kinds quoted.
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerow(map(_harmless, columns))
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return "".join(f"{line[:-2]}\n" for line in lines)


def _harmless(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(_RUNS) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
