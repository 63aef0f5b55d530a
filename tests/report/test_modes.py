"""Modes of a cloud and which of them another cloud reaches."""

import numpy as np
import pytest

from bench.report.modes import modes_of, modes_reached
from tests.report.clouds import CORNERS


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
