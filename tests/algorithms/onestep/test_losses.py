"""One-step RL's losses and networks against numpy and scipy in float64, and what gets a gradient."""

import numpy as np
import pytest
import torch
from scipy import stats

from algorithms.base import Dimensions
from algorithms.networks import Initialiser
from algorithms.onestep import (
    ActionValue,
    SquashedMeanPolicy,
    negative_log_likelihood,
    reverse_kl_loss,
    sarsa_loss,
)
from tests.algorithms.checks import normal


def test_the_behaviour_is_cloned_by_its_likelihood_summed_over_components():
    actions, mean, log_std = normal(2, 9, 3), normal(2, 9, 3, seed=1), 0.3 * normal(2, 9, 3, seed=2)
    loss = negative_log_likelihood(actions, mean, log_std)
    density = stats.norm.logpdf(actions, loc=mean, scale=np.exp(log_std.numpy()))
    np.testing.assert_allclose(loss, -density.sum(axis=2).mean(axis=1), rtol=1e-12)


def test_the_action_value_regresses_its_targets():
    values, targets = normal(2, 9), normal(2, 9, seed=1)
    np.testing.assert_allclose(
        sarsa_loss(values, targets), ((values - targets).numpy() ** 2).mean(axis=1), rtol=1e-13
    )


def test_the_divergence_is_averaged_over_samples_and_weighed():
    values, own, behaviour = normal(2, 5), normal(2, 5, 4, seed=1), normal(2, 5, 4, seed=2)
    expected = (-values.numpy() + 0.3 * (own - behaviour).numpy().mean(axis=2)).mean(axis=1)
    np.testing.assert_allclose(reverse_kl_loss(values, own, behaviour, 0.3), expected, rtol=1e-12)


def test_the_divergence_of_many_samples_is_that_of_two_normals():
    """log sigma_b / sigma_p + (sigma_p^2 + (mu_p - mu_b)^2) / (2 sigma_b^2) - 1/2."""
    mean, other, std, wide = 0.3, -0.1, 0.5, 0.8
    quantiles = torch.from_numpy(stats.norm.ppf((np.arange(4000) + 0.5) / 4000))
    sampled = mean + std * quantiles
    own, behaviour = (
        torch.from_numpy(stats.norm.logpdf(sampled, *of)).view(1, 1, -1)
        for of in ((mean, std), (other, wide))
    )
    found = reverse_kl_loss(torch.zeros(1, 1), own, behaviour, 1.0)
    expected = np.log(wide / std) + (std**2 + (mean - other) ** 2) / (2 * wide**2) - 0.5
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_means_are_squashed_and_deviations_lie_between_two_limits():
    """log sigma = -5 + 2.5 (tanh(x) + 1); starts as torch does."""
    policy = SquashedMeanPolicy(Initialiser((0, 1), "policy"), Dimensions(9, 2, action_bound=0.7), 256)
    assert [tuple(layer.weight.shape[1:]) for layer in policy.mlp.layers] == [(9, 256), (256, 256), (256, 4)]
    assert 0.32 < policy.mlp.layers[0].weight.abs().max() <= 1 / 3
    policy = policy.double()
    policy.mlp.layers[-1].weight.data *= 200
    states = normal(2, 40, 9)
    out = np.tanh(policy.mlp(states).detach().numpy())
    mean, log_std = (part.detach() for part in policy(states))
    np.testing.assert_allclose(mean, 0.7 * out[..., :2], rtol=1e-12)
    np.testing.assert_allclose(log_std, -5 + 2.5 * (out[..., 2:] + 1), rtol=1e-12, atol=1e-12)
    assert [float(log_std.min()), float(mean.max())] == pytest.approx([-5, 0.7], abs=1e-3)


def test_several_actions_of_a_state_are_valued_as_each_by_itself():
    critic = ActionValue(Initialiser((0, 1), "critic"), Dimensions(4, 2), 8).double()
    states, actions = normal(2, 5, 4), normal(2, 5, 3, 2, seed=1)
    together = critic(states, actions)
    for index in range(3):
        one = critic(states, actions[:, :, index : index + 1]).squeeze(-1)
        torch.testing.assert_close(together[..., index], one, rtol=1e-12, atol=1e-14)
