"""A check as sections of text, each a small table with remarks; how they are laid out is the terminal's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.report.check import Check, Reason, by_reason
from bench.report.judgement import WORDS, CellVerdict, Comparison, Judgement, SuiteVerdict
from bench.report.verdict_words import further, interval, replay_words, signed

FEW = 3
"""Names given for a reason unless all are asked for."""
NUMBERS = ("d", "90 % interval", "margin", "n", "further seeds")
SUITE_COLUMNS = ("mean over a suite", "verdict", "tasks", "measured", "printed", *NUMBERS[:3])
CELL_COLUMNS = ("cell", "verdict", *NUMBERS)


@dataclass(frozen=True)
class Section:
    """A part of the text."""

    heading: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    remarks: Sequence[str] = ()
    """Lines below the table."""


def sections(check: Check, *, everything: bool = False, whole_names: bool = True) -> list[Section]:
    """The headline of every suite, the cells by paper and method, counts, what has no verdict, rates.

    Parameters
    ----------
    everything : name every cell that has no verdict, instead of summing them up.
    whole_names : cells by what `--explain` takes; otherwise by task, which leaves more room in a terminal.
    """
    judgement = check.judgement
    if not check.judged:
        found = [_nothing(check)]
    else:
        found = [*_suites(judgement, everything), *_cells(judgement, whole_names), _counts(check)]
    found += _without_verdict(check, everything)
    return found + ([Section("What the verdicts mean", remarks=_meaning(check))] if check.judged else [])


def _nothing(check: Check) -> Section:
    where = f"the suites {', '.join(check.suites)} in {check.store}" if check.restricted else check.store
    measured = len(check.judgement.cells) + sum(len(reason.names) for reason in check.beside)
    if not measured:
        return Section(f"Nothing to judge: nothing of {where} is measured.")
    return Section(
        f"Nothing can be judged: of what {where} holds, nothing was measured under a paper's conditions with"
        " two seeds or more."
    )


def _suites(judgement: Judgement, everything: bool) -> Iterator[Section]:
    if judgement.suites:
        rows = [_suite_row(verdict) for verdict in judgement.suites]
        remarks = [
            f"{verdict.id}: {text}"
            for verdict in judgement.suites
            for text in _suite_remarks(verdict, everything)
        ]
        yield Section("Suites", SUITE_COLUMNS, rows, remarks)


def _suite_row(verdict: SuiteVerdict) -> tuple[str, ...]:
    # Means over some of the tasks would look like the suite's.
    means = ("", "") if verdict.comparison is None else (_mean(verdict.measured), _mean(verdict.printed))
    tasks = f"{verdict.judged} of {verdict.tasks}"
    return (verdict.id, WORDS[verdict.outcome], tasks, *means, *_numbers(verdict.comparison))


def _suite_remarks(verdict: SuiteVerdict, everything: bool) -> Iterator[str]:
    pairs = (reason.partition(": ")[::2] for reason in verdict.reasons)
    for reason in by_reason((why, task) for task, why in pairs):
        yield _named(reason, everything)


def _cells(judgement: Judgement, whole_names: bool) -> Iterator[Section]:
    """One section per paper, method and protocol, with the cells that are judged or only lack seeds."""
    groups: dict[tuple[str, str, str], list[CellVerdict]] = {}
    for verdict in judgement.cells:
        if verdict.outcome != "not comparable":
            paper, algorithm, _, protocol = verdict.key
            groups.setdefault((paper, algorithm, protocol), []).append(verdict)
    for (paper, algorithm, protocol), group in groups.items():
        tables = ", ".join(dict.fromkeys(verdict.table for verdict in group))
        rows = [_cell_row(verdict, verdict.id if whole_names else verdict.key[2]) for verdict in group]
        heading = f"{algorithm}/TASK/{protocol}, printed by {paper} ({tables})"
        yield Section(heading, CELL_COLUMNS, rows, [*_cell_remarks(group)])


def _cell_row(verdict: CellVerdict, name: str) -> tuple[str, ...]:
    numbers = _numbers(verdict.comparison)
    return (name, WORDS[verdict.outcome], *numbers, str(verdict.n), further(verdict))


def _cell_remarks(group: Sequence[CellVerdict]) -> Iterator[str]:
    for reason in by_reason((text, verdict.key[2]) for verdict in group for text in verdict.reasons):
        yield _named(reason, everything=True)
    for reason in by_reason((replay_words(verdict.replay), verdict.key[2]) for verdict in group):
        every = len(reason.names) == len(group)
        yield f"{reason.text}: every cell" if every else _named(reason, everything=True)


def _numbers(comparison: Comparison | None) -> tuple[str, str, str]:
    if comparison is None:
        return "", "", ""
    return signed(comparison.difference), interval(comparison), f"{comparison.margin:g}"


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _counts(check: Check) -> Section:
    counts = check.judgement.counts()
    only = f" of {', '.join(check.suites)} alone" if check.restricted else ""
    together = f"Judged together: {check.judged} cells{only}, {check.judged_suites} means over suites"
    rows = [(str(counts[outcome]), words) for outcome, words in WORDS.items()]
    return Section(
        "Cells by verdict", ("cells", "verdict"), rows, [f"{together} (Holm over both sides of each)."]
    )


def _without_verdict(check: Check, everything: bool) -> Iterator[Section]:
    cells = [verdict for verdict in check.judgement.cells if verdict.outcome == "not comparable"]
    for heading, reasons in (
        (
            f"Not comparable with the printed number, {len(cells)} cells (a cell may have several reasons)",
            by_reason((text, verdict.id) for verdict in cells for text in verdict.reasons),
        ),
        ("Measured beside the printed numbers", check.beside),
    ):
        if reasons:
            rows = [(str(len(reason.names)), reason.text) for reason in reasons]
            remarks = [_named(reason, everything) for reason in reasons] if everything else []
            yield Section(heading, ("cells", "reason"), rows, remarks)


def _named(reason: Reason, everything: bool) -> str:
    names = reason.names if everything else reason.names[:FEW]
    more = f" and {len(reason.names) - len(names)} more" if len(names) < len(reason.names) else ""
    return f"{reason.text}: {', '.join(names)}{more}"


def _meaning(check: Check) -> list[str]:
    """Margins and rates, then every assumption once, with how many of the judged cells rest on it."""
    judged = [verdict for verdict in check.judgement.cells if verdict.comparison is not None]
    found = Counter((verdict.key[0], text) for verdict in judged for text in verdict.assumptions)
    assumed = [f"Assumed of {paper} ({number} cells): {text}." for (paper, text), number in found.items()]
    return [*check.judgement.statements, *assumed]
