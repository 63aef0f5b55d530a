"""A comparison of methods in words, as JSON, as JUnit's XML and as rows for a LaTeX table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from bench.report.check import by_reason
from bench.report.compare import STANDINGS, Compared, SuiteContrast, further
from bench.report.formats.check import FEW, Section
from bench.report.formats.junit import Case, State, document
from bench.report.formats.latex_tabular import escape
from bench.report.judgement import Comparison
from bench.report.measured import Measured
from bench.report.pairing import Contrast, Standing
from bench.report.paper import PaperCell
from bench.report.statistics import Interval
from bench.report.verdicts import MOST_FURTHER_SEEDS
from bench.visible_text import count, to_json

SCHEMA_VERSION = 1
"""Of the JSON; raised when a field changes its meaning or goes; new fields do not raise it."""
D = "d (90 %)"
_SMALL = " (<m)"
"""Behind better or worse: by less than the margin."""
_STATES: Mapping[Standing, State] = {
    "better": "passed",
    "equivalent": "passed",
    "worse": "failed",
    "undecided": "skipped",
    "not comparable": "skipped",
}
_LATEX_MARKS: Mapping[Standing, str] = {
    "better": "+",
    "worse": "-",
    "equivalent": r"\approx",
    "undecided": r"\circ",
    "not comparable": r"\dagger",
}


def sections(found: Compared) -> list[Section]:
    """Means over suites, then every group task by task, counts, what is not comparable, rates."""
    parts = [*_suites(found)]
    if not found.tested:
        parts.append(Section(f"Nothing of {found.name} can be held against {found.against}."))
    for against, contrasts in found.groups().items():
        parts += _group(found.name, against, contrasts)
    parts += [*_counts(found), *_not_comparable(found)]
    legend = (_legend(found),) if found.tested else ()
    return [*parts, Section("What this rests on", remarks=(*legend, *found.statements))]


def _legend(found: Compared) -> str:
    pairs = any(isinstance(contrast.other, Measured) for contrast in found.contrasts)
    seeds = "seeds of either" if pairs else f"seeds of {found.name}"
    more = "further seeds of both" if pairs else f"further seeds of {found.name}"
    return (
        f"d: {found.name} minus the other, with half its 90 % interval; m: margin;{_SMALL}: by less than the"
        f" margin; n: {seeds}; more: {more} that would decide."
    )


def _word(one: Contrast | SuiteContrast) -> str:
    small = one.standing in ("better", "worse") and one.within_margin
    return one.standing + (_SMALL if small else "")


def _suites(found: Compared) -> Iterator[Section]:
    if not found.suites:
        return
    columns = ("against", "mean over a suite", "outcome", "tasks", found.name, "other", D)
    rows = [
        (
            _short(mean.against),
            mean.suite,
            _word(mean),
            f"{mean.tested}/{mean.tasks}",
            *(("", "") if mean.comparison is None else (f"{mean.mine:.1f}", f"{mean.other:.1f}")),
            _difference(mean.comparison),
        )
        for mean in found.suites
    ]
    missing: dict[str, list[str]] = {}
    for mean in found.suites:
        for text in _missing(mean):
            missing.setdefault(text, []).append(_short(mean.against))
    groups = len({mean.against for mean in found.suites})
    remarks = [
        text if len(against) == groups else f"{', '.join(against)}: {text}"
        for text, against in missing.items()
    ]
    chances = [
        f"Probability that a run of {found.name} scores higher than one of {mean.against} on the same task of"
        f" {mean.suite}: {_chance(mean.improvement)}"
        for mean in found.suites
        if mean.improvement is not None
    ]
    margin = found.suites[0].margin
    yield Section(f"{found.name}: means over suites, margin {margin:g}", columns, rows, [*chances, *remarks])


def _missing(mean: SuiteContrast) -> Iterator[str]:
    """Why a suite has no mean, or why something is not said of it."""
    for reason in by_reason(
        (why or task, task) for task, _, why in (r.partition(": ") for r in mean.reasons)
    ):
        more = f" and {len(reason.names) - FEW} more" if len(reason.names) > FEW else ""
        yield f"{mean.suite}: {reason.text}: {', '.join(reason.names[:FEW])}{more}"


def _group(name: str, against: str, contrasts: Sequence[Contrast]) -> Iterator[Section]:
    shown = [one for one in contrasts if one.standing != "not comparable"]
    if not shown:
        return
    rows = [
        (
            one.task,
            _word(one),
            _difference(one.comparison),
            f"{one.margin:.3g}" if one.comparison else "",
            _seeds(one),
            further(one),
        )
        for one in shown
    ]
    remarks = [
        f"{reason.text}: {', '.join(reason.names)}"
        for reason in by_reason((text, one.task) for one in shown for text in one.reasons)
    ]
    columns = ("task", "outcome", D, "m", "n", "more")
    yield Section(f"{name} against {against}", columns, rows, remarks)
    chances = [(one.task, *_chance(one.improvement).split(" ", 1)) for one in shown if one.improvement]
    if chances:
        heading = f"Probability that a run of {name} scores higher than one of {against}"
        yield Section(heading, ("task", "P", "95 % interval"), chances)


def _short(against: str) -> str:
    return against.partition(",")[0]


def _seeds(one: Contrast) -> str:
    entries = [entry for entry in (one.mine, one.other) if isinstance(entry, Measured)]
    return ", ".join(f"{of.n}/{len(of.trials)}" if of.n < len(of.trials) else str(of.n) for of in entries)


def _difference(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    return f"{comparison.difference:+z.1f} ± {(comparison.high - comparison.low) / 2:.1f}"


def _chance(chance: Interval | None) -> str:
    """`0.72 [0.38, 0.92]`."""
    return "" if chance is None else f"{chance.estimate:.2f} [{chance.low:.2f}, {chance.high:.2f}]"


def _counts(found: Compared) -> Iterator[Section]:
    counts = Counter(contrast.standing for contrast in found.contrasts)
    rows = [(str(counts[standing]), standing) for standing in STANDINGS]
    together = f"Compared together: {count(found.tested, 'cell')} (Holm over both sides of each)."
    yield Section("Cells by outcome", ("cells", "outcome"), rows, [together])


def _not_comparable(found: Compared) -> Iterator[Section]:
    pairs = [
        (text, f"{_short(one.against)} {one.task}")
        for one in found.contrasts
        if one.standing == "not comparable"
        for text in one.reasons
    ]
    if pairs:
        rows = [(str(len(reason.names)), reason.text) for reason in by_reason(pairs)]
        yield Section("Not comparable (some for several reasons)", ("cells", "reason"), rows)


# For programs


def render_json(found: Compared, store: str, made_at: datetime) -> str:
    """One object, in full precision; what is not finite becomes null."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "method": found.name,
        "against": found.against,
        "store": store,
        "made_at": made_at,
        "compared_together": found.tested,
        "counts": {name: sum(one.standing == name for one in found.contrasts) for name in STANDINGS},
        "statements": found.statements,
        "suites": [_suite_record(mean) for mean in found.suites],
        "cells": [_record(one) for one in found.contrasts],
    }
    return to_json(content)


