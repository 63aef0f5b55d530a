"""The verdict on each printed number that something was measured for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.report.equivalence import ERROR_RATE, LEVEL, compared, lines, outcome_of, raw_p_values
from bench.report.judgement import CellVerdict, Comparison, Key
from bench.report.margins import Margins
from bench.report.matching import Match
from bench.report.measured import FinalEpisodes, Measured
from bench.report.paper import PaperCell
from bench.report.published import Published, assumptions, published, success_floor
from bench.report.statistics import Components, Difference, Sample, holm

MOST_FURTHER_SEEDS = 100
SAME_SCORE = 1e-6
"""Score points within which scores are the same, rounding of their means aside."""


@dataclass(frozen=True)
class Tested:
    """A number that can be tested; its outcome follows once it is known what is judged together."""

    verdict: CellVerdict
    """Without outcome yet."""
    published: Published
    ours: Sample
    margin: float
    lost_seeds: tuple[str, ...] = ()
    """Seeds that ended without a score: the mean of the others is too good, so only *below* may be said."""

    @property
    def difference(self) -> Difference:
        """Measured minus printed."""
        return self.published.against(self.ours)


def examined(
    key: Key, table: str, match: Match, episodes: FinalEpisodes, margins: Margins
) -> CellVerdict | Tested:
    """What can be said of one printed number without the others: not comparable, no test, or a test.

    Parameters
    ----------
    match : the number with what stands for it (`bench.report.matching`).
    """
    cell, entry = match.printed, match.measured
    assert cell is not None, "only what a paper prints is judged"
    verdict = _described(key, table, cell, entry)
    if match.reasons:
        return replace(verdict, outcome="not comparable", reasons=match.reasons)
    unfinished = sum(trial.state in ("planned", "running") for trial in entry.trials)
    evidence = published(cell, _components(entry, cell, episodes))
    if unfinished:
        return replace(verdict, reasons=(f"{unfinished} of {len(entry.trials)} seeds have not finished",))
    if entry.n < 2:
        alone = ("1 seed: no spread to judge by",) if entry.n else ()
        return replace(verdict, reasons=entry.shortfalls() + alone)
    if evidence is None:
        return replace(verdict, reasons=("the paper does not say what its ± means",))
    floor = success_floor(cell, entry.n, entry.mean)
    if not floor and max(entry.scores) - min(entry.scores) <= SAME_SCORE:
        # In a kitchen, or by an oracle, every seed may score 100; an error of 0 would settle anything.
        return replace(verdict, reasons=(f"all {entry.n} seeds score the same: no spread to judge by",))
    ours = Sample.of(entry.scores, entry.n * floor)
    return Tested(verdict, evidence, ours, margins.of(verdict.id, cell), entry.shortfalls())


def decided(tested: Sequence[Tested]) -> list[CellVerdict]:
    """The verdicts on what is judged together: Holm's correction runs over both sides of all of it."""
    differences = [test.difference for test in tested]
    raw = [raw_p_values(d, test.margin) for d, test in zip(differences, tested, strict=True)]
    adjusted = holm(np.reshape(raw, -1)).reshape(-1, 2)
    return [
        _decided(test, compared(difference, test.margin, (pair[0], pair[1])), 2 * len(tested))
        for test, difference, pair in zip(tested, differences, adjusted, strict=True)
    ]


def _described(key: Key, table: str, cell: PaperCell, entry: Measured) -> CellVerdict:
    return CellVerdict(
        key=key,
        table=table,
        method=cell.method,
        outcome="inconclusive",
        printed=cell.printed + (f" ± {cell.printed_spread}" if cell.printed_spread else ""),
        measured=entry.mean,
        deviation=entry.standard_deviation,
        n=entry.n,
        variant=entry.variant,
        config_hash=entry.config_hash,
        trials=tuple(trial.trial_id for trial in entry.trials),
        replay=entry.replay,
        assumptions=assumptions(cell),
    )


def _components(entry: Measured, cell: PaperCell, episodes: FinalEpisodes) -> Components | None:
    """Variance between and within our seeds, of the evaluation that gave the score."""
    if cell.spread_kind != "se_over_rollouts" or entry.protocol != "last":
        return None
    scored = [episodes.get(trial.trial_id, ()) for trial in entry.scored]
    if len(scored) < 2 or not scored[0] or len({len(scores) for scores in scored}) > 1:
        return None
    values = np.asarray(scored)
    return Components.of(values) if np.isfinite(values).all() else None


def _decided(test: Tested, comparison: Comparison, tests: int) -> CellVerdict:
    outcome = outcome_of(comparison)
    reasons: tuple[str, ...] = ()
    if test.lost_seeds and outcome in ("reproduced", "above"):
        outcome = "inconclusive"
        reasons = (f"{'; '.join(test.lost_seeds)}: the mean of the others says too much",)
    return replace(
        test.verdict,
        outcome=outcome,
        reasons=reasons,
        comparison=comparison,
        further_seeds=None if outcome != "inconclusive" or reasons else further_seeds(test, tests),
        arithmetic=(*_arithmetic(test, comparison, tests), *(f"but {reason}" for reason in reasons)),
    )


def further_seeds(test: Tested, tests: int) -> int | None:
    """Seeds beyond ours that would decide the cell if mean and spread stayed; None: a hundred would not.

    Reproduced is asked at 5 %, a deviation at the strictest level of Holm's correction.
    """

    def decides(further: int) -> bool:
        difference = test.published.against(replace(test.ours, n=test.ours.n + further))
        low, high = difference.interval(LEVEL)
        within = -test.margin <= low and high <= test.margin
        return within or min(raw_p_values(difference, test.margin)) <= ERROR_RATE / tests

    return _first(decides)


def _first(condition: Callable[[int], bool]) -> int | None:
    return next((number for number in range(1, MOST_FURTHER_SEEDS + 1) if condition(number)), None)


def _arithmetic(test: Tested, comparison: Comparison, tests: int) -> tuple[str, ...]:
    verdict, ours = test.verdict, test.ours
    own = ours.variance / ours.n
    rest = comparison.standard_error**2 - own
    return (
        f"printed {verdict.printed} ({verdict.table}); measured {ours.mean:.2f} over {ours.n} seeds, variance"
        f" between them {ours.variance:.3g}",
        *test.published.lines(ours),
        f"d = {ours.mean:.2f} - {test.published.mean:g} = {comparison.difference:.2f}, standard error"
        f" sqrt({ours.variance:.3g} / {ours.n} + {rest:.3g}) = {comparison.standard_error:.3g},"
        f" {comparison.degrees_of_freedom:.1f} degrees of freedom, margin m = {test.margin:g}",
        *lines(comparison, tests),
    )
