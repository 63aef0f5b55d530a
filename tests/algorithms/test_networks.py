"""Shapes, order of layers, initial weights and forward passes of networks, most of them DTQL's; and Mish."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional

from algorithms.base import Dimensions
from algorithms.bdpo import BDPOConfig
from algorithms.dtql import DTQL, DTQLConfig
from algorithms.networks import (
    BROADCAST_INITIALISATION,
    MLP,
    BroadcastMLP,
    CriticEnsemble,
    Initialiser,
    LayerNorm,
    mish,
    sinusoidal_embedding,
)
from bench.training.contract import doubled
from benchmarks.plain.dtql import PlainNetworks
from tests.algorithms.checks import normal

HOPPER, ANTMAZE = Dimensions(11, 3), Dimensions(29, 8)
SMALL = DTQLConfig(hidden_width=16, diffusion_width=16, candidates=8, batch_size=8)

# Sums of inputs * outputs + outputs over the layers of the specification, by hand; per seed.
COUNTS = {
    HOPPER: {"critics": 2 * 137_217, "value": 134_913, "diffusion": 207_155, "actor": 136_198},
    ANTMAZE: {"critics": 2 * 143_105, "value": 139_521, "diffusion": 214_328, "actor": 143_376},
}


def layer_shapes(observation, action):
    """(inputs, outputs) of every linear layer, from the specification's table."""
    body = [(256, 256), (256, 256)]
    return {
        "critics.mlp": [(observation + action, 256), *body, (256, 1)],
        "value": [(observation, 256), *body, (256, 1)],
        "diffusion.embed": [(16, 32), (32, 16)],
        "diffusion.mlp": [(observation + action + 16, 256), *body, (256, 256), (256, action)],
        "actor.mlp": [(observation, 256), *body, (256, 2 * action)],
    }


@pytest.mark.parametrize("dimensions", [HOPPER, ANTMAZE])
def test_shapes_and_counts(dimensions):
    algorithm = DTQL(dimensions, DTQLConfig(), seeds=(0, 1, 2))
    state = algorithm.networks.state_dict()
    expected = {}
    for prefix, layers in layer_shapes(dimensions.observation, dimensions.action).items():
        axes = (3, 2) if prefix == "critics.mlp" else (3,)
        for i, (inputs, outputs) in enumerate(layers):
            expected[f"{prefix}.layers.{i}.weight"] = (*axes, inputs, outputs)
            expected[f"{prefix}.layers.{i}.bias"] = (*axes, 1, outputs)
    for i in range(3):  # LayerNorm in Q alone
        expected[f"critics.mlp.norms.{i}.weight"] = expected[f"critics.mlp.norms.{i}.bias"] = (3, 2, 1, 256)
    expected |= {f"target_{name}": shape for name, shape in expected.items() if name.startswith("critics.")}
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected
    for name, count in COUNTS[dimensions].items():
        assert sum(p.numel() for p in algorithm.networks[name].parameters()) == 3 * count, name


def test_paper_variant_shapes():
    algorithm = DTQL(HOPPER, DTQLConfig(critic_layer_norm=False), seeds=(0,))
    assert not any("norms" in name for name in algorithm.networks.state_dict())


@pytest.mark.parametrize(("norm", "activated"), [(True, False), (False, True)])
@pytest.mark.parametrize("dimensions", [HOPPER, ANTMAZE])
def test_forward_equals_plain_modules(dimensions, norm, activated):
    config = DTQLConfig(critic_layer_norm=norm, embedding_activation=activated)
    algorithm = doubled(DTQL(dimensions, config, seeds=(4, 9)))
    generator = torch.Generator().manual_seed(1)
    for name, tensor in algorithm.networks.named_parameters():  # LayerNorm starts as the identity
        if "norms" in name:
            tensor.data += torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    algorithm.networks["target_critics"].load_state_dict(algorithm.networks["critics"].state_dict())
    s = torch.randn(2, 7, dimensions.observation, generator=generator, dtype=torch.float64)
    a = torch.randn(2, 7, dimensions.action, generator=generator, dtype=torch.float64)
    condition = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    nets = algorithm.networks
    mean, log_std = nets["actor"](s)
    for seed in range(2):
        plain = PlainNetworks.copied(algorithm, seed)
        inputs = torch.cat([s[seed], a[seed]], dim=1)
        expected_mean, expected_log_std = plain.actor(s[seed]).split(dimensions.action, dim=1)
        pairs = {
            "q1": (nets["critics"](s, a)[seed, 0], plain.q1(inputs)[:, 0]),
            "q2": (nets["critics"](s, a)[seed, 1], plain.q2(inputs)[:, 0]),
            "v": (nets["value"](s)[seed], plain.v(s[seed])),
            "f": (nets["diffusion"](a, s, condition)[seed], plain.f(a[seed], s[seed], condition[seed])),
            "mean": (mean[seed], expected_mean),
            "log_std": (log_std[seed], expected_log_std.clamp(-5, 2)),
        }
        for name, (actual, expected) in pairs.items():
            torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13, msg=name)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-6, 0.3])