def _suite_record(mean: SuiteContrast) -> dict[str, object]:
    names = ("against", "suite", "tasks", "tested", "reasons", "mine", "other")
    return {**{name: getattr(mean, name) for name in names}, **_outcome(mean)}


def _outcome(one: Contrast | SuiteContrast) -> dict[str, object]:
    """What is said, and the numbers that it rests on: d against 0, its interval against the margin."""
    tested = None
    if one.comparison is not None:
        tested = {name: value for name, value in asdict(one.comparison).items() if name != "margin"}
    return {
        "outcome": one.standing,
        "within_margin": one.within_margin,
        "margin": one.margin,
        "comparison": tested,
        "probability_of_improvement": None if one.improvement is None else asdict(one.improvement),
    }


def _record(one: Contrast) -> dict[str, object]:
    return {
        "against": one.against,
        "task": one.task,
        **_outcome(one),
        "reasons": one.reasons,
        "mine": _of_number(one.mine),
        "other": _of_number(one.other),
        "further_seeds": one.further_seeds,
        "assumptions": one.assumptions,
        "arithmetic": one.arithmetic,
    }


def _of_number(number: Measured | PaperCell | None) -> dict[str, object] | None:
    if isinstance(number, PaperCell):
        names = ("paper", "algorithm", "protocol", "text", "mean", "spread", "spread_kind", "seeds")
        return {"kind": "printed", **{name: getattr(number, name) for name in names}}
    if number is None:
        return None
    return {
        "kind": "imported" if number.declared else "measured",
        "algorithm": number.algorithm,
        "variant": number.variant,
        "protocol": number.protocol,
        "mean": number.mean,
        "deviation": number.standard_deviation,
        "n": number.n,
        "scores": number.scores,
        "trials": number.trial_ids,
        "declared": None if number.declared is None else asdict(number.declared),
    }


