"""Aggregates and differences against scipy, hand-computed numbers and what they promise for any input."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bench.report.published import MeanAlone, OverSeeds, PooledError
from bench.report.statistics import (
    Components,
    Difference,
    Sample,
    bootstrap_caveat,
    holm,
    interquartile_mean,
    mean,
    mean_difference,
    median_of_tasks,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
    stratified_t_interval,
    success_variance,
)

OURS = np.array([81.0, 84.5, 79.2, 90.1, 86.3])
THEIRS = np.array([70.4, 95.0, 88.8, 76.1, 91.9, 83.0])
scores = st.floats(-1e4, 1e4, allow_subnormal=False)
spreads = st.one_of(st.just(0.0), st.floats(1e-6, 1e3))
seeds = st.integers(1, 10)
tasks = st.lists(st.lists(scores, min_size=1, max_size=6), min_size=1, max_size=5)
differences = st.builds(Difference, st.floats(-50, 50), st.floats(0.01, 30), st.floats(0.5, 200))


# Aggregates


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 45, 46, 47, 48])
def test_interquartile_mean_is_the_quarter_trimmed_mean(count):
    values = np.random.default_rng(count).normal(size=(3, count))
    expected = stats.trim_mean(values, 0.25, axis=1)
    np.testing.assert_allclose(interquartile_mean(values), expected, rtol=1e-13)


def test_bootstrap_resamples_seeds_within_each_task():
    """Of [0, 1] and [0, 10] a resample holds 0, 1 or 2 of the ones and of the tens, as two coins do."""
    interval = stratified_bootstrap([[0.0, 1.0], [0.0, 10.0]], mean, level=0.8)
    # Mean (ones + 10 tens) / 4: P(0) = 1/16 < 0.1 < P(<= 1/4) = 3/16, and the same from above.
    assert (interval.estimate, interval.low, interval.high) == (2.75, 0.25, 5.25)
    assert stratified_bootstrap([[0.0, 1.0], [0.0, 10.0]], mean).low == 0.0  # 1/16 > 0.025


def test_bootstrap_of_the_interquartile_mean_takes_all_runs_together():
    """Eight runs, of which [0, 0, 0, 0] and [8, 8, 8, 8]: the middle half is two of each."""
    interval = stratified_bootstrap([np.zeros(4), np.full(4, 8.0)], interquartile_mean, resamples=50)
    assert (interval.estimate, interval.low, interval.high) == (4.0, 4.0, 4.0)


def test_bootstrap_interval_ends_at_the_quantiles_of_all_resamples():
    every = np.array(list(itertools.product(THEIRS, repeat=len(THEIRS)))).mean(axis=1)
    interval = stratified_bootstrap([THEIRS], mean, resamples=40_000)
    assert np.mean(every < interval.low - 1e-9) == pytest.approx(0.025, abs=0.004)  # 5 standard errors
    assert np.mean(every > interval.high + 1e-9) == pytest.approx(0.025, abs=0.004)


def test_bootstrap_depends_on_its_seed_alone():
    first = stratified_bootstrap([OURS, THEIRS], mean, resamples=100, seed=3)
    np.random.seed(0)
    assert stratified_bootstrap([OURS, THEIRS], mean, resamples=100, seed=3) == first
    assert stratified_bootstrap([OURS, THEIRS], mean, resamples=100, seed=4) != first


@given(tasks, st.sampled_from([mean, interquartile_mean]))
def test_bootstrap_lies_within_the_scores(runs, statistic):
    interval = stratified_bootstrap(runs, statistic, resamples=20)
    everything = np.concatenate(runs)
    slack = 1e-9 * (1 + np.abs(everything).max())
    assert everything.min() - slack <= interval.low <= interval.high <= everything.max() + slack


@pytest.mark.parametrize(
    ("count", "says"), [(1, "1 seed:"), (2, "2 seeds:"), (3, "83 %"), (5, "89 %"), (8, "90 %"), (11, "")]
)
def test_bootstrap_caveat_says_what_few_seeds_cover(count, says):
    caveat = bootstrap_caveat(count)
    assert says in caveat
    assert bool(caveat) == bool(says)


def test_t_interval_is_students():
    expected = stats.ttest_1samp(OURS, 0.0).confidence_interval(0.95)
    interval = stratified_t_interval([OURS])
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.estimate == pytest.approx(OURS.mean())


def test_t_interval_of_two_tasks_is_welchs():
    """Half the difference of the first task to the second one's negative, with different numbers of seeds."""
    welch = stats.ttest_ind(OURS, -THEIRS, equal_var=False).confidence_interval(0.9)
    interval = stratified_t_interval([OURS, THEIRS], level=0.9)
    assert (interval.low, interval.high) == pytest.approx((welch.low / 2, welch.high / 2))


