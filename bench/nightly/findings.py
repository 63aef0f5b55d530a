"""What a night found, what of it makes the night red, and how it is told: in words and in files."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from bench.files import write_text
from bench.nightly import alarms
from bench.nightly.alarms import NightComparison
from bench.nightly.baseline import number
from bench.nightly.exact import ExactFinding
from bench.nightly.history import VerdictChange
from bench.nightly.pace import PaceComparison
from bench.records import CellComparison, NightOutcome, NoteRecord, Outcome, PrintedNumber
from bench.report.formats.junit import Case, document
from bench.report.formats.templates import page_templates
from bench.report.judgement import WORDS
from bench.visible_text import plain, to_json, visible

FEW = 8
"""Of one kind, at most named in the summary; the report has all."""
TEMPLATE = "night.html.j2"


@dataclass(frozen=True)
class Excused:
    """An exact layer that differs as a person's note says it should."""

    finding: ExactFinding
    note: NoteRecord


@dataclass(frozen=True)
class Drift:
    """The cumulative sums after a night."""

    sums: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    """None where the night was not compared."""
    cells: tuple[str, ...] = ()
    """Those at the limit."""


@dataclass(frozen=True)
class NightProblem:
    """One reason for a red night."""

    what: str
    do_this: str


@dataclass(frozen=True)
class Findings:
    """A whole night. Where the exact layers or the canary differ nothing else was done."""

    date: date
    baseline: str
    seeds: tuple[int, ...]
    exact: tuple[ExactFinding, ...] = ()
    """Differences that no note excuses; some are only told."""
    excused: tuple[Excused, ...] = ()
    changed_cells: tuple[str, ...] = ()
    """Sentences about cells that are not those of the baseline."""
    comparison: NightComparison | None = None
    confirmation: NightComparison | None = None
    """With fresh seeds, of the cells that alarmed; None where none did."""
    other_code: int = 0
    """Trials of this night that were made by other code than held it."""
    drift: Drift = Drift()
    pace: tuple[PaceComparison, ...] = ()
    verdicts: Mapping[PrintedNumber, Outcome] = field(default_factory=dict)
    changes: tuple[VerdictChange, ...] = ()
    margins: Mapping[str, Any] = field(default_factory=dict)
    """Of these verdicts, as in their file."""
    margins_before: Mapping[str, Any] | None = None
    """Of the verdicts of the last night; None where there was none."""
    margins_file: str = ""
    """Empty: the installation's."""
    options: str = ""
    """What was typed to name configuration and store, for commands of the nightly job that are told."""
    store: str = ""
    """Of the nights, for other commands that are told."""

    @property
    def stopped(self) -> bool:
        """Whether nothing was run, because what is exact differs."""
        return bool(self.changed_cells) or any(finding.fails for finding in self.exact)

    @property
    def fresh(self) -> dict[str, CellComparison]:
        """The cells that were run again with fresh seeds, by name."""
        return {cell.name: cell for cell in cells_of(self.confirmation)}

    @property
    def other_margins(self) -> bool:
        """Whether verdicts may have turned because the margins were changed."""
        return self.margins_before not in (None, self.margins)

    @property
    def outcome(self) -> NightOutcome:
        """`red` where there is a problem."""
        return "red" if self.problems() else "green"

    def problems(self) -> list[NightProblem]:
        """All that is red, with what to do about it."""
        return [
            *self._exact_problems(),
            *(problem for cell in cells_of(self.comparison) for problem in self.score_problems(cell)),
            *self._drift_problems(),
            *self._pace_problems(),
            *self._verdict_problems(),
        ]

    def _exact_problems(self) -> list[NightProblem]:
        annotate = f'bench baseline annotate {shlex.quote(self.baseline)} "WHY" --accept{self.options}'
        accept = f"Mend it; where it is meant: {annotate}"
        problems = [
            NightProblem(f"{finding.layer}, {finding.name}: {finding.sentence}", accept)
            for finding in self.exact
            if finding.fails
        ]
        anew = f"{self._freeze} --run"
        return problems + [NightProblem(sentence, anew) for sentence in self.changed_cells]

    def score_problems(self, first: CellComparison) -> list[NightProblem]:
        """What is red about a cell's scores: none, no interval to hold them against, or below it twice."""
        name, fresh = first.name, self.fresh.get(first.name)
        problems = []
        for stage, cell in (("", first), ("with fresh seeds ", fresh)):
            if cell is not None and cell.status == "missing":
                night = f"bench nightly --date {self.date} --retry failed{self.options}"
                again = f"`bench status{self._at}` says why; then: {night}"
                problems.append(NightProblem(f"{name}: {stage}{cell.reason}", again))
            elif cell is not None and cell.status == "unjudged":
                problems.append(NightProblem(f"{name}: {cell.reason}", "Freeze a baseline with more seeds."))
        if fresh is not None and fresh.status == "below":
            problems.append(
                NightProblem(dropped(first, fresh), "Look at what changed since the last green night.")
            )
        return problems

    @property
    def _at(self) -> str:
        return f" --store {shlex.quote(self.store)}" if self.store else ""

    @property
    def _freeze(self) -> str:
        return f'Mend it; where it is meant: bench baseline freeze NEW-NAME --reason "WHY"{self.options}'

    def _drift_problems(self) -> list[NightProblem]:
        what = "has been somewhat below the baseline for too many nights (cumulative sum at its limit)"
        nights = "SELECT algorithm, task, date, mean, drift FROM nightly ORDER BY algorithm, task, date"
        advice = f'Look at its nights: bench query "{nights}"{self._at}'
        return [NightProblem(f"{cell}: {what}", advice) for cell in self.drift.cells]

    def _pace_problems(self) -> list[NightProblem]:
        return [
            NightProblem(f"{timed.method}, {timed.quantity}: {slower(timed)}", self._freeze)
            for timed in self.pace
            if timed.status in ("slower", "missing")
        ]

    def _verdict_problems(self) -> list[NightProblem]:
        margins = f" --margins {shlex.quote(self.margins_file)}" if self.margins_file else ""
        since = " (the margins were changed as well)" if self.other_margins else ""
        return [
            NightProblem(
                f"{change.sentence}{since}",
                f"Look at it: bench check --explain {'/'.join(change.key[1:])}{self._at}{margins}",
            )
            for change in self.changes
            if change.fails
        ]