def render_junit(found: Compared, made_at: datetime) -> str:
    """*Worse* fails; better and equivalent pass; what is undecided or not comparable is skipped."""
    groups: dict[str, list[Case]] = {}
    for mean in found.suites:
        name = f"{found.name} on {mean.suite} (mean over tasks)"
        case = Case(name, _STATES[mean.standing], mean.standing, _sentence(mean))
        groups.setdefault(mean.against, []).append(case)
    for one in found.contrasts:
        name, detail = f"{found.name} on {one.task}", "\n".join(one.arithmetic)
        case = Case(name, _STATES[one.standing], one.standing, _sentence(one), detail)
        groups.setdefault(one.against, []).append(case)
    return document(f"bench compare {found.name} --against {found.against}", groups, made_at)


def _sentence(one: Contrast | SuiteContrast) -> str:
    parts = [_word(one), *one.reasons]
    if one.comparison is not None:
        c = one.comparison
        parts.append(f"d = {c.difference:+z.2f}, 90 % interval [{c.low:+z.2f}, {c.high:+z.2f}]")
    if isinstance(one, Contrast) and further(one):
        more = one.further_seeds
        parts.append(
            f"even {MOST_FURTHER_SEEDS} further seeds would not decide"
            if more is None
            else f"{count(more, 'further seed')} would decide"
        )
    return "; ".join(parts)


# For a paper


def render_latex(found: Compared) -> str:
    """A row of the method's scores for each group that it is held against, marked, with comments."""
    lines = [
        f"% {found.name} against {found.against}: mean and standard deviation over seeds. Marks: + better,"
        " - worse, \\approx equivalent, \\circ undecided, \\dagger not comparable.",
        *(f"% {statement}" for statement in found.statements),
    ]
    for against, contrasts in found.groups().items():
        means = [mean for mean in found.suites if mean.against == against and mean.comparison is not None]
        columns = [*(one.task for one in contrasts), *(f"mean of {mean.suite}" for mean in means)]
        cells = [_latex_cell(one.mine.mean, one.mine.standard_deviation, one.standing) for one in contrasts]
        cells += [_latex_cell(mean.mine, None, mean.standing) for mean in means]
        lines += [
            f"% against {against}; columns: {', '.join(columns)}",
            " & ".join([escape(found.name), *cells]) + r" \\",
        ]
    return "\n".join(lines) + "\n"


def _latex_cell(mean: float | None, deviation: float | None, standing: Standing) -> str:
    if mean is None:
        return "--"
    spread = "" if deviation is None else rf" \pm {deviation:.1f}"
    return f"${mean:.1f}{spread}^{{{_LATEX_MARKS[standing]}}}$"
