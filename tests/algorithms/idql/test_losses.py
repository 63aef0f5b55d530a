"""IDQL's cloning loss, sampler and value: by numbers, with gradients, and what must be held fixed."""

import math

import pytest
import torch

from algorithms.diffusion import vp_schedule
from algorithms.idql import IDQL, IDQLConfig, Value, cloning_loss, sample
from algorithms.networks import Initialiser
from bench.training.contract import draws_of
from benchmarks.plain.idql import PlainIDQL
from tests.algorithms.checks import normal, of_seed, random_batch
from tests.algorithms.idql.test_update import BOUND, CASES, DIMENSIONS, SEEDS, in_double

BATCH = 6


@pytest.fixture(params=["released", "paper"])
def method(request):
    return in_double(IDQL(DIMENSIONS, CASES[request.param], SEEDS))


@pytest.fixture
def batch():
    return random_batch(2, BATCH, 5, 3, generator=torch.Generator().manual_seed(0), bound=BOUND)


def test_cloning_loss(method, batch):
    """Values and gradients, the frequencies' among them, with dropped units."""
    uniform = torch.rand(2, BATCH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    noise, drops = normal(2, BATCH, 3, seed=5), normal(2, 2, BATCH, 12, seed=6) > 0.5
    policy, rate = method.networks["policy"], method.config.dropout
    kept = [(~drops[:, block]).double() / (1 - rate) for block in range(2)]
    loss = cloning_loss(policy, method.schedule, batch, uniform=uniform, noise=noise, kept=kept)
    for seed in range(2):
        plain = PlainIDQL.of(method, seed)
        masks = 1.0 - drops[seed].double()  # below the rate where dropped
        draws = {"step": uniform[seed], "noise": noise[seed], "dropout": masks}
        expected = plain.cloning(of_seed(batch, seed), draws, torch.arange(BATCH))
        torch.testing.assert_close(loss[seed], expected, rtol=1e-10, atol=0)
        mine = dict(
            zip(
                (name for name, _ in policy.named_parameters()),
                torch.autograd.grad(loss[seed], list(policy.parameters()), retain_graph=True),
                strict=True,
            )
        )
        nets = plain.nets.policy
        theirs = torch.autograd.grad(expected, [nets.w, nets.first.weight, nets.ups[1].weight])
        torch.testing.assert_close(mine["fourier.frequencies"][seed, 0], theirs[0], rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(mine["first.weight"][seed].T, theirs[1], rtol=1e-8, atol=1e-10)
        inner = mine["blocks.1.mlp.layers.0.weight"][seed].T
        torch.testing.assert_close(inner, theirs[2], rtol=1e-8, atol=1e-10)
        assert all(float(gradient.abs().max()) > 1e-6 for gradient in theirs)


def test_the_loss_sums_over_the_action(batch):
    """A prediction of zero costs the noise's squared length; labels run from 0 to 4."""
    asked = []

    def network(noisy, observations, labels, kept):
        asked.append(labels)
        return torch.zeros_like(noisy)

    noise = normal(2, BATCH, 3)
    uniform = torch.tensor([[0.0, 0.19, 0.21, 0.5, 0.79, 0.99]] * 2, dtype=torch.float64)
    schedule = vp_schedule(5, torch.float64)
    loss = cloning_loss(network, schedule, batch, uniform=uniform, noise=noise, kept=None)
    assert asked[0][0].tolist() == [0, 0, 1, 2, 3, 4]
    torch.testing.assert_close(loss, noise.square().sum(dim=2).mean(dim=1))


def test_the_sampler_in_numbers():
    """Row by row in Python: no clipped clean action, but every x is clipped; variance beta."""
    beta = [1 - math.exp(-0.02 - 4.95 * (2 * n - 1) / 25) for n in range(1, 6)]
    abar = [math.prod(1 - b for b in beta[: n + 1]) for n in range(5)]
    labels = []

    def network(noisy, observations, label):
        labels.append(label.unique().item())
        return 0.3 * noisy + label.unsqueeze(-1) / 10 + observations[..., :1]

    noise, states = normal(1, 5, 4, 2), normal(1, 4, 3, seed=1)
    found = sample(network, vp_schedule(5, torch.float64), states, noise, BOUND)
    assert labels == [4, 3, 2, 1, 0]
    clipped = 0
    for row in range(4):
        for component in range(2):
            x = noise[0, 0, row, component].item()
            for t in range(4, -1, -1):
                eps = 0.3 * x + t / 10 + states[0, row, 0].item()
                x = (x - beta[t] / math.sqrt(1 - abar[t]) * eps) / math.sqrt(1 - beta[t])
                if t:
                    x += math.sqrt(beta[t]) * noise[0, 5 - t, row, component].item()
                clipped += abs(x) > BOUND
                x = min(BOUND, max(-BOUND, x))
            assert found[0, row, component].item() == pytest.approx(x, rel=1e-9, abs=1e-12)
    assert clipped


@pytest.mark.parametrize("normalised", [False, True])
def test_only_the_released_value_is_blind_to_the_states_scale(normalised):
    """A LayerNorm of the input takes mean and size out of it."""
    value = Value(Initialiser(SEEDS, "value"), 5, 16, normalised).double()
    states = normal(2, 4, 5)
    same = torch.allclose(value(states), value(3 * states + 2), rtol=1e-4)
    assert same == normalised
    assert value(states).shape == (2, 4)


def test_losses_reach_their_own_network_alone(method):
    batch = random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(0), bound=BOUND)
    reached, minimise = {}, method.minimise

    def watched(name, losses):
        for key, network in method.networks.items():
            wanted = [p.requires_grad_() for p in network.parameters()]
            found = torch.autograd.grad(losses.sum(), wanted, allow_unused=True, retain_graph=True)
            if any(gradient is not None for gradient in found):
                reached.setdefault(name, set()).add(key)
            if key.startswith("target_"):
                network.requires_grad_(False)
        minimise(name, losses)

    method.minimise = watched
    method.update("train", batch, draws_of(method.phases[0].draws, SEEDS))
    assert reached == {"policy": {"policy"}, "value": {"value"}, "critics": {"critics"}}


def test_q_learns_from_the_new_value(method):
    """The value of before its step would give another target."""
    batch = random_batch(2, 8, 5, 3, generator=torch.Generator().manual_seed(0), bound=BOUND)
    plain, one = PlainIDQL.of(method, 0), of_seed(batch, 0)
    limit = BOUND - method.config.action_margin
    one = {**one, "actions": one["actions"].clamp(-limit, limit)}
    few = {name: tensor[: method.config.critic_batch_size] for name, tensor in one.items()}
    old = plain.critic_loss(few).item()
    found = method.update("train", batch, draws_of(method.phases[0].draws, SEEDS))["critic_loss"][0].item()
    assert abs(found - old) > 1e-6


def test_initial_weights():
    """Glorot's outside the blocks, LeCun's inside, frequencies of deviation 0.2, biases zero."""
    networks = IDQL(DIMENSIONS, IDQLConfig(), (0,)).networks
    for name, tensor in networks.state_dict().items():
        if name.endswith("bias"):
            assert (tensor == 0).all(), name
        elif "blocks" in name and "norm" not in name:
            deviation = tensor.shape[-2] ** -0.5
            assert tensor.std().item() == pytest.approx(deviation, rel=0.03), name
            assert tensor.abs().max() < 2.3 * deviation, name
        elif tensor.numel() > 10_000:
            bound = math.sqrt(6 / (tensor.shape[-2] + tensor.shape[-1]))
            assert 0.99 * bound < tensor.abs().max() <= bound, name
    policy = networks["policy"]
    assert policy.fourier.frequencies.std().item() == pytest.approx(0.2, rel=0.3)
    assert isinstance(policy.fourier.frequencies, torch.nn.Parameter)
    widths = [tuple(layer.weight.shape[1:]) for layer in policy.embed.layers]
    assert widths == [(128, 256), (256, 256)]
    assert policy.first.weight.shape[1:] == (3 + 5 + 256, 256)
    assert len(policy.blocks) == 3
    assert [tuple(layer.weight.shape[1:]) for layer in networks["value"].mlp.layers] == [
        (5, 256),
        (256, 256),
        (256, 1),
    ]
    assert networks["value"].norm.epsilon == 1e-6
    without = IDQL(DIMENSIONS, CASES["paper"], (0,)).networks["value"].state_dict()
    assert not any("norm" in name for name in without)
