"""The summary of a small store in a few lines of 80 columns, for the end of a first run.

What the papers expect on the 2D problems with its answer, then each simulated task: the methods beside the
data's own score. No verdict is given here; `bench check` gives those.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.bandit2d.expectations import Finding
from bench.records import method_label
from bench.report.measured import Measured, ReportData
from bench.report.statistics import stratified_t_interval
from bench.visible_text import count

if TYPE_CHECKING:
    from bench.data.info import DatasetSummary

WIDTH = 80
FEWEST_SEEDS = 3
"""Below it an interval over seeds is not worth the name."""


def render(data: ReportData, own_scores: Mapping[str, DatasetSummary], generated: Collection[str]) -> str:
    """Every answered expectation and every simulated task; lines of at most WIDTH columns.

    Parameters
    ----------
    own_scores : what the datasets of the tasks are like, where their files are there.
    generated : the tasks that are 2D problems.
    """
    tasks: dict[str, list[Measured]] = {}
    for cell in data.measured:
        if cell.task not in generated:
            tasks.setdefault(cell.task, []).append(cell)
    lines = _claims(data.findings)
    for task, cells in tasks.items():
        lines += _scores(task, cells, own_scores.get(task))
    return "\n".join(lines or ["Nothing is measured yet."]) + "\n"


def _claims(findings: Sequence[Finding]) -> list[str]:
    """A heading per figure and problem; what does not hold is always told, and the first that holds."""
    groups: dict[tuple[str, str, int], list[Finding]] = {}
    for finding in findings:
        wanted = finding.expectation
        if finding.answer != "not measured":
            groups.setdefault((wanted.source, wanted.task, finding.seeds), []).append(finding)
    lines: list[str] = []
    for (source, task, seeds), found in groups.items():
        holding = [finding for finding in found if finding.answer == "yes"]
        shorter = ", reduced" if any(finding.reduced for finding in found) else ""
        of_them = f"{len(holding)} of {count(len(found), 'expectation')}"
        lines += _folded(f"{source} on {task} ({count(seeds, 'seed')}{shorter}): {of_them} hold")
        for finding in (*holding[:1], *(finding for finding in found if finding.answer == "no")):
            statement = finding.expectation.statement.partition(" (")[0]
            lines += _folded(f"  {_answer(finding)}: {statement}: {finding.numbers}")
    return lines


def _answer(finding: Finding) -> str:
    """A reduced run may be too short for what a paper shows, which is no evidence against it."""
    return "not at this size" if finding.reduced and finding.answer == "no" else finding.answer


def _scores(task: str, cells: Sequence[Measured], own: DatasetSummary | None) -> list[str]:
    """The data's own score, every method with seeds enough for an interval, and the others by name."""
    of_data = "not known here" if own is None else f"{own.mean_score:.1f} ({count(own.episodes, 'episode')})"
    lines = _folded(f"{task}: the data's own score is {of_data}")
    for cell in cells:
        if cell.n >= FEWEST_SEEDS:
            lines += _folded(f"  {_named(cell)}: {_interval(cell, own)}")
    few = [_named(cell) for cell in cells if cell.n < FEWEST_SEEDS]
    if few:
        lines += _folded(f"  {', '.join(few)}: a score of fewer than {FEWEST_SEEDS} seeds says nothing")
    return lines


def _named(cell: Measured) -> str:
    return method_label(cell.algorithm, cell.variant)


def _interval(cell: Measured, own: DatasetSummary | None) -> str:
    """Mean over seeds with Student's interval, and how that lies to the data's score."""
    found = stratified_t_interval([cell.scores])
    text = f"{found.estimate:.1f}, 95 % interval {found.low:.1f} to {found.high:.1f} ({cell.n} seeds)"
    if own is None:
        return text
    if found.high < own.mean_score:
        return f"{text}, below the data"
    return f"{text}, {'above' if found.low > own.mean_score else 'level with'} the data"


def _folded(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text, WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
