"""The rules err as often as they say and see what they say, measured where the truth is known.

Rates are asserted as multiples of the stated level, with the true difference just at the margin: nowhere else
are errors more frequent. `python -m benchmarks.statistics_rates` prints all of them.
"""

import math

import numpy as np
import pytest
from scipy import stats

from bench.report.published import MeanAlone, OverSeeds, PooledError
from bench.report.statistics import (
    COVERAGE,
    Components,
    Difference,
    Sample,
    holm,
    mean_difference,
    success_variance,
)
from benchmarks import statistics_rates
from benchmarks.statistics_rates import (
    FAMILY,
    RATIOS,
    SHARES,
    SINGLE,
    Episodes,
    SuccessWorld,
    coverage,
    rollouts_world,
    seeds_world,
)

COUNT = 20_000
NOISE = 4.0
"""Standard deviations of an estimated rate that are put down to chance."""


def draws(seed=1):
    return np.random.default_rng(seed)


def at_most(rate, limit):
    """Whether a measured rate is compatible with a true one of at most this."""
    return rate.value - NOISE * rate.error <= limit


# The rules over arrays, against their formulas written anew, and against single experiments


def deviation_rule(variance, n, deviation, n0, floor=0.0):
    """Standard error and degrees of freedom: 1 / df half-way from Satterthwaite's to the smaller sample's."""
    own = variance / n
    theirs = np.maximum(np.square(deviation) / (n0 - 1), floor)
    reciprocal = (own**2 / (n - 1) + theirs**2 / (n0 - 1)) / (own + theirs) ** 2
    return np.sqrt(own + theirs), 2 / (reciprocal + 1 / (min(n, n0) - 1))


def pooled_rule(variance, between, within, printed, n, n0, episodes):
    """The same for a standard error over pooled rollouts, from our components of an episode's variance."""
    total, plain = between + within, between / n0 + within / (n0 * episodes)
    grown = np.divide(printed**2 * n0 * episodes, total, out=np.ones_like(total), where=total > 0)
    theirs = plain * np.maximum(grown, 1.0)
    theirs = np.minimum(np.maximum(theirs, printed**2), episodes * printed**2)
    return np.sqrt(variance / n + theirs), np.where(theirs == plain, n - 1, min(n, n0) - 1)


def same(difference, expected):
    error, degrees = expected
    np.testing.assert_allclose(difference.standard_error, error, rtol=1e-12)
    np.testing.assert_allclose(difference.degrees_of_freedom, degrees, rtol=1e-12)


@pytest.mark.parametrize(("n", "n0"), [(2, 5), (3, 5), (5, 5), (10, 6)])
def test_rules_over_arrays_are_their_formulas_and_those_of_single_experiments(n, n0):
    source = draws()
    variance, deviation, floor = source.exponential(size=(3, 100))
    between, within, printed = source.exponential(size=(3, 100)) * [[1.0], [9.0], [0.5]]
    between[:20] = 0.0
    ours = Sample(0.0, variance, n)
    welch = OverSeeds(0.0, deviation, n0, floor).against(ours)
    alone = MeanAlone(0.0, n0).against(ours)
    pooled = PooledError(0.0, printed, n0, 10, Components(between, within)).against(ours)
    same(welch, deviation_rule(variance, n, deviation, n0, floor))
    same(alone, (np.sqrt(variance * (1 / n + 1 / n0)), n - 1))
    same(pooled, pooled_rule(variance, between, within, printed, n, n0, 10))
    for i in range(100):
        seen = Sample(0.0, float(variance[i]), n)
        components = Components(float(between[i]), float(within[i]))
        for together, single in (
            (welch, OverSeeds(0.0, float(deviation[i]), n0, float(floor[i])).against(seen)),
            (alone, MeanAlone(0.0, n0).against(seen)),
            (pooled, PooledError(0.0, float(printed[i]), n0, 10, components).against(seen)),
        ):
            assert isinstance(single.standard_error, float)
            error, degrees = single.standard_error, single.degrees_of_freedom
            assert error == pytest.approx(together.standard_error[i], rel=1e-15)
            assert degrees == pytest.approx(np.broadcast_to(together.degrees_of_freedom, 100)[i], rel=1e-15)
            for bound in (-1.0, 0.0, 2.0):
                assert single.p_below(bound) == pytest.approx(together.p_below(bound)[i], rel=1e-12)
                assert single.p_above(bound) == pytest.approx(together.p_above(bound)[i], rel=1e-12)


