"""Verdicts on the toy paper, one of each outcome, and its table with them."""

from dataclasses import replace

from bench.report.judgement import CellVerdict, Comparison, Judgement, SuiteVerdict
from bench.report.measured import Measured
from tests.report.builders import AWKWARD, measured, printed, toy_table

AROUND = tuple(96.3 + one for one in (-2.0, -2.0, 0.0, 2.0, 2.0))
"""Five seeds with a standard deviation of 2."""
COMPARISON = Comparison(-3.25, 1.5, 7.5, -6.0, -0.5, 5.0, 0.13, 1.0, 0.26, 1.0)


def comparison(difference, half_width, margin=5.0):
    """A test whose 90 % interval reaches `half_width` to either side."""
    return Comparison(
        difference, half_width / 2, 8.0, difference - half_width, difference + half_width, margin,
        0.5, 0.5, 1.0, 1.0,
    )  # fmt: skip


def cell_verdict(outcome, task, test=None, **other):
    """A verdict on DTQL's number for `task`."""
    number = printed(task, "DTQL", 99.6, spread=1.0, spread_kind="se_over_rollouts")
    return CellVerdict("toy-1", number, measured(task), outcome=outcome, comparison=test, **other)


def toy_judgement():
    """One verdict of each outcome and one of a suite, with awkward names in all texts."""
    cells = (
        cell_verdict("reproduced", AWKWARD, comparison(-0.1, 2.0), arithmetic=("d = 99.5 - 99.6 = -0.1",)),
        cell_verdict("below", "hopper-medium-v2", comparison(-9.0, 1.5)),
        cell_verdict("above", "walker2d-medium-v2", comparison(8.0, 1.0)),
        cell_verdict(
            "inconclusive",
            "halfcheetah-medium-v2",
            comparison(3.0, 4.0),
            further_seeds=7,
            reasons=("few seeds",),
        ),
        cell_verdict("not comparable", "antmaze-umaze-v0", reasons=("reduced (budget < 1)",)),
    )
    suite = SuiteVerdict(
        "toys<b>", "DTQL", "dtql", "last", "reproduced", 2, 2, 88.1, 87.9, comparison(0.2, 1.0, 3.0)
    )
    return Judgement(cells, (suite,), ("Rates: 5 % per cell, margins <declared> before.",))


def judged_table():
    """The toy table with the verdict on its one comparable cell."""
    table = toy_table()

    def judged(cell):
        entry = cell.measured
        of_it = isinstance(entry, Measured) and (entry.task, entry.config_hash) == (AWKWARD, "ab" * 32)
        return replace(cell, verdict=toy_judgement().cells[0]) if of_it else cell

    blocks = tuple(
        replace(block, rows=tuple(replace(row, cells=tuple(map(judged, row.cells))) for row in block.rows))
        for block in table.blocks
    )
    return replace(table, blocks=blocks)


def cell(outcome, task="hopper-medium-v2", paper="DTQL", scores=AROUND, replay="d4rl", **other):
    """A verdict; tested unless said otherwise, and on five seeds."""
    number = printed(task, paper, 99.6, paper=paper, protocol="last")
    entry = measured(task, scores, algorithm=number.algorithm, replay=replay)
    facts = {"measured": entry, "comparison": COMPARISON} | other
    return CellVerdict("dtql-1", number, outcome=outcome, **facts)


def not_comparable(task, *reasons):
    """A cell that could not be tested."""
    return cell("not comparable", task, comparison=None, reasons=reasons)
