"""From what a person types to one verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from bench.errors import BenchError, unknown_name
from bench.report.judgement import CellVerdict, Judgement, SuiteVerdict
from bench.report.matching import own_numbers

Verdict = CellVerdict | SuiteVerdict

_SEPARATORS = r"[/\s,]+"
_LISTING = "bench check --all"
_MOST_LISTED = 12


def find_verdict(name: str, judgement: Judgement) -> Verdict:
    """The verdict called `name` (`dtql/hopper-medium-v2/last`), or the only one that all its words fit.

    Words are paper, method, task or suite, and protocol, in any order; whole ones come before parts of them.

    Raises
    ------
    BenchError : none or several fit, or the papers print it but nothing of it is measured.
    """
    known: list[Verdict] = [*judgement.cells, *judgement.suites]
    words = [word for word in re.split(_SEPARATORS, name.strip().lower()) if word]
    if not words:
        raise BenchError(f"no cell named in {name!r}", "", f"Name one as `{_LISTING}` prints it.")
    for fits in (_whole, _part):
        found = _fitting(known, words, fits)
        if len(found) == 1:
            return found[0]
        if found:
            raise _ambiguous(name, found)
    raise _unknown(name, words, known)


def _fitting(
    known: Sequence[Verdict], words: Sequence[str], fits: Callable[[str, str], bool]
) -> list[Verdict]:
    return [
        verdict
        for verdict in known
        if all(any(fits(word, part) for part in _parts(verdict)) for word in words)
    ]


def _whole(word: str, part: str) -> bool:
    return word == part


def _part(word: str, part: str) -> bool:
    return word in part


def _parts(verdict: Verdict) -> tuple[str, ...]:
    paper = verdict.key[0] if isinstance(verdict, CellVerdict) else verdict.paper
    return paper.lower(), *verdict.id.lower().split("/")


def _ambiguous(name: str, found: Sequence[Verdict]) -> BenchError:
    ids = [verdict.id for verdict in found[:_MOST_LISTED]]
    more = f" and {len(found) - len(ids)} more" if len(found) > len(ids) else ""
    return BenchError(f"{name!r} fits {len(found)} verdicts", "", f"Name one: {', '.join(ids)}{more}.")


def _unknown(name: str, words: Sequence[str], known: Sequence[Verdict]) -> BenchError:
    for paper, *rest in own_numbers():
        if all(word in (paper.lower(), *rest) for word in words):
            what = f"nothing of {'/'.join(rest)} is measured"
            return BenchError(what, "", f"`{_LISTING}` shows what has a verdict.")
    if not known:
        why = "Nothing is measured that a paper prints a number of its own for."
        return BenchError(f"no verdict for {name!r}", why, f"`{_LISTING}` shows what is measured.")
    return unknown_name("cell", name, {verdict.id for verdict in known}, _LISTING)
