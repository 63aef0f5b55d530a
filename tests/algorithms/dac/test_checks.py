"""DAC under the checks that every method passes, for every shape."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.base import Dimensions
from algorithms.dac import DAC, DACConfig
from algorithms.registry import configuration
from bench.training import contract
from tests.algorithms import checks
from tests.algorithms.dac.test_update import CONFIG, in_double

DATA = contract.transitions()
SMALL = replace(CONFIG, hidden_width=8, batch_size=4, train_iterations=20)
CASES = {
    "bound of the mean": SMALL,
    "best of the samples": replace(SMALL, max_q_backup=True, cloning_weight_rate=0.0),
}


@pytest.fixture(params=CASES)
def make(request):
    return lambda seeds: in_double(DAC(Dimensions(4, 2), CASES[request.param], seeds))


def test_seeds_are_independent(make):
    contract.assert_seeds_independent(make, DATA)


@pytest.mark.parametrize("network", ["policy", "critics", "multiplier"])
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
    contract.assert_seed_view_acts_alike(algorithm, schedule=algorithm.schedule, sampler=algorithm.sampler)


def test_a_retired_seed_stands_still(make):
    """Zero weights make zero values; dividing by them must not bring NaN into what is stored."""
    algorithm = make((0, 1))
    algorithm.retire(0)
    (phase,) = algorithm.phases
    batch = checks.random_batch(2, 4, 4, 2, generator=torch.Generator().manual_seed(0))
    for step in range(6):
        algorithm.update(phase.program(step), batch, contract.draws_of(phase.draws, (0, 1), step))
    state = algorithm.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert all((tensor[0] == 0).all() for name, tensor in state.items() if name.startswith("network."))


@settings(max_examples=8, deadline=None)
@given(
    observation=st.integers(1, 6),
    action=st.integers(1, 4),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
    batch=st.integers(1, 5),
    candidates=st.integers(1, 3),
    steps=st.integers(1, 6),
    samples=st.integers(1, 3),
)
def test_every_shape(observation, action, seeds, batch, candidates, steps, samples):
    sizes = {"batch_size": batch, "candidates": candidates, "diffusion_steps": steps}
    dimensions = Dimensions(observation, action, action_bound=2.5)
    algorithm = in_double(DAC(dimensions, replace(SMALL, **sizes, samples=samples), seeds))
    (phase,) = algorithm.phases
    generator = torch.Generator().manual_seed(0)
    transitions = checks.random_batch(len(seeds), batch, observation, action, generator=generator, bound=2.5)
    metrics = algorithm.update("train", transitions, contract.draws_of(phase.draws, seeds))
    assert all(values.shape == (len(seeds),) and values.isfinite().all() for values in metrics.values())
    assert contract.action(algorithm).abs().max() <= 2.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"diffusion_steps": 0}, "diffusion_steps is 0; it must be at least 1"),
        ({"ensemble": 0}, "ensemble is 0; it must be at least 1"),
        ({"gradient_norm": 0.0}, "gradient_norm is 0.0; it must be above 0"),
        ({"time_embedding_width": 7}, "time_embedding_width is 7; it must be"),
        ({"cloning_weight": 200.0}, "cloning_weight is 200; it must be between cloning_weight_min"),
    ],
)
def test_impossible_values_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        configuration("dac", {**DACConfig().__dict__, **values})
