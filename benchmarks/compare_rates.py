"""How often `bench compare` is wrong, and what it finds: many comparisons whose truth is known.

Each compares two methods on nine tasks by the rules themselves (`bench.report.compare.standings`), every task
with the same true difference: two methods' seeds, or seeds against a printed mean with its deviation over
five. Seeds are normal, skewed to the left as where a few runs fall short, or of two kinds as in AntMaze,
where one in five fails: 10 in 100 of its episodes succeed, of the others' 85.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.files import write_text
from bench.report.compare import standings
from bench.report.margins import load_margins
from bench.report.pairing import difference_of
from bench.report.published import OverSeeds, binomial_floor
from bench.report.statistics import Array, Difference, Sample, improvement_over_few, mean_difference
from bench.visible_text import to_json

TASKS = 9
SEEDS = (3, 5, 10)
DEVIATION = 3.0
"""Of a seed's score (points), where it is not of two kinds."""
EPISODES = 100
WORKING, FAILING, FAIL = 0.85, 0.1, 0.2
"""Share of episodes that succeed, of a seed that works and of one that fails; share of seeds that fail."""
PRINTED_SEEDS = 5
_PROBED = 1_000_000
"""Pairs of runs from which a true probability of improvement is taken."""

Draw = Callable[[np.random.Generator, float, tuple[int, ...]], Array]
"""Scores of seeds whose true mean lies so many points above the reference's."""


def normal(random: np.random.Generator, shift: float, shape: tuple[int, ...]) -> Array:
    """Scores about 60."""
    return random.normal(60 + shift, DEVIATION, shape)


def skewed(random: np.random.Generator, shift: float, shape: tuple[int, ...]) -> Array:
    """As far apart, with a tail to the left."""
    return 60 + shift + DEVIATION * (1 - random.exponential(1.0, shape))


def two_kinds(random: np.random.Generator, shift: float, shape: tuple[int, ...]) -> Array:
    """Shares of episodes that succeed; a method is better because fewer of its seeds fail, or worse."""
    fail = FAIL - shift / (100 * (WORKING - FAILING))
    rates = np.where(random.random(shape) < fail, FAILING, WORKING)
    return np.asarray(random.binomial(EPISODES, rates) * (100.0 / EPISODES), dtype=np.float64)


@dataclass(frozen=True)
class Kind:
    """A distribution of seeds with the true differences that are looked at."""

    name: str
    draw: Draw
    shifts: tuple[float, ...]
    succeeds_or_fails: bool = False


KINDS = (
    Kind("normal", normal, (0.0, 2.5, 5.0, 10.0)),
    Kind("skewed", skewed, (0.0, 2.5, 5.0, 10.0)),
    Kind("two kinds", two_kinds, (0.0, -2.5, -5.0, -30.0), succeeds_or_fails=True),
)


@dataclass(frozen=True)
class Rates:
    """Of one design; shares of cells, of suites' means, or of whole comparisons."""

    seeds_are: str
    against: str
    seeds: int
    difference: float
    any_wrong_cell: float
    """Comparisons that call a cell better or worse on the wrong side, or where there is no difference."""
    wrong_mean: float
    """The same of the mean over the tasks."""
    found_cells: float
    """Cells called better or worse on the right side."""
    found_mean: float
    equivalent_cells: float
    equivalent_mean: float
    covered: float | None
    """Cells whose 95 % interval holds the probability of improvement; None against printed numbers."""
    covered_over_tasks: float | None


def rates(kind: Kind, shift: float, seeds: int, repetitions: int, *, printed: bool) -> Rates:
    """So many comparisons of one design."""
    random = np.random.default_rng([seeds, int(10 * abs(shift)), printed])
    margins = load_margins()
    right = {"better"} if shift > 0 else {"worse"} if shift < 0 else set()
    cells: list[str] = []
    means: list[str] = []
    wrong = 0
    covered: list[bool] = []
    over_tasks: list[bool] = []
    true = _true_probability(kind, shift, random)
    for number in range(repetitions):
        ours = kind.draw(random, shift, (TASKS, seeds))
        theirs = kind.draw(random, 0.0, (TASKS, PRINTED_SEEDS if printed else seeds))
        differences = [
            _against_printed(kind, mine, other) if printed else _between(kind, mine, other)
            for mine, other in zip(ours, theirs, strict=True)
        ]
        said = [
            one for one, _ in standings([(difference, margins.cell.points) for difference in differences])
        ]
        cells += said
        wrong += any(one in {"better", "worse"} - right for one in said)
        means.append(standings([(mean_difference(differences), margins.suite.points)])[0][0])
        if not printed and number < repetitions / 8:
            alone = (improvement_over_few([mine], [other]) for mine, other in zip(ours, theirs, strict=True))
            covered += [found.low <= true <= found.high for found in alone]
            found = improvement_over_few(list(ours), list(theirs))
            over_tasks.append(found.low <= true <= found.high)
    return Rates(
        kind.name,
        "a printed mean" if printed else "a method's seeds",
        seeds,
        shift,
        wrong / repetitions,
        _share(means, {"better", "worse"} - right),
        _share(cells, right),
        _share(means, right),
        _share(cells, {"equivalent"}),
        _share(means, {"equivalent"}),
        float(np.mean(covered)) if covered else None,
        float(np.mean(over_tasks)) if over_tasks else None,
    )


