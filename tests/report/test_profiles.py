"""Performance profiles and aggregates: shares counted by hand, bands against the binomial law."""

import numpy as np
import pytest
from scipy import stats

from bench.report.figures import page_figures
from bench.report.measured import ReportData
from bench.report.profiles import aggregates_of, profile_of, thresholds_of
from bench.report.series import by_series
from tests.report.builders import measured

TASKS = ("hopper-medium-v2", "walker2d-medium-v2")


def test_shares_are_counted_and_tasks_weigh_the_same():
    cells = [measured(TASKS[0], scores=(10.0, 20.0, 30.0, 40.0)), measured(TASKS[1], scores=(25.0, 35.0))]
    profile = profile_of(cells, np.array([0.0, 20.0, 30.0, 99.0]))
    assert profile.share.tolist() == pytest.approx([1.0, (2 / 4 + 2 / 2) / 2, (1 / 4 + 1 / 2) / 2, 0.0])


def test_the_band_of_one_task_is_that_of_a_binomial_share():
    seeds = 20
    profile = profile_of([measured(TASKS[0], scores=tuple(range(seeds)))], np.array([7.5]))
    # Twelve of twenty seeds lie above; resampling draws a binomial number of them.
    low, high = stats.binom.ppf([0.025, 0.975], seeds, 12 / seeds) / seeds
    assert (profile.low[0], profile.high[0]) == (
        pytest.approx(low, abs=0.051),
        pytest.approx(high, abs=0.051),
    )
    same = profile_of([measured(TASKS[0], scores=tuple(range(seeds)))], np.array([7.5]))
    assert same.low[0] == profile.low[0]


def test_one_seed_has_a_profile_without_a_band():
    profile = profile_of([measured(TASKS[0], scores=(5.0,))], np.array([4.0, 5.0, 6.0]))
    assert profile.share.tolist() == profile.low.tolist() == profile.high.tolist() == [1.0, 0.0, 0.0]


def test_thresholds_hold_all_scores():
    series = by_series([measured(TASKS[0], scores=(5.0, 120.0))], TASKS)
    thresholds = thresholds_of(series)
    assert thresholds[0] < 0
    assert thresholds[-1] > 120
    assert thresholds_of(by_series([measured(TASKS[0], scores=(0.0,))], TASKS))[-1] > 0


def test_aggregates_are_means_of_all_and_of_the_middle_half():
    cells = [
        measured(TASKS[0], scores=(0.0, 10.0, 20.0, 90.0)),
        measured(TASKS[1], scores=(30.0, 40.0, 50.0, 60.0)),
    ]
    both = aggregates_of(cells)
    assert both.mean.estimate == pytest.approx(np.mean([30.0, 45.0]))
    assert both.interquartile_mean.estimate == pytest.approx(np.mean([20.0, 30.0, 40.0, 50.0]))
    assert both.interquartile_mean.low < both.interquartile_mean.estimate < both.interquartile_mean.high


def test_the_page_has_both_with_what_the_band_is_worth():
    cells = tuple(measured(task, algorithm=name) for task in TASKS for name in ("dtql", "bdpo"))
    figures = {figure.id: figure for figure in page_figures(ReportData(measured=cells))}
    profile, aggregate = figures["profile-d4rl-locomotion"], figures["aggregate-d4rl-locomotion"]
    assert profile.section == aggregate.section == "profiles"
    assert profile.methods == ("dtql", "bdpo")
    for figure in (profile, aggregate):
        assert "over 3 seeds it covers about" in figure.about
        assert "Every method on 2 tasks." in figure.about
        assert "DTQL (n = 3)" in figure.svg
    uneven = {figure.id: figure for figure in page_figures(ReportData(measured=cells[:3]))}
    assert "Not all methods cover the same tasks" in uneven["profile-d4rl-locomotion"].about
    assert "BDPO (n = 3, 1 task)" in uneven["profile-d4rl-locomotion"].svg


def test_the_2d_problems_have_none():
    cells = (measured("bandit-25gaussians-far"),)
    assert page_figures(ReportData(measured=cells)) == []
