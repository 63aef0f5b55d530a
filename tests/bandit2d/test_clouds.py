"""Distances and shares of point clouds where they are known in closed form, or counted one by one."""

import itertools
import math

import numpy as np
import pytest

from bench.bandit2d.clouds import (
    energy_distance,
    in_support,
    modes_of,
    modes_reached,
    near_best_centres,
    near_best_data,
    reweighted,
    sliced_wasserstein,
    support_radius,
)
from tests.bandit2d.clouds import CORNERS


@pytest.fixture
def clouds():
    generator = np.random.default_rng(0)
    return generator.normal(size=(7, 2)), generator.normal(1.0, size=(5, 2))


def test_energy_distance_pair_by_pair(clouds):
    def mean(one, other):
        return sum(math.dist(a, b) for a, b in itertools.product(one, other)) / (len(one) * len(other))

    x, y = clouds
    assert energy_distance(x, y) == pytest.approx(2 * mean(x, y) - mean(x, x) - mean(y, y), rel=1e-12)
    assert energy_distance(x, x) == pytest.approx(0.0, abs=1e-12)
    assert energy_distance(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])) == pytest.approx(10.0)


def test_sliced_wasserstein_of_a_shift_is_two_thirds_of_it_about(clouds):
    x, y = clouds
    assert sliced_wasserstein(x, x) == 0.0
    # |cos| of a random direction has mean 2 / pi and deviation 0.31; three standard errors of 128 are 0.082.
    assert sliced_wasserstein(x, x + np.array([0.0, 3.0])) / 3 == pytest.approx(2 / math.pi, abs=0.082)
    assert sliced_wasserstein(x, y) == sliced_wasserstein(x, y) == pytest.approx(sliced_wasserstein(y, x))
    assert sliced_wasserstein(x, y, seed=1) != sliced_wasserstein(x, y)


def test_on_a_line_the_sliced_distance_is_that_of_the_sorted_values():
    x, y = np.array([[0.0], [1.0], [5.0]]), np.array([[4.0], [0.5], [2.0]])
    assert sliced_wasserstein(x, y) == pytest.approx((0.5 + 1.0 + 1.0) / 3)


def test_weights_are_exponentials_of_the_reward():
    data = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    rewards = np.array([0.0, 0.05 * math.log(3.0), 0.05 * math.log(6.0)])
    drawn = reweighted(data, rewards, 0.05, 20_000, np.random.default_rng(0))
    shares = [(drawn[:, 0] == value).mean() for value in (0, 1, 2)]
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.015)
    large = reweighted(data, np.array([0.0, 1e5, 0.0], dtype=np.float32), 0.01, 5, np.random.default_rng(0))
    assert large[:, 0].tolist() == [1.0] * 5


def test_the_support_radius_of_a_grid_is_its_spacing():
    side = np.arange(10) * 0.5
    data = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    assert support_radius(data) == 0.5
    points = np.array([[0.2, 0.2], [-0.49, 0.0], [-0.51, 0.0], [9.0, 9.0]])
    assert in_support(points, data).tolist() == [True, True, False, False]


def test_the_support_radius_of_pairs_is_the_distance_within_a_pair():
    pairs = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0]])
    assert support_radius(pairs) == pytest.approx(0.1)


def test_fresh_data_is_in_support_99_times_in_100():
    data, fresh = np.random.default_rng(0).normal(size=(2, 10_000, 2))
    assert in_support(fresh, data).mean() == pytest.approx(0.99, abs=0.004)


def test_best_data_is_the_top_twentieth_and_near_means_in_support():
    data = np.stack((np.arange(100.0), np.zeros(100)), axis=1)
    points = np.array([[95.2, 0.0], [93.8, 0.0], [99.0, 0.9], [99.0, 1.1]])
    assert near_best_data(points, data, np.arange(100.0)).tolist() == [True, False, True, False]
    # Rewards of few values: all of the highest are the best.
    few = np.where(np.arange(100) % 2 == 0, 1.0, 0.0)
    assert near_best_data(data, data, few).tolist() == (few == 1).tolist()


def test_best_centres_are_all_of_the_highest_reward():
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = np.array([[10.0, 0.89], [0.65, 10.64], [0.0, 9.09], [0.0, 0.0]])
    rewards = np.array([0.0, 10.0, 10.0])
    assert near_best_centres(points, centres, rewards, 0.3).tolist() == [True, False, False, False]
    assert near_best_centres(points, centres, np.zeros(3), 0.3).tolist() == [True, False, False, True]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _at(centres, count, deviation, rng):
    return np.repeat(centres, count, axis=0) + deviation * rng.standard_normal((len(centres) * count, 2))


def test_four_gaussians_are_four_modes_with_their_centre_and_deviation(rng):
    modes = modes_of(_at(CORNERS, 400, 0.3, rng))
    centres = sorted(tuple(np.round(mode.centre)) for mode in modes)
    assert centres == sorted(map(tuple, CORNERS))
    assert [mode.deviation for mode in modes] == pytest.approx([0.3] * 4, rel=0.15)


def test_strays_are_no_modes_and_blow_up_none(rng):
    cloud = np.concatenate([_at(CORNERS, 400, 0.3, rng), [[0.0, 0.0], [5.0, 0.0]]])
    assert len(modes_of(cloud)) == 4


def test_a_ring_is_one_mode():
    angle = np.linspace(0, 2 * np.pi, 500)
    assert len(modes_of(np.stack([np.cos(angle), np.sin(angle)], axis=1))) == 1


@pytest.mark.parametrize(("share", "reached"), [(0.0, 1), (0.004, 1), (0.02, 2)])
def test_a_mode_counts_from_one_percent_of_the_points(rng, share, reached):
    modes = modes_of(_at(CORNERS, 400, 0.3, rng))
    strays = round(1000 * share)
    points = np.repeat([CORNERS[0], CORNERS[3]], [1000 - strays, strays], axis=0)
    assert modes_reached(points, modes) == reached


def test_points_four_deviations_off_do_not_reach_a_mode(rng):
    modes = modes_of(_at(CORNERS, 400, 0.3, rng))
    assert modes_reached(np.tile(CORNERS[0] + [1.2, 0.0], (100, 1)), modes) == 0
    assert modes_reached(np.tile(CORNERS[0] + [0.6, 0.0], (100, 1)), modes) == 1
