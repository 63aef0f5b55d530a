"""Text from files, stores and people made fit to be shown: nothing unseen acts, nothing runs on for ever."""

from __future__ import annotations

import codecs
import re

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
