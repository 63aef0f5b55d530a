"""CRR's loss, advantages and networks against numpy and scipy in float64, and what gets a gradient."""

import numpy as np
import pytest
import torch
from scipy import stats

from algorithms.base import Dimensions
from algorithms.crr import TwinCritics, TwoHeadedPolicy, advantages, asymmetric_critic_loss
from algorithms.networks import Initialiser
from tests.algorithms.checks import normal

DIMENSIONS, SEEDS = Dimensions(9, 2), (0, 1)


@pytest.mark.parametrize("weight", [0.5, 0.7])
def test_errors_above_the_target_weigh_otherwise_than_errors_below(weight):
    values, targets = normal(2, 2, 40).requires_grad_(), normal(2, 40, seed=1)
    loss = asymmetric_critic_loss(values, targets, weight)
    error = values.detach().numpy() - targets.numpy()[:, None]
    expected = (np.where(error > 0, weight, 1 - weight) * error**2).mean(axis=2).sum(axis=1)
    np.testing.assert_allclose(loss.detach(), expected, rtol=1e-12)
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    np.testing.assert_allclose(gradient, 2 * np.where(error > 0, weight, 1 - weight) * error / 40, rtol=1e-12)


def test_the_minimum_is_taken_of_each_action_before_the_mean():
    of_data, of_samples = normal(2, 2, 5).requires_grad_(), normal(2, 2, 5, 7, seed=1)
    found = advantages(of_data, of_samples)
    assert not found.requires_grad
    expected = of_data.detach().numpy().min(axis=1) - of_samples.numpy().min(axis=1).mean(axis=2)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_starts_as_flax_does_with_small_outputs():
    """LeCun-normal hidden layers, last ones uniform of variance 0.01 / inputs, log deviation about -1."""
    critics = TwinCritics(Initialiser(SEEDS, "critics"), DIMENSIONS, 256)
    policy = TwoHeadedPolicy(
        Initialiser(SEEDS, "policy"), DIMENSIONS, 256, mean_limit=9.0, log_std=(-5.0, 2.0)
    )
    for network, inputs in ((critics, 11), (policy, 9)):
        *hidden, last = network.mlp.layers
        assert [layer.weight.shape[-2] for layer in (*hidden, last)] == [inputs, 256, 256]
        assert float(hidden[1].weight.detach().std()) == pytest.approx(1 / 16, rel=0.02)
        assert last.weight.abs().max() <= (0.03 / 256) ** 0.5
        flat = last.weight.detach().flatten() / (0.03 / 256) ** 0.5
        assert stats.kstest(flat, stats.uniform(-1, 2).cdf).pvalue > 1e-3
        assert all((layer.bias == 0).all() for layer in network.mlp.layers)
        assert [norm.epsilon for norm in network.mlp.norms] == [1e-6, 1e-6]
    mean, log_std = policy(torch.randn(2, 50, 9, generator=torch.Generator().manual_seed(0)))
    assert mean.abs().max() < 0.5
    assert (log_std + 1).abs().max() < 0.5


def test_mean_and_deviation_have_networks_and_limits_of_their_own():
    policy = TwoHeadedPolicy(
        Initialiser(SEEDS, "policy"), DIMENSIONS, 8, mean_limit=0.3, log_std=(-1.2, 0.4)
    ).double()
    policy.mlp.layers[-1].weight.data *= 100
    states = normal(2, 50, 9)
    mean, log_std = policy(states)
    assert (mean.min(), mean.max(), log_std.min(), log_std.max()) == (-0.3, 0.3, -1.2, 0.4)
    policy.multiplier.data.fill_(0.0)
    policy.offset.data.fill_(-0.7)
    assert torch.equal(policy(states)[0], mean)
    assert (policy(states)[1] == -0.7).all()
    gradient = torch.autograd.grad(policy(states)[0].sum(), policy.mlp.layers[0].weight)[0]
    assert (gradient[:, 0] != 0).any()
    assert (gradient[:, 1] == 0).all()
