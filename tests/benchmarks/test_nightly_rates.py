"""The stated rates hold where nothing changed, and drops are found: the whole procedure, simulated."""

import math

import numpy as np
import pytest
from scipy import stats

from bench.nightly.alarms import CellScores, compare_night
from bench.nightly.config import load_nightly
from bench.records import CellKey
from bench.report.statistics import holm
from benchmarks.nightly_rates import (
    Baselines,
    Procedure,
    confirmed_rate,
    detection,
    false_alarms,
    first_nights,
    probability_below,
    simulate,
)

NIGHTS = 100


@pytest.fixture(scope="module")
def procedure():
    file = load_nightly()
    return Procedure.of(file.settings, len(file.cells))


@pytest.fixture(scope="module")
def quiet(procedure):
    return simulate(procedure, np.random.default_rng(2), families=600, nights=NIGHTS)


def shares_of_families(events):
    """Mean share of nights and its standard error over families: nights of one family share a baseline."""
    shares = events.mean(axis=1)
    return shares.mean(), shares.std(ddof=1) / np.sqrt(len(shares))


def test_alarms_before_confirmation_come_at_the_family_rate(procedure, quiet):
    share, error = shares_of_families(quiet.alarmed)
    # Holm's bound is all but attained by independent cells: 1 - (1 - 0.01 / 12)^12.
    assert share == pytest.approx(0.01, abs=4 * error)
    assert error < 0.001


def test_confirmed_alarms_come_at_the_rate_that_is_stated(procedure, quiet):
    share, error = shares_of_families(quiet.confirmed)
    stated = confirmed_rate(
        cells=procedure.cells,
        baseline_seeds=procedure.baseline_seeds,
        seeds=procedure.seeds,
        fresh_seeds=procedure.fresh_seeds,
        family_rate=procedure.family_rate,
        confirmation_rate=procedure.confirmation_rate,
    )
    assert share == pytest.approx(stated, abs=4 * error)
    assert stated < 0.0025


def test_drift_alarms_within_the_stated_nights_are_as_rare_as_stated(quiet):
    families = len(quiet.drifting)
    stated = 1 - (1 - 0.001) ** NIGHTS
    # 5 % for the limit's own simulation, then binomial bounds at 1 in 1,000.
    low = stats.binom(families, stated * 0.95).ppf(0.001)
    high = stats.binom(families, stated * 1.05).ppf(0.999)
    assert low <= quiet.drifting.any(axis=1).sum() <= high


def test_all_together_a_night_fails_by_chance_less_than_once_in_three_hundred(quiet):
    assert false_alarms(quiet, "normal").failed < 1 / 300


@pytest.mark.parametrize(("drop", "cells"), [(3.0, 1), (4.0, 1), (2.0, 3)])
def test_large_drops_are_found_within_a_week(procedure, drop, cells):
    nights = simulate(
        procedure, np.random.default_rng(3), families=200, nights=10, drop=drop, dropped_cells=cells
    )
    found = detection(nights, drop, cells)
    assert found.failed <= 2
    assert found.nine_in_ten <= 7


def test_the_first_night_finds_a_drop_with_the_power_of_both_stages(procedure):
    nights = simulate(procedure, np.random.default_rng(4), families=1000, nights=1, drop=3.0, dropped_cells=1)
    stages = ((procedure.seeds, 0.01 / 12), (procedure.fresh_seeds, 0.05))
    power = probability_below(stages, procedure.baseline_seeds, drop=3.0)
    low, high = stats.binom(1000, power).ppf([0.001, 0.999])
    assert low <= nights.confirmed.sum() <= high


def test_a_drop_that_no_night_shows_is_found_by_the_sums(procedure):
    nights = simulate(procedure, np.random.default_rng(5), families=200, nights=60, drop=1.0, dropped_cells=3)
    found = detection(nights, 1.0, 3)
    assert found.first_night < 0.2
    assert found.failed < 20


