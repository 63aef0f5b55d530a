"""IQL's weights and regression against numpy in float64, and what gets a gradient."""

import numpy as np
import pytest
import torch
from scipy import stats

from algorithms.base import Dimensions
from algorithms.iql import (
    INITIALISATIONS,
    GaussianTanhMeanActor,
    exponential_weights,
    weighted_regression,
)
from algorithms.networks import Initialiser
from tests.algorithms.checks import normal


def test_weights_grow_exponentially_up_to_a_limit_and_are_held_fixed():
    advantages = normal(2, 40).requires_grad_()
    weights = exponential_weights(advantages, 3.0, 20.0)
    assert not weights.requires_grad
    np.testing.assert_allclose(weights, np.minimum(np.exp(3 * advantages.detach().numpy()), 20), rtol=1e-13)
    assert (weights == 20).any()
    assert (weights < 20).any()


def test_a_gaussian_is_regressed_by_its_likelihood():
    weights, actions = normal(2, 9).abs(), normal(2, 9, 3, seed=1)
    mean, log_std = normal(2, 9, 3, seed=2).requires_grad_(), 0.3 * normal(2, 1, 3, seed=3)
    loss = weighted_regression(weights, actions, mean, log_std)
    for seed in range(2):
        log_likelihood = stats.norm.logpdf(
            actions[seed], loc=mean[seed].detach(), scale=np.exp(log_std[seed].numpy())
        ).sum(axis=1)
        assert float(loss[seed]) == pytest.approx(-(weights[seed].numpy() * log_likelihood).mean(), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss.sum(), mean)
    expected = -(weights[..., None] * (actions - mean.detach()) / (2 * log_std).exp()) / 9
    torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-13)


def test_a_deterministic_actor_is_regressed_by_squared_errors():
    weights, actions, mean = normal(2, 9).abs(), normal(2, 9, 3, seed=1), normal(2, 9, 3, seed=2)
    loss = weighted_regression(weights, actions, mean, None)
    expected = (weights.numpy() * ((mean - actions).numpy() ** 2).sum(axis=2)).mean(axis=1)
    np.testing.assert_allclose(loss, expected, rtol=1e-13)


def actor(**changes):
    wanted = {"initialisation": INITIALISATIONS["orthogonal"], "deterministic": False} | changes
    initialiser = Initialiser((0, 1), "actor")
    return GaussianTanhMeanActor(initialiser, Dimensions(9, 2, action_bound=0.7), 16, **wanted)


def test_starts_as_the_released_code_does():
    """Every layer orthogonal times sqrt 2, zero bias, deviation 1."""
    network = actor()
    for layer in network.mlp.layers:
        for weight in layer.weight.detach().double():
            product = weight.T @ weight if weight.shape[0] >= weight.shape[1] else weight @ weight.T
            torch.testing.assert_close(product, 2 * torch.eye(len(product)).double(), rtol=0, atol=1e-5)
        assert (layer.bias == 0).all()
    assert network.log_std.shape == (2, 1, 2)
    assert (network.log_std == 0).all()
    torch_like = actor(initialisation=INITIALISATIONS["torch"])
    assert 0.3 < torch_like.mlp.layers[0].weight.abs().max() <= 1 / 3
    assert actor(deterministic=True).log_std is None


def test_dropout_leaves_units_out_behind_both_hidden_layers():
    network = actor().double()
    states = normal(2, 5, 9)
    ones = torch.ones(2, 5, 16, dtype=torch.float64)
    torch.testing.assert_close(network(states, (ones, ones)), network(states), rtol=1e-12, atol=0)
    # Without any unit of the last hidden layer only the output's bias, zero, is left.
    assert (network(states, (ones, 0 * ones)) == 0).all()
    assert (network(states, (0 * ones, ones)) == 0).all()
    assert network(states).abs().max() <= 0.7