def _share(said: list[str], words: set[str]) -> float:
    return sum(one in words for one in said) / len(said)


def _sample(kind: Kind, scores: Array) -> Sample:
    floor = (
        binomial_floor(float(scores.mean()), len(scores), EPISODES, "last") if kind.succeeds_or_fails else 0
    )
    return Sample.of(scores, len(scores) * floor)


def _between(kind: Kind, mine: Array, other: Array) -> Difference:
    return difference_of(_sample(kind, mine), _sample(kind, other))


def _against_printed(kind: Kind, mine: Array, other: Array) -> Difference:
    """As a paper prints it: a mean and NumPy's deviation."""
    n = len(other)
    floor = binomial_floor(float(other.mean()), n, EPISODES, "last") if kind.succeeds_or_fails else 0.0
    return OverSeeds(float(other.mean()), float(other.std()), n, floor).against(_sample(kind, mine))


def _true_probability(kind: Kind, shift: float, random: np.random.Generator) -> float:
    own, its = (kind.draw(random, moved, (_PROBED,)) for moved in (shift, 0.0))
    return float((np.sign(own - its).mean() + 1) / 2)


def designs(repetitions: int) -> Iterator[Rates]:
    """All of them, as they are measured."""
    for printed in (False, True):
        for kind in KINDS:
            for shift in kind.shifts:
                for seeds in SEEDS:
                    yield rates(kind, shift, seeds, repetitions, printed=printed)


def as_line(found: Rates) -> str:
    """One design in a line."""
    covered = "" if found.covered is None else f"; P {found.covered:.2f}, {found.covered_over_tasks:.2f}"
    return (
        f"{found.seeds_are:9} {found.against:16} n {found.seeds:2} d {found.difference:+5.1f}: wrong"
        f" {found.any_wrong_cell:.3f}, {found.wrong_mean:.3f}; found {found.found_cells:.2f},"
        f" {found.found_mean:.2f}; equivalent {found.equivalent_cells:.3f}, {found.equivalent_mean:.3f}"
        f"{covered}"
    )


TRUTHS: Mapping[float, str] = {
    0.0: "no difference",
    2.5: "2.5 points, a mean's margin",
    5.0: "5 points, a cell's margin",
    10.0: "10 points",
    30.0: "30 points",
}
"""True differences in the words of the page; of seeds of two kinds they are below 0."""


def page_table(found: Sequence[Rates], against: str) -> list[str]:
    """The rates as docs/verdicts.md has them: a row per truth and kind of seeds, for 3 / 5 / 10 seeds."""
    lines = [
        "| truth | seeds | wrong: any cell | its mean | found: cells | mean | equivalent: cells | mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows: dict[tuple[float, str], list[Rates]] = {}
    for one in found:
        if one.against == against:
            rows.setdefault((abs(one.difference), one.seeds_are), []).append(one)
    for (difference, kind), of in sorted(rows.items(), key=lambda item: item[0][0]):
        wrong = ("any_wrong_cell", "wrong_mean")
        said = ("found_cells", "found_mean") if difference else ()
        columns = [_in_row(of, name, 3) for name in wrong]
        columns += [_in_row(of, name, 2) for name in said] or ["", ""]
        columns += [_in_row(of, name, 2) for name in ("equivalent_cells", "equivalent_mean")]
        lines.append(f"| {' | '.join((TRUTHS[difference], kind, *columns))} |")
    return lines


def _in_row(of: Sequence[Rates], name: str, digits: int) -> str:
    return " / ".join(f"{getattr(one, name):.{digits}f}" for one in of)


def main(arguments: list[str] | None = None) -> None:
    """Run all comparisons and print the rates: of cells (wrong: of whole comparisons), then of means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400, help="comparisons of each design (400)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    found = []
    for one in designs(options.repetitions):
        print(as_line(one), flush=True)
        found.append(one)
    if options.json:
        record = {"repetitions": options.repetitions, "tasks": TASKS, "rates": [asdict(one) for one in found]}
        write_text(options.json, to_json(record, indent=1))


if __name__ == "__main__":
    main()
