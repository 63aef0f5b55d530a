"""DAC's guidance, losses and sampler: values by numbers, gradients, and what must be held fixed."""

import math

import pytest
import torch

from algorithms.dac import DAC, DACConfig, policy_losses, value_gradient
from algorithms.diffusion import vp_schedule
from algorithms.dpm_solver import AncestralSampler
from bench.training.contract import draws_of
from benchmarks.plain.dac import PlainDAC
from benchmarks.plain.modules import q_values
from tests.algorithms.checks import normal, of_seed, random_batch
from tests.algorithms.dac.test_update import BOUND, CONFIG, DIMENSIONS, SEEDS, in_double

BATCH = 6


@pytest.fixture
def method():
    return in_double(DAC(DIMENSIONS, CONFIG, SEEDS))


@pytest.fixture
def batch():
    return random_batch(2, BATCH, 5, 3, generator=torch.Generator().manual_seed(0), bound=BOUND)


def test_the_gradient_is_that_of_differences(method, batch):
    """Central differences of the members' mean; over the mean size of all members' values at the data."""
    noisy, critics = normal(2, BATCH, 3, seed=4), method.networks["target_critics"]
    found = value_gradient(critics, batch["observations"], noisy, batch["actions"])
    assert not found.requires_grad
    for seed in range(2):
        nets = PlainDAC.of(method, seed).nets.target_critics

        def values(a, s, nets=nets):
            return torch.stack([q_values(net, s, a) for net in nets]).detach()

        states = batch["observations"][seed]
        size = values(batch["actions"][seed], states).abs().mean() + 1e-6
        for component in range(3):
            shift = torch.zeros(3, dtype=torch.float64)
            shift[component] = 1e-5
            above, below = (values(noisy[seed] + sign * shift, states).mean(dim=0) for sign in (1, -1))
            expected = (above - below) / 2e-5 / size
            torch.testing.assert_close(found[seed, :, component], expected, rtol=1e-6, atol=1e-8)


def test_guidance_by_hand():
    """Q = (2 a + 1, 4 a - 1): the mean's gradient is 3, its size at a = 1 is (3 + 3) / 2."""

    def critics(states, actions):
        a = actions.squeeze(-1)
        return torch.stack((2 * a + 1, 4 * a - 1), dim=1)

    ones = torch.ones(1, 4, 1, dtype=torch.float64)
    gradient = value_gradient(critics, ones, 7 * ones, ones)
    assert gradient.flatten().tolist() == pytest.approx([3 / (3 + 1e-6)] * 4)
    schedule = vp_schedule(5, torch.float64)
    uniform = torch.tensor([[0.0, 0.3, 0.5, 0.99]], dtype=torch.float64)
    cloning, guidance = policy_losses(
        lambda noisy, states, steps: steps.unsqueeze(-1),
        critics,
        schedule,
        {"observations": ones, "actions": ones},
        uniform=uniform,
        noise=0 * ones,
    )
    steps = (1, 2, 3, 5)
    levels = []
    for n in steps:
        alphas = [math.exp(-0.02 - 4.95 * (2 * i - 1) / 25) for i in range(1, n + 1)]
        levels.append(math.sqrt(1 - math.prod(alphas)))
    assert cloning.item() == pytest.approx(sum(n * n for n in steps) / 4)
    expected = sum(level * n for level, n in zip(levels, steps, strict=True)) / 4 * 3 / (3 + 1e-6)
    assert guidance.item() == pytest.approx(expected, rel=1e-9)