@pytest.mark.parametrize("rule", ["pooled", "deviation"])
def test_success_rates_are_judged_as_single_episodes_are(rule):
    """The worlds count successes; a check sees episodes' scores of 0 and 1."""
    world = SuccessWorld(5, 4, 10, 0.8, 0.7, 0.2)
    episodes = (draws().random((60, 9, 10)) < draws(2).beta(3, 1, (60, 9, 1))).astype(float)
    ours, theirs = episodes[:, :5], episodes[:, 5:]
    judged = world.judged(ours.mean(axis=2), theirs.mean(axis=2), rule)
    for i in range(60):
        scores, mean = ours[i].mean(axis=1), theirs[i].mean()
        sample = Sample.of(scores, 5 * success_variance(scores.mean(), 50))
        if rule == "deviation":
            floor = success_variance(mean, 40)
            difference = OverSeeds(mean, theirs[i].mean(axis=1).std(), 4, floor).against(sample)
        else:
            printed = theirs[i].std() / math.sqrt(40)
            difference = PooledError(mean, printed, 4, 10, Components.of(ours[i])).against(sample)
        degrees = np.broadcast_to(judged.degrees_of_freedom, 60)[i]
        assert difference.value == pytest.approx(judged.value[i], abs=1e-12)
        assert difference.standard_error == pytest.approx(judged.standard_error[i], rel=1e-12)
        assert difference.degrees_of_freedom == pytest.approx(degrees, rel=1e-12)


def test_holm_takes_families_along_the_last_axis_and_leaves_out_what_is_no_number():
    p = draws().random((40, 6)) ** 3
    p[p > 0.7] = math.nan
    for row, adjusted in zip(p, holm(p), strict=True):
        members = ~np.isnan(row)
        np.testing.assert_array_equal(adjusted[members], holm(row[members]))
        assert np.isnan(adjusted[~members]).all()


def test_rates_without_drawn_means_are_those_of_counted_rejections():
    """Raw scores through the module's rule, counted, against the rate that the means were left out of."""
    n, n0, ratio, beyond = 5, 6, 2.0, 1.0
    ours = draws(5).normal(beyond, 1.0, (COUNT, n))
    theirs = draws(6).normal(0.0, ratio, (COUNT, n0))
    judged = OverSeeds(theirs.mean(axis=1), theirs.std(axis=1), n0, 0.0).against(Sample.of(ours))
    counted = int((judged.p_above(0.0) <= SINGLE).sum())
    rate = seeds_world(draws(), COUNT, n, n0, ratio, ddof=0).rejection(SINGLE, beyond).value
    bounds = stats.binomtest(counted, COUNT).proportion_ci(0.9999)
    assert bounds.low < rate < bounds.high


# False alarms


def worst(n, n0):
    """Stated in the docstring of the module's Welch test, for errors at FAMILY."""
    return {(3, 10): 1.55, (10, 3): 1.55, (5, 10): 1.3, (10, 5): 1.3}.get((n, n0), 1.0)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(
    ("n", "n0"), [(3, 3), (3, 5), (6, 3), (4, 5), (5, 5), (5, 6), (3, 10), (10, 5), (10, 10)]
)
def test_printed_deviation_errs_as_often_as_it_says(n, n0, ddof):
    for ratio in RATIOS:
        world = seeds_world(draws(), COUNT, n, n0, ratio, ddof)
        assert at_most(world.rejection(SINGLE), 1.02 * SINGLE)
        assert at_most(world.rejection(FAMILY), worst(n, n0) * FAMILY)


@pytest.mark.parametrize(
    ("n", "n0", "ratio", "excess"), [(5, 5, 0.25, 1.6), (5, 10, 0.25, 2.2), (3, 10, 0.25, 7.0)]
)
def test_satterthwaites_degrees_of_freedom_alone_would_not_do(n, n0, ratio, excess):
    """Why 1 / df is half-way to the smaller sample's: Welch's own test, far out in the tail."""
    source = draws()
    own = source.chisquare(n - 1, COUNT) / (n - 1) / n
    theirs = ratio**2 * source.chisquare(n0 - 1, COUNT) / (n0 - 1) / n0
    degrees = (own + theirs) ** 2 / (own**2 / (n - 1) + theirs**2 / (n0 - 1))
    limits = stats.t.ppf(FAMILY, degrees) * np.sqrt(own + theirs)
    rates = stats.norm.cdf(limits / math.sqrt(1 / n + ratio**2 / n0)) / FAMILY
    assert rates.mean() - NOISE * rates.std() / math.sqrt(COUNT) > excess * 0.8
    assert rates.mean() > excess


