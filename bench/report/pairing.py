"""What a method is held against on each task, and whether it may be: pairs of scores that can be tested.

Against a printed number the conditions are those of a paper, as far as they bear on another method: D4RL's
own data, its physics, the protocol. Two methods of the store need the same data, physics, protocol and task
version. What the owner of imported scores does not declare is not known, and then nothing is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from algorithms.registry import ALIASES, PAPERS
from bench.catalog import Catalog, Task, shipped_domains
from bench.errors import BenchError, unknown_name
from bench.evaluation.protocols import PROTOCOLS, RUNNING_AVERAGE
from bench.presets import RELEASED, load_preset, method_on
from bench.records import NOT_DECLARED, VERIFIED
from bench.report.judgement import Comparison
from bench.report.matching import conditions_against, data_against, never_judged, own_numbers
from bench.report.measured import FinalEpisodes, Measured, ReportData
from bench.report.paper import PaperCell
from bench.report.published import SEEDS_ASSUMED, assumptions, binomial_floor, published
from bench.report.statistics import Array, Difference, Interval, Sample, welch
from bench.report.verdicts import SAME_SCORE, components_of
from bench.visible_text import count

Standing = Literal["better", "worse", "equivalent", "undecided", "not comparable"]
"""What is said of a method held against another."""
PAPER = "paper"
"""Stands for the numbers that the papers print of their own methods; `paper:dtql` for those of one method."""


@dataclass(frozen=True)
class Contrast:
    """A method held against one number on one task."""

    against: str
    """`dtql/last, printed by DTQL` (`reference_of`), or the other method's name."""
    task: str
    mine: Measured
    """Scored by the protocol of the comparison where that can be."""
    other: Measured | PaperCell | None
    """None where the other has no score on the task."""
    margin: float
    """Score points that count as no difference."""
    standing: Standing = "undecided"
    reasons: tuple[str, ...] = ()
    """Why it is not comparable, or what cannot be said."""
    assumptions: tuple[str, ...] = ()
    """What had to be assumed of a printed number."""
    comparison: Comparison | None = None
    """Of d with 0; None where nothing could be tested."""
    improvement: Interval | None = None
    """Probability that a run of the method scores higher; None where the other's runs are not known."""
    further_seeds: int | None = None
    """That would decide what is undecided if means and spreads stayed, of both where both are known."""
    arithmetic: tuple[str, ...] = ()

    @property
    def within_margin(self) -> bool:
        """Whether the difference, though there is one, is smaller than what counts."""
        return lies_within(self.comparison, self.margin)


def lies_within(comparison: Comparison | None, margin: float) -> bool:
    """Whether the 90 % interval of a difference lies within the margin."""
    return comparison is not None and -margin <= comparison.low and comparison.high <= margin


@dataclass(frozen=True)
class Test:
    """A contrast that can be tested; its standing follows once all are known."""

    contrast: Contrast
    mine: Sample
    other_mean: float
    difference: Difference
    with_more: Callable[[Array], Difference]
    """The difference with so many further seeds: of both where both are known, else of the method."""
    other_scores: tuple[float, ...] | None
    """Of the other's runs; None where a paper prints only their mean."""
    lost: tuple[str, str]
    """Seeds of either that ended without a score, in words: the mean of the others is too good."""
    arithmetic: tuple[str, ...]
    """Of the other's number."""


# What there is


def by_task(
    name: str, data: ReportData, catalog: Catalog, tasks: Collection[str]
) -> dict[str, tuple[Measured, ...]]:
    """Every configuration of a method on these tasks, by task, in the catalog's order.

    Raises
    ------
    BenchError : the store holds nothing of it.
    """
    found: dict[str, list[Measured]] = {}
    for entry in data.measured:
        task = catalog.tasks.get(entry.task)
        if task is not None and entry.algorithm == method_on(name, task.domain):
            found.setdefault(entry.task, []).append(entry)
    if not found:
        known = sorted({entry.algorithm for entry in data.measured if entry.task in catalog.tasks})
        if not known:
            what = "the store holds no scores yet"
            raise BenchError(what, "", "Bring yours: bench import scores.csv --as NAME")
        # Headings name what is printed `dtql/last`, papers write DTQL.
        printed = name.partition("/")[0].lower()
        if name not in known and printed in (*ALIASES, *PAPERS, *(key[1] for key in own_numbers())):
            what = f"nothing of {name} is measured or imported"
            raise BenchError(what, "", f"Its printed numbers: --against {PAPER}:{printed}")
        raise unknown_name("method in the store", name, known, "bench status")
    return {task: tuple(found[task]) for task in catalog.tasks if task in found and task in tasks}


