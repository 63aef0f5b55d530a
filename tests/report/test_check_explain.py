"""One verdict for a person who doubts it: what stands for seeds that have no number."""

import math
from dataclasses import replace

from bench.report.formats.check import explained
from bench.report.judgement import Judgement
from tests.report.builders import measured
from tests.report.judging import TASK, own, trials, verdict_on


def lines_on(cell, entry):
    return explained(verdict_on(cell, entry), Judgement(), [entry], {})


def test_seeds_without_a_number_are_told_in_words():
    stood = [
        ("finished", 80.0),
        ("finished", 81.0),
        ("finished", math.nan),
        ("finished", None),
        ("failed", None),
    ]
    lines = lines_on(own(80.0), measured(TASK, trials=trials(*stood)))
    assert not any("nan" in line for line in lines)
    (seeds,) = [line for line in lines if line.startswith("  our seeds: ")]
    assert "seed 0 80.00 (trial 10), seed 1 81.00 (trial 11), seed 2 finished without a score" in seeds
    assert seeds.endswith("seed 3 finished without a score (trial 13), seed 4 failed (trial 14)")


def test_the_protocol_is_the_one_of_the_scores_shown():
    """Three evaluations make no mean of ten."""
    curve = (1.0, 2.0, 70.0)
    entry = measured(TASK, trials=tuple(replace(t, evaluations=curve) for t in trials(("finished", 70.0))))
    lines = lines_on(own(80.0, protocol="rat"), entry)
    assert any("protocol last, variant released" in line for line in lines)
    assert any("seed 0 70.00" in line for line in lines)