@pytest.mark.parametrize(("n", "n0"), [(3, 5), (5, 3), (5, 5), (10, 5)])
@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_mean_alone_is_exact_at_equal_spreads_and_costs_this_at_others(n, n0, ratio):
    """Closed form: the statistic is Student's but for the ratio of its true error to the assumed one."""
    world = seeds_world(draws(), COUNT, n, n0, ratio, ddof=None)
    assumed = math.sqrt((1 / n + 1 / n0) / (1 / n + ratio**2 / n0))
    for level in (SINGLE, FAMILY):
        exact = stats.t.cdf(stats.t.ppf(level, n - 1) * assumed, n - 1)
        rate = world.rejection(level)
        assert rate.value == pytest.approx(exact, abs=NOISE * rate.error)
        assert (exact <= level * (1 + 1e-9)) == (ratio <= 1)


@pytest.mark.parametrize(("n", "episodes"), [(5, 10), (5, 100), (3, 10), (10, 100)])
def test_pooled_error_errs_as_often_as_it_says(n, episodes):
    """Where an episode's variance divides between seeds and episodes as ours does."""
    for share in SHARES:
        for ratio in (0.5, 1.0, 2.0, 3.0):
            paper = Episodes(5, episodes, share, ratio**2)
            world = rollouts_world(draws(), COUNT, Episodes(n, episodes, share), paper)
            assert at_most(world.rejection(SINGLE), 1.05 * SINGLE)
            assert at_most(world.rejection(FAMILY), FAMILY)


def test_pooled_error_rests_on_seeds_that_differ_as_ours_do():
    """No printed number shows more variance between the paper's seeds: stated with every such verdict."""
    world = rollouts_world(draws(), COUNT, Episodes(5, 100, 0.05), Episodes(5, 100, 0.2))
    assert world.rejection(SINGLE).value == pytest.approx(2.2 * SINGLE, rel=0.1)
    assert world.rejection(FAMILY).value == pytest.approx(2.5 * FAMILY, rel=0.3)


RATES = [(0.6, 0.5), (0.5, 0.6), (0.95, 0.85), (0.85, 0.95), (0.98, 0.93), (0.93, 0.98)]


@pytest.mark.parametrize("episodes", [10, 100])
@pytest.mark.parametrize(("printed", "rate"), RATES)
def test_success_rates_err_as_often_as_stated(printed, rate, episodes):
    """Not more than stated, but near 1: equivalence 1.4 times, and under a pooled error twice at 5 %."""
    for share in (0.0, 0.02, 0.05):
        world = SuccessWorld(5, 5, episodes, rate, printed, share)
        for rule in ("pooled", "deviation"):
            near_one = rule == "pooled" and printed < rate > 0.9
            assert at_most(
                world.false_alarms(draws(), COUNT, rule, SINGLE), (2 if near_one else 1.1) * SINGLE
            )
            assert at_most(world.false_alarms(draws(), COUNT, rule, FAMILY), FAMILY)
            assert at_most(world.false_equivalence(draws(), COUNT, rule), 1.4 * SINGLE)


