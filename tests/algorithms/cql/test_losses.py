"""CQL's densities, gap and initial weights against scipy and numpy in float64."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from algorithms.base import Dimensions
from algorithms.cql import (
    ACTOR,
    CRITICS,
    Critics,
    SquashedActor,
    conservative_gap,
    squashed_log_likelihood,
    squashed_sample,
)
from algorithms.networks import Initialiser
from benchmarks.plain.modules import layered, q_values, slice_of
from tests.algorithms.checks import normal

DIMENSIONS = Dimensions(4, 2)


def density(action, mean, std):
    """Of tanh of a normal, by the change of variables."""
    return stats.norm.pdf(np.arctanh(action), mean, std) / (1 - action**2)


def test_the_density_of_squashed_samples():
    mean, log_std, noise = normal(2, 7, 3), 0.3 * normal(2, 7, 3, seed=1), normal(2, 7, 3, seed=2)
    actions, log_densities = squashed_sample(mean, log_std, noise)
    expected = np.log(density(actions.numpy(), mean.numpy(), np.exp(log_std.numpy()))).sum(axis=-1)
    np.testing.assert_allclose(log_densities, expected, rtol=1e-9, atol=1e-9)
    again = squashed_log_likelihood(actions, mean, log_std)
    np.testing.assert_allclose(again, expected, rtol=1e-9, atol=1e-9)
    assert integrate.quad(density, -1, 1, args=(0.3, 0.8))[0] == pytest.approx(1)


def test_actions_at_the_bound_and_far_samples_have_finite_densities():
    zeros = torch.zeros(1, 1, 2, dtype=torch.float64)
    actions = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    assert squashed_log_likelihood(actions, zeros, zeros).isfinite().all()
    far, log_density = squashed_sample(zeros, zeros, torch.full_like(zeros, 40.0))
    assert (far == 1).all()
    # log(4 exp(-2 u)) of each component is the logarithm of tanh's slope far out.
    assert float(log_density) == pytest.approx(2 * (-800 - 0.5 * math.log(2 * math.pi) - math.log(4) + 80))


def test_samples_carry_gradients_to_mean_and_deviation():
    mean, log_std = normal(1, 3, 2).requires_grad_(), normal(1, 3, 2, seed=1).requires_grad_()
    torch.autograd.gradcheck(lambda *of: squashed_sample(*of, normal(1, 3, 2, seed=2)), (mean, log_std))


@pytest.mark.parametrize("smallest", [None, 1.0])
def test_the_gap_is_a_log_sum_over_samples_less_the_data(smallest):
    values, of_data = normal(2, 2, 5, 6).requires_grad_(), normal(2, 2, 5, seed=1).requires_grad_()
    log_densities = normal(2, 5, 6, seed=2)
    gap = conservative_gap(values, log_densities, of_data, smallest)
    importance = np.exp(values.detach().numpy()) / np.exp(log_densities.numpy())[:, None]
    rows = np.log(importance.sum(axis=-1)) - of_data.detach().numpy()
    kept = rows if smallest is None else np.maximum(rows, smallest)
    np.testing.assert_allclose(gap.detach(), kept.mean(axis=-1), rtol=1e-12)
    (gradient,) = torch.autograd.grad(gap.sum(), of_data)
    free = np.ones_like(rows) if smallest is None else rows > smallest
    np.testing.assert_allclose(gradient, -1.0 * free / 5, rtol=1e-13)
    assert (rows < 1.0).any()


@pytest.mark.parametrize("layers", [(3, 3), (4, 2)])
def test_critics_of_one_and_of_two_depths_value_every_action_of_a_state(layers):
    critics = Critics(Initialiser((0, 1), "q"), DIMENSIONS, 8, layers, CRITICS["rlkit"]).double()
    assert len(critics.parts) == (1 if layers[0] == layers[1] else 2)
    states, actions = normal(2, 5, 4), normal(2, 5, 3, 2, seed=1)
    values = critics(states, actions)
    assert values.shape == (2, 2, 5, 3)
    for seed in range(2):
        for member, depth in enumerate(layers):
            where = ("parts.0.", member) if len(critics.parts) == 1 else (f"parts.{member}.", 0)
            weights = slice_of(critics.state_dict(), where[0], seed, where[1])
            q = layered(weights, torch.nn.ReLU)
            assert len(q) == 2 * depth + 1
            for sample in range(3):
                expected = q_values(q, states[seed], actions[seed, :, sample])
                torch.testing.assert_close(values[seed, member, :, sample], expected, rtol=1e-11, atol=1e-13)


def test_starts_as_each_code_does():
    def made(kind, width=64):
        critics = Critics(Initialiser((0, 1), "q"), DIMENSIONS, width, (3, 3), CRITICS[kind])
        actor = SquashedActor(
            Initialiser((0, 1), "actor"),
            DIMENSIONS,
            width,
            initialisation=ACTOR[kind],
            learnt_scale=kind == "corl",
            log_std=(-20.0, 2.0),
        )
        return critics.parts[0].layers, actor.mlp.layers

    critic, actor = made("corl")
    weight = critic[1].weight[0, 1].detach().double()
    torch.testing.assert_close(weight.T @ weight, 2 * torch.eye(64).double(), rtol=0, atol=1e-5)
    assert (critic[1].bias == 0).all()
    assert float(critic[-1].weight[0, 0].norm()) == pytest.approx(0.01, rel=1e-5)
    assert 0.9 * 0.5 < actor[0].weight.abs().max() <= 0.5  # 1/sqrt(4), torch's default
    limit = 0.01 * math.sqrt(6 / (64 + 4))
    assert 0.9 * limit < actor[-1].weight.abs().max() <= limit
    assert (actor[-1].bias == 0).all()
    critic, actor = made("rlkit")
    for layers, last in ((critic, 3e-3), (actor, 1e-3)):
        # Of 64 outputs, whatever the inputs.
        assert all(0.9 / 8 < layer.weight.abs().max() <= 1 / 8 for layer in layers[:-1])
        assert all((layer.bias == 0.1).all() for layer in layers[:-1])
        assert 0.9 * last < layers[-1].weight.abs().max() <= last
        assert layers[-1].bias.abs().max() <= last


def test_the_learnt_scale_starts_at_one_and_minus_one():
    settings = {"initialisation": ACTOR["corl"], "log_std": (-20.0, 2.0)}
    initialiser = Initialiser((0, 1), "actor")
    learnt = SquashedActor(initialiser, DIMENSIONS, 8, learnt_scale=True, **settings)
    fixed = SquashedActor(Initialiser((0, 1), "actor"), DIMENSIONS, 8, learnt_scale=False, **settings)
    states = normal(2, 5, 4).float()
    torch.testing.assert_close(learnt(states)[1], fixed(states)[1] - 1)
    assert torch.equal(learnt(states)[0], fixed(states)[0])
    with torch.no_grad():
        learnt.offset.fill_(50.0)
    assert (learnt(states)[1] == 2).all()
