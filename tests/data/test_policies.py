"""Behaviour policies against torch's distributions and against formulas in float64."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.catalog import load_catalog
from bench.data.measure_policies import measure
from bench.data.policies import all_policies, load_policy, policy_path
from bench.errors import BenchError


def torch_distribution(environment, role, observations):
    """The same policy, built from torch's own layers and distributions in float64."""
    weights = {name: value.double() for name, value in load_file(policy_path(environment, role)).items()}

    def linear(name, inputs):
        return torch.nn.functional.linear(inputs, weights[f"{name}.weight"], weights[f"{name}.bias"])

    hidden = torch.relu(linear("fc2", torch.relu(linear("fc1", torch.from_numpy(observations)))))
    return linear("mean", hidden), linear("log_std", hidden).clamp(-5, 2).exp()


@pytest.mark.parametrize(("environment", "role"), all_policies())
def test_equals_torch(environment, role):
    generator = np.random.default_rng(0)
    dims = {"hopper": (11, 3)}.get(environment, (17, 6))
    observations, noise = generator.normal(size=(32, dims[0])), generator.normal(size=(32, dims[1]))
    mean, deviation = torch_distribution(environment, role, observations)
    before_tanh = mean + deviation * torch.from_numpy(noise)
    expected_log = torch.distributions.Independent(
        torch.distributions.TransformedDistribution(
            torch.distributions.Normal(mean, deviation),
            [torch.distributions.TanhTransform(cache_size=1)],
        ),
        1,
    )
    policy = load_policy(environment, role)
    actions, log_probability = policy.sample_with_log_probability(observations, noise)
    assert actions.dtype == log_probability.dtype == np.float32
    assert policy.action_dim == dims[1]
    np.testing.assert_allclose(actions, torch.tanh(before_tanh), atol=2e-5)
    np.testing.assert_array_equal(policy.sample(observations, noise), actions)
    moderate = (before_tanh.abs() < 6).all(dim=1)  # beyond, torch's inverse of tanh loses the digits
    expected = expected_log.log_prob(torch.tanh(before_tanh))[moderate]
    np.testing.assert_allclose(log_probability[moderate], expected, atol=1e-3, rtol=1e-4)


def test_density_stays_finite_where_tanh_saturates():
    policy = load_policy("hopper", "expert")
    actions, log_probability = policy.sample_with_log_probability(np.full((4, 11), 50.0), np.ones((4, 3)))
    assert (np.abs(actions) == 1).any()
    assert np.isfinite(log_probability).all()


def test_every_policy_that_the_tasks_name_is_there():
    for task in load_catalog().tasks.values():
        if task.collected:
            for share in task.dataset.policies:
                assert load_policy(task.environment, share.role).action_dim == task.action_dim


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(BenchError, match="hopper-medium"):
        load_policy("hopper", "mediun")


@pytest.mark.parametrize(("environment", "role"), all_policies())
def test_what_was_measured_stands_in_the_metadata(environment, role):
    metadata = load_policy(environment, role).metadata
    assert (metadata["environment"], metadata["role"]) == (environment, role)
    task = next(task for task in load_catalog().tasks.values() if task.environment == environment)
    for physics in ("d4rl", "modern"):
        assert int(metadata[f"{physics}_episodes"]) >= 64
        assert float(metadata[f"{physics}_standard_error"]) > 0
        mean = float(metadata[f"{physics}_mean_return"])
        score = 100 * (mean - task.reference.random) / (task.reference.expert - task.reference.random)
        assert float(metadata[f"{physics}_score"]) == pytest.approx(score, abs=0.06)


@pytest.mark.parametrize("physics", ["d4rl", "modern"])
def test_a_fresh_measurement_agrees_with_the_metadata(physics):
    policy = load_policy("hopper", "early")
    found = measure(policy, physics, 48, seed=1)
    error = found.returns.std(ddof=1) / np.sqrt(48)
    expected = float(policy.metadata[f"{physics}_mean_return"])
    assert abs(found.returns.mean() - expected) < 4 * np.hypot(
        error, float(policy.metadata[f"{physics}_standard_error"])
    )
    assert found.lengths.min() > 1
    assert found.lengths.max() <= 1000
