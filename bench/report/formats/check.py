"""A check in words and as JSON: sections of text, everything for programs, and one verdict explained.

Sections are small tables with remarks; how they are laid out is the terminal's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.records import FINISHED
from bench.report.check import Check, Reason, by_reason, further, replay_words, sentence
from bench.report.judgement import WORDS, CellVerdict, Comparison, Judgement, SuiteVerdict, Verdict
from bench.report.measured import Measured, SeedScore
from bench.visible_text import count, to_json

SCHEMA_VERSION = 1
"""Of the JSON; raised when a field changes its meaning or goes; new fields do not raise it."""
FEW = 3
"""Names given for a reason unless all are asked for."""
D = "d (90 %)"
SUITE_COLUMNS = ("mean over a suite", "verdict", "tasks", "ours", "paper", D)
CELL_COLUMNS = ("cell", "verdict", D, "m", "n", "more")
NUMBERS = (
    *SUITE_COLUMNS[2:],
    *CELL_COLUMNS[2:],
    "cells",
    *("now", "baseline", "alarm below", "P"),
    "other",
)
"""Columns aligned to the right. All are narrow, so that a cell takes one line of a terminal of 80 columns."""
_LEGEND = (
    "d: measured minus printed, with half its 90 % interval; m: margin; n: our seeds, 4/5"
    " where only four of five have a score; more: further seeds that would decide"
)


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
        found = [_nothing(check), *_cells(judgement, whole_names)]
    else:
        found = [*_suites(judgement, everything), *_cells(judgement, whole_names), _counts(check)]
    found += _without_verdict(check, everything)
    return found + ([Section("What the verdicts mean", remarks=_meaning(check))] if check.judged else [])


def _nothing(check: Check) -> Section:
    where = f"the suites {', '.join(check.suites)} in {check.store}" if check.restricted else check.store
    measured = len(check.judgement.cells) + sum(len(reason.names) for reason in check.unmatched)
    if not measured:
        return Section(f"Nothing to judge: nothing of {where} is measured.")
    return Section(
        f"Nothing can be judged: of what {where} holds, nothing was measured under a paper's conditions with"
        " two seeds or more.",
        remarks=("`bench status` says what is left, what failed and why, and which commands go on.",),
    )


def _suites(judgement: Judgement, everything: bool) -> Iterator[Section]:
    if judgement.suites:
        rows = [_suite_row(verdict) for verdict in judgement.suites]
        margins = {verdict.comparison.margin for verdict in judgement.suites if verdict.comparison}
        heading = f"Suites{''.join(f', margin {margin:g}' for margin in margins)}"
        remarks = [
            f"{verdict.id}: {text}"
            for verdict in judgement.suites
            for text in _suite_remarks(verdict, everything)
        ]
        yield Section(heading, SUITE_COLUMNS, rows, remarks)


def _suite_row(verdict: SuiteVerdict) -> tuple[str, ...]:
    # Means over some of the tasks would look like the suite's.
    means = ("", "") if verdict.comparison is None else (_mean(verdict.measured), _mean(verdict.printed))
    tasks = f"{verdict.judged}/{verdict.tasks}"
    return (verdict.id, WORDS[verdict.outcome], tasks, *means, _difference(verdict.comparison))


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
    comparison = verdict.comparison
    margin = "" if comparison is None else f"{comparison.margin:.3g}"
    return (
        name,
        WORDS[verdict.outcome],
        _difference(comparison),
        margin,
        _seeds(verdict),
        further(verdict),
    )


def _cell_remarks(group: Sequence[CellVerdict]) -> Iterator[str]:
    for reason in by_reason((text, verdict.key[2]) for verdict in group for text in verdict.reasons):
        yield _named(reason, everything=True)
    for reason in by_reason((replay_words(verdict.measured.replay), verdict.key[2]) for verdict in group):
        every = len(reason.names) == len(group)
        yield f"{reason.text}: every cell" if every else _named(reason, everything=True)


def _seeds(verdict: CellVerdict) -> str:
    n, trials = verdict.measured.n, len(verdict.measured.trials)
    return f"{n}/{trials}" if trials > n else str(n)


def _difference(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    # Student's interval is symmetric.
    return f"{comparison.difference:+z.1f} ± {(comparison.high - comparison.low) / 2:.1f}"


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _counts(check: Check) -> Section:
    counts = check.judgement.counts()
    only = f" of {', '.join(check.suites)} alone" if check.restricted else ""
    together = (
        f"Judged together: {count(check.judged, 'cell')}{only},"
        f" {count(check.judged_suites, 'mean')} over suites"
    )
    rows = [(str(counts[outcome]), words) for outcome, words in WORDS.items()]
    return Section(
        "Cells by verdict", ("cells", "verdict"), rows, [f"{together} (Holm over both sides of each)."]
    )


def _without_verdict(check: Check, everything: bool) -> Iterator[Section]:
    cells = [verdict for verdict in check.judgement.cells if verdict.outcome == "not comparable"]
    for heading, reasons in (
        (
            f"Not comparable with the printed number, {count(len(cells), 'cell')} (some for several reasons)",
            by_reason((text, verdict.id) for verdict in cells for text in verdict.reasons),
        ),
        ("Measured beside the printed numbers", check.unmatched),
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
    found = Counter((verdict.paper, text) for verdict in judged for text in verdict.assumptions)
    assumed = [
        f"Assumed of {paper} ({count(number, 'cell')}): {text}." for (paper, text), number in found.items()
    ]
    return [f"{_LEGEND}.", *check.judgement.statements, *assumed]


def explain_verdict(verdict: Verdict, judgement: Judgement, suites: Mapping[str, Sequence[str]]) -> list[str]:
    """Outcome, arithmetic, what it rests on and what is assumed, one line each; `suites` as judged."""
    lines = [f"{verdict.id}: {sentence(verdict)}", *(f"  {text}" for text in verdict.arithmetic)]
    if isinstance(verdict, SuiteVerdict):
        return lines + [f"  {text}" for text in _means(verdict, judgement, suites[verdict.suite])]
    if not verdict.arithmetic:
        lines.append(f"  printed {verdict.printed.text} ({verdict.table})")
    lines += [f"  {text}" for text in _our_seeds(verdict.measured)]
    lines.append(f"  {replay_words(verdict.measured.replay)}")
    return lines + [f"  assumed: {text}" for text in verdict.assumptions]


def _our_seeds(entry: Measured) -> Iterator[str]:
    """Every seed's score under the protocol that it was held by, and the trial that `bench explain` knows."""
    scores = []
    for trial in entry.trials:
        score = f"{trial.score:z.2f}" if trial in entry.scored else _without_score(trial)
        scores.append(f"seed {trial.seed} {score} (trial {trial.trial_id})")
    what = f"variant {entry.variant}, configuration {entry.config_hash[:12]}"
    yield f"protocol {entry.protocol}, {what}"
    yield f"our seeds: {', '.join(scores)}"