def test_layer_norm_and_mish_in_numpy(epsilon):
    """One hidden layer by hand: Linear, LayerNorm (biased variance), Mish, Linear."""
    network = MLP(Initialiser((3,), "n"), (5, 6, 2), functional.mish, layer_norm_epsilon=epsilon).double()
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4, 5))
    weights = {name: p.detach().numpy()[0] for name, p in network.named_parameters()}
    hidden = x @ weights["layers.0.weight"] + weights["layers.0.bias"]
    hidden = (hidden - hidden.mean(1, keepdims=True)) / np.sqrt(hidden.var(1, keepdims=True) + epsilon)
    hidden = hidden * np.tanh(np.log1p(np.exp(hidden)))
    expected = hidden @ weights["layers.1.weight"] + weights["layers.1.bias"]
    np.testing.assert_allclose(network(torch.from_numpy(x)[None]).detach()[0], expected, rtol=1e-12)


def test_layer_norm_gives_what_flax_gave():
    """Printed by flax 0.12.8, LayerNorm in double precision; with torch's epsilon the first is 0.079."""
    norm = LayerNorm(1, 4, epsilon=BDPOConfig().layer_norm_epsilon).double()
    small = norm(torch.tensor([[[0.001, -0.002, 0.004, 0.0]]], dtype=torch.float64))
    printed = [0.10482848367219184, -1.1531133203941102, 1.362770287738494, -0.3144854510165755]
    np.testing.assert_allclose(small.detach().flatten(), printed, rtol=1e-12)


def test_first_diffusion_layer_is_linear():
    """Without activation between them, the first two layers are one affine map."""
    algorithm = doubled(DTQL(HOPPER, SMALL, seeds=(0,)))
    body = algorithm.networks["diffusion"].mlp
    merged = body.layers[0].weight @ body.layers[1].weight
    bias = body.layers[0].bias @ body.layers[1].weight + body.layers[1].bias
    seen = []
    body.layers[2].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.randn(1, 5, 30, dtype=torch.float64)
    body(x)
    torch.testing.assert_close(seen[0], functional.mish(x @ merged + bias), rtol=1e-12, atol=1e-13)


def test_log_std_is_clamped():
    algorithm = DTQL(HOPPER, SMALL, seeds=(0,))
    last = algorithm.networks["actor"].mlp.layers[-1]
    last.bias.data[..., 3:] = torch.tensor([-100.0, 100.0, 0.5])
    last.weight.data.zero_()
    _, log_std = algorithm.networks["actor"](torch.zeros(1, 1, 11))
    assert log_std[0, 0].tolist() == [-5.0, 2.0, 0.5]


def test_time_embedding():
    times = np.array([-1.55, 0.0, 0.3, 1.1])
    frequencies = 10_000.0 ** (-np.arange(8) / 7)
    expected = np.concatenate([np.sin(times[:, None] * frequencies), np.cos(times[:, None] * frequencies)], 1)
    actual = sinusoidal_embedding(torch.from_numpy(times), 16)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def test_default_initialisation_is_uniform_within_torch_bounds():
    state = DTQL(HOPPER, DTQLConfig(), seeds=(0,)).networks.state_dict()
    for name, tensor in state.items():
        if "norms" in name:
            assert torch.all(tensor == (1.0 if name.endswith("weight") else 0.0))
        elif "actor" not in name:
            inputs = state[name.removesuffix("bias").removesuffix("weight") + "weight"].shape[-2]
            bound = 1 / math.sqrt(inputs)
            assert tensor.abs().max() <= bound, name
            if tensor.numel() > 1000:
                uniform = stats.kstest(tensor.flatten().numpy() / bound, stats.uniform(-1, 2).cdf)
                assert uniform.pvalue > 1e-3, name


def test_ensemble_members_and_networks_start_differently():
    state = DTQL(HOPPER, SMALL, seeds=(0, 1)).networks.state_dict()
    weight = state["critics.mlp.layers.1.weight"]
    assert not torch.equal(weight[0, 0], weight[0, 1])
    assert not torch.equal(weight[0], weight[1])
    assert not torch.equal(state["value.layers.1.weight"], state["diffusion.mlp.layers.1.weight"])


def test_actor_starts_orthogonal():
    state = DTQL(HOPPER, DTQLConfig(), seeds=(0, 1)).networks.state_dict()
    for i in range(4):
        assert torch.all(state[f"actor.mlp.layers.{i}.bias"] == 0)
        for weight in state[f"actor.mlp.layers.{i}.weight"]:
            short = weight.T if weight.shape[0] > weight.shape[1] else weight
            torch.testing.assert_close(short @ short.T, torch.eye(len(short)), atol=1e-5, rtol=0)


