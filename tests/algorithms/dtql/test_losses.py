"""DTQL's losses: values, gradients, and which gradients must and must not exist."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from algorithms.base import Dimensions
from algorithms.dtql import (
    DTQL,
    DTQLConfig,
    actor_losses,
    critic_losses,
    log_likelihood,
    squash,
)
from bench.training.contract import doubled
from benchmarks.plain.dtql import PlainNetworks, actor_terms, likelihood_loss, q_loss, value_loss
from tests.algorithms.checks import of_seed, random_batch

SEEDS, BATCH, DIMENSIONS = (0, 1), 32, Dimensions(5, 3)
TAU, GAMMA = 0.8, 0.97


@pytest.fixture
def algorithm():
    return doubled(DTQL(DIMENSIONS, DTQLConfig(hidden_width=16, diffusion_width=16), SEEDS))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(2)
    return random_batch(len(SEEDS), BATCH, 5, 3, generator=generator)


@pytest.fixture
def noises():
    generator = torch.Generator().manual_seed(3)
    shape = (len(SEEDS), BATCH)
    return {
        "action_noise": torch.randn(*shape, 3, generator=generator, dtype=torch.float64),
        "sigma": torch.randn(shape, generator=generator, dtype=torch.float64).exp(),
        "noise": torch.randn(*shape, 3, generator=generator, dtype=torch.float64),
    }


def critic_terms(algorithm, batch):
    networks = algorithm.networks
    return critic_losses(networks["critics"], networks["value"], batch, expectile=TAU, discount=GAMMA)


def policy_terms(algorithm, batch, noises, bound=1.0, clamp=1.0):
    networks = algorithm.networks
    return actor_losses(
        networks["actor"],
        networks["critics"],
        networks["diffusion"],
        batch,
        **noises,
        action_bound=bound,
        sigma_data=0.5,
        denoised_bound=clamp,
    )


def assert_gradients_agree(stacked, loss, plain_parameters, seed, member=None):
    """Gradients of the stacked tensors of one network, against the plain loss's, in order of layers."""
    index = (seed,) if member is None else (seed, member)
    expected = torch.autograd.grad(loss, plain_parameters, retain_graph=True)
    assert len(stacked) == len(expected)
    for mine, theirs in zip(stacked, expected, strict=True):
        part = mine[index]
        part = part.T if theirs.dim() == 2 else part[0]
        scale = theirs.abs().max().item()
        torch.testing.assert_close(part, theirs, rtol=1e-8, atol=1e-10 * scale)


def plain_order(network, gradients):
    """Gradients in the order of a plain Sequential: layer, its norm, next layer ..."""
    named = dict(zip((name for name, _ in network.named_parameters()), gradients, strict=True))
    depth = 1 + max(int(name.split(".")[-2]) for name in named)
    order = [
        f"{kind}.{i}.{what}"
        for i in range(depth)
        for kind in ("layers", "norms")
        for what in ("weight", "bias")
    ]
    return [named[full] for part in order for full in named if full.endswith(part)]


def grads(losses, network):
    return plain_order(
        network, torch.autograd.grad(losses.sum(), list(network.parameters()), retain_graph=True)
    )


def test_critic_losses(algorithm, batch):
    v_loss, action_value_loss = critic_terms(algorithm, batch)
    value_gradients = grads(v_loss, algorithm.networks["value"])
    critic_gradients = grads(action_value_loss, algorithm.networks["critics"])
    for seed in range(len(SEEDS)):
        nets, one = PlainNetworks.copied(algorithm, seed), of_seed(batch, seed)
        expected_v, expected_q = value_loss(nets, one, TAU), q_loss(nets, one, GAMMA)
        torch.testing.assert_close(v_loss[seed], expected_v, rtol=1e-10, atol=0)
        torch.testing.assert_close(action_value_loss[seed], expected_q, rtol=1e-10, atol=0)
        assert_gradients_agree(value_gradients, expected_v, list(nets.v.parameters()), seed)
        for member, net in enumerate((nets.q1, nets.q2)):
            assert_gradients_agree(critic_gradients, expected_q, list(net.parameters()), seed, member)