def test_t_interval_of_one_seed_is_infinitely_wide():
    interval = stratified_t_interval([OURS, [80.0]])
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert interval.estimate == pytest.approx((OURS.mean() + 80) / 2)


@given(tasks)
def test_t_interval_holds_its_estimate(runs):
    interval = stratified_t_interval(runs)
    assert interval.low <= interval.estimate <= interval.high


def test_probability_of_improvement_is_the_mann_whitney_statistic():
    other = np.array([84.5, 70.0, 79.2])  # two ties with ours
    shares = [
        stats.mannwhitneyu(own, its).statistic / (len(own) * len(its))
        for own, its in ((OURS, THEIRS), (OURS, other))
    ]
    found = probability_of_improvement([OURS, OURS], [THEIRS, other])
    assert found.estimate == pytest.approx(np.mean(shares))
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@given(tasks)
def test_probability_of_improvement_over_itself_is_one_half(runs):
    assert probability_of_improvement(runs, runs, resamples=2).estimate == pytest.approx(0.5)


def test_probability_of_improvement_wants_the_same_tasks():
    with pytest.raises(ValueError, match="zip"):
        probability_of_improvement([OURS], [OURS, THEIRS])


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_an_improvement_covers_what_it_says(seeds):
    generator = np.random.default_rng(1)
    spreads = generator.uniform(1, 20, 9)
    held = 0
    for _ in range(200):
        ahead = generator.normal(0.5, 1, 9)
        truth = stats.norm.cdf(ahead / np.sqrt(2)).mean()
        own = [
            spread * (by + generator.normal(size=seeds)) for by, spread in zip(ahead, spreads, strict=True)
        ]
        others = [spread * generator.normal(size=seeds) for spread in spreads]
        found = probability_of_improvement(own, others, resamples=500)
        held += found.low <= truth <= found.high
    # Two standard deviations of the share below 0.90.
    assert held / 200 > 0.90 - 2 * 0.021


def test_the_interval_of_an_improvement_is_a_point_where_every_run_wins():
    found = probability_of_improvement([OURS + 100, THEIRS + 100], [OURS, THEIRS])
    assert (found.low, found.estimate, found.high) == (1.0, 1.0, 1.0)


def test_the_median_is_of_the_tasks_means():
    found = median_of_tasks([[0.0, 10.0], [90.0, 130.0], [50.0]], resamples=4000)
    assert found.estimate == pytest.approx(50.0)
    # The middle one is of a single seed; no other ever passes it.
    assert (found.low, found.high) == (50.0, 50.0)
    two = median_of_tasks([OURS, THEIRS], resamples=4000)
    assert two.estimate == pytest.approx((OURS.mean() + THEIRS.mean()) / 2)
    assert two.low < two.estimate < two.high


def test_the_optimality_gap_counts_what_is_missing_and_nothing_beyond():
    assert optimality_gap(np.array([[90.0, 130.0], [100.0, 0.0]])).tolist() == [5.0, 50.0]


def test_performance_profile_counts_runs_above_and_weighs_tasks_alike():
    profile = performance_profile([[1.0, 3.0], [0.0, 0.0, 0.0, 9.0]], [-1.0, 0.0, 1.0, 5.0, 9.0])
    np.testing.assert_allclose(profile, [1.0, (1 + 1 / 4) / 2, (1 / 2 + 1 / 4) / 2, 1 / 8, 0.0])