def test_targets_start_at_the_initial_critics():
    networks = DTQL(HOPPER, SMALL, seeds=(0, 1)).networks
    for online, target in zip(
        networks["critics"].parameters(), networks["target_critics"].parameters(), strict=True
    ):
        assert torch.equal(online, target)
        assert online.data_ptr() != target.data_ptr()
        assert not target.requires_grad


@settings(max_examples=15, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=5, unique=True),
    observation=st.integers(1, 9),
    action=st.integers(1, 5),
)
def test_initial_weights_are_a_function_of_the_seed_alone(seeds, observation, action):
    dimensions = Dimensions(observation, action)
    together = DTQL(dimensions, SMALL, seeds).networks.state_dict()
    for slot, seed in enumerate(seeds):
        alone = DTQL(dimensions, SMALL, (seed,)).networks.state_dict()
        assert all(torch.equal(together[name][slot], alone[name][0]) for name in together)


@settings(max_examples=15, deadline=None)
@given(seeds=st.integers(1, 4), members=st.integers(1, 4), batch=st.integers(1, 6), width=st.integers(2, 9))
def test_critics_map_any_stack(seeds, members, batch, width):
    critics = CriticEnsemble(
        Initialiser(range(seeds), "q"), 3, 2, (width, width), functional.mish, members=members
    )
    assert critics(torch.zeros(seeds, batch, 3), torch.zeros(seeds, batch, 2)).shape == (
        seeds,
        members,
        batch,
    )
    norm = LayerNorm(seeds, width, epsilon=1e-5, members=members)
    assert norm(torch.zeros(seeds, members, batch, width)).shape == (seeds, members, batch, width)


@pytest.mark.parametrize(("members", "epsilon"), [(None, None), (3, 1e-6)])
def test_parts_are_as_their_concatenation(members, epsilon):
    """The same network as an MLP on inputs side by side, values and gradients; init of gain sqrt(2)."""
    arguments = {
        "members": members,
        "layer_norm_epsilon": epsilon,
        "initialisation": BROADCAST_INITIALISATION,
    }
    parts_first, whole = (
        kind(Initialiser((0, 1), "n"), (7, 9, 8, 2), mish, **arguments).double()
        for kind in (BroadcastMLP, MLP)
    )
    one = () if members is None else (1,)
    each = () if members is None else (members,)
    shared, many = normal(2, *one, 4, 1, 5), normal(2, *one, 4, 3, 2, seed=1)
    together = torch.cat((shared.expand(2, *one, 4, 3, 5), many), dim=-1).flatten(-3, -2)
    expected = whole(together.expand(2, *each, 12, 7))
    actual = parts_first(shared, many)
    assert actual.shape == (2, *each, 4, 3, 2)
    torch.testing.assert_close(actual.flatten(-3, -2), expected, rtol=1e-10, atol=1e-12)
    weights = torch.autograd.grad(actual.square().sum(), list(parts_first.parameters()))
    others = torch.autograd.grad(expected.square().sum(), list(whole.parameters()))
    for mine, theirs in zip(weights, others, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
    weight = whole.layers[1].weight[(0, 0) if members else 0]  # (9, 8): orthonormal columns times sqrt(2)
    torch.testing.assert_close(weight.T @ weight, 2 * torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-5)
    assert all(not layer.bias.any() for layer in whole.layers)


MISH_POINTS = (-800.0, -90.0, -20.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 19.9, 20.1, 44.0, 90.0, 800.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_mish_and_its_derivative_are_torchs(dtype, tolerance):
    points = torch.cat((torch.tensor(MISH_POINTS, dtype=dtype), torch.linspace(-30, 30, 2001, dtype=dtype)))
    ours, theirs = points.clone().requires_grad_(), points.clone().requires_grad_()
    value, expected = mish(ours), functional.mish(theirs)
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(mish(points), expected, rtol=tolerance, atol=tolerance)
    (slope,) = torch.autograd.grad(value.sum(), ours)
    (expected_slope,) = torch.autograd.grad(expected.sum(), theirs)
    torch.testing.assert_close(slope, expected_slope, rtol=10 * tolerance, atol=10 * tolerance)


def test_mish_of_many_numbers_without_a_gradient():
    """More than one piece, the last one incomplete, and not contiguous."""
    points = torch.randn(3, 70_001, dtype=torch.float64).T
    torch.testing.assert_close(mish(points), functional.mish(points))


def test_the_derivative_of_mish_is_that_of_finite_differences():
    points = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mish, (points,))


def test_mish_of_a_not_a_number_stays_one():
    assert mish(torch.tensor([float("nan")], requires_grad=True)).isnan().all()
    assert mish(torch.tensor([float("nan")])).isnan().all()