def test_value_loss_stops_at_q_and_target_stops_at_v(algorithm, batch):
    v_loss, action_value_loss = critic_terms(algorithm, batch)
    critics, value = (list(algorithm.networks[name].parameters()) for name in ("critics", "value"))
    through_q = torch.autograd.grad(v_loss.sum(), critics, allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in through_q)
    through_v = torch.autograd.grad(action_value_loss.sum(), value, allow_unused=True)
    assert all(gradient is None for gradient in through_v)


def test_targets_use_the_online_value_and_no_target_critics(algorithm, batch):
    before = critic_terms(algorithm, batch)
    for parameter in algorithm.networks["target_critics"].parameters():
        parameter.data.fill_(math.nan)
    assert all(torch.equal(a, b) for a, b in zip(before, critic_terms(algorithm, batch), strict=True))


def test_critic_losses_by_hand():
    """Constant networks: Q = (3, 5), V = 2 everywhere."""
    batch = {
        "observations": torch.zeros(1, 2, 1),
        "actions": torch.zeros(1, 2, 1),
        "next_observations": torch.zeros(1, 2, 1),
        "rewards": torch.tensor([[1.0, -1.0]]),
        "terminals": torch.tensor([[0.0, 1.0]]),
    }

    class Critics(torch.nn.Module):
        def forward(self, s, a):
            return torch.tensor([3.0, 5.0]).view(1, 2, 1).expand(1, 2, 2)

    class Value(torch.nn.Module):
        def forward(self, s):
            return torch.full((1, 2, 1), 2.0)

    v_loss, q_loss_ = critic_losses(Critics(), Value(), batch, expectile=0.7, discount=0.5)
    assert v_loss.tolist() == pytest.approx([0.7 * (3 - 2) ** 2])  # the minimum, and u > 0
    # targets: 1 + 0.5 * 2 = 2 and -1; squared errors of Q1: 1, 16; of Q2: 9, 36
    assert q_loss_.tolist() == pytest.approx([(1 + 16) / 2 + (9 + 36) / 2])


@pytest.mark.parametrize("clamp", [1.0, None])
def test_actor_losses(algorithm, batch, noises, clamp):
    terms = policy_terms(algorithm, batch, noises, clamp=clamp)
    gradients = [grads(term, algorithm.networks["actor"]) for term in terms]
    for seed in range(len(SEEDS)):
        nets, one = PlainNetworks.copied(algorithm, seed), of_seed(batch, seed)
        expected = (
            *actor_terms(nets, one, *(noises[n][seed] for n in noises), 1.0, clamp),
            likelihood_loss(nets, one, 1.0),
        )
        for term, gradient, value in zip(terms, gradients, expected, strict=True):
            torch.testing.assert_close(term[seed], value, rtol=1e-10, atol=1e-12)
            assert_gradients_agree(gradient, value, list(nets.actor.parameters()), seed)


def test_actions_scale_with_the_bound(algorithm, batch, noises):
    wide = {**batch, "actions": 2 * batch["actions"]}
    terms = policy_terms(algorithm, wide, noises, bound=2.0, clamp=2.0)
    nets, one = PlainNetworks.copied(algorithm, 1), of_seed(wide, 1)
    expected = (
        *actor_terms(nets, one, *(noises[n][1] for n in noises), 2.0, 2.0),
        likelihood_loss(nets, one, 2.0),
    )
    for term, value in zip(terms, expected, strict=True):
        torch.testing.assert_close(term[1], value, rtol=1e-10, atol=1e-12)


