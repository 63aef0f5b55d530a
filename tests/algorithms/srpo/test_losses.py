"""SRPO's network, losses and gradient: values, what is detached, what frozen networks cost."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from algorithms.base import Dimensions
from algorithms.diffusion import time_between
from algorithms.networks import Initialiser, ResidualNoiseNetwork, dropout_masks
from algorithms.srpo import (
    SRPO,
    SRPOConfig,
    critic_losses,
    mean_value_gradient,
    normalised,
    regularised_gradient,
    surrogate_loss,
)
from bench.training import contract
from benchmarks.plain import srpo as plain_srpo
from benchmarks.plain.srpo import PlainNetworks, policy_direction
from tests.algorithms import checks

SEEDS, BATCH, DIMENSIONS = (0, 1), 16, Dimensions(5, 3)
CONFIG = SRPOConfig(
    hidden_width=12,
    behaviour_width=10,
    behaviour_blocks=2,
    time_features=6,
    batch_size=BATCH,
    behaviour_batch_size=BATCH,
    dropout=0.3,
    beta=0.7,
)
WEIGHTINGS = ("sigma_squared", "one", "alpha_over_sigma")


def make(config=CONFIG, seeds=SEEDS):
    """Networks that differ from where they start: normalisation weights, targets."""
    algorithm = contract.doubled(SRPO(DIMENSIONS, config, seeds))
    generator = torch.Generator().manual_seed(1)
    for name, tensor in algorithm.networks.named_parameters():
        if "norm" in name or "target" in name:
            tensor.data += 0.3 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    return algorithm


@pytest.fixture
def batch():
    return checks.random_batch(len(SEEDS), BATCH, 5, 3, generator=torch.Generator().manual_seed(2))


def draws_of(algorithm, phase):
    declared = {p.name: p.draws for p in algorithm.phases}[phase]
    return contract.draws_of(declared, algorithm.seeds)


def assert_gradients(stacked, expected, seed, member=None):
    """Gradients by name of stacked parameters (in, out) against plain ones (out, in), in the same order."""
    index = (seed,) if member is None else (seed, member)
    assert len(stacked) == len(expected)
    for mine, theirs in zip(stacked, expected, strict=True):
        part = mine[index]
        part = part.T if theirs.dim() == 2 else part[0]
        torch.testing.assert_close(part, theirs, rtol=1e-8, atol=1e-10 * theirs.abs().max().item())


def named_gradients(loss, module):
    """Gradients by parameter name, of a stacked or of a plain module."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True))


PLAIN_EPS = {
    "embed.layers.0": "time1",
    "embed.layers.1": "time2",
    "first": "first",
    "last": "last",
    **{f"blocks.{i}.norm": f"blocks.{i}.norm" for i in range(2)},
    **{f"blocks.{i}.mlp.layers.0": f"blocks.{i}.up" for i in range(2)},
    **{f"blocks.{i}.mlp.layers.1": f"blocks.{i}.down" for i in range(2)},
}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_behaviour_loss(batch, dropout):
    algorithm = make(replace(CONFIG, dropout=dropout))
    network, draws = algorithm.networks["behaviour"], draws_of(algorithm, "behaviour")
    losses = []
    algorithm.minimise = lambda name, loss: losses.append(loss)
    metrics = algorithm.update("behaviour", batch, draws)
    assert torch.equal(metrics["behaviour_loss"], losses[0].detach())
    mine = named_gradients(losses[0].sum(), network)
    assert {name.rpartition(".")[0] for name in mine} == set(PLAIN_EPS)
    for seed in range(len(SEEDS)):
        eps = PlainNetworks.copied(algorithm, seed).eps
        expected = plain_srpo.behaviour_loss(
            eps, checks.of_seed(batch, seed), checks.of_seed(draws, seed), dropout
        )
        torch.testing.assert_close(losses[0][seed], expected, rtol=1e-10, atol=0)
        theirs = named_gradients(expected, eps)
        for module, plain in PLAIN_EPS.items():
            pair = [
                [gradients[f"{at}.{what}"] for what in ("weight", "bias")]
                for gradients, at in ((mine, module), (theirs, plain))
            ]
            assert_gradients(pair[0], pair[1], seed)