def test_the_simulated_decisions_are_those_of_a_night():
    rng = np.random.default_rng(6)
    rate = 0.3
    for _ in range(50):
        baseline, tonight = rng.normal(50, 5, (4, 6)), rng.normal(47, 5, (4, 2))
        cells = [
            CellScores(CellKey(name, "released", "hopper", ""), tuple(old), tuple(new))
            for name, old, new in zip("abcd", baseline, tonight, strict=True)
        ]
        p = [one.p_below for one in compare_night(cells, rate).cells]
        fired = np.array([f"{name} hopper" for name in "abcd"])[holm(p) <= rate]
        assert tuple(fired) == compare_night(cells, rate).alarms


def test_cells_that_did_not_alarm_are_no_members_of_the_confirmation():
    nan = np.nan
    p = np.array([[0.04, nan, nan], [0.04, 0.9, nan], [nan, nan, nan], [0.01, 0.02, 0.06]])
    expected = [[True, False, False], [False, False, False], [False] * 3, [True, True, False]]
    assert (holm(p) <= 0.05).tolist() == expected


def test_baselines_of_chance_have_the_spread_that_they_should():
    made = Baselines.drawn(np.random.default_rng(7), (50_000,), 5)
    assert made.mean.std() == pytest.approx(1 / np.sqrt(5), rel=0.02)
    assert np.square(made.deviation).mean() == pytest.approx(1, rel=0.02)
    t = made.night(np.random.default_rng(8), 2)
    assert (t < stats.t(4).ppf(0.01)).mean() == pytest.approx(0.01, abs=0.002)


def test_a_night_without_an_event_counts_as_never():
    events = np.array([[False, False], [False, True], [True, False]])
    assert first_nights(events).tolist() == [np.inf, 2.0, 1.0]


# The same rates by integration


@pytest.mark.parametrize(
    ("baseline_seeds", "seeds", "level"), [(20, 2, 0.01 / 12), (3, 1, 0.01), (30, 5, 0.2)]
)
def test_without_a_drop_one_stage_is_below_as_often_as_its_level_says(baseline_seeds, seeds, level):
    assert probability_below([(seeds, level)], baseline_seeds) == pytest.approx(level, rel=1e-6)


@pytest.mark.parametrize(
    ("baseline_seeds", "seeds", "cells", "rate", "three", "four"),
    # Simulated independently beforehand.
    [(20, 1, 36, 0.01, 0.17, 0.44), (20, 2, 36, 0.01, 0.49, 0.86), (30, 2, 12, 0.01, 0.73, 0.97)],
)
def test_power_of_one_stage(baseline_seeds, seeds, cells, rate, three, four):
    stage = [(seeds, rate / cells)]
    assert probability_below(stage, baseline_seeds, drop=3.0) == pytest.approx(three, abs=0.01)
    assert probability_below(stage, baseline_seeds, drop=4.0) == pytest.approx(four, abs=0.01)


def test_power_is_that_of_the_noncentral_t():
    limit = stats.t(19).ppf(0.001)
    centre = -2.5 / math.sqrt(1 / 3 + 1 / 20)
    expected = stats.nct(19, centre).cdf(limit)
    assert probability_below([(3, 0.001)], 20, drop=2.5) == pytest.approx(expected, rel=1e-6)


def test_a_shared_baseline_makes_confirmed_false_alarms_likelier_than_the_product():
    rng = np.random.default_rng(0)
    repeats, seeds, fresh, level = 400_000, 2, 6, 0.05
    baseline = rng.standard_normal((repeats, 8))
    centre, deviation = baseline.mean(axis=1), baseline.std(axis=1, ddof=1)
    fired = np.ones(repeats, dtype=bool)
    for n in (seeds, fresh):
        new = rng.standard_normal((repeats, n)).mean(axis=1)
        fired &= new < centre - stats.t(7).isf(level) * deviation * math.sqrt(1 / n + 1 / 8)
    # Binomial bounds at 1 in 1,000.
    low, high = stats.binom(repeats, probability_below([(seeds, level), (fresh, level)], 8)).ppf(
        [5e-4, 0.9995]
    )
    assert low <= fired.sum() <= high
    assert fired.mean() > 2 * level**2


def test_the_rate_of_a_whole_night_is_stated():
    rate = confirmed_rate(
        cells=12, baseline_seeds=20, seeds=2, fresh_seeds=6, family_rate=0.01, confirmation_rate=0.05
    )
    assert 0.01 * 0.05 < rate < 0.01
    assert rate == pytest.approx(0.0020, abs=0.0001)