def test_policy_losses(method, batch):
    uniform = torch.rand(2, BATCH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    noise, policy = normal(2, BATCH, 3, seed=5), method.networks["policy"]
    critics = method.networks["target_critics"]
    terms = policy_losses(policy, critics, method.schedule, batch, uniform=uniform, noise=noise)
    for seed in range(2):
        plain = PlainDAC.of(method, seed)
        expected = plain.policy_terms(of_seed(batch, seed), uniform[seed], noise[seed])
        for term, value in zip(terms, expected, strict=True):
            torch.testing.assert_close(term[seed], value, rtol=1e-9, atol=1e-12)
            stacked = torch.autograd.grad(term[seed], list(policy.parameters()), retain_graph=True)
            single = torch.autograd.grad(value, list(plain.nets.policy.parameters()), retain_graph=True)
            for mine, theirs in zip(stacked, single, strict=True):
                mine = mine[seed].squeeze(0) if theirs.dim() == 1 else mine[seed].T
                torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
            assert max(float(gradient.abs().max()) for gradient in single) > 1e-6


def test_the_sampler_adds_noise_of_variance_beta():
    """Row by row in Python; the policy is asked for steps 5 .. 1 by these numbers."""
    beta = [0.0] + [1 - math.exp(-0.02 - 4.95 * (2 * n - 1) / 25) for n in range(1, 6)]
    abar = [math.prod(1 - b for b in beta[: n + 1]) for n in range(6)]
    asked = []

    class Policy:
        def along(self, observations, labels, repeats):
            asked.extend(labels.tolist())
            return lambda call, noisy: 0.3 * noisy + labels[call].double() / 10

    noise = normal(1, 5, 4, 2)
    sampler = AncestralSampler(vp_schedule(5, torch.float64), BOUND, variance="beta", first_label=1)
    found = sampler(Policy(), normal(1, 2, 3), noise)
    assert asked == [5, 4, 3, 2, 1]
    for row in range(4):
        for component in range(2):
            x = noise[0, 0, row, component].item()
            for n in range(5, 0, -1):
                clean = (x - math.sqrt(1 - abar[n]) * (0.3 * x + n / 10)) / math.sqrt(abar[n])
                clean = min(BOUND, max(-BOUND, clean))
                of_clean, of_noisy = math.sqrt(abar[n - 1]) * beta[n], math.sqrt(1 - beta[n])
                x = (of_clean * clean + of_noisy * (1 - abar[n - 1]) * x) / (1 - abar[n])
                if n > 1:
                    x += math.sqrt(beta[n]) * noise[0, 6 - n, row, component].item()
            assert found[0, row, component].item() == pytest.approx(x, rel=1e-9, abs=1e-12)


def test_the_critics_loss_reaches_the_critics_alone(method, batch):
    """Nothing of the target has a gradient, and the policy's loss asks for the policy's alone."""
    grown = {name: torch.cat((tensor, tensor[:, :2]), dim=1) for name, tensor in batch.items()}
    reached, minimise = {}, method.minimise

    def watched(name, losses):
        parameters = {
            key: [p.requires_grad_() for p in net.parameters()] for key, net in method.networks.items()
        }
        reached[name] = set()
        for key, wanted in parameters.items():
            found = torch.autograd.grad(losses.sum(), wanted, allow_unused=True, retain_graph=True)
            if any(gradient is not None for gradient in found):
                reached[name].add(key)
        for key, wanted in parameters.items():
            if key.startswith("target_") or key == "multiplier":
                for parameter in wanted:
                    parameter.requires_grad_(False)
        minimise(name, losses)

    method.minimise = watched
    method.update("train", grown, draws_of(method.phases[0].draws, SEEDS))
    assert reached == {"critics": {"critics"}, "policy": {"policy"}}


def test_initial_weights_are_glorots():
    networks = DAC(DIMENSIONS, DACConfig(), (0,)).networks
    for name, tensor in networks.state_dict().items():
        if name.endswith("bias"):
            assert (tensor == 0).all(), name
        elif tensor.numel() > 10_000:
            bound = math.sqrt(6 / (tensor.shape[-2] + tensor.shape[-1]))
            assert 0.99 * bound < tensor.abs().max() <= bound, name
            assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02), name
    widths = [tuple(layer.weight.shape[1:]) for layer in networks["policy"].embed.layers]
    assert widths == [(16, 32), (32, 32)]
    widths = [tuple(layer.weight.shape[1:]) for layer in networks["policy"].mlp.layers]
    assert widths == [(5 + 3 + 32, 256), (256, 256), (256, 256), (256, 3)]
    widths = [tuple(layer.weight.shape[1:]) for layer in networks["critics"].mlp.layers]
    assert widths == [(10, 8, 256), (10, 256, 256), (10, 256, 256), (10, 256, 1)]
    assert networks["multiplier"].value.tolist() == [1.0]
