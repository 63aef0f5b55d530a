"""Text from files, stores and people made fit to be shown: nothing unseen acts, nothing runs on for ever.

So are CSV and JSON, which every command writes in the same way: no spreadsheet runs a text of the one, and in
the other a number that is not finite is null.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

LONGEST_LINE = 1000
"""Characters of one line of a message."""
_LONGEST_QUOTE = 80

_UNSEEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls: a terminal obeys them
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # turn the direction of text, or take no room
    "\u2028\u2029\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff"  # bytes of a name that are no text
    "]"
)

_SPELLED = {
    "±": "+/-", "≠": "!=", "≈": "~", "≤": "<=", "≥": ">=", "\N{MULTIPLICATION SIGN}": "x",
    "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "—": "-", "…": "...", "†": "+", "‡": "++", "↑": "^", "↓": "v",
    "→": "->", "µ": "u", "β": "beta", "η": "eta", "·": ".",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'", "“": '"', "”": '"',
}  # fmt: skip
"""Signs that we print, in letters that every output can hold."""

_RUNS = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet takes for a formula."""
_NUMBER = re.compile(r"[-+]?\d[\d.,]*([eE][-+]?\d+)?( ± [\d.,]+)?")

SPELLED_OUT = "bench-spelled-out"
"""Name of the error handler of codecs that `register_spelling` makes known."""


def visible(text: str) -> str:
    r"""`text` with control characters and marks of direction as `\x1b`, `\u202e`; lines and tabs stay."""
    return _UNSEEN.sub(_escape, text)


def visible_line(text: str) -> str:
    r"""As `visible`, for a cell of a table or a single line: line ends and tabs are blanks."""
    return visible(re.sub(r"\r\n|[\n\t\r]", " ", text))


def visible_json(text: str) -> str:
    r"""A JSON document of the same content whose strings hold `\u009b` for what would not be seen."""
    return _UNSEEN.sub(_json_escape, text)


def shortened(text: str, length: int = LONGEST_LINE) -> str:
    """`text` of at most about `length` characters; of a longer one both ends, and how much is left out."""
    if len(text) <= length:
        return text
    end = length // 4
    return f"{text[: length - end]} ... ({len(text) - length:,} characters left out) ... {text[-end:]}"


def quoted(value: object) -> str:
    """`value` in quotes, as in a message about it: cut to a sensible length."""
    # A cut text first, because the repr of a long one is longer still.
    shown = repr(shortened(value, _LONGEST_QUOTE) if isinstance(value, str) else value)
    return shortened(shown, 2 * _LONGEST_QUOTE)


def count(number: int, noun: str) -> str:
    """`1 trial`, `2,000 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_text(argument: str) -> bool:
    """Whether it can be stored and sent; false of a file's name that holds bytes of no character."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def register_spelling() -> None:
    """Make `SPELLED_OUT` known to codecs: what an encoding cannot hold is spelled in letters that it can."""
    codecs.register_error(SPELLED_OUT, _spelled_out)


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SPELLED.get(character, _escape_of(character)) for character in lacking), error.end


def _escape(found: re.Match[str]) -> str:
    return _escape_of(found[0])


def _escape_of(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii") if ord(character) > 127 else (
        f"\\x{ord(character):02x}"
    )  # fmt: skip


def _json_escape(found: re.Match[str]) -> str:
    # Between the strings of a document there are line ends and blanks alone.
    number = ord(found[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


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


def plain(content: object) -> Any:  # noqa: ANN401 (whatever JSON has)
    """Dataclasses, mappings, sequences, dates and numbers as what JSON has; what is not finite is None."""
    from pydantic_core import to_jsonable_python  # not for the commands that write none

    return to_jsonable_python(content, inf_nan_mode="null")


def to_json(content: object, indent: int = 2) -> str:
    """The text of a whole JSON file; numbers in full precision, as Python writes them."""
    return visible_json(json.dumps(plain(content), indent=indent, ensure_ascii=False, allow_nan=False)) + "\n"


def _harmless(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(_RUNS) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
