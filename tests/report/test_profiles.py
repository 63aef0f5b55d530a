"""Performance profiles and aggregates: shares counted by hand, bands against the binomial law."""

import numpy as np
import pytest
from scipy import stats

from bench.report.charts import COLUMN, PAGE, TEXT_WIDTH, drawing_settings
from bench.report.figures import page_figures
from bench.report.measured import ReportData
from bench.report.profiles import aggregates_of, pairs_of, profile_of, thresholds_of
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


def test_medians_are_over_tasks_and_the_gap_is_what_is_missing_of_an_expert():
    tasks = (*TASKS, "halfcheetah-medium-v2")
    scores = ((0.0, 10.0), (90.0, 130.0), (50.0, 60.0))
    found = aggregates_of([measured(task, scores=both) for task, both in zip(tasks, scores, strict=True)])
    assert found.median.estimate == pytest.approx(55.0)
    assert found.optimality_gap.estimate == pytest.approx((100 + 90 + 10 + 0 + 50 + 40) / 6)
    for one in (found.median, found.optimality_gap):
        assert one.low < one.estimate < one.high


def cells_of(names, tasks=TASKS):
    """Every method five points ahead of the one before."""
    return tuple(
        measured(task, scores=(5.0 * place, 5.0 * place + 6.0), algorithm=name)
        for place, name in enumerate(names)
        for task in tasks
    )


def test_pairs_are_of_the_better_against_the_worse_on_the_tasks_of_both():
    series = by_series((*cells_of(("dtql", "srpo", "bdpo"))[:-1],), TASKS)
    found = pairs_of(series)
    assert [(pair.first.algorithm, pair.second.algorithm) for pair in found] == [
        ("bdpo", "srpo"), ("bdpo", "dtql"), ("srpo", "dtql"),
    ]  # fmt: skip
    # Of four pairs of runs one, 10 against 11, is lost.
    assert found[0].probability.estimate == pytest.approx(3 / 4)
    assert found[1].probability.estimate == pytest.approx(1.0)
    assert 0 <= found[0].probability.low < 3 / 4 < found[0].probability.high <= 1


def test_of_many_methods_the_best_is_held_against_each():
    names = ("dtql", "srpo", "edp-td3", "edp-crr", "bdpo", "bc")
    found = pairs_of(by_series(cells_of(names), TASKS))
    assert len(found) == len(names) - 1
    assert {pair.first.algorithm for pair in found} == {"bc"}
    figures = {figure.id: figure for figure in page_figures(ReportData(measured=cells_of(names)))}
    assert "X is ahead of all by its mean score" in figures["improvement-d4rl-locomotion"].about


def test_methods_without_a_common_task_are_no_pair():
    apart = (measured(TASKS[0]), measured(TASKS[1], algorithm="bdpo"))
    assert pairs_of(by_series(apart, TASKS)) == []
    assert not [chart for chart in page_figures(ReportData(measured=apart)) if "improvement" in chart.id]


@pytest.mark.parametrize("look", [PAGE, COLUMN, TEXT_WIDTH])
def test_intervals_show_whole_and_wider_than_the_mark_in_them(look):
    figures = {c.id: c for c in page_figures(ReportData(measured=cells_of(("dtql", "bdpo"))))}
    for name in ("aggregate", "improvement"):
        figure = figures[f"{name}-d4rl-locomotion"].draw(look)
        for axes in figure.axes:
            low, high = axes.get_xlim()
            bars = [bar for bar in axes.patches if bar.get_width() > 0]
            assert bars or name == "improvement"
            for bar in bars:
                assert low <= bar.get_x() <= bar.get_x() + bar.get_width() <= high
            marks = [line for line in axes.lines if len(set(line.get_xdata())) == 1]
            assert len(marks) >= len(axes.patches)


def test_the_names_of_methods_fit_beside_their_rows():
    names = ("dtql", "bdpo-gaussian", "edp-td3")
    figures = {c.id: c for c in page_figures(ReportData(measured=cells_of(names)))}
    for name in ("aggregate", "improvement"):
        for look in (PAGE, COLUMN, TEXT_WIDTH):
            with drawing_settings(name, look.font_size):
                figure = figures[f"{name}-d4rl-locomotion"].draw(look)
                figure.draw_without_rendering()
                for axes in figure.axes:
                    for text in (*axes.get_yticklabels(), *axes.texts):
                        box = text.get_window_extent()
                        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1


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