def printed_numbers(against: str) -> list[tuple[str, PaperCell]]:
    """The numbers that are meant, each with the id of its table: headline methods' own, or those of one.

    Raises
    ------
    BenchError : no paper prints a number of its own of the method.
    """
    method = against.partition(":")[2]
    numbers = own_numbers()
    found = [
        (table, cell)
        for (paper, algorithm, _, _), (table, cell) in numbers.items()
        if (
            algorithm == method_on(method, cell.domain)
            if method
            else paper.lower() in PAPERS and algorithm == method_on(paper.lower(), cell.domain)
        )
    ]
    if not found:
        known = {PAPER, *(f"{PAPER}:{key[1]}" for key in numbers)}
        raise unknown_name("reference", against, known, "bench list algorithms")
    return found


def reference_of(cell: PaperCell) -> str:
    """What printed numbers are gathered by: `dtql/last, printed by DTQL`."""
    paper, algorithm, _, protocol = cell.key
    return f"{algorithm}/{protocol}, printed by {paper}"


# Whether two may be held against each other


def _scored(entry: Measured, protocol: str) -> Measured | None:
    """`entry` by a protocol; None where it cannot be.

    The best over training is no such thing where only the last evaluations are known.
    """
    if entry.protocol == protocol:
        return entry
    few = any(len(trial.evaluations) < RUNNING_AVERAGE for trial in entry.scored)
    if protocol not in PROTOCOLS or (protocol == "oms" and few):
        return None
    scored = entry.under(protocol)
    return scored if scored.protocol == protocol and scored.n else None


def _undeclared(entry: Measured, task: Task) -> list[str]:
    """What the owner of imported scores leaves open."""
    said = entry.declared
    if said is None:
        return []
    open_ = [name for name in ("data", "episodes", "physics") if getattr(said, name) is None]
    # Of a curve the last evaluation is known; one evaluation alone may be any.
    if said.protocol is None and not any(len(trial.evaluations) > 1 for trial in entry.trials):
        open_.append("protocol")
    if task.goals == "by_method" and entry.goals is None:
        open_.append("goals")
    return [f"{entry.algorithm}: not declared: {', '.join(open_)}"] if open_ else []


def _of_data(entry: Measured) -> str:
    """What data it was trained on: equal texts, equal data."""
    if entry.declared is not None:
        return "D4RL's file" if entry.declared.data == "d4rl" else f"other data, {entry.algorithm}'s own"
    return "D4RL's file" if entry.verification == VERIFIED else f"a file {entry.dataset_sha256[:12]}"


def _printed_reasons(entry: Measured, cell: PaperCell, task: Task) -> list[str]:
    """Why a method's scores on a task must not be held against a printed number."""
    if entry.declared is None:
        reasons = [*data_against(entry), *conditions_against(entry)]
    elif reasons := _undeclared(entry, task):
        return reasons  # what follows from it need not be said
    else:
        reasons = ["data other than D4RL's"] if entry.declared.data == "other" else []
        reasons += [f"physics {entry.physics}"] if entry.declared.physics == "modern" else []
    if (never := never_judged(cell)) is not None:
        return [*reasons, never]
    if entry.protocol != cell.protocol:
        reasons.append(f"protocol {entry.protocol}, printed {cell.protocol or 'unknown'}")
    reasons += _oracle_reasons(cell.protocol, entry.episodes, cell.episodes)
    if task.goals == "by_method" and entry.goals is not None:
        printed = load_preset(cell.algorithm, task).evaluation.goals
        reasons += [f"goals {entry.goals}, printed {printed}"] if entry.goals != printed else []
    return reasons + [f"the printed {erratum.field} is in doubt" for erratum in cell.errata]


