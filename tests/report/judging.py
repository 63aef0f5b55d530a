"""What the tests of verdicts share: margins, and one printed number held against one measured cell."""

import datetime

from bench.report.judgement import CellVerdict
from bench.report.margins import CellMargin, Margins, SuiteMargin
from bench.report.measured import ReportData, SeedScore
from bench.report.verdicts import judge
from tests.report.builders import measured, printed

MARGINS = Margins(
    declared=datetime.date(2025, 1, 1),
    cell=CellMargin(points=5, deviations=2),
    suite=SuiteMargin(points=2.5),
)
TASK = "hopper-medium-v2"


def key_of(cell, algorithm="dtql"):
    return (cell.paper, algorithm, cell.task, cell.protocol)


def numbers(*cells):
    """These cells as all numbers that there are, under the first algorithm of their method."""
    return {key_of(cell): ("toy-1", cell) for cell in cells}


def own(mean=80.0, **other):
    """A number without spread of five seeds, unless changed."""
    return printed(other.pop("task", TASK), "DTQL", mean, **other)


def seeds(*scores, **other):
    """Finished seeds with these scores."""
    return measured(other.pop("task", TASK), scores, **other)


def trials(*stood):
    """Trials of (state, score)."""
    return tuple(SeedScore(10 + seed, seed, *one) for seed, one in enumerate(stood))


def verdict_on(cell, entry, margins=MARGINS, **data) -> CellVerdict:
    """The verdict on one number alone."""
    judgement = judge(ReportData((entry,), **data), margins, numbers(cell))
    (verdict,) = judgement.cells
    return verdict