def test_holm_keeps_the_error_of_a_whole_grid_below_its_level():
    """36 cells just at their margins, spreads up to four times apart: any false alarm, on either side."""
    cells, grids, n, n0 = 36, 2000, 5, 5
    source = draws()
    ratio = 4.0 ** source.uniform(-1, 1, (grids, cells))
    own = source.chisquare(n - 1, (grids, cells)) / (n - 1)
    deviation = ratio * np.sqrt(source.chisquare(n0 - 1, (grids, cells)) / n0)
    means = source.normal(size=(grids, cells)) * np.sqrt(1 / n + ratio**2 / n0)
    found = OverSeeds(0.0, deviation, n0, 0.0).against(Sample(means, own, n))
    # The other margin lies twice 2 sd away.
    p = np.concatenate([found.p_above(0.0), found.p_below(-4 * np.maximum(1, ratio))], axis=1)
    alarmed = int((holm(p) <= SINGLE).any(axis=1).sum())
    assert stats.binomtest(alarmed, grids, SINGLE, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_mean_over_a_suite_errs_as_often_as_it_says(ratio):
    """Nine tasks whose spreads differ twenty times; the mean of their differences, counted."""
    sd, count = np.geomspace(0.5, 10, 9), 3000
    source = draws()
    ours = source.normal(0.0, sd, (count, 5, 9))
    theirs = source.normal(0.0, ratio * sd, (count, 5, 9))
    parts = [
        OverSeeds(theirs[..., task].mean(axis=1), theirs[..., task].std(axis=1), 5, 0.0).against(
            Sample.of(ours[..., task])
        )
        for task in range(9)
    ]
    alarms = int((mean_difference(parts).p_above(0.0) <= SINGLE).sum())
    assert stats.binomtest(alarms, count, SINGLE, alternative="greater").pvalue > 1e-3


# Power


@pytest.mark.parametrize(
    ("n", "n0", "powers"),
    [
        (3, 5, (0.00, 0.01, 0.04, 0.17)),
        (5, 5, (0.05, 0.22, 0.54, 0.95)),
        (5, 6, (0.06, 0.29, 0.64, 0.98)),
        (10, 5, (0.12, 0.44, 0.76, 0.98)),
        (10, 10, (0.62, 0.98, 1.00, 1.00)),
    ],
)
def test_deviations_of_2_3_4_and_6_beyond_the_margin_are_seen_this_often(n, n0, powers):
    world = seeds_world(draws(), COUNT, n, n0, 1.0, ddof=0)
    found = [world.rejection(FAMILY, shift).value for shift in (2, 3, 4, 6)]
    assert found == pytest.approx(powers, abs=0.015)


@pytest.mark.parametrize("n", [5, 10])
def test_power_against_a_mean_alone_is_the_noncentral_t(n):
    world = seeds_world(draws(), COUNT, n, 5, 1.0, ddof=None)
    for shift in (2, 3, 4, 6):
        centre = shift / math.sqrt(1 / n + 1 / 5)
        expected = stats.nct.sf(stats.t.isf(FAMILY, n - 1), n - 1, centre)
        assert world.rejection(FAMILY, shift).value == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(
    ("n", "n0", "welch"),
    [(5, 5, (0.06, 0.39, 0.77, 0.99)), (5, 10, (0.15, 0.61, 0.89, 1.0)), (10, 10, (0.38, 0.88, 0.99, 1.0))],
)
def test_equivalence_is_found_nearly_as_often_as_by_welchs_test(n, n0, welch):
    """At margins of 1, 1.5, 2 and 3 seed sd; the cautious degrees of freedom cost at most 0.07."""
    world = seeds_world(draws(), COUNT, n, n0, 1.0, ddof=0)
    found = np.array([world.equivalence(margin).value for margin in (1.0, 1.5, 2.0, 3.0)])
    assert (found <= np.array(welch) + 0.01).all()
    assert (found >= np.array(welch) - 0.07).all()


def test_equivalence_is_claimed_falsely_in_1_of_20():
    for ratio in RATIOS:
        world = seeds_world(draws(), COUNT, 5, 5, ratio, ddof=0)
        assert at_most(world.equivalence(3.0, difference=3.0), SINGLE)


# Coverage of aggregates' intervals


def test_bootstrap_covers_what_its_caveat_says():
    repeats = 1000
    for seeds in (3, 5):
        found = coverage(seeds, np.geomspace(1.0, 20.0, 9), repeats, resamples=200)
        for share in found[:2]:
            error = math.sqrt(share * (1 - share) / repeats)
            assert share == pytest.approx(COVERAGE[seeds], abs=0.01 + NOISE * error)


@pytest.mark.parametrize("seeds", [2, 3, 4, 5])
@pytest.mark.parametrize("widest", [1.0, 20.0])
def test_t_interval_of_a_suite_covers_what_it_says(seeds, widest):
    """Between 0.94 and 0.98: with two seeds each, Satterthwaite's figure is cautious."""
    sd = np.geomspace(1.0, widest, 9)
    variances = sd**2 * draws().chisquare(seeds - 1, (3000, 9)) / (seeds - 1)
    true_error = math.sqrt((sd**2).sum() / seeds) / 9
    parts = [Difference.of_sample(0.0, of_task, seeds) for of_task in variances.T]
    low, high = mean_difference(parts).interval(0.95)
    chances = stats.norm.cdf(high / true_error) - stats.norm.cdf(low / true_error)
    error = np.std(chances) / math.sqrt(len(chances))
    assert 0.945 - NOISE * error <= np.mean(chances) <= 0.98 + NOISE * error


@pytest.mark.slow
def test_bootstrap_covers_what_its_caveat_says_at_every_number_of_seeds():
    for seeds, stated in COVERAGE.items():
        for share in coverage(seeds, np.geomspace(1.0, 20.0, 9), repeats=4000, resamples=800)[:2]:
            assert share == pytest.approx(stated, abs=0.02)


def test_all_rates_are_printed(capsys):
    statistics_rates.main(["--draws", "50", "--repeats", "2"])
    printed = capsys.readouterr().out
    for rule in ("OverSeeds", "MeanAlone", "PooledError", "Success rates", "Coverage"):
        assert rule in printed
    assert "nan" not in printed
