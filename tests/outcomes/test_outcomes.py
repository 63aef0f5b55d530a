"""Trained small, every method ends where its paper says: within 3 standard deviations of ten recorded runs.

Networks are 64 wide, data 2,000 points, learning rates up to ten times the preset's: enough to tell a method
that works from one that does not, no measure of its quality.
"""

import json
import math

import pytest

from tests.outcomes.cases import CASES, measured
from tests.outcomes.record import RECORDED, SEEDS

RUNS = json.loads(RECORDED.read_text())


def of(method, name):
    """Mean and standard deviation over the recorded runs."""
    number = RUNS[method]["numbers"][name]
    return number["mean"], number["deviation"]


def clearly_less(first, second):
    """The first below the second by over three standard deviations of the difference of two runs."""
    return first[0] + 3 * math.hypot(first[1], second[1]) < second[0]


def less_on_average(first, second):
    """The first mean below the second by over three standard errors of the difference of the means."""
    return first[0] + 3 * math.hypot(first[1], second[1]) / math.sqrt(len(SEEDS)) < second[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.method)
def test_trained_small(case):
    (run,) = measured(case, (0,))
    for name, side in case.judged.items():
        mean, deviation = of(case.method, name)
        if side == "at most":
            assert run[name] <= mean + 3 * deviation, name
        else:
            assert run[name] >= mean - 3 * deviation, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.method)
def test_recorded_are_of_these_settings(case):
    assert RUNS[case.method]["task"] == case.task
    assert RUNS[case.method]["settings"] == case.settings


# What the papers say, in the recorded means.


def test_bdpo_is_nearer_to_the_reweighted_truth_than_its_behaviour_model():
    assert clearly_less(
        of("bdpo", "energy_distance_to_truth"), of("bdpo", "behaviour_energy_distance_to_truth")
    )


def test_bdpo_values_noise_at_the_soft_maximum():
    """V_T at noise within 10 % of eta log mean exp(Q / eta)."""
    assert clearly_less(of("bdpo", "value_test_relative"), (0.1, 0.0))


@pytest.mark.parametrize("method", ["edp-td3", "srpo"])
def test_guidance_leads_to_the_best_modes(method):
    assert clearly_less(of(method, "data_share_on_best_modes"), of(method, "share_on_best_modes"))


def test_edp_is_nearer_to_the_reweighted_truth_than_the_data():
    assert clearly_less(
        of("edp-td3", "energy_distance_to_truth"), of("edp-td3", "data_energy_distance_to_truth")
    )


def test_srpo_stays_in_support():
    """Its policy is one point, whose distance from a cloud says little; here it lies on the data."""
    assert of("srpo", "share_in_support") == (1.0, 0.0)


def test_trust_region_ends_on_modes_while_kl_spreads():
    """Of single runs this cannot be said: the KL variant's differ much, and one of ten ended on one mode."""
    assert less_on_average((0.9, 0.0), of("dtql", "share_in_support"))
    assert less_on_average(of("dtql-kl", "share_in_support"), of("dtql", "share_in_support"))
    assert less_on_average(of("dtql", "spread"), of("dtql-kl", "spread"))
    assert less_on_average(of("dtql", "modes_reached"), of("dtql-kl", "modes_reached"))