def _pair_reasons(mine: Measured, other: Measured, task: Task) -> list[str]:
    """Why the scores of two methods on a task must not be held against each other."""
    reasons = [*_undeclared(mine, task), *_undeclared(other, task)]
    below = [entry for entry in (mine, other) if entry.reduced]
    reasons += [f"{entry.algorithm}: reduced ({', '.join(entry.reduced)})" for entry in below]
    data = _of_data(mine), _of_data(other)
    if not reasons and data[0] != data[1]:
        reasons.append(f"data: {data[0]} against {data[1]}")
    if mine.task_version != other.task_version:
        reasons.append(f"task version {mine.task_version} against {other.task_version}")
    for name in ("physics", "protocol", "goals"):
        values = getattr(mine, name), getattr(other, name)
        if None not in values and NOT_DECLARED not in values and values[0] != values[1]:
            reasons.append(f"{name} {values[0]} against {values[1]}")
    return reasons + _oracle_reasons(mine.protocol, mine.episodes, other.episodes)


def _oracle_reasons(protocol: str, episodes: int, others: int | None) -> list[str]:
    """The best of noisy evaluations is the better the fewer episodes each has; a mean is not."""
    if protocol == "oms" and others is not None and episodes != others:
        return [f"{episodes} episodes against {others} under the protocol oms"]
    return []


def _usable(mine: Measured, other: Measured | None = None) -> list[str]:
    """Why nothing can be tested yet."""
    reasons = []
    for entry in filter(None, (mine, other)):
        left = sum(trial.state in ("planned", "running") for trial in entry.trials)
        if left:
            reasons.append(f"{entry.algorithm}: {left} of {count(len(entry.trials), 'seed')} not finished")
        elif entry.n < 2:
            reasons.append(f"{entry.algorithm}: {count(entry.n, 'seed')} with a score, no spread to judge by")
    return reasons


def _sample(entry: Measured, task: Task) -> Sample | str:
    """A method's seeds; or why they tell no spread."""
    assert entry.mean is not None, "it has two scores at least"
    floor = np.float64(0)
    if shipped_domains()[task.domain].succeeds_or_fails:
        floor = np.float64(binomial_floor(entry.mean, entry.n, entry.episodes, entry.protocol))
    if not floor and max(entry.scores) - min(entry.scores) <= SAME_SCORE:
        return f"{entry.algorithm}: all {entry.n} seeds score the same, no spread to judge by"
    return Sample.of(entry.scores, entry.n * floor)


# Contrasts


def printed_pairs(
    mine: Mapping[str, Sequence[Measured]],
    numbers: Sequence[tuple[str, PaperCell]],
    data: ReportData,
    catalog: Catalog,
    margin: float,
) -> Iterator[Contrast | Test]:
    """The method held against printed numbers, of those on its tasks."""
    for table, cell in numbers:
        if cell.task_meant in mine:
            task = catalog.tasks[cell.task_meant]
            yield _best(
                [
                    _one_printed(entry, table, cell, task, data.final_episodes, margin)
                    for entry in mine[task.name]
                ]
            )


def _best(found: Sequence[Contrast | Test]) -> Contrast | Test:
    """Of several configurations the one under the best conditions: never by its score."""

    def worth(one: Contrast | Test) -> tuple[object, ...]:
        contrast = one.contrast if isinstance(one, Test) else one
        entry, bad = contrast.mine, contrast.standing == "not comparable"
        usual = entry.variant == RELEASED
        return (
            entry.n > 0,
            not bad,
            -len(contrast.reasons),
            usual,
            entry.budget,
            entry.n,
            entry.finished_seconds,
        )

    return max(found, key=worth)


