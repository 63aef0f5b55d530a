"""A night in words: one calm summary that says what was compared, what fired and what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.nightly.alarms import CellComparison, NightComparison
from bench.nightly.findings import Findings, number, slower
from bench.report.judgement import WORDS

FEW = 8
"""Of one kind, at most named; the report has all."""


def summary(found: Findings) -> str:
    """The whole of it, a few lines; problems come last, each with what to do."""
    lines = [f"Night of {found.date} against baseline {found.baseline!r}", *course(found)]
    problems = found.problems()
    if not problems:
        return "\n".join([*lines, "", "GREEN."])
    lines += ["", f"RED: {len(problems)} problem{'s' * (len(problems) > 1)}"]
    alike: dict[str, list[str]] = {}
    for problem in problems:
        alike.setdefault(problem.do_this, []).append(problem.what)
    for do_this, what in alike.items():
        lines += [f"  {line}" for line in (*_some(what), f"  {do_this}")]
    return "\n".join(lines)


def course(found: Findings) -> list[str]:
    """What was compared, and what came of it."""
    return [*_exact(found), *_speed(found), *_scores(found), *_drift(found), *_papers(found)]


def of_other_code(trials: int) -> str:
    """`3 trials were made by other code than is here now`."""
    return f"{trials} trial{'s were' if trials > 1 else ' was'} made by other code than is here now"


def _some(lines: Sequence[str]) -> list[str]:
    more = len(lines) - FEW
    return list(lines) if more <= 1 else [*lines[:FEW], f"and {more} more, in the report"]


def _exact(found: Findings) -> list[str]:
    failing = sum(finding.fails for finding in found.exact)
    what = "losses, data and simulators"
    if failing:
        lines = [f"  exact     {failing} differences; nothing else was run"]
    elif found.changed_cells:
        lines = [f"  exact     {what} as at the baseline, but the canary is another one; nothing was run"]
    else:
        lines = [f"  exact     {what} as at the baseline"]
    told = [
        f"{finding.layer}, {finding.name}: {finding.sentence}" for finding in found.exact if not finding.fails
    ]
    excused = [
        f"{one.finding.layer}, {one.finding.name} differs, as {one.note.author} wrote on "
        f"{one.note.written_at:%Y-%m-%d}: {one.note.text}"
        for one in found.excused
    ]
    return lines + [f"            {line}" for line in (*_some(told), *_some(excused))]


def _speed(found: Findings) -> list[str]:
    if not found.pace:
        return []
    counts = Counter(timed.status for timed in found.pace)
    lines = [f"  speed     {_counted(counts)} of {len(found.pace)} timings"]
    lines += [
        f"            {timed.method}, {timed.quantity}: {timed.status}, {slower(timed)}"
        for timed in found.pace
        if timed.status in ("slower", "faster")
    ]
    reasons = Counter(timed.reason for timed in found.pace if timed.status == "not compared")
    return lines + [f"            {count} not compared: {reason}" for reason, count in reasons.items()]


def _scores(found: Findings) -> list[str]:
    if found.comparison is None:
        return []
    cells = found.comparison.cells
    counts = Counter(cell.status for cell in cells)
    lines = [
        f"  scores    {_counted(counts)} of {len(cells)} cells with {len(found.seeds)} fresh seeds each "
        f"(a false alarm in {found.comparison.family_rate:.1%} of nights, before confirmation)"
    ]
    if found.other_code:
        # What was trained is not trained again, so a night held anew says nothing of a change since.
        lines.append(f"            {of_other_code(found.other_code)}: tonight's scores do not judge it")
    lines += [f"            {_described(cell)}" for cell in cells if cell.status != "as expected"]
    return lines + _confirmation(found.confirmation)


def _confirmation(confirmation: NightComparison | None) -> list[str]:
    if confirmation is None:
        return []
    lines = [f"  confirmed {len(confirmation.alarms)} of {len(confirmation.cells)} alarms"]
    return lines + [f"            {_described(cell)}" for cell in confirmation.cells]


def _drift(found: Findings) -> list[str]:
    if found.drift.limit is None or not found.drift.sums:
        return []
    name, largest = max(found.drift.sums.items(), key=lambda item: item[1])
    return [f"  drift     largest cumulative sum {largest:.1f} of at most {found.drift.limit:.1f} ({name})"]


def _papers(found: Findings) -> list[str]:
    if found.comparison is None:
        return []
    if not found.verdicts:
        return ["  papers    nothing in the store is comparable with a printed number"]
    counts = Counter(WORDS[outcome] for outcome in found.verdicts.values())
    turned = f"{len(found.changes)} turned since the last night" if found.changes else "none turned"
    lines = [f"  papers    {_counted(counts)} of {len(found.verdicts)} printed numbers; {turned}"]
    if found.other_margins:
        lines.append("            by other margins than on the last night")
    return lines + [f"            {line}" for line in _some([change.sentence for change in found.changes])]


def _described(cell: CellComparison) -> str:
    return (
        f"{cell.cell}: {cell.status}, {number(cell.mean)} (n={cell.seeds}); baseline "
        f"{number(cell.baseline_mean)} ± {number(cell.baseline_sd)} (n={cell.baseline_seeds})"
        + (f"; {cell.reason}" if cell.reason else f", alarm below {number(cell.alarm_below)}")
    )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.most_common())
