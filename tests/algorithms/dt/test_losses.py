"""DT's loss and transformer against numpy and torch's own encoder in float64, and what sees what."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from algorithms.base import Dimensions
from algorithms.dt import DecisionTransformer, DTConfig, gpt2, masked_action_loss
from algorithms.networks import Initialiser, torch_default
from benchmarks.plain.modules import slice_of
from tests.algorithms.checks import normal

DIMENSIONS, SEEDS = Dimensions(4, 2, action_bound=0.8), (0, 1)
CONFIG = DTConfig(context_length=3, layers=2, heads=2, hidden_width=8, time_steps=9)


def transformer(config=CONFIG, outside=torch_default):
    return DecisionTransformer(Initialiser(SEEDS, "transformer"), DIMENSIONS, config, outside)


def inputs(batch=5, steps=3):
    times = (torch.arange(2 * batch * steps) % 7).view(2, batch, steps)
    return [
        normal(2, batch, steps), normal(2, batch, steps, 4, seed=1), normal(2, batch, steps, 2, seed=2), times
    ]  # fmt: skip


@pytest.mark.parametrize("mean_over", ["valid", "all"])
def test_the_loss_counts_what_lies_within_the_trajectory(mean_over):
    predicted, actions = normal(2, 5, 3, 2).requires_grad_(), normal(2, 5, 3, 2, seed=1)
    valid = (normal(2, 5, 3, seed=2) > 0).double()
    loss = masked_action_loss(predicted, actions, valid, mean_over)
    for seed in range(2):
        within = valid[seed].numpy() > 0
        errors = ((predicted.detach() - actions)[seed].numpy() ** 2)[within]
        expected = errors.mean() if mean_over == "valid" else errors.sum() / 30
        assert float(loss[seed].detach()) == pytest.approx(expected, rel=1e-12)
    (gradient,) = torch.autograd.grad(loss.sum(), predicted)
    assert torch.equal(gradient != 0, (valid > 0).unsqueeze(-1).expand_as(gradient))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_blocks_are_torchs_own_pre_norm_encoder(activation):
    """Of one seed: nn.TransformerEncoder between two LayerNorms, with the same weights."""
    network = transformer(replace(CONFIG, activation=activation)).double()
    for parameter in network.parameters():
        parameter.data += 0.3 * normal(*parameter.shape, seed=5)
    returns, observations, actions, times = inputs()
    found = network(returns, observations, actions, times)
    for seed in range(2):
        weights = slice_of(network.state_dict(), "", seed)
        layer = nn.TransformerEncoderLayer(
            8, 2, 32, dropout=0.0, activation=activation, batch_first=True, norm_first=True
        )
        encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False).double()
        encoder.load_state_dict(_as_torch_names_them(weights))

        def affine(name, values, weights=weights):
            return values @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

        time = weights["times"][times[seed]]
        parts = (
            affine("of_return", returns[seed].unsqueeze(-1)),
            affine("of_observation", observations[seed]),
            affine("of_action", actions[seed]),
        )
        tokens = torch.stack([part + time for part in parts], dim=2).flatten(1, 2)
        hidden = nn.functional.layer_norm(tokens, (8,)) * weights["norm.weight"] + weights["norm.bias"]
        mask = nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
        out = encoder(hidden, mask=mask, is_causal=True)[:, 1::3]
        expected = 0.8 * torch.tanh(affine("head", out))
        torch.testing.assert_close(found[seed], expected, rtol=1e-9, atol=1e-12)


def _as_torch_names_them(weights):
    named = {"norm.weight": weights["last_norm.weight"][0], "norm.bias": weights["last_norm.bias"][0]}
    pairs = {
        "self_attn.out_proj": "attended", "linear1": "up", "linear2": "down", "norm1": "before_attention",
        "norm2": "before_mlp",
    }  # fmt: skip
    for index in range(2):
        ours, theirs = f"blocks.{index}.", f"layers.{index}."
        for name, own in pairs.items():
            weight = weights[f"{ours}{own}.weight"]
            named[f"{theirs}{name}.weight"] = weight[0] if name.startswith("norm") else weight.T
            named[f"{theirs}{name}.bias"] = weights[f"{ours}{own}.bias"][0]
        named[f"{theirs}self_attn.in_proj_weight"] = weights[f"{ours}queries_keys_values.weight"].T
        named[f"{theirs}self_attn.in_proj_bias"] = weights[f"{ours}queries_keys_values.bias"][0]
    return named


def test_an_action_sees_its_own_return_and_observation_and_all_before_them():
    network = transformer().double()
    given = [part.requires_grad_(part.is_floating_point()) for part in inputs(batch=1)]
    predicted = network(*given)
    for step in range(3):
        gradients = torch.autograd.grad(predicted[:, :, step].sum(), given[:3], retain_graph=True)
        reached = [
            gradient.abs().flatten(3).sum(dim=-1)[0, 0] > 0 if gradient.dim() == 4 else gradient[0, 0] != 0
            for gradient in gradients
        ]
        up_to = [index <= step for index in range(3)]
        assert [of.tolist() for of in reached] == [up_to, up_to, [index < step for index in range(3)]]


def test_times_have_a_table_for_each_seed_and_end_with_its_last_row():
    network = transformer().double()
    returns, observations, actions, times = inputs()
    later = network(returns, observations, actions, times + 100)
    assert torch.equal(later, network(returns, observations, actions, times.clamp(min=8)))
    network.times.data[1] += 1.0
    changed = network(returns, observations, actions, times + 100)
    assert torch.equal(changed[0], later[0])
    assert not torch.equal(changed[1], later[1])


def test_starts_as_gpt2_inside_and_as_torch_or_gpt2_outside():
    config = replace(CONFIG, hidden_width=128, time_steps=200)
    for outside in (torch_default, gpt2):
        network = transformer(config, outside)
        for name, parameter in network.named_parameters():
            values = parameter.detach()
            if "norm" in name or "before" in name:
                assert (values == (1.0 if name.endswith("weight") else 0.0)).all(), name
            elif name.startswith("blocks") or outside is gpt2:
                expected = 0.02 if name.endswith(("weight", "times")) else 0.0
                assert float(values.std()) == pytest.approx(expected, rel=0.15), name
        if outside is torch_default:
            assert float(network.times.detach().std()) == pytest.approx(1.0, rel=0.02)
            assert 0.45 < float(network.of_observation.weight.detach().abs().max()) <= 0.5
            assert 0.08 < float(network.head.weight.detach().abs().max()) <= 128**-0.5


def test_dropout_masks_act_where_they_should():
    """Without what the blocks add only the embedded tokens are left; without these, nothing."""
    network = transformer().double()
    given = inputs()
    one = torch.ones(2, 45, 8, dtype=torch.float64)
    attention = torch.ones(2, 5, 2, 9, 9, dtype=torch.float64)
    everything = [(one,), *[(attention, one, one)] * 2]
    assert torch.equal(network(*given, everything), network(*given))
    bare = network(*given, [(one,), *[(attention, 0 * one, 0 * one)] * 2])
    no_attention = network(*given, [(one,), *[(0 * attention, one, 0 * one)] * 2])
    torch.testing.assert_close(bare, no_attention, rtol=0, atol=0)  # GPT-2's biases start at zero
    nothing = network(*given, [(0 * one,), *[(attention, 0 * one, 0 * one)] * 2])
    assert np.ptp(nothing[0].detach().numpy(), axis=(0, 1)).max() < 1e-12
