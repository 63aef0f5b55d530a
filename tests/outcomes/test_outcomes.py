"""Trained small, every method ends where its paper says: within 3 standard deviations of ten recorded runs.

Networks are 64 wide, data 2,000 points, learning rates up to ten times the preset's: enough to tell a method
that works from one that does not, no measure of its quality. That the recorded runs show what the papers say
was checked when they were recorded.
"""

import copy
import json

import pytest

from tests.outcomes.cases import CASES, measured
from tests.outcomes.record import RECORDED, unmet

RUNS = json.loads(RECORDED.read_text())
LONG = {"bdpo", "edp-td3", "dtql-kl"}
"""Methods that train for more than ten seconds of a core."""


@pytest.mark.parametrize(
    "case",
    [pytest.param(each, marks=pytest.mark.slow if each.method in LONG else ()) for each in CASES],
    ids=lambda case: case.method,
)
def test_trained_small(case):
    (run,) = measured(case, (0,))
    for name, side in case.judged.items():
        number = RUNS[case.method]["numbers"][name]
        if side == "at most":
            assert run[name] <= number["mean"] + 3 * number["deviation"], name
        else:
            assert run[name] >= number["mean"] - 3 * number["deviation"], name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.method)
def test_recorded_are_of_these_settings(case):
    assert RUNS[case.method]["task"] == case.task
    assert RUNS[case.method]["settings"] == case.settings


def test_recording_tells_what_the_runs_do_not_show():
    assert unmet(RUNS) == []
    swapped = copy.deepcopy(RUNS)
    for name in ("spread", "modes_reached"):
        ours, theirs = swapped["dtql"]["numbers"], swapped["dtql-kl"]["numbers"]
        ours[name], theirs[name] = theirs[name], ours[name]
    assert unmet(swapped) == [
        "KL spreads more than the trust region",
        "KL reaches more modes than the trust region",
    ]
