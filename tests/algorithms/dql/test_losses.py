"""Diffusion-QL's losses and sampler: values by numbers, gradients, and which must and must not exist."""

import math

import numpy as np
import pytest
import torch

from algorithms.diffusion import vp_schedule
from algorithms.dpm_solver import AncestralSampler
from algorithms.dql import DQL, DQLConfig, cloning_loss, value_loss
from bench.training.contract import draws_of
from benchmarks.plain.dql import PlainDQL, PlainNetworks
from benchmarks.plain.modules import q_values
from tests.algorithms.checks import normal, of_seed, random_batch
from tests.algorithms.dql.test_update import BOUND, CONFIG, DIMENSIONS, SEEDS, in_double

BATCH = 6
BETAS = (
    0.19587455833344036,
    0.45881819338479712,
    0.63578102042847662,
    0.75487818796088257,
    0.83503137917736858,
)
"""Of five steps, printed by the released vp_beta_schedule in double precision."""


@pytest.fixture
def method():
    return in_double(DQL(DIMENSIONS, CONFIG, SEEDS))


@pytest.fixture
def batch():
    return random_batch(2, BATCH, 5, 3, generator=torch.Generator().manual_seed(0), bound=BOUND)


def assert_same_gradients(loss, network, seed, expected, plain):
    """Of one seed's part of stacked parameters, against those of the plain module."""
    stacked = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    single = torch.autograd.grad(expected, list(plain.parameters()), retain_graph=True)
    largest = 0.0
    for mine, theirs in zip(stacked, single, strict=True):
        mine = mine[seed].squeeze(0) if theirs.dim() == 1 else mine[seed].T
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
        largest = max(largest, float(theirs.abs().max()))
    assert largest > 1e-4  # zeros would agree too


def test_the_schedule_is_the_released_one():
    schedule = vp_schedule(5, torch.float64)
    assert schedule.betas[1:].tolist() == pytest.approx(BETAS, rel=1e-14)
    assert schedule.abar[5].item() == pytest.approx(math.prod(1 - beta for beta in BETAS), rel=1e-13)