def test_dropout_masks():
    """Dropped where the uniform is below the rate, otherwise scaled so that the mean stays."""
    uniform = torch.tensor([0.0, 0.2499, 0.25, 0.9], dtype=torch.float64).view(1, 1, 1, 4)
    (mask,) = dropout_masks(uniform, 0.25, torch.float64)
    assert mask.flatten().tolist() == pytest.approx([0, 0, 4 / 3, 4 / 3])


def test_dropout_is_for_training_the_behaviour_model_alone(batch):
    """Policies of different dropout rates and the same draws move alike."""
    ends = []
    for dropout in (0.0, 0.9):
        algorithm = make(replace(CONFIG, dropout=dropout))
        algorithm.update("policy", batch, draws_of(algorithm, "policy"))
        ends.append(algorithm.networks["policy"].layers[0].weight)
    assert torch.equal(*ends)


def test_critic_losses(batch):
    algorithm = make()
    networks = algorithm.networks
    parts = (networks["critics"], networks["target_critics"], networks["value"])
    value_loss, critic_loss = critic_losses(*parts, batch, expectile=0.8, discount=0.97)
    value_gradients = torch.autograd.grad(value_loss.sum(), parts[2].parameters(), retain_graph=True)
    critic_gradients = torch.autograd.grad(critic_loss.sum(), parts[0].parameters(), retain_graph=True)
    # The target stops at V, and the value's loss at Q.
    for loss, module in ((critic_loss, parts[2]), (value_loss, parts[0])):
        through = torch.autograd.grad(loss.sum(), module.parameters(), allow_unused=True, retain_graph=True)
        assert all(gradient is None for gradient in through)
    for seed in range(len(SEEDS)):
        nets, one = PlainNetworks.copied(algorithm, seed), checks.of_seed(batch, seed)
        expected_v, expected_q = plain_srpo.critic_losses(nets, one, 0.8, 0.97)
        torch.testing.assert_close(value_loss[seed], expected_v, rtol=1e-10, atol=0)
        torch.testing.assert_close(critic_loss[seed], expected_q, rtol=1e-10, atol=0)
        assert_gradients(value_gradients, torch.autograd.grad(expected_v, list(nets.v.parameters())), seed)
        for member, net in enumerate((nets.q1, nets.q2)):
            expected = torch.autograd.grad(expected_q, list(net.parameters()), retain_graph=True)
            assert_gradients(critic_gradients, expected, seed, member)


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("normalisation", ["none", "rms", "norm"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_policy_gradient(batch, weighting, normalisation, baseline):
    """[w e - beta g] dpi/dtheta, the bracket from plain networks, the Jacobian from a plain policy."""
    config = replace(
        CONFIG, score_weighting=weighting, gradient_normalisation=normalisation, noise_baseline=baseline
    )
    algorithm = make(config)
    draws, losses = draws_of(algorithm, "policy"), []
    algorithm.minimise = lambda name, loss: losses.append(loss)
    metrics = algorithm.update("policy", batch, draws)
    mine = torch.autograd.grad(losses[0].sum(), list(algorithm.networks["policy"].parameters()))
    for seed in range(len(SEEDS)):
        nets, s = PlainNetworks.copied(algorithm, seed), batch["observations"][seed]
        a = torch.tanh(nets.pi(s))
        direction, q = policy_direction(nets, s, a.detach(), checks.of_seed(draws, seed), config)
        expected = torch.autograd.grad(a, list(nets.pi.parameters()), grad_outputs=direction / BATCH)
        assert_gradients(mine, expected, seed)
        value = (direction * a).sum(dim=1).mean()
        torch.testing.assert_close(losses[0][seed], value, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(metrics["policy_value"][seed], q.mean(), rtol=1e-10, atol=0)


def test_normalisation_by_hand():
    gradient = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    assert normalised(gradient, "none") is gradient
    assert normalised(gradient, "norm")[0].tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]
    # Root mean square: sqrt((9 + 16) / 2); the result has norm sqrt(A).
    assert normalised(gradient, "rms")[0, 0].norm().item() == pytest.approx(2**0.5)
    assert normalised(1e-20 * gradient, "norm")[0, 0].tolist() == pytest.approx([0.6, 0.8])  # no epsilon


def test_the_critics_gradient_is_of_the_mean_of_the_targets():
    class Critics(torch.nn.Module):
        def forward(self, observations, actions):
            return torch.stack((actions.square().sum(-1), 3 * actions.sum(-1)), dim=1)

    actions = torch.tensor([[[1.0, -2.0]]], requires_grad=True)
    values, gradient = mean_value_gradient(Critics(), torch.zeros(1, 1, 1), actions)
    assert values.item() == pytest.approx((5 - 3) / 2)
    assert gradient.flatten().tolist() == pytest.approx([(2 + 3) / 2, (-4 + 3) / 2])
    assert not gradient.requires_grad


def test_baseline_leaves_the_mean():
    """With the score of N(0, 1) data, e = z sigma + alpha a at any time; subtracting z leaves the mean."""
    count = 200_000
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, count, 1, generator=generator, dtype=torch.float64)
    time = time_between(torch.rand(1, count, generator=generator, dtype=torch.float64), 0.02, 0.98)

    def exact(noisy, observations, t):
        return plain_srpo.alpha_sigma(t)[1].unsqueeze(-1) * noisy  # eps* = sigma a_t for unit variance

    arguments = (exact, torch.zeros(1, count, 1), torch.full((1, count, 1), 0.5), torch.ones(1, count, 1))
    means, deviations = [], []
    for baseline in (False, True):
        gradient = regularised_gradient(
            *(a.double() if isinstance(a, torch.Tensor) else a for a in arguments),
            time=time,
            noise=noise,
            beta=0.1,
            score_weighting="sigma_squared",
            noise_baseline=baseline,
        )
        means.append(gradient.mean().item())
        deviations.append(gradient.std().item() / count**0.5)
    assert abs(means[0] - means[1]) < 4 * sum(deviations)
    alpha, sigma = plain_srpo.alpha_sigma(time)
    expected = (sigma**3 * alpha * 0.5).mean().item() - 0.1
    assert abs(means[1] - expected) < 4 * deviations[1]


def test_surrogate_stops_at_the_gradient():
    gradient, actions = (torch.ones(1, 2, 3).requires_grad_() for _ in range(2))
    loss = surrogate_loss(gradient, actions)
    assert loss.tolist() == [3.0]
    into_gradient, into_actions = torch.autograd.grad(loss.sum(), (gradient, actions), allow_unused=True)
    assert into_gradient is None
    assert (into_actions == 0.5).all()


class Products(TorchDispatchMode):
    """Counts multiplications and additions of batched matrix products, forward and backward."""

    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func._schema.name in ("aten::bmm", "aten::baddbmm"):
            self.operations += 2 * result.numel() * args[-1].shape[-2]
        return result


def products(module, batch):
    """Multiplications and additions of a forward pass through all linear maps, per seed."""
    weights = [p for name, p in module.named_parameters() if name.endswith("weight") and "norm" not in name]
    return sum(2 * batch * weight[0].numel() for weight in weights)


def test_policy_step_takes_no_gradients_of_frozen_weights(batch):
    """Counted: the behaviour model forward once, the targets forward and back to their inputs."""
    algorithm = make(seeds=SEEDS)
    networks, draws = algorithm.networks, draws_of(algorithm, "policy")
    with Products() as counter:
        algorithm.update("policy", batch, draws)
    policy, first = products(networks["policy"], BATCH), 2 * BATCH * 5 * 12
    needed = (
        products(networks["behaviour"], BATCH)
        + 2 * products(networks["target_critics"], BATCH)
        + 3 * policy
        - first  # no gradient goes back to the observations
    )
    assert counter.operations == len(SEEDS) * needed


@settings(max_examples=15, deadline=None)
@given(
    seeds=st.integers(1, 3),
    batch=st.integers(1, 4),
    observation=st.integers(1, 4),
    action=st.integers(1, 3),
    width=st.integers(1, 6),
    blocks=st.integers(1, 3),
    features=st.integers(2, 9),
)
def test_network_maps_any_stack(seeds, batch, observation, action, width, blocks, features):
    features += features % 2

    network = ResidualNoiseNetwork(
        Initialiser(range(seeds), "eps"),
        Dimensions(observation, action),
        width=width,
        blocks=blocks,
        layer_norm_epsilon=1e-5,
        time_features=features,
        fourier_scale=30.0,
    )
    shapes = (seeds, batch)
    out = network(torch.zeros(*shapes, action), torch.zeros(*shapes, observation), torch.zeros(shapes))
    assert out.shape == (seeds, batch, action)
