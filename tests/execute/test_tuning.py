"""A search: what may be declared, what its rungs are, and how its trials are marked."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.execute.grid import Request, plan_cells
from bench.execute.tuning import Search, domain
from tests.execute.tiny import DATASET, TASK

REQUEST = Request((load_catalog().task(TASK),), ("bc",), (0, 1), budget=0.9)


def drawn(text: str) -> list:
    random.seed(0)
    return [domain(text)[1].sample() for _ in range(200)]


def test_values_are_drawn_from_what_is_declared() -> None:
    assert domain("learning_rate=loguniform(1e-5,1e-3)")[0] == "learning_rate"
    rates = drawn("a=loguniform(1e-5, 1e-3)")
    assert all(1e-5 <= rate <= 1e-3 for rate in rates)
    assert 0.3 < sum(rate < 1e-4 for rate in rates) / len(rates) < 0.7
    assert all(2 <= value <= 3 for value in drawn("a=uniform(2,3)"))
    assert set(drawn("a=randint(1,3)")) == {1, 2, 3}
    assert set(drawn("a=choice(64, 128,true)")) == {64, 128, True}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "NAME=KIND"),
        ("learning_rate", "NAME=KIND"),
        ("=uniform(0,1)", "NAME=KIND"),
        ("a=normal(0,1)", "loguniform, uniform, randint, choice"),
        ("a=uniform(0,1", "NAME=KIND"),
        ("a=uniform(1)", "two numbers"),
        ("a=uniform(x,1)", "two numbers"),
        ("a=uniform(1,1)", "below the second"),
        ("a=loguniform(0,1)", "above 0"),
        ("a=uniform(0,.inf)", "no finite number"),
        ("a=randint(1.5,3)", "whole numbers"),
        ("a=choice()", "missing"),
        ("a=choice(1,)", "missing"),
    ],
)
def test_a_space_that_is_none_is_told(text: str, reason: str) -> None:
    with pytest.raises(BenchError) as error:
        domain(text)
    assert reason in str(error.value)
    assert text in error.value.what


def test_rungs_are_budgets_up_to_the_one_asked_for_and_their_trials_are_marked() -> None:
    search = Search(REQUEST, (), {}, 4, 3, 3, 0, "")
    assert search.budgets == (0.1, 0.3, 0.9)
    assert replace(search, rungs=1).budgets == (0.9,)
    assert replace(search, request=replace(REQUEST, budget=1.0)).budgets == (0.1111, 0.3333, 1.0)
    asked = search.at(1, {"learning_rate": 0.5})
    (marked,) = plan_cells(asked)
    (plain,) = plan_cells(replace(asked, tuned=False))
    assert marked.preset.values["learning_rate"] == 0.5
    assert marked.reduced == (*plain.reduced, "tuned")
    # No run of these settings takes the search's trial for its own.
    assert marked.trial(0, DATASET).key != plain.trial(0, DATASET).key
    assert marked.trial(0, DATASET).config["tuned"] is True
    assert "tuned" not in plain.trial(0, DATASET).config
