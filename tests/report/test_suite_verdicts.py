"""The headline: means over a suite's tasks, against arithmetic done anew."""

import math
from dataclasses import replace

import pytest
from scipy import stats

from bench.report.measured import ReportData
from bench.report.verdicts import judge
from tests.report.builders import measured
from tests.report.judging import MARGINS, numbers, own, seeds, trials

TASKS = ("hopper-medium-v2", "walker2d-medium-v2", "halfcheetah-medium-v2")
AT = (-1.0, -0.5, 0.0, 0.5, 1.0)
CELLS = [own(80.0, task=task) for task in TASKS]
ERROR = math.sqrt(3 * 2 * 0.625 / 5) / 3
"""Of the mean over three tasks with `AT` around it, no spread printed."""


def entries(*means):
    return [seeds(*(mean + one for one in AT), task=task) for task, mean in zip(TASKS, means, strict=False)]


def judged(measured_, suites=None, cells=CELLS):
    suites = {"toys": TASKS} if suites is None else suites
    return judge(ReportData(tuple(measured_), suites=suites), MARGINS, numbers(*cells))


def headline(measured_, **other):
    (verdict,) = judged(measured_, **other).suites
    return verdict


@pytest.mark.parametrize(
    ("means", "outcome"),
    [
        ((80.0, 80.0, 80.0), "reproduced"),
        ((60.0, 100.0, 80.0), "reproduced"),  # tasks may differ as long as their mean does not
        ((81.0, 82.0, 83.0), "inconclusive"),
        ((76.0, 76.0, 76.0), "below"),
        ((84.0, 84.0, 84.0), "above"),
    ],
)
def test_the_mean_over_tasks_has_a_margin_of_its_own(means, outcome):
    verdict = headline(entries(*means))
    found, d, df = verdict.comparison, sum(means) / 3 - 80, 12
    assert (found.difference, found.standard_error, found.degrees_of_freedom) == pytest.approx((d, ERROR, df))
    half = stats.t.ppf(0.95, df) * ERROR
    assert (found.low, found.high, found.margin) == pytest.approx((d - half, d + half, 2.5))
    assert found.adjusted_below == pytest.approx(min(2 * stats.t.cdf((d + 2.5) / ERROR, df), 1))
    assert verdict.outcome == outcome
    assert (verdict.measured, verdict.printed) == pytest.approx((80 + d, 80.0))
    assert (verdict.id, verdict.tasks, verdict.judged, verdict.reasons) == ("dtql/toys/last", 3, 3, ())


def test_satterthwaite_weighs_the_tasks_errors():
    wide = seeds(*(80 + 4 * one for one in AT), task=TASKS[0])
    parts = [2 * 16 * 0.625 / 5, 2 * 0.625 / 5, 2 * 0.625 / 5]
    df = sum(parts) ** 2 / sum(part**2 / 4 for part in parts)
    found = headline([wide, *entries(80.0, 80.0, 80.0)[1:]]).comparison
    assert found.degrees_of_freedom == pytest.approx(df)
    assert found.standard_error == pytest.approx(math.sqrt(sum(parts)) / 3)


@pytest.mark.parametrize(
    ("third", "reason"),
    [
        (None, "halfcheetah-medium-v2: not measured"),
        (seeds(80.0, task=TASKS[2]), "halfcheetah-medium-v2: 1 seed: no spread to judge by"),
        (seeds(80.0, 81.0, task=TASKS[2], physics="modern"), "halfcheetah-medium-v2: physics modern"),
    ],
)
def test_a_mean_over_some_of_the_tasks_is_not_compared(third, reason):
    verdict = headline([*entries(80.0, 60.0), *([third] if third else [])])
    assert (verdict.outcome, verdict.comparison) == ("not comparable", None)
    assert (verdict.tasks, verdict.judged, verdict.reasons) == (3, 2, (reason,))
    assert (verdict.measured, verdict.printed) == (70.0, 80.0)


def test_tasks_that_the_paper_does_not_print_do_not_count():
    verdict = headline(entries(80.0, 80.0, 80.0), suites={"toys": (*TASKS, "antmaze-umaze-v0")})
    assert (verdict.tasks, verdict.judged, verdict.outcome) == (3, 3, "reproduced")


def test_a_suite_of_one_printed_number_and_one_of_which_nothing_was_measured_have_no_headline():
    suites = {"single": TASKS[:1], "elsewhere": ("antmaze-umaze-v0", "antmaze-umaze-diverse-v0")}
    more = [own(50.0, task=task) for task in suites["elsewhere"]]
    assert judged(entries(80.0, 80.0, 80.0), suites=suites, cells=[*CELLS, *more]).suites == ()


@pytest.mark.parametrize(
    ("mean", "outcome"), [(80.0, "inconclusive"), (99.0, "inconclusive"), (60.0, "below")]
)
def test_seeds_that_failed_leave_nothing_good_to_say_of_the_mean(mean, outcome):
    stood = trials(("failed", None), *[("finished", mean + one) for one in AT])
    failed = measured(TASKS[0], trials=stood)
    verdict = headline([failed, *entries(mean, mean, mean)[1:]])
    assert verdict.outcome == outcome
    assert verdict.reasons == ("hopper-medium-v2: 1 of 6 seeds failed",)


def test_holm_runs_over_the_means_apart_from_the_cells():
    other = [replace(entry, algorithm="srpo") for entry in entries(83.0, 83.0, 83.0)]
    cells = [replace(cell, method="SRPO", paper="SRPO") for cell in CELLS]
    printed = numbers(*CELLS) | {("SRPO", "srpo", cell.task, "last"): ("toy-2", cell) for cell in cells}
    data = ReportData((*entries(76.5, 76.5, 76.5), *other), suites={"toys": TASKS})
    dtql, srpo = judge(data, MARGINS, printed).suites
    assert dtql.comparison.adjusted_below == pytest.approx(4 * stats.t.cdf(-1.0 / ERROR, 12))
    assert srpo.comparison.adjusted_above == pytest.approx(3 * stats.t.sf(0.5 / ERROR, 12))


def test_the_arithmetic_can_be_followed():
    lines = headline(entries(81.0, 82.0, 83.0)).arithmetic
    assert lines[0] == "mean over 3 tasks: measured 82.00, printed 80.00, d = 2.00"
    assert lines[1].startswith("standard error 0.289 ") and "margin m = 2.5" in lines[1]
    assert lines[2].startswith("90 % interval of d: [1.49, 2.51] does not lie")