def _one_printed(
    entry: Measured,
    table: str,
    cell: PaperCell,
    task: Task,
    episodes: FinalEpisodes,
    margin: float,
) -> Contrast | Test:
    scored = _scored(entry, cell.protocol) or entry
    contrast = Contrast(reference_of(cell), task.name, scored, cell, margin)
    if reasons := _printed_reasons(scored, cell, task):
        return replace(contrast, standing="not comparable", reasons=tuple(reasons))
    own = entry.algorithm == cell.algorithm
    contrast = replace(
        contrast, assumptions=assumptions(cell) if own else _assumptions(cell, entry.algorithm)
    )
    if reasons := _usable(scored):
        return replace(contrast, reasons=tuple(reasons))
    # Another method's seeds do not tell which share of the paper's variance lies between its own.
    evidence = published(cell, components_of(scored, cell, episodes) if own else None)
    if evidence is None:
        return replace(contrast, reasons=("the paper does not say what its ± means",))
    sample = _sample(scored, task)
    if isinstance(sample, str):
        return replace(contrast, reasons=(sample,))
    return Test(
        contrast=contrast,
        mine=sample,
        other_mean=float(np.asarray(evidence.mean)),
        difference=evidence.against(sample),
        with_more=lambda more: evidence.against(replace(sample, n=sample.n + more)),
        other_scores=None,
        lost=("; ".join(scored.shortfalls()), ""),
        arithmetic=(f"printed {cell.text} ({table})", *evidence.lines(sample)),
    )


def _assumptions(cell: PaperCell, name: str) -> tuple[str, ...]:
    """What is taken for granted of a printed number where another method is held against it."""
    found = [] if cell.seeds else [f"number of seeds not stated: {SEEDS_ASSUMED} assumed"]
    if cell.spread is None:
        found.append(f"no spread printed: the paper's seeds are assumed to vary as {name}'s do")
    elif cell.spread_kind == "se_over_rollouts":
        found.append(
            "± is a standard error over pooled rollouts, which holds no variance between seeds: taken as the"
            " most that it allows, all of it between seeds"
        )
    else:
        found.append("± taken as a standard deviation over seeds with ddof 0")
    return tuple(found)


def pairs(
    against: str,
    mine: Mapping[str, Sequence[Measured]],
    theirs: Mapping[str, Sequence[Measured]],
    catalog: Catalog,
    margin: float,
) -> Iterator[Contrast | Test]:
    """The method held against another one, on every task of the first."""
    for name, entries in mine.items():
        if name in theirs:
            task = catalog.tasks[name]
            yield _best(
                [_one_pair(against, one, other, task, margin) for one in entries for other in theirs[name]]
            )
        else:
            best = max(entries, key=lambda entry: (entry.n, entry.finished_seconds))
            reasons = (f"{against} has no score on it",)
            yield Contrast(against, name, best, None, margin, "not comparable", reasons)


def _one_pair(against: str, mine: Measured, other: Measured, task: Task, margin: float) -> Contrast | Test:
    for protocol in dict.fromkeys((other.protocol, mine.protocol, "last")):
        pair = _scored(mine, protocol), _scored(other, protocol)
        if pair[0] is not None and pair[1] is not None:
            mine, other = pair[0], pair[1]
            break
    contrast = Contrast(against, task.name, mine, other, margin)
    if reasons := _pair_reasons(mine, other, task):
        return replace(contrast, standing="not comparable", reasons=tuple(reasons))
    if reasons := _usable(mine, other):
        return replace(contrast, reasons=tuple(reasons))
    own, its = _sample(mine, task), _sample(other, task)
    if isinstance(own, str) or isinstance(its, str):
        return replace(contrast, reasons=tuple(text for text in (own, its) if isinstance(text, str)))
    return Test(
        contrast=contrast,
        mine=own,
        other_mean=float(np.asarray(its.mean)),
        difference=difference_of(own, its),
        with_more=lambda more: difference_of(replace(own, n=own.n + more), replace(its, n=its.n + more)),
        other_scores=other.scores,
        lost=("; ".join(mine.shortfalls()), "; ".join(other.shortfalls())),
        arithmetic=(seeds_line(other.algorithm, its),),
    )


def difference_of(mine: Sample, other: Sample) -> Difference:
    """Of two methods' means, by Welch's test."""
    return welch(mine, other.mean, other.variance / other.n, other.n)


def seeds_line(name: str, sample: Sample) -> str:
    """`mine 98.37 over 5 seeds, variance between them 1.29`."""
    mean, variance = (float(np.asarray(value)) for value in (sample.mean, sample.variance))
    return f"{name} {mean:.2f} over {sample.n} seeds, variance between them {variance:.3g}"
