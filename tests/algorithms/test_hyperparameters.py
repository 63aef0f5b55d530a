"""Impossible values of hyper-parameters are refused by name."""

from dataclasses import dataclass
from typing import Literal

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.dtql import DTQL, DTQLConfig
from algorithms.hyperparameters import Count, Fraction, Hyperparameters, InnerFraction, Interval, Positive
from algorithms.srpo import SRPO, SRPOConfig


@dataclass(frozen=True)
class Example(Hyperparameters):
    batch: Count = 1
    expectile: InnerFraction = 0.5
    discount: Fraction = 1.0
    rate: Positive = 1.0
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    shift: float = 0.0


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("batch", 0, "at least 1"),
        ("batch", 2.0, "a whole number"),
        ("batch", True, "a whole number"),
        ("expectile", 0.0, "between 0 and 1 (exclusive)"),
        ("expectile", 1.0, "between 0 and 1 (exclusive)"),
        ("discount", 1.01, "between 0 and 1 (inclusive)"),
        ("rate", 0.0, "above 0"),
        ("rate", "fast", "a number"),
        ("rate", float("nan"), "a finite number"),
        ("kind", "c", "a or b"),
        ("flag", 1, "true or false"),
        ("shift", float("inf"), "a finite number"),
    ],
)
def test_an_impossible_value_is_refused_by_name(name, value, wanted):
    with pytest.raises(ValueError) as caught:
        Example(**{name: value})
    assert str(caught.value) == f"{name} is {value!r}; it must be {wanted}"


def test_bounds_that_are_possible_are_taken():
    Example(batch=1, discount=0.0, rate=1, shift=-3)
    Example(discount=1.0, kind="b", flag=True)


def test_a_misspelt_name_is_refused():
    with pytest.raises(TypeError, match="expectil"):
        DTQLConfig(expectil=0.7)


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("expectile", 1.0), ("trust_region_weight", -1.0), ("candidates", 0)],
)
def test_dtql_refuses(name, value):
    with pytest.raises(ValueError, match=name):
        DTQLConfig(**{name: value})


def test_half_open_intervals_hold_what_they_say():
    assert 0.0 not in Interval(0, open_low=True)
    assert 1.0 in Interval(0, 1)
    assert 1.0 not in Interval(0, 1, open_high=True)


@pytest.mark.parametrize(
    ("configuration", "name", "value", "wanted"),
    [
        (DTQLConfig, "time_embedding_width", 5, "a multiple of 2"),
        (DTQLConfig, "time_embedding_width", 2, "at least 4"),
        (SRPOConfig, "time_features", 5, "a multiple of 2"),
        (SRPOConfig, "time_features", 0, "at least 2"),
    ],
)
def test_features_that_are_no_pairs_of_sine_and_cosine_are_refused(configuration, name, value, wanted):
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be {wanted}"):
        configuration(**{name: value})


@pytest.mark.parametrize(("configuration", "smallest"), [(DTQLConfig, 4), (SRPOConfig, 2)])
def test_the_smallest_number_of_features_runs(configuration, smallest):
    if configuration is DTQLConfig:
        method, network = DTQL(Dimensions(3, 2), DTQLConfig(time_embedding_width=smallest), (0,)), "diffusion"
    else:
        method, network = SRPO(Dimensions(3, 2), SRPOConfig(time_features=smallest), (0,)), "behaviour"
    noisy, observations, level = torch.zeros(1, 5, 2), torch.zeros(1, 5, 3), torch.zeros(1, 5)
    assert method.networks[network](noisy, observations, level).isfinite().all()