# Holm


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        # R: p.adjust(c(...), "holm")
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.7, 0.6, 0.001], [1.0, 1.0, 0.003]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_on_known_examples(raw, adjusted):
    np.testing.assert_allclose(holm(raw), adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.randoms())
def test_holm_keeps_order_raises_and_ignores_the_order_of_asking(raw, random):
    p = np.array(raw)
    adjusted = holm(p)
    assert ((adjusted >= p) & (adjusted <= 1)).all()
    assert (adjusted <= np.minimum(p * len(p), 1)).all()  # never stricter than Bonferroni
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    order = np.array(random.sample(range(len(p)), len(p)))
    np.testing.assert_array_equal(holm(p[order]), adjusted[order])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(raw, level):
    rejected = set()
    for step, index in enumerate(np.argsort(raw, kind="stable")):
        limit = raw[index] * (len(raw) - step)
        assume(abs(limit - level) > 1e-12)
        if limit > level:
            break
        rejected.add(int(index))
    assert set(np.flatnonzero(holm(raw) <= level)) == rejected


# One difference


@given(differences, st.floats(-60, 60))
def test_p_values_are_students(difference, bound):
    gap = (difference.value - bound) / difference.standard_error
    assert difference.p_below(bound) == pytest.approx(stats.t.cdf(gap, difference.degrees_of_freedom))
    assert difference.p_above(bound) == pytest.approx(stats.t.sf(gap, difference.degrees_of_freedom))


@given(differences, st.floats(0, 60))
def test_interval_inside_the_margin_is_two_one_sided_tests_at_5_percent(difference, margin):
    low, high = difference.interval(0.9)
    assume(min(abs(low + margin), abs(high - margin)) > 1e-9)
    inside = -margin < low and high < margin
    assert inside == (difference.p_above(-margin) < 0.05 and difference.p_below(margin) < 0.05)


@given(differences, st.floats(0, 60))
def test_the_three_answers_exclude_each_other(difference, margin):
    low, high = difference.interval(0.9)
    answers = (
        -margin <= low and high <= margin,
        difference.p_below(-margin) <= 0.05,
        difference.p_above(margin) <= 0.05,
    )
    assert sum(answers) <= 1


@pytest.mark.parametrize(("value", "below", "above"), [(-6.0, 0.0, 1.0), (-5.0, 1.0, 1.0), (-4.0, 1.0, 1.0)])
def test_without_any_spread_the_value_decides(value, below, above):
    difference = Difference(value, 0.0, 4)
    assert difference.interval() == (value, value)
    assert difference.p_below(-5.0) == below
    assert difference.p_above(5.0) == above


def test_without_degrees_of_freedom_nothing_is_known():
    difference = Difference(-100.0, 0.1, 0)
    assert difference.interval() == (-math.inf, math.inf)
    assert difference.p_below(-5.0) == difference.p_above(-500.0) == 1.0


# Differences to published means


def test_difference_to_a_deviation_is_welchs_but_for_the_degrees_of_freedom():
    welch = stats.ttest_ind(OURS, THEIRS, equal_var=False)
    difference = OverSeeds(THEIRS.mean(), THEIRS.std(), len(THEIRS)).against(Sample.of(OURS))
    assert difference.value / difference.standard_error == pytest.approx(welch.statistic)
    smaller = len(OURS) - 1
    assert 1 / difference.degrees_of_freedom == pytest.approx((1 / welch.df + 1 / smaller) / 2)


@given(st.integers(2, 10), st.integers(2, 10), st.floats(0.01, 100))
def test_degrees_of_freedom_lie_between_the_smaller_samples_and_both_together(n, n0, ratio):
    found = OverSeeds(0.0, ratio, n0).against(Sample(0.0, 1.0, n)).degrees_of_freedom
    assert min(n, n0) - 1 <= found + 1e-9
    assert found <= n + n0 - 2 + 1e-9


