"""How often verdicts are wrong, and what they find: many checks of studies whose truth is known.

Every check judges a study of all four papers' main tables (`benchmarks.synthetic_study`) with what the
papers print drawn anew. Rates stand with their number of cases and 95 % binomial intervals (Clopper and
Pearson); the cells' are told apart by what the paper prints of the variation between its seeds.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import binomtest

from bench.catalog import Catalog, load_catalog
from bench.records import PrintedNumber
from bench.report.judgement import Judgement
from bench.report.margins import Margins, load_margins
from bench.report.verdicts import judge
from benchmarks.synthetic_study import (
    Design,
    Spread,
    Study,
    StudyCell,
    draw_study,
    is_wrong,
    study_cells,
)

DEVIATIONS = (2, 3, 4, 6)
"""Planted ones, in standard deviations of a seed's score beyond the margin."""
PAPERS_VARY = (0.5, 1.0, 2.0)
SPREADS: tuple[Spread, ...] = ("std over seeds", "pooled SE", "none")
CELLS, SUITES = "all cells", "suites"
REPRODUCED = "called reproduced"
NOT_REPRODUCED = "called not reproduced"
FOUND = "found"
ANY_WRONG = "checks with a wrong deviation"
DEVIATES = ("below", "above")
"""Outcomes that say *not reproduced*."""


@dataclass
class Tally:
    """Hits and cases of what was counted, each by (what, kind)."""

    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    cases: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, what: str, kind: str, hit: bool) -> None:
        """Count one case."""
        self.hits[what, kind] += hit
        self.cases[what, kind] += 1

    def rate(self, what: str, kind: str) -> float:
        """The share of hits."""
        return self.hits[what, kind] / self.cases[what, kind]

    def text(self, what: str, kind: str) -> str:
        """`0.012 [0.003, 0.030] of 400`; a dash where nothing was counted."""
        hits, cases = self.hits[what, kind], self.cases[what, kind]
        if not cases:
            return "-"
        found = binomtest(hits, cases).proportion_ci(0.95)
        return f"{hits / cases:.3f} [{found.low:.3f}, {found.high:.3f}] of {cases}"


@dataclass(frozen=True)
class Setting:
    """What all studies are drawn from."""

    cells: tuple[StudyCell, ...]
    catalog: Catalog
    margins: Margins

    @staticmethod
    def load() -> Setting:
        """The project's own tables, tasks and margins."""
        catalog = load_catalog()
        return Setting(study_cells(catalog), catalog, load_margins())

    def study(self, design: Design, random: np.random.Generator) -> Study:
        """One study."""
        return draw_study(self.cells, design, self.margins, self.catalog, random)

    def planted(self, deviations: float, random: np.random.Generator) -> dict[PrintedNumber, float]:
        """For each kind of spread one cell to lie below its margin and one above, where there is room.

        On AntMaze only where the margin does not hang on a spread that is drawn anew.
        """
        found: dict[PrintedNumber, float] = {}
        for kind in SPREADS:
            for side in (-1, 1):
                cells = [cell for cell in self._roomy(kind, side, deviations) if cell.key not in found]
                found[cells[random.integers(len(cells))].key] = side * deviations
        return found

    def _roomy(self, kind: Spread, side: int, deviations: float) -> Iterator[StudyCell]:
        for cell in self.cells:
            fixed = not cell.printed.succeeds_or_fails or kind != "std over seeds"
            beyond = self.margins.of(cell.id, cell.printed) + deviations * cell.deviation
            if cell.spread == kind and fixed and cell.has_room(side * beyond):
                yield cell


def repeated(
    setting: Setting, design: Design, repetitions: int, deviations: float = 0.0, seed: int = 0
) -> Tally:
    """So many checks of one design; with deviations planted in other cells each time unless 0."""
    tally = Tally()
    for repetition in range(repetitions):
        random = np.random.default_rng([seed, repetition])
        planted = setting.planted(deviations, random) if deviations else {}
        study = setting.study(replace(design, planted=planted), random)
        count(tally, setting, study, judge(study.data, setting.margins, study.printed))
    return tally


