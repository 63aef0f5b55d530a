"""The rates of verdicts: counting, and the table that is printed."""

import pytest

from benchmarks import verdict_rates
from benchmarks.synthetic_study import is_wrong
from benchmarks.verdict_rates import Tally, main


def test_a_tally_gives_rates_with_their_intervals():
    tally = Tally()
    for hit in (True, False, False, False):
        tally.note("found", "none", hit)
    assert tally.rate("found", "none") == 0.25
    # Clopper and Pearson's interval of 1 in 4.
    assert tally.text("found", "none") == "0.250 [0.006, 0.806] of 4"
    assert tally.text("found", "pooled SE") == "-"


SAID = [
    ("below", -5.0, True),
    ("below", -5.1, False),
    ("below", 9.0, True),
    ("above", 5.0, True),
    ("above", 5.1, False),
    ("reproduced", 5.0, True),
    ("reproduced", -4.9, False),
    ("inconclusive", 0.0, False),
]


@pytest.mark.parametrize(("outcome", "difference", "wrong"), SAID)
def test_which_verdicts_are_wrong(outcome, difference, wrong):
    assert is_wrong(outcome, difference, 5.0) == wrong


def test_the_table_holds_every_rate(capsys, monkeypatch):
    monkeypatch.setattr(verdict_rates, "DEVIATIONS", (6,))
    main(["--repetitions", "1", "--papers-vary", "1", "--seeds", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Papers' seeds vary 1 times as much as ours; 3 seeds of ours"
    assert [line.strip() for line in lines if line.startswith("  ") and not line.startswith("    ")] == [
        "every cell exactly the paper's",
        "every cell at its margin",
        "every suite at its margin",
        "6 deviations beyond the margin, all others at it",
    ]
    assert sum("found" in line and line.endswith("of 2") for line in lines) == 3