def test_sample_of_one_knows_its_mean_alone():
    sample = Sample.of([7.0])
    assert (sample.mean, sample.variance, sample.n) == (7.0, 0.0, 1)
    assert OverSeeds(5.0, 2.0, 5).against(sample).p_below(1e6) == 1.0


def test_floors_hold_the_variance_from_below():
    assert Sample.of([90.0, 90.0, 90.0], floor=4.0).variance == 4.0
    assert Sample.of(OURS, floor=1.0).variance == pytest.approx(OURS.var(ddof=1))
    plain = Sample(90.0, 4.0, 4)
    assert OverSeeds(90.0, 0.0, 5, floor=3.0).against(plain).standard_error == 2.0  # 4 / 4 + 3
    assert MeanAlone(90.0, 4, floor=3.0).against(plain).standard_error == 2.0


def test_difference_to_a_mean_alone_is_the_prediction_interval():
    """A mean of 3 further seeds lies with 90 % in mean +- t(0.95, 4) s sqrt(1/5 + 1/3); by hand."""
    difference = MeanAlone(74.0, 3).against(Sample(80.0, 25.0, 5))
    half = 2.131847 * 5 * math.sqrt(8 / 15)
    assert difference.interval(0.9) == pytest.approx((6 - half, 6 + half), abs=1e-4)


def test_components_of_a_balanced_design():
    components = Components.of([[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]])
    assert (components.within, components.between) == (2.0, 15.0)  # means 2, 6, 10: 16 - 2 / 2
    assert components.of_mean(seeds=5, episodes=10) == pytest.approx(15 / 5 + 2 / 50)


def test_components_are_those_of_the_analysis_of_variance():
    episodes = np.random.default_rng(0).normal(size=(4, 6)) + np.array([[0.0], [1.0], [5.0], [2.0]])
    components = Components.of(episodes)
    within = episodes.var(axis=1, ddof=1).mean()
    ratio = stats.f_oneway(*episodes).statistic
    assert components.within == pytest.approx(within)
    assert components.between == pytest.approx(within * (ratio - 1) / 6)


@pytest.mark.parametrize(
    ("episodes", "between", "within"),
    [
        ([[1.0, -1.0], [-1.0, 1.0]], 0.0, 2.0),  # seeds closer than chance
        ([[4.0], [6.0]], 2.0, 0.0),  # one episode: nothing to tell it from its seed
        ([[5.0, 5.0], [5.0, 5.0]], 0.0, 0.0),
        ([[1.0, 2.0, 3.0]], 0.0, 1.0),  # one seed
    ],
)
def test_components_at_the_edges(episodes, between, within):
    components = Components.of(episodes)
    assert (components.between, components.within) == (between, within)


@pytest.mark.parametrize(
    ("standard_error", "variance"),
    [
        # Ours: 4 between and 36 within, so 4 / 5 + 36 / 50 = 1.52 for 5 seeds of 10 episodes.
        (math.sqrt(40 / 50), 1.52),  # the paper's rollouts vary as ours
        (math.sqrt(20 / 50), 1.52),  # less: ours stands
        (math.sqrt(80 / 50), 3.04),  # twice as much: both parts doubled
        (0.2, 0.4),  # at most 10 x 0.2^2
    ],
)
def test_variance_behind_a_pooled_standard_error(standard_error, variance):
    found = PooledError(0.0, standard_error, 5, 10, Components(4.0, 36.0)).variance
    assert found == pytest.approx(variance)


def test_variance_behind_a_pooled_error_is_at_least_its_square():
    assert PooledError(0.0, 1.5, 5, 10, Components(0.0, 0.0)).variance == 1.5**2


@given(spreads, spreads, spreads, seeds, seeds)
def test_variance_behind_a_pooled_error_keeps_its_bounds(between, within, error, n, episodes):
    variance = PooledError(0.0, error, n, episodes, Components(between, within)).variance
    assert error**2 <= variance <= episodes * error**2 * (1 + 1e-12)