def test_one_action_serves_both_terms(algorithm, batch, noises):
    """What the critics are asked about is what the diffusion model's input is made of."""
    asked = {}

    def remember(name, position):
        return lambda module, inputs, output: asked.update({name: inputs[position]})

    hooks = [
        algorithm.networks["critics"].register_forward_hook(remember("critic", 1)),
        algorithm.networks["diffusion"].register_forward_hook(remember("diffusion", 0)),
    ]
    policy_terms(algorithm, batch, noises)
    for hook in hooks:
        hook.remove()
    sigma = noises["sigma"].unsqueeze(-1)
    noisy = asked["diffusion"] * torch.sqrt(sigma**2 + 0.25)
    torch.testing.assert_close(noisy - sigma * noises["noise"], asked["critic"], rtol=1e-9, atol=1e-9)


def test_gradient_follows_the_lower_critic(algorithm, batch, noises):
    """With Q2 out of reach the second critic has no say; no |Q| divides the loss."""
    critics = algorithm.networks["critics"].mlp
    critics.layers[-1].bias.data[:, 1] += 1e6
    _, lower, _ = policy_terms(algorithm, batch, noises)
    before = grads(lower, algorithm.networks["actor"])
    critics.layers[0].weight.data[:, 1] *= -3.0
    _, same, _ = policy_terms(algorithm, batch, noises)
    assert torch.equal(lower, same)
    critics.layers[-1].weight.data[:, 0] *= 10.0
    critics.layers[-1].bias.data[:, 0] *= 10.0
    _, larger, _ = policy_terms(algorithm, batch, noises)
    torch.testing.assert_close(larger, 10 * lower, rtol=1e-10, atol=0)
    for small, large in zip(before, grads(larger, algorithm.networks["actor"]), strict=True):
        torch.testing.assert_close(large, 10 * small, rtol=1e-8, atol=1e-12)


def test_trust_region_keeps_the_jacobian_of_the_diffusion_network(algorithm, batch, noises):
    """Detaching the network's output (as score distillation does) gives another gradient."""
    diffusion = algorithm.networks["diffusion"]
    kept = grads(policy_terms(algorithm, batch, noises, clamp=None)[0], algorithm.networks["actor"])
    handle = diffusion.register_forward_hook(lambda module, inputs, output: output.detach())
    cut = grads(policy_terms(algorithm, batch, noises, clamp=None)[0], algorithm.networks["actor"])
    handle.remove()
    assert all(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(kept, cut, strict=True))


def test_actions_are_clamped_tanh():
    mean = torch.tensor([[0.2, -30.0, 30.0]], dtype=torch.float64)
    log_std = torch.tensor([[-1.0, 0.0, 0.5]], dtype=torch.float64)
    noise = torch.tensor([[1.5, 0.3, -0.2]], dtype=torch.float64)
    expected = 0.8 * np.tanh(mean.numpy() + np.exp(log_std.numpy()) * noise.numpy())
    actions = squash(mean, log_std, noise, 0.8)
    np.testing.assert_allclose(actions, expected, rtol=1e-14)
    assert actions.abs().max() <= 0.8


@settings(max_examples=50)
@given(st.floats(-1, 1), st.floats(-3, 3), st.floats(-5, 2))
def test_likelihood_has_no_tanh_jacobian(action, mean, log_std):
    tensors = [torch.tensor([[[value]]], dtype=torch.float64) for value in (mean, log_std, action)]
    expected = stats.norm.logpdf(math.atanh(action / 1.001), mean, math.exp(log_std))
    assert log_likelihood(*tensors, 1.0).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_likelihood_sums_over_the_action():
    mean = torch.zeros(1, 2, 3, dtype=torch.float64)
    result = log_likelihood(mean, mean, mean, 1.0)
    assert result.shape == (1, 2)
    assert result[0].tolist() == pytest.approx([-1.5 * math.log(2 * math.pi)] * 2)


@pytest.mark.parametrize("bound", [1.0, 0.4])
def test_likelihood_at_and_beyond_the_bound(bound):
    zeros = torch.zeros(1, 1, 1, dtype=torch.float64)

    def at(action):
        return log_likelihood(zeros, zeros, torch.full_like(zeros, action), bound)

    assert at(bound).isfinite().all()
    assert at(-bound).isfinite().all()
    assert at(bound + 0.0009).isfinite().all()
    assert at(bound + 0.0011).isnan().all()
