"""QGPO's losses and guidance against numpy and finite differences in float64."""

import numpy as np
import pytest
import torch

from algorithms.losses import soft_value
from algorithms.networks import Initialiser
from algorithms.qgpo import Energy, contrastive_loss, guided_noise, lower_values
from tests.algorithms import checks


def softmax(x):
    p = np.exp(x - x.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("beta", [0.0, 1.0, 20.0])
def test_soft_value(beta):
    values = checks.normal(2, 4, 5)
    expected = (softmax(beta * values.numpy()) * values.numpy()).sum(axis=-1)
    np.testing.assert_allclose(soft_value(values, beta), expected, rtol=1e-13)
    if not beta:
        np.testing.assert_allclose(expected, values.mean(dim=-1), rtol=1e-13)


def test_contrastive_loss():
    energies, values = (
        checks.normal(2, 4, 5).requires_grad_(),
        checks.normal(2, 4, 5, seed=1).requires_grad_(),
    )
    losses = contrastive_loss(energies, values, 3.0)
    label, guess = softmax(3.0 * values.detach().numpy()), softmax(energies.detach().numpy())
    expected = -(label * np.log(guess)).sum(axis=-1).mean(axis=-1)
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-13)
    (gradient,) = torch.autograd.grad(losses.sum(), energies)
    np.testing.assert_allclose(gradient, (guess - label) / 4, rtol=1e-12, atol=1e-15)


def test_the_loss_is_least_where_the_energy_is_beta_times_the_value():
    values = checks.normal(1, 3, 4)
    least = contrastive_loss(3.0 * values + 7.0, values, 3.0)
    for seed in range(5):
        assert (
            contrastive_loss(3.0 * values + 0.1 * checks.normal(1, 3, 4, seed=seed + 1), values, 3.0) > least
        )


def test_lower_values_ask_every_action_in_its_own_state():
    def critics(observations, actions):
        both = observations[..., 0] * 10 + actions[..., 0], observations[..., 0] * 10 - actions[..., 0]
        return torch.stack(both, dim=1)

    states, actions = checks.normal(2, 3, 4), checks.normal(2, 3, 5, 2, seed=1)
    found = lower_values(critics, states, actions)
    np.testing.assert_allclose(found, 10 * states[:, :, None, 0] - actions[..., 0].abs(), rtol=1e-13)


def energy():
    made = Energy(Initialiser((3, 8), "energy"), 4, 2, width=6, time_features=4, fourier_scale=2.0)
    return made.double()


def test_the_energy_in_numpy():
    made = energy()
    states, noisy, time = (
        checks.normal(2, 3, 4),
        checks.normal(2, 3, 5, 2, seed=1),
        checks.normal(2, 3, seed=2),
    )
    found = made(states, noisy, time).detach()
    assert found.shape == (2, 3, 5)
    for slot in range(2):
        weights = {name: tensor[slot].numpy() for name, tensor in made.state_dict().items()}
        for row in range(3):
            angles = 2 * np.pi * time[slot, row].item() * weights["time.fourier.frequencies"][0]
            features = np.concatenate([np.sin(angles), np.cos(angles)])
            features = features @ weights["time.layer.weight"] + weights["time.layer.bias"][0]
            for action in range(5):
                h = np.concatenate([noisy[slot, row, action], features, states[slot, row]])
                for i in range(5):
                    h = h @ weights[f"mlp.layers.{i}.weight"] + weights[f"mlp.layers.{i}.bias"][0]
                    h = h / (1 + np.exp(-h)) if i < 4 else h
                assert found[slot, row, action].item() == pytest.approx(h[0], rel=1e-12)


def test_what_shifts_all_energies_alike_is_not_trained():
    made = energy()
    assert [name for name, p in made.named_parameters() if not p.requires_grad] == ["mlp.layers.4.bias"]


def test_guidance_is_the_gradient_by_finite_differences():
    """eps - w sigma_t df/da, at the time of the call."""
    made, sigma, scale = energy(), 0.6, 1.5
    states, noisy, predicted = (
        checks.normal(2, 3, 4),
        checks.normal(2, 3, 2, seed=1),
        checks.normal(2, 3, 2, seed=2),
    )
    time = torch.full((2, 1), 0.3, dtype=torch.float64)
    with torch.no_grad():
        guided = guided_noise(made, states, noisy, time, predicted, scale * sigma)
        for component in range(2):
            step = torch.zeros(2, dtype=torch.float64)
            step[component] = 1e-6
            ahead, behind = (
                made(states, (noisy + side * step).unsqueeze(2), time)[..., 0] for side in (1, -1)
            )
            slope = (ahead - behind) / 2e-6
            expected = predicted[..., component] - scale * sigma * slope
            np.testing.assert_allclose(guided[..., component], expected, rtol=1e-7, atol=1e-9)
    assert not guided.requires_grad