def test_difference_under_a_pooled_error_by_hand():
    """The variance of the printed mean is 2: 8 x 0.5^2 at most, and 6 / 3 by our episodes."""
    ours = Sample(70.0, 10.0, 5)
    assert PooledError(76.0, 0.5, 3, 8, None).against(ours) == Difference(-6.0, 2.0, 2)
    assert PooledError(76.0, 0.5, 3, 8, Components(6.0, 0.0)).against(ours) == Difference(-6.0, 2.0, 4)


def test_success_variance_by_hand_and_never_zero():
    shrunk = (9 + 2) / (10 + 4)
    assert success_variance(0.9, 10) == pytest.approx(shrunk * (1 - shrunk) / 10)
    assert success_variance(0.0, 10) == pytest.approx(success_variance(1.0, 10))
    assert success_variance(1.0, 10) == pytest.approx(2 * 12 / 14**2 / 10)


@pytest.mark.parametrize("rollouts", [10, 50, 500])
def test_success_variance_is_not_too_small_on_average(rollouts):
    """Over all outcomes of the binomial law it is at least 0.94 of the true variance."""
    successes = np.arange(rollouts + 1)
    estimates = np.array([success_variance(k / rollouts, rollouts) for k in successes])
    for rate in (0.001, 0.05, 0.3, 0.5, 0.8, 0.99):
        expected = stats.binom.pmf(successes, rollouts, rate) @ estimates
        assert expected > 0.94 * rate * (1 - rate) / rollouts


# Means of differences


def test_mean_difference_by_hand():
    both = mean_difference([Difference(2.0, 3.0, 4), Difference(-6.0, 4.0, 8)])
    assert both.value == -2.0
    assert both.standard_error == pytest.approx(2.5)
    assert both.degrees_of_freedom == pytest.approx(25**2 / (81 / 4 + 256 / 8))


def test_mean_difference_of_one_is_itself():
    alone = mean_difference([Difference(2.0, 3.0, 4.5)])
    assert (alone.value, alone.standard_error) == (2.0, 3.0)
    assert alone.degrees_of_freedom == pytest.approx(4.5)


def test_mean_difference_without_spread():
    assert mean_difference([Difference(1.0, 0.0, 4), Difference(3.0, 0.0, 2)]) == Difference(2.0, 0.0, 2)


@pytest.mark.parametrize("size", [1e-90, 1e-200, 1e70])
def test_degrees_of_freedom_do_not_depend_on_the_unit(size):
    both = mean_difference([Difference(0.0, size, 4), Difference(0.0, size, 4)])
    assert both.degrees_of_freedom == pytest.approx(8 if size > 1e-150 else 4)


# Nothing is ever NaN


@given(st.lists(scores, min_size=1, max_size=5), spreads, spreads, st.integers(2, 10), scores)
def test_no_difference_is_nan(values, spread, floor, n, published):
    ours = Sample.of(values, floor)
    components = Components.of(np.reshape(values, (len(values), 1)))
    found = [
        OverSeeds(published, spread, n, floor).against(ours),
        MeanAlone(published, n, floor).against(ours),
        PooledError(published, spread, n, 10, components).against(ours),
    ]
    for difference in (*found, mean_difference(found)):
        numbers = [difference.value, difference.standard_error, difference.degrees_of_freedom]
        chances = [difference.p_below(-5.0), difference.p_above(5.0)]
        assert not np.isnan([*numbers, *difference.interval(), *chances]).any()
        assert all(0 <= chance <= 1 for chance in chances)
        assert difference.degrees_of_freedom >= 0


@given(tasks)
def test_no_aggregate_is_nan(runs):
    for interval in (
        stratified_bootstrap(runs, mean, resamples=5),
        stratified_bootstrap(runs, interquartile_mean, resamples=5),
        stratified_t_interval(runs),
    ):
        assert not np.isnan([interval.estimate, interval.low, interval.high]).any()
    assert np.isfinite(performance_profile(runs, [0.0, 50.0])).all()
