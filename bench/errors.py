"""Errors that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from bench.visible_text import quoted, shortened

FEW = 8


class BenchError(Exception):
    """A request that cannot be carried out, said so that the reader knows what to type next.

    Parameters
    ----------
    what : quotes the offending value ("unknown task 'hoper-medium-v2'").
    why : the reason, one sentence; may be empty where `what` says it all.
    do_this : what to type or change instead.

    Lines of absurd length are cut, whatever a file or a person put into them.
    """

    def __init__(self, what: str, why: str = "", do_this: str = "") -> None:
        self.what, self.why, self.do_this = map(_bounded, (what, why, do_this))
        super().__init__("\n".join(part for part in (self.what, self.why, self.do_this) if part))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # Errors travel between processes; the default would pass the joined text as `what`.
        return type(self), (self.what, self.why, self.do_this)


class WorkFailedError(BenchError):
    """Something ran and failed (a trial, a check): exit code 1 rather than 2."""


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str) -> BenchError:
    """The error for a name that does not exist, with the nearest names that do.

    `listing` is the command that lists the known names.
    """
    known = sorted(known)
    small = name.lower()
    close = _nearest(name, known) or ([small] if small in known else _nearest(small, known))
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    # A handful is told at once; more are for the listing.
    rest = f"There are: {', '.join(known)}." if len(known) <= FEW else f"`{listing}` shows all {len(known)}."
    return BenchError(f"unknown {kind} {quoted(name)}", "", hint + rest)


def names_in(text: str) -> tuple[str, ...]:
    """The names that a person separated by commas, each once, in their order; none where there is none."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def chosen_names(kind: str, text: str, known: Iterable[str], listing: str) -> list[str]:
    """Known names from a comma-separated list, or all of them for `all`; `kind` is what they name.

    Raises
    ------
    BenchError : a name is unknown, or none is given.
    """
    known = list(known)
    if text.strip() == "all":
        return known
    chosen = names_in(text)
    if not chosen:
        raise BenchError(f"no {kind} named in {text!r}", "", f"Known: {', '.join(known)}, or all.")
    for name in chosen:
        if name not in known:
            raise unknown_name(kind, name, known, listing)
    return list(chosen)


def _nearest(name: str, known: list[str]) -> list[str]:
    longest = 2 * max(map(len, known), default=0)
    return difflib.get_close_matches(name, known, n=3, cutoff=0.5) if len(name) <= longest else []


def _bounded(text: str) -> str:
    return "\n".join(map(shortened, text.split("\n")))