def _without_score(trial: SeedScore) -> str:
    return "finished without a score" if trial.state == FINISHED else trial.state


def _means(verdict: SuiteVerdict, judgement: Judgement, tasks: Sequence[str]) -> Iterator[str]:
    for task in tasks:
        cell = judgement.by_key.get((verdict.paper, verdict.algorithm, task, verdict.protocol))
        if cell is not None and cell.comparison is not None:
            error, n = cell.comparison.standard_error, cell.measured.n
            yield f"{task}: d = {cell.comparison.difference:+z.2f}, standard error {error:.3g}, n = {n}"
        elif cell is not None:
            yield f"{task}: {sentence(cell)}"


def render_json(check: Check) -> str:
    """One object, in full precision; the end of an interval without bounds becomes null."""
    judgement = check.judgement
    content = {
        "schema_version": SCHEMA_VERSION,
        "against": "paper",
        "store": check.store,
        "made_at": check.made_at,
        "restricted_to": list(check.suites) if check.restricted else None,
        "failed": judgement.failed(),
        "judged_together": {"cells": check.judged, "suite_means": check.judged_suites},
        "counts": judgement.counts(),
        "statements": judgement.statements,
        "suites": [_suite_record(verdict) for verdict in judgement.suites],
        "cells": [_cell_record(verdict) for verdict in judgement.cells],
        "beside": [asdict(reason) for reason in check.unmatched],
    }
    return to_json(content)


def _suite_record(verdict: SuiteVerdict) -> dict[str, object]:
    return {"id": verdict.id, **asdict(verdict), "words": WORDS[verdict.outcome]}


def _cell_record(verdict: CellVerdict) -> dict[str, object]:
    entry, comparison = verdict.measured, verdict.comparison
    return {
        "id": verdict.id,
        **dict(zip(("paper", "algorithm", "task", "protocol"), verdict.key, strict=True)),
        "table": verdict.table,
        "method": verdict.printed.method,
        "outcome": verdict.outcome,
        "printed": verdict.printed.text,
        "measured": entry.mean,
        "deviation": entry.standard_deviation,
        "n": entry.n,
        "variant": entry.variant,
        "config_hash": entry.config_hash,
        "trials": entry.trial_ids,
        "replay": entry.replay,
        "reasons": verdict.reasons,
        "assumptions": verdict.assumptions,
        "comparison": None if comparison is None else asdict(comparison),
        "further_seeds": verdict.further_seeds,
        "arithmetic": verdict.arithmetic,
        "words": WORDS[verdict.outcome],
    }
