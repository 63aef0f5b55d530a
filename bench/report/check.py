"""One check against the papers: the verdicts, by name and in words, and what none is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bench.errors import BenchError, unknown_name
from bench.report.judgement import WORDS, CellVerdict, Comparison, Judgement, Verdict
from bench.report.margins import Margins
from bench.report.matching import own_numbers
from bench.report.measured import Measured, ReportData
from bench.report.verdicts import MOST_FURTHER_SEEDS, judge

_SEPARATORS = r"[/\s,]+"
_LISTING = "bench check --all"
_MOST_LISTED = 12


@dataclass(frozen=True)
class Reason:
    """Why some things have no verdict."""

    text: str
    names: tuple[str, ...]
    """The things, in the order in which they came."""


@dataclass(frozen=True)
class Check:
    """What `bench check` found; every format shows this and nothing else."""

    store: str
    """As a person would name it."""
    made_at: datetime
    judgement: Judgement
    unmatched: tuple[Reason, ...] = ()
    """What was measured but stands for no printed number (`dtql/collected-hopper-medium`), by reason."""
    suites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tasks of the suites that were looked at."""
    restricted: bool = False
    """Only these suites' tasks were judged, not everything in the store."""

    @property
    def judged(self) -> int:
        """Cells that were tested: Holm's correction runs over both sides of each."""
        return sum(cell.comparison is not None for cell in self.judgement.cells)

    @property
    def judged_suites(self) -> int:
        """Suites' means that were tested."""
        return sum(suite.comparison is not None for suite in self.judgement.suites)

    def suite_of(self, task: str) -> str | None:
        """The first suite that holds the task; None where none does."""
        return next((name for name, tasks in self.suites.items() if task in tasks), None)


def check(
    data: ReportData, margins: Margins, store: str, made_at: datetime, suites: Sequence[str] = ()
) -> Check:
    """Judge everything in `data`, or only the tasks of some suites.

    Parameters
    ----------
    suites : names of `data.suites`; what is judged together, and so Holm's correction, is restricted to them.
    """
    chosen = of_suites(data, suites) if suites else data
    judgement = judge(chosen, margins)
    return Check(
        store, made_at, judgement, unmatched(chosen.measured, judgement), chosen.suites, bool(suites)
    )


def of_suites(data: ReportData, suites: Sequence[str]) -> ReportData:
    """What was measured on the tasks of these suites."""
    kept = {name: data.suites[name] for name in suites}
    tasks = {task for names in kept.values() for task in names}
    return replace(data, measured=tuple(entry for entry in data.measured if entry.task in tasks), suites=kept)


def unmatched(measured: Iterable[Measured], judgement: Judgement) -> tuple[Reason, ...]:
    """What was measured but stands for no printed number, by reason."""
    used = {trial for cell in judgement.cells for trial in cell.measured.trial_ids}
    printed = {(algorithm, task) for _, algorithm, task, _ in own_numbers()}
    return by_reason(
        (_why_unmatched(entry, printed), f"{entry.algorithm}/{entry.task}")
        for entry in measured
        if used.isdisjoint(entry.trial_ids)
    )


def by_reason(pairs: Iterable[tuple[str, str]]) -> tuple[Reason, ...]:
    """(reason, name) pairs gathered, the reason of most names first."""
    found: dict[str, list[str]] = {}
    for reason, name in pairs:
        found.setdefault(reason, []).append(name)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return tuple(Reason(text, tuple(names)) for text, names in ordered)


def _why_unmatched(entry: Measured, printed: set[tuple[str, str]]) -> str:
    if entry.imported:
        return "imported: `bench compare` holds it against the papers"
    if entry.foreign:
        return "foreign data, of no paper"
    if entry.twin_of is not None:
        return "data collected here, not D4RL's"
    if (entry.algorithm, entry.task) in printed:
        return "another configuration of the cell comes closer to the paper's"
    return "no paper prints a number of its own for this method on this task"


# From what a person types to one verdict


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
    for fits in (str.__eq__, str.__contains__):
        found = [
            verdict
            for verdict in known
            if all(any(fits(part, word) for part in _parts(verdict)) for word in words)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise _ambiguous(name, found)
    raise _unknown(name, words, known)


def _parts(verdict: Verdict) -> tuple[str, ...]:
    return verdict.paper.lower(), *verdict.id.lower().split("/")


def _ambiguous(name: str, found: Sequence[Verdict]) -> BenchError:
    ids = [verdict.id for verdict in found[:_MOST_LISTED]]
    more = f" and {len(found) - len(ids)} more" if len(found) > len(ids) else ""
    return BenchError(f"{name!r} fits {len(found)} verdicts", "", f"Name one: {', '.join(ids)}{more}.")


def _unknown(name: str, words: Sequence[str], known: Sequence[Verdict]) -> BenchError:
    printed = [
        rest for paper, *rest in own_numbers() if all(word in (paper.lower(), *rest) for word in words)
    ]
    if printed:
        # A paper may be called as its method is, and quote others.
        meant = max(printed, key=lambda rest: sum(word in rest for word in words))
        what = f"nothing of {'/'.join(meant)} is measured"
        return BenchError(what, "", f"`{_LISTING}` shows what has a verdict.")
    if not known:
        why = "Nothing is measured that a paper prints a number of its own for."
        return BenchError(f"no verdict for {name!r}", why, f"`{_LISTING}` shows what is measured.")
    return unknown_name("cell", name, {verdict.id for verdict in known}, _LISTING)


# Verdicts in words


def sentence(verdict: Verdict) -> str:
    """`inconclusive: d = -3.20, 90 % interval [-6.10, -0.30], margin 5; 2 further seeds would decide`."""
    parts = [] if verdict.comparison is None else [numbers(verdict.comparison)]
    parts += verdict.reasons
    if isinstance(verdict, CellVerdict) and further(verdict):
        parts.append(
            f"{further(verdict)} further seed{'' if verdict.further_seeds == 1 else 's'} would decide"
        )
    return ": ".join(part for part in (WORDS[verdict.outcome], "; ".join(parts)) if part)


def numbers(comparison: Comparison) -> str:
    """`d = -3.20, 90 % interval [-6.10, -0.30], margin 5`."""
    low, high, margin = comparison.low, comparison.high, f"{comparison.margin:g}"
    return f"d = {comparison.difference:+z.2f}, 90 % interval [{low:+z.2f}, {high:+z.2f}], margin {margin}"


def further(verdict: CellVerdict) -> str:
    """Further seeds that would decide an inconclusive cell; empty where that is not the question."""
    open_ = verdict.outcome == "inconclusive" and verdict.comparison is not None and not verdict.reasons
    if not open_:
        return ""
    return f">{MOST_FURTHER_SEEDS}" if verdict.further_seeds is None else str(verdict.further_seeds)


def replay_words(replay: str) -> str:
    """Whether a replay of the dataset confirmed the simulator, as it stands beside a verdict."""
    if replay == "unverified":
        return "simulator not confirmed by a replay of the data"
    found = "confirmed the simulator" if replay == "d4rl" else f"found physics {replay}, not D4RL's"
    return f"a replay of the data {found}"
