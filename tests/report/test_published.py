"""What a printed mean is worth: its variance by kind of spread, and what is assumed of it."""

import pytest

from bench.report.published import published, success_floor
from bench.report.statistics import Components, Sample
from tests.report.judging import own

OURS = Sample(70.0, 4.0, 5)


def error_of(cell, components=None, ours=OURS):
    """Variance of the printed mean in the difference to our seeds."""
    found = published(cell, components).against(ours)
    return found.standard_error**2 - ours.variance / ours.n


@pytest.mark.parametrize(
    ("cell", "variance"),
    [
        (own(), 4.0 / 5),
        (own(seeds=None), 4.0 / 3),
        (own(spread=2.0, spread_kind="std_over_seeds"), 2.0**2 / 4),
        (own(spread=2.0, spread_kind="std_over_seeds", seeds=10), 2.0**2 / 9),
        (own(spread=2.0, spread_kind="std_over_seeds", seeds=None), 2.0**2 / 2),
        (own(spread=0.0, spread_kind="std_over_seeds"), 0.0),
        (own(spread=0.5, spread_kind="se_over_rollouts"), 10 * 0.25),
    ],
)
def test_variance_of_a_printed_mean(cell, variance):
    assert error_of(cell) == pytest.approx(variance)


@pytest.mark.parametrize(
    ("between", "within", "error", "variance"),
    [
        (4.0, 10.0, 0.1, 10 * 0.1**2),  # held to 10 x 0.1^2: the paper's rollouts cannot vary more
        (4.0, 10.0, (14 / 50) ** 0.5, 4 / 5 + 10 / 50),  # as the paper's rollouts say
        (4.0, 10.0, (56 / 50) ** 0.5, 4 * (4 / 5 + 10 / 50)),  # they vary four times as much as ours
        (0.0, 10.0, (10 / 50) ** 0.5, 10 / 50),  # seeds do not differ: the printed error is right
        (0.0, 0.0, 0.5, 0.25),  # never less than the printed error
    ],
)
def test_variance_behind_a_pooled_error(between, within, error, variance):
    cell = own(spread=error, spread_kind="se_over_rollouts")
    assert error_of(cell, Components(between, within)) == pytest.approx(variance)


@pytest.mark.parametrize(
    ("between", "within", "error", "degrees"),
    [
        (4.0, 10.0, 0.5, 9),  # what our episodes say, between 0.5^2 and 10 x 0.5^2: ten seeds of ours
        (4.0, 10.0, (56 / 50) ** 0.5, 4),  # the paper's rollouts vary more: five seeds of its own
        (4.0, 10.0, 0.1, 4),  # held to the most that its error allows: the paper's number again
        (0.0, 0.0, 0.5, 4),  # held to the printed error itself
    ],
)
def test_whose_seeds_make_the_degrees_of_freedom(between, within, error, degrees):
    cell = own(spread=error, spread_kind="se_over_rollouts")
    found = published(cell, Components(between, within)).against(Sample(70.0, 5.0, 10))
    assert found.degrees_of_freedom == degrees


def test_a_spread_of_unknown_meaning_is_no_evidence():
    assert published(own(spread=1.0, spread_kind="unknown"), None) is None
    assert published(own(spread=1.0, spread_kind="se_over_rollouts", episodes=None), None) is None


@pytest.mark.parametrize(
    ("change", "rate", "rollouts"),
    [
        ({"protocol": "last"}, None, 500),
        ({"protocol": "rat", "episodes": 10}, None, 500),
        ({"protocol": "last"}, 100.0, 500),
        ({"protocol": "last"}, 0.0, 500),
        ({"protocol": "last"}, 103.0, 500),  # more than always cannot be
    ],
)
def test_least_variance_of_a_success_rate(change, rate, rollouts):
    cell = own(90.0, domain="antmaze", **({"episodes": 100} | change))
    share = min(max((90.0 if rate is None else rate) / 100, 0), 1)
    share = (share * rollouts + 2) / (rollouts + 4)
    assert success_floor(cell, 5, rate) == pytest.approx(share * (1 - share) / rollouts * 100**2)


@pytest.mark.parametrize(
    "change", [{"domain": "locomotion"}, {"protocol": "oms"}, {"episodes": None}, {"protocol": ""}]
)
def test_no_least_variance_where_scores_are_no_plain_success_rates(change):
    assert success_floor(own(90.0, **({"domain": "antmaze", "episodes": 100} | change)), 5) == 0.0


def test_how_the_variance_comes_about_is_told():
    pooled = published(own(spread=1.5, spread_kind="se_over_rollouts"), Components(4.0, 10.0))
    between, mean, taken = pooled.lines(OURS)
    assert between == "our episodes: variance between seeds 4, within a seed 10"
    assert mean == "variance of the printed mean from them: 4 / 5 + 10 / 50 = 1"
    assert taken.startswith("taken as 8.04: larger where the printed error says") and "[2.25, 22.5]" in taken
    alone = published(own(), None)
    assert alone.lines(OURS) == ["variance of the printed mean, from our seeds: 4 / 5 = 0.8"]