def cells_of(comparison: NightComparison | None) -> tuple[CellComparison, ...]:
    """Those of a comparison, none where there was none."""
    return () if comparison is None else comparison.cells


def dropped(first: CellComparison, fresh: CellComparison) -> str:
    """`dtql hopper: 41.2 (2 seeds), then 43.0 (6 fresh seeds); baseline 55.1 ± 3.2 (20 seeds)`."""
    return (
        f"{first.name}: {number(first.mean)} ({first.seeds} seeds), then {number(fresh.mean)} "
        f"({fresh.seeds} fresh seeds); baseline {number(first.baseline_mean)} ± {number(first.baseline_sd)} "
        f"({first.baseline_seeds} seeds)"
    )


def slower(timed: PaceComparison) -> str:
    """`2.41 s, baseline 1.80 s (+34 %)`; why there is no such comparison where one of the two is missing."""
    if timed.median is None or timed.baseline_median is None:
        return timed.reason
    share = 100 * (timed.median / timed.baseline_median - 1)
    return f"{timed.median:.3g} s, baseline {timed.baseline_median:.3g} s ({share:+.0f} %)"


# In words


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
    counts = _counted(timed.status for timed in found.pace)
    lines = [f"  speed     {counts} of {len(found.pace)} timings"]
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
    counts = _counted(cell.status for cell in cells)
    lines = [
        f"  scores    {counts} of {len(cells)} cells with {len(found.seeds)} fresh seeds each "
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
    counts = _counted(WORDS[outcome] for outcome in found.verdicts.values())
    turned = f"{len(found.changes)} turned since the last night" if found.changes else "none turned"
    lines = [f"  papers    {counts} of {len(found.verdicts)} printed numbers; {turned}"]
    if found.other_margins:
        lines.append("            by other margins than on the last night")
    return lines + [f"            {line}" for line in _some([change.sentence for change in found.changes])]


def _described(cell: CellComparison) -> str:
    return (
        f"{cell.name}: {cell.status}, {number(cell.mean)} (n={cell.seeds}); baseline "
        f"{number(cell.baseline_mean)} ± {number(cell.baseline_sd)} (n={cell.baseline_seeds})"
        + (f"; {cell.reason}" if cell.reason else f", alarm below {number(cell.alarm_below)}")
    )


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


# In files


def write_report(found: Findings, folder: Path, nights: str = "") -> list[Path]:
    """Write `report.html`, `report.json` and `junit.xml`; return their paths.

    Parameters
    ----------
    nights : address of the page over all nights, seen from there.

    Raises
    ------
    OSError : the folder cannot be written.
    """
    contents = {
        "report.html": html(found, nights),
        "report.json": to_json(as_json(found), indent=1),
        "junit.xml": junit(found, datetime.now(UTC)),
    }
    for name, text in contents.items():
        write_text(folder / name, text)
    return [folder / name for name in contents]


def as_json(found: Findings) -> dict[str, Any]:
    """All findings as plain values; a number that is not finite becomes null."""
    content = {
        "outcome": found.outcome,
        "problems": found.problems(),
        **vars(found),
        "excused": [
            {
                "finding": one.finding,
                "note": vars(one.note) | {"written_at": one.note.written_at.isoformat()},
            }
            for one in found.excused
        ],
        "comparison": found.comparison and alarms.as_json(found.comparison),
        "confirmation": found.confirmation and alarms.as_json(found.confirmation),
        "verdicts": [{"key": "/".join(key), "outcome": outcome} for key, outcome in found.verdicts.items()],
    }
    return plain(content)


def html(found: Findings, nights: str = "") -> str:
    """One page without reference to any other file but, where there is one, the page over all nights."""
    environment = page_templates()
    environment.filters |= {"number": number, "slower": slower}
    page = environment.get_template(TEMPLATE).render(
        found=found,
        nights=nights,
        cells=cells_of(found.comparison),
        fresh=found.fresh,
        problems=found.problems(),
        course="\n".join(course(found)),
    )
    return visible(page)


def junit(found: Findings, made_at: datetime) -> str:
    """A test per exact difference, canary cell, timing and verdict that turned."""
    groups = {
        "exact": _exact_cases(found),
        "scores": _score_cases(found),
        "drift": _drift_cases(found),
        "speed": _speed_cases(found),
        "papers": [_case("/".join(change.key), change.sentence, change.fails) for change in found.changes],
    }
    held = {name: cases for name, cases in groups.items() if cases}
    return document(f"bench nightly, {found.date}", held, made_at)


def _case(name: str, message: str, failed: bool) -> Case:
    return Case(name, "failed" if failed else "passed", "regression", message)


def _exact_cases(found: Findings) -> list[Case]:
    differing = [
        _case(f"{finding.layer}, {finding.name}", finding.sentence, finding.fails) for finding in found.exact
    ]
    differing += [_case("canary", sentence, True) for sentence in found.changed_cells]
    return differing if found.stopped else [_case("losses, data and simulators", "", False), *differing]


def _score_cases(found: Findings) -> list[Case]:
    cases = []
    for cell in cells_of(found.comparison):
        red = [problem.what for problem in found.score_problems(cell)]
        cases.append(_case(cell.name, "; ".join(red) or cell.status, bool(red)))
    return cases


def _drift_cases(found: Findings) -> list[Case]:
    return [
        _case(name, f"cumulative sum {total:.1f} of {found.drift.limit:.1f}", name in found.drift.cells)
        for name, total in found.drift.sums.items()
        if found.drift.limit is not None
    ]


def _speed_cases(found: Findings) -> list[Case]:
    return [
        _case(
            f"{timed.method}, {timed.quantity}",
            timed.reason or slower(timed),
            timed.status in ("slower", "missing"),
        )
        for timed in found.pace
    ]