def test_cloning_loss(method, batch):
    uniform = torch.rand(2, BATCH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    noise = normal(2, BATCH, 3, seed=5)
    policy = method.networks["policy"]
    loss = cloning_loss(policy, method.schedule, batch, uniform=uniform, noise=noise)
    for seed in range(2):
        plain = PlainDQL.of(method, seed)
        expected = plain.cloning(of_seed(batch, seed), uniform[seed], noise[seed])
        torch.testing.assert_close(loss[seed], expected, rtol=1e-10, atol=0)
        assert_same_gradients(loss[seed], policy, seed, expected, plain.nets.policy)


def test_steps_are_labelled_from_zero(batch):
    """The first of five fifths of the uniforms is step 1, least noise, label 0."""
    asked = []

    def network(noisy, observations, labels):
        asked.append((noisy, labels))
        return torch.zeros_like(noisy)

    schedule, noise = vp_schedule(5, torch.float64), normal(2, BATCH, 3)
    uniform = torch.tensor([[0.0, 0.19, 0.21, 0.5, 0.79, 0.99]] * 2, dtype=torch.float64)
    loss = cloning_loss(network, schedule, batch, uniform=uniform, noise=noise)
    ((noisy, labels),) = asked
    assert labels[0].tolist() == [0, 0, 1, 2, 3, 4]
    for row, label in enumerate((0, 0, 1, 2, 3, 4)):
        abar = math.prod(1 - beta for beta in BETAS[: label + 1])
        expected = math.sqrt(abar) * batch["actions"][1, row] + math.sqrt(1 - abar) * noise[1, row]
        torch.testing.assert_close(noisy[1, row], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss, noise.square().mean(dim=(1, 2)))


@pytest.mark.parametrize("uniform", [(0.2, 0.7), (0.7, 0.2), (0.0, 1 - 2**-53), (0.499, 0.501)])
def test_value_loss(method, batch, uniform):
    """The numerator is of the critic that the draw picks, the divisor of the other, without a gradient."""
    actions, critics = normal(2, BATCH, 3).requires_grad_(), method.networks["critics"]
    loss = value_loss(critics, torch.tensor(uniform, dtype=torch.float64), batch["observations"], actions)
    (gradient,) = torch.autograd.grad(loss.sum(), actions)
    for seed in range(2):
        nets = PlainNetworks.copied(method, seed)
        a = actions[seed].detach().requires_grad_()
        q1, q2 = (q_values(net, batch["observations"][seed], a) for net in (nets.q1, nets.q2))
        above, below = (q1, q2) if uniform[seed] < 0.5 else (q2, q1)
        expected = -above.sum() / BATCH / np.mean(np.abs(below.detach().numpy()))
        torch.testing.assert_close(loss[seed], expected, rtol=1e-10, atol=0)
        torch.testing.assert_close(gradient[seed], torch.autograd.grad(expected, a)[0], rtol=1e-8, atol=1e-12)


def test_value_loss_by_hand():
    """Q = (3, -5) everywhere: -3/5 and 5/3."""

    def critics(states, actions):
        return torch.tensor([3.0, -5.0]).view(1, 2, 1).expand(2, 2, 4) + 0 * actions.sum()

    states, actions = torch.zeros(2, 4, 1), torch.zeros(2, 4, 1, requires_grad=True)
    loss = value_loss(critics, torch.tensor([0.1, 0.9]), states, actions)
    assert loss.tolist() == pytest.approx([-3 / 5, 5 / 3])


@pytest.mark.parametrize("steps", [1, 5])
def test_the_sampler_in_numbers(steps):
    """Row by row in Python: clipped clean actions, the posterior's mean and variance, a clipped end."""
    beta = [0.0] + [1 - math.exp(-0.1 / steps - 4.95 * (2 * n - 1) / steps**2) for n in range(1, steps + 1)]
    abar = [math.prod(1 - b for b in beta[: n + 1]) for n in range(steps + 1)]

    class Policy:
        """Predicts 0.3 x + label / 10 + state."""

        def along(self, observations, labels, repeats):
            states = observations.repeat_interleave(repeats, dim=1)[..., :1]
            return lambda call, noisy: 0.3 * noisy + labels[call].double() / 10 + states

    noise, states = normal(1, steps, 4, 2), normal(1, 2, 3, seed=1)
    sampler = AncestralSampler(vp_schedule(steps, torch.float64), BOUND)
    found = sampler(Policy(), states, noise)
    clipped = 0
    for row in range(4):
        for component in range(2):
            x = noise[0, 0, row, component].item()
            for n in range(steps, 0, -1):
                eps = 0.3 * x + (n - 1) / 10 + states[0, row // 2, 0].item()
                clean = (x - math.sqrt(1 - abar[n]) * eps) / math.sqrt(abar[n])
                clipped += abs(clean) > BOUND
                clean = min(BOUND, max(-BOUND, clean))
                x = (
                    math.sqrt(abar[n - 1]) * beta[n] * clean + math.sqrt(1 - beta[n]) * (1 - abar[n - 1]) * x
                ) / (1 - abar[n])
                if n > 1:
                    deviation = math.sqrt(beta[n] * (1 - abar[n - 1]) / (1 - abar[n]))
                    x += deviation * noise[0, steps - n + 1, row, component].item()
            assert found[0, row, component].item() == pytest.approx(x, rel=1e-9, abs=1e-12)
    assert clipped


def test_the_value_reaches_the_policy_through_every_step_of_its_chain(method, batch):
    """Cutting the chain before its last step leaves a gradient, and another one."""
    policy, critics = method.networks["policy"], method.networks["critics"]
    noise, choice = normal(2, 5, BATCH, 3), torch.tensor([0.1, 0.9], dtype=torch.float64)
    parameters = list(policy.parameters())

    def gradients(sampler):
        actions = sampler(policy, batch["observations"], noise)
        loss = value_loss(critics, choice, batch["observations"], actions)
        return torch.autograd.grad(loss.sum(), parameters)

    class Cut(AncestralSampler):
        def __call__(self, policy, observations, noise):
            network = policy.along

            class Frozen:
                def along(self, *given):
                    predict = network(*given)
                    return lambda call, noisy: predict(call, noisy.detach())

            return super().__call__(Frozen(), observations, noise)

    whole = gradients(method.sampler)
    cut = gradients(Cut(method.schedule, BOUND))
    assert any(not torch.allclose(a, b, rtol=1e-3, atol=1e-9) for a, b in zip(whole, cut, strict=True))
    for seed in range(2):
        plain = PlainDQL.of(method, seed)
        a = plain.sampled(plain.nets.policy, batch["observations"][seed], noise[seed])
        expected = plain.negative_value(batch["observations"][seed], a, choice[seed])
        single = torch.autograd.grad(expected, list(plain.nets.policy.parameters()))
        for mine, theirs in zip(whole, single, strict=True):
            mine = mine[seed].squeeze(0) if theirs.dim() == 1 else mine[seed].T
            torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-10)


def test_no_loss_moves_what_it_must_not(method, batch):
    """The policy's loss asks for no critic's gradient; targets are held fixed."""
    draws = draws_of(method.phases[0].draws, SEEDS)
    seen = {}
    minimise = method.minimise

    def watched(name, losses):
        others = [
            p for other in method.networks if other != name for p in method.networks[other].parameters()
        ]
        wanted = [p.requires_grad_() for p in others]
        found = torch.autograd.grad(losses.sum(), wanted, allow_unused=True, retain_graph=True)
        seen[name] = {
            other
            for other in method.networks
            for p in method.networks[other].parameters()
            if any(p is q and g is not None for q, g in zip(wanted, found, strict=True))
        }
        minimise(name, losses)

    method.minimise = watched
    method.update("train", batch_of_eight(batch), draws)
    assert seen["critics"] == set()
    # The value's graph reaches the critics' weights, whose gradients `minimise` does not ask for.
    assert seen["policy"] == {"critics"}


def batch_of_eight(batch):
    return {name: torch.cat((tensor, tensor[:, :2]), dim=1) for name, tensor in batch.items()}


def test_initial_weights_are_torchs():
    networks = DQL(DIMENSIONS, DQLConfig(hidden_width=256), (0,)).networks
    for name, tensor in networks.state_dict().items():
        if name.endswith("weight") and tensor.numel() > 10_000:
            bound = 1 / math.sqrt(tensor.shape[-2])
            assert 0.99 * bound < tensor.abs().max() <= bound, name
            assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02), name
    widths = [tuple(layer.weight.shape[1:]) for layer in networks["policy"].mlp.layers]
    assert widths == [(5 + 3 + 16, 256), (256, 256), (256, 256), (256, 3)]
    assert [tuple(layer.weight.shape[1:]) for layer in networks["policy"].embed.layers] == [
        (16, 32),
        (32, 16),
    ]
    widths = [tuple(layer.weight.shape[1:]) for layer in networks["critics"].mlp.layers]
    assert widths == [(2, 8, 256), (2, 256, 256), (2, 256, 256), (2, 256, 1)]
