"""Configurations: impossible values are refused by name, and tiny sizes are those that fields declare."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import Annotated, Literal

import pytest
import torch
from pydantic import Field, model_validator

from algorithms.base import (
    Count,
    Dimensions,
    Fraction,
    InnerFraction,
    Positive,
    Tiny,
    checked,
    hyperparameters,
    tiny,
)
from algorithms.bdpo import BDPOConfig
from algorithms.dtql import DTQL, DTQLConfig
from algorithms.registry import methods
from algorithms.srpo import SRPO, SRPOConfig


@hyperparameters
class Example:
    batch: Count = 1
    expectile: InnerFraction = 0.5
    discount: Fraction = 1.0
    rate: Positive = 1.0
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    shift: float = 0.0
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    size: Annotated[Count, Tiny(7)] = 99


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
        ("share", 1.0, "at least 0 and below 1"),
    ],
)
def test_an_impossible_value_is_refused_by_name(name, value, wanted):
    with pytest.raises(ValueError) as caught:
        checked(Example, {name: value})
    assert str(caught.value) == f"{name} is {value!r}; it must be {wanted}"


@pytest.mark.parametrize("method", methods())
def test_every_methods_configuration_checks_its_values(method):
    """What a class inherits is checked too, if the class itself is made by `hyperparameters`."""
    _, configuration = methods()[method].load()
    for field in fields(configuration):
        with pytest.raises(ValueError, match=f"^{field.name} is None; it must be "):
            checked(configuration, {field.name: None})


def test_bounds_that_are_possible_are_taken():
    Example(batch=1, discount=0.0, rate=1, shift=-3)
    Example(discount=1.0, kind="b", flag=True)


def test_a_misspelt_name_is_refused():
    with pytest.raises(TypeError, match="DTQLConfig has no expectil"):
        checked(DTQLConfig, {"expectil": 0.7})
    with pytest.raises(ValueError, match="expectil"):
        DTQLConfig(expectil=0.7)


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("expectile", 1.0), ("trust_region_weight", -1.0), ("candidates", 0)],
)
def test_dtql_refuses(name, value):
    with pytest.raises(ValueError, match=name):
        DTQLConfig(**{name: value})


def test_whole_numbers_serve_as_fractions():
    assert repr(Example(rate=1).rate) == "1.0"


def test_a_configuration_stays_as_it_was_made():
    with pytest.raises(FrozenInstanceError):
        Example().batch = 2
    assert replace(Example(), batch=2) == Example(batch=2)
    with pytest.raises(ValueError, match="batch"):
        replace(Example(), batch=0)


def test_a_check_of_the_class_itself_speaks_for_itself():
    @hyperparameters
    class Ordered(Example):
        @model_validator(mode="after")
        def _in_order(self):
            if self.batch > self.size:
                raise ValueError("batch is above size")
            return self

    with pytest.raises(ValueError, match=r"^batch is above size$"):
        checked(Ordered, {"batch": 100})
    with pytest.raises(ValueError, match=r"^batch is 0; it must be at least 1$"):
        checked(Ordered, {"batch": 0})


def test_tiny_sizes_are_those_that_the_fields_declare():
    assert tiny(Example) == {"size": 7}
    assert tiny(BDPOConfig) == {
        "batch_size": 16, "ensemble": 3, "critic_width": 16, "actor_width": 16, "samples": 2, "candidates": 4,
    }  # fmt: skip
    assert tiny(SRPOConfig) == {
        "behaviour_batch_size": 16, "behaviour_width": 16, "batch_size": 16, "hidden_width": 16,
    }  # fmt: skip


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
        checked(configuration, {name: value})


@pytest.mark.parametrize(("configuration", "smallest"), [(DTQLConfig, 4), (SRPOConfig, 2)])
def test_the_smallest_number_of_features_runs(configuration, smallest):
    if configuration is DTQLConfig:
        method, network = DTQL(Dimensions(3, 2), DTQLConfig(time_embedding_width=smallest), (0,)), "diffusion"
    else:
        method, network = SRPO(Dimensions(3, 2), SRPOConfig(time_features=smallest), (0,)), "behaviour"
    noisy, observations, level = torch.zeros(1, 5, 2), torch.zeros(1, 5, 3), torch.zeros(1, 5)
    assert method.networks[network](noisy, observations, level).isfinite().all()