def count(tally: Tally, setting: Setting, study: Study, judgement: Judgement) -> None:
    """Hold one check against the truth."""
    for cell in setting.cells:
        outcome = judgement.by_key[cell.key].outcome
        if study.within(cell.key):
            for kind in (cell.spread, cell.id):
                tally.note(REPRODUCED, kind, outcome == "reproduced")
                tally.note(NOT_REPRODUCED, kind, outcome in DEVIATES)
        else:
            side = "below" if study.differences[cell.key] < 0 else "above"
            tally.note(FOUND, cell.spread, outcome == side)
    for verdict in judgement.suites:
        tally.note(REPRODUCED, SUITES, verdict.outcome == "reproduced")
        tally.note(NOT_REPRODUCED, SUITES, verdict.outcome in DEVIATES)
    tally.note(ANY_WRONG, CELLS, bool(wrong_cells(study, judgement)))
    tally.note(ANY_WRONG, SUITES, bool(wrong_suites(setting, study, judgement)))


def wrong_cells(study: Study, judgement: Judgement) -> list[str]:
    """Cells that are called not reproduced and should not be."""
    return [
        verdict.id
        for verdict in judgement.cells
        if verdict.outcome in DEVIATES
        and is_wrong(verdict.outcome, study.differences[verdict.key], study.margins[verdict.key])
    ]


def wrong_suites(setting: Setting, study: Study, judgement: Judgement) -> list[str]:
    """Suites that are called not reproduced and should not be."""
    margin = setting.margins.suite.points
    return [
        verdict.id
        for verdict in judgement.suites
        if verdict.outcome in DEVIATES and is_wrong(verdict.outcome, study.mean_difference(verdict), margin)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Run all checks and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200, help="checks of each design (default 200)")
    parser.add_argument("--seeds", type=int, default=5, help="of ours, in every cell (default 5)")
    how = "how many times as much the papers' seeds vary as ours (default 0.5 1 2)"
    parser.add_argument("--papers-vary", type=float, nargs="+", default=PAPERS_VARY, help=how)
    options = parser.parse_args(arguments)
    setting = Setting.load()
    for factor in options.papers_vary:
        design = Design(seeds=options.seeds, papers_vary=factor)
        print(f"\nPapers' seeds vary {factor:g} times as much as ours; {options.seeds} seeds of ours")
        for line in rate_lines(setting, design, options.repetitions):
            print(line, flush=True)


def rate_lines(setting: Setting, design: Design, repetitions: int) -> Iterator[str]:
    """The table of one design, line by line as it is measured."""
    equal = repeated(setting, design, repetitions)
    yield from _lines(
        "every cell exactly the paper's", equal, (REPRODUCED, NOT_REPRODUCED), (*SPREADS, SUITES)
    )
    yield from _lines("", equal, (ANY_WRONG,), (CELLS, SUITES))
    at_margin = repeated(setting, replace(design, others=1.0), repetitions)
    yield from _lines("every cell at its margin", at_margin, (REPRODUCED, NOT_REPRODUCED), SPREADS)
    yield from _lines("", at_margin, (ANY_WRONG,), (CELLS,))
    low = replace(design, lower=setting.margins.suite.points)
    suites = repeated(setting, low, repetitions)
    yield from _lines("every suite at its margin", suites, (REPRODUCED, NOT_REPRODUCED, ANY_WRONG), (SUITES,))
    for deviations in DEVIATIONS:
        tally = repeated(setting, replace(design, others=1.0), repetitions, deviations)
        case = f"{deviations} deviations beyond the margin, all others at it"
        yield from _lines(case, tally, (FOUND,), SPREADS)
        yield from _lines("", tally, (ANY_WRONG,), (CELLS,))


def _lines(case: str, tally: Tally, counted: Sequence[str], kinds: Sequence[str]) -> Iterator[str]:
    if case:
        yield f"  {case}"
    for what in counted:
        for kind in kinds:
            yield f"    {what:32} {kind:16} {tally.text(what, kind)}"


if __name__ == "__main__":
    main()
