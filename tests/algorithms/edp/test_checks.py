"""EDP under the checks that every method passes, for every shape."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.base import Dimensions
from algorithms.diffusion import linear_schedule, vp_schedule
from algorithms.dpm_solver import AncestralSampler
from algorithms.edp import EDPCRR, EDPIQL, EDPTD3, EDPCRRConfig, EDPIQLConfig, EDPTD3Config
from algorithms.registry import configuration
from bench.training import contract
from tests.algorithms import checks

DATA = contract.transitions()
SMALL = {
    "hidden_width": 8,
    "batch_size": 4,
    "candidates": 4,
    "diffusion_steps": 30,
    "solver_calls": 6,
    "train_iterations": 20,
}
METHODS = {
    "td3": (EDPTD3, EDPTD3Config(**SMALL, policy_target_start=4)),
    "crr": (EDPCRR, EDPCRRConfig(**SMALL, policy_target_start=4)),
    "iql": (EDPIQL, EDPIQLConfig(**SMALL)),
    "dql": (
        EDPTD3,
        EDPTD3Config(
            **(SMALL | {"diffusion_steps": 5}),
            noise_schedule="vp",
            sampler="ddpm",
            action_approximation=False,
        ),
    ),
}


def in_double(algorithm):
    """The method in float64, tables and sampler included."""
    config, bound = algorithm.config, algorithm.dimensions.action_bound
    if config.sampler == "dpm":
        return contract.doubled(algorithm, schedule=linear_schedule(config.diffusion_steps, torch.float64))
    schedule = vp_schedule(config.diffusion_steps, torch.float64)
    return contract.doubled(algorithm, schedule=schedule, sampler=AncestralSampler(schedule, bound))


@pytest.fixture(params=METHODS)
def make(request):
    method, config = METHODS[request.param]
    return lambda seeds: in_double(method(Dimensions(4, 2), config, seeds))


def test_seeds_are_independent(make):
    contract.assert_seeds_independent(make, DATA)


@pytest.mark.parametrize("network", ["policy", "critics"])
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
    for step in range(3):
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
    calls=st.integers(1, 7),
    method=st.sampled_from(sorted(METHODS)),
)
def test_every_shape(observation, action, seeds, batch, candidates, calls, method):
    build, config = METHODS[method]
    sizes = {"batch_size": batch, "candidates": candidates, "solver_calls": calls}
    dimensions = Dimensions(observation, action, action_bound=2.5)
    algorithm = in_double(build(dimensions, replace(config, **sizes), seeds))
    (phase,) = algorithm.phases
    generator = torch.Generator().manual_seed(0)
    transitions = checks.random_batch(len(seeds), batch, observation, action, generator=generator, bound=2.5)
    metrics = algorithm.update("train", transitions, contract.draws_of(phase.draws, seeds))
    assert all(values.shape == (len(seeds),) and values.isfinite().all() for values in metrics.values())
    assert contract.action(algorithm).isfinite().all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"diffusion_steps": 0}, "diffusion_steps is 0; it must be at least 1"),
        ({"diffusion_steps": 20}, "diffusion_steps is 20; it must be above 20"),
        ({"diffusion_steps": 1, "noise_schedule": "vp"}, "diffusion_steps is 1; it must be at least 2"),
        ({"sampler": "ddim"}, "sampler is 'ddim'; it must be dpm or ddpm"),
        ({"gradient_norm": 0.0}, "gradient_norm is 0.0; it must be above 0"),
        ({"expectile": 1.0}, "expectile is 1.0; it must be between 0 and 1"),
        ({"guidance_weight": -1.0}, "guidance_weight is -1.0; it must be at least 0"),
    ],
)
def test_impossible_values_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        configuration("edp-iql", values)
