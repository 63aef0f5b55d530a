"""IDQL under the checks that every method passes, for every shape."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.base import Dimensions
from algorithms.idql import IDQL, IDQLConfig
from algorithms.registry import configuration
from bench.training import contract
from tests.algorithms import checks
from tests.algorithms.idql.test_update import CONFIG, PAPER, in_double

DATA = contract.transitions()
SMALL = {
    "policy_width": 8,
    "critic_width": 8,
    "batch_size": 4,
    "critic_batch_size": 2,
    "train_iterations": 20,
}
CASES = {"released": replace(CONFIG, **SMALL), "paper": replace(PAPER, **SMALL)}


@pytest.fixture(params=CASES)
def make(request):
    return lambda seeds: in_double(IDQL(Dimensions(4, 2), CASES[request.param], seeds))


def test_seeds_are_independent(make):
    contract.assert_seeds_independent(make, DATA)


@pytest.mark.parametrize("network", ["policy", "critics", "value"])
def test_poison_stays(make, network):
    contract.assert_poison_stays(make, DATA, network)


def test_deterministic(make):
    contract.assert_deterministic(make, DATA)


def test_state_is_whole(make):
    contract.assert_state_is_whole(make, DATA)


def test_never_waits(make):
    contract.assert_never_waits(make, DATA)


def test_seed_view(make):
    algorithm = make((3, 5))
    contract.assert_seed_view_acts_alike(algorithm, schedule=algorithm.schedule)


@settings(max_examples=8, deadline=None)
@given(
    observation=st.integers(1, 6),
    action=st.integers(1, 4),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
    shares=st.integers(1, 3),
    candidates=st.integers(1, 3),
    steps=st.integers(1, 6),
)
def test_every_shape(observation, action, seeds, shares, candidates, steps):
    sizes = {"batch_size": 2 * shares, "policy_steps": shares, "candidates": candidates}
    config = replace(CASES["released"], **sizes, diffusion_steps=steps)
    algorithm = in_double(IDQL(Dimensions(observation, action, action_bound=2.5), config, seeds))
    (phase,) = algorithm.phases
    generator = torch.Generator().manual_seed(0)
    batch = checks.random_batch(len(seeds), 2 * shares, observation, action, generator=generator, bound=2.5)
    metrics = algorithm.update("train", batch, contract.draws_of(phase.draws, seeds))
    assert all(values.shape == (len(seeds),) and values.isfinite().all() for values in metrics.values())
    assert contract.action(algorithm).abs().max() <= 2.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"diffusion_steps": 0}, "diffusion_steps is 0; it must be at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be"),
        ({"policy_activation": "tanh"}, "policy_activation is 'tanh'; it must be mish or swish"),
        ({"policy_steps": 3}, "batch_size is 512; it must be a multiple of policy_steps"),
        ({"critic_batch_size": 513}, "critic_batch_size is 513; it must be at most batch_size"),
    ],
)
def test_impossible_values_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        configuration("idql", {**IDQLConfig().__dict__, **values})
