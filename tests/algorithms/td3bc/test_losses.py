"""TD3+BC's terms against numpy in float64, and what gets a gradient."""

import numpy as np
import pytest
import torch
from torch import nn

from algorithms.losses import normalised_value_loss
from algorithms.networks import CriticEnsemble, Initialiser
from algorithms.standardisation import Standardisation
from algorithms.td3bc import smoothed_actions, twin_targets
from benchmarks.plain.modules import layered, q_values, slice_of
from tests.algorithms.checks import normal, random_batch


def critics(seeds=(0, 1), observation=4, action=2):
    return CriticEnsemble(Initialiser(seeds, "q"), observation, action, (8, 8), nn.functional.relu).double()


@pytest.mark.parametrize("bound", [1.0, 0.4])
def test_noise_is_clipped_then_the_action(bound):
    actions, noise = bound * torch.tanh(normal(2, 50, 3)), 4 * normal(2, 50, 3, seed=1)
    found = smoothed_actions(actions, noise, deviation=0.2, limit=0.5, bound=bound)
    a, e = actions.numpy(), noise.numpy()
    expected = np.clip(a + np.clip(0.2 * bound * e, -0.5 * bound, 0.5 * bound), -bound, bound)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert (np.abs(e) > 2.5).any()
    assert (found.abs() == bound).any()


def test_targets_take_the_smaller_critic_and_end_at_terminals():
    networks = critics()
    batch = random_batch(2, 30, 4, 2, generator=torch.Generator().manual_seed(3))
    actions = normal(2, 30, 2, seed=5)
    found = twin_targets(networks, batch, actions, 0.9)
    assert not found.requires_grad
    for seed in range(2):
        q1, q2 = (
            layered(slice_of(networks.state_dict(), "mlp.", seed, member), nn.ReLU) for member in (0, 1)
        )
        s = batch["next_observations"][seed]
        for row in range(30):
            end = float(batch["terminals"][seed, row])
            q = min(float(q_values(one, s[row], actions[seed, row]).detach()) for one in (q1, q2))
            expected = float(batch["rewards"][seed, row]) + 0.9 * (1 - end) * q
            assert float(found[seed, row]) == pytest.approx(expected, rel=1e-12)
    assert batch["terminals"].any()


def test_the_value_is_divided_by_its_mean_size_held_fixed():
    values = (normal(3, 40) + 0.3).requires_grad_()
    loss = normalised_value_loss(values, 2.5)
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    q = values.detach().numpy()
    scale = np.abs(q).mean(axis=1)
    np.testing.assert_allclose(loss.detach(), -2.5 * q.mean(axis=1) / scale, rtol=1e-13)
    # Were the divisor differentiated too, the gradient would differ between rows.
    np.testing.assert_allclose(gradient, np.broadcast_to(-2.5 / 40 / scale[:, None], q.shape), rtol=1e-13)


def test_values_that_are_all_zero_are_no_division_by_zero():
    assert (normalised_value_loss(torch.zeros(2, 5, dtype=torch.float64), 2.5) == 0).all()


def test_the_first_critic_alone_whose_weights_get_no_gradient():
    networks = critics()
    states, actions = normal(2, 7, 4), normal(2, 7, 2, seed=1).requires_grad_()
    found = networks.first(states, actions)
    for seed in range(2):
        q1 = layered(slice_of(networks.state_dict(), "mlp.", seed, 0), nn.ReLU)
        torch.testing.assert_close(found[seed], q_values(q1, states[seed], actions[seed]), rtol=1e-12, atol=0)
    found.sum().backward()
    assert actions.grad.abs().min() > 0
    assert all(parameter.grad is None for parameter in networks.parameters())


def test_observations_are_standardised_by_the_population_of_the_dataset():
    rows = np.random.default_rng(0).normal(3, 5, (60, 4))
    rows[:, 2] = 7.0
    states = Standardisation(2, 4).double()
    batch = normal(2, 5, 4)
    assert torch.equal(states(batch), batch)
    states.take(torch.from_numpy(rows), 1e-3)
    expected = (batch.numpy() - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-3)
    np.testing.assert_allclose(states(batch), expected, rtol=1e-12)
    assert not list(states.parameters())
