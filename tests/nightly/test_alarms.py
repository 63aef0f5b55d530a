"""Formulas are written anew here; probabilities are checked against scipy and against simulation."""

import math

import pytest
from scipy import stats

from bench.nightly.alarms import (
    CellScores,
    compare_night,
    confirm_night,
)
from bench.records import CellKey

BASELINE = (50.0, 52.0, 54.0, 56.0, 58.0)
"""Mean 54, standard deviation sqrt(10)."""


def scores(*tonight, baseline=BASELINE, method="dtql"):
    return CellScores(CellKey(method, "released", "hopper", ""), baseline, tonight)


def only(night):
    (cell,) = night.cells
    return cell


def test_the_statistic_is_that_of_a_prediction_interval_worked_by_hand():
    cell = only(compare_night([scores(46.0, 48.0)], 0.05))
    # (47 - 54) / sqrt(10 (1/2 + 1/5)) = -7 / sqrt(7), four degrees of freedom
    assert cell.t == pytest.approx(-math.sqrt(7))
    assert cell.p_below == pytest.approx(stats.t(4).cdf(-math.sqrt(7)))
    assert cell.p_above == pytest.approx(1 - cell.p_below)
    # Student's table, one-sided 5 % at four degrees of freedom: 2.132
    assert cell.alarm_below == pytest.approx(54 - 2.132 * math.sqrt(7), abs=2e-3)
    assert (cell.baseline_mean, cell.baseline_seeds, cell.seeds, cell.mean) == (54.0, 5, 2, 47.0)
    assert cell.baseline_sd == pytest.approx(math.sqrt(10))
    assert cell.status == "below"


def test_one_seed_is_the_textbook_prediction_interval_of_one_observation():
    expected = stats.ttest_ind([44.0], BASELINE, alternative="less")  # pooled: the baseline's spread alone
    assert only(compare_night([scores(44.0)], 0.01)).p_below == pytest.approx(expected.pvalue)


def test_a_night_is_below_just_under_its_limit_and_not_just_above():
    limit = only(compare_night([scores(54.0)], 0.05)).alarm_below
    assert only(compare_night([scores(limit - 1e-6)], 0.05)).status == "below"
    assert only(compare_night([scores(limit + 1e-6)], 0.05)).status == "as expected"


def test_above_is_reported_and_no_alarm():
    night = compare_night([scores(80.0, 81.0)], 0.01)
    assert (night.alarms, night.above, night.red) == ((), ("dtql hopper",), ())


def test_holm_gives_the_second_cell_the_larger_level():
    def with_p(p, method):
        t = stats.t(4).ppf(p)
        return scores(54 + t * math.sqrt(10 * (1 + 1 / 5)), method=method)

    # Of three cells at 6 %: 2 % for the smallest, then 3 %, then 6 %.
    night = compare_night([with_p(0.07, "c"), with_p(0.025, "b"), with_p(0.015, "a")], 0.06)
    assert sorted(night.alarms) == ["a hopper", "b hopper"]
    night = compare_night([with_p(0.07, "c"), with_p(0.025, "b"), with_p(0.021, "a")], 0.06)
    assert night.alarms == ()


@pytest.mark.parametrize("tonight", [(None, 54.0), (math.nan, 54.0), (None, None), (54.0, math.inf), ()])
def test_a_seed_without_a_score_makes_its_cell_red(tonight):
    night = compare_night([scores(*tonight), scores(54.0, 54.0, method="other")], 0.01)
    assert night.red == ("dtql hopper",)
    missing = night.cells[0]
    assert missing.status == "missing"
    assert f"of {len(tonight)} seeds" in missing.reason
    assert (missing.t, missing.p_below, missing.alarm_below) == (None, None, None)


def test_a_failed_cell_makes_no_other_test_easier():
    p = only(compare_night([scores(46.0)], 0.5)).p_below
    failed = scores(None, method="other")
    assert compare_night([scores(46.0)], 1.5 * p).alarms == ("dtql hopper",)
    assert compare_night([scores(46.0), failed], 1.5 * p).alarms == ()


@pytest.mark.parametrize("baseline", [(), (54.0,), (54.0, math.nan, 55.0)])
def test_a_baseline_without_an_interval_leaves_its_cell_unjudged_and_red(baseline):
    night = compare_night([scores(54.0, baseline=baseline)], 0.01)
    assert only(night).status == "unjudged"
    assert night.red == ("dtql hopper",)


@pytest.mark.parametrize(
    ("tonight", "status"), [(0.0, "as expected"), (3.0, "as expected"), (-1.0, "unjudged")]
)
def test_a_baseline_without_spread_has_no_interval(tonight, status):
    cell = only(compare_night([scores(tonight, baseline=(0.0,) * 20)], 0.01))
    assert (cell.status, cell.p_below) == (status, None)
    assert status == "as expected" or "all 20 seeds" in cell.reason


def test_rounding_is_no_spread():
    cell = only(compare_night([scores(53.0, baseline=(54.1, 54.1 * (1 + 1e-15), 54.1))], 0.01))
    assert cell.status == "unjudged"


def test_confirmation_looks_at_fresh_seeds_of_the_alarmed_cells_alone():
    first = compare_night([scores(30.0), scores(54.0, method="other")], 0.01)
    again = confirm_night(first, [scores(50.0, 54.0, 55.0)], 0.05)
    assert (again.alarms, again.red) == ((), ())
    assert confirm_night(first, [scores(31.0, 30.0, 29.0)], 0.05).alarms == ("dtql hopper",)
    assert confirm_night(first, [scores(31.0, None)], 0.05).red == ("dtql hopper",)
    with pytest.raises(ValueError, match="other"):
        confirm_night(first, [scores(31.0), scores(31.0, method="other")], 0.05)
