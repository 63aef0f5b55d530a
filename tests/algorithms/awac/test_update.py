"""AWAC's iterations against a plain version, what they move, how it acts, and the checks of every method."""

from dataclasses import replace

import pytest
import torch

from algorithms.awac import AWAC, AWACConfig
from algorithms.base import Dimensions
from bench.training import contract
from benchmarks.plain.iql import PlainAWAC
from tests.algorithms.checks import (
    assert_only_changes,
    normal,
    random_batch,
    snapshot,
    train_beside_plain,
)

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = AWACConfig(hidden_width=8, batch_size=6, train_iterations=12, learning_rate=1e-2)
CASES = {
    "as CORL's": CONFIG,
    "limits": replace(CONFIG, weight_limit=1.05, log_std_max=-0.1, advantage_temperature=0.05),
    "other rates": replace(CONFIG, discount=0.9, target_update_rate=0.2),
}


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return contract.doubled(AWAC(dimensions, config, seeds))


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    """Critics first; advantages by the critics as they are then; sampled actions clipped."""
    algorithm = make(SEEDS, CASES[case], Dimensions(4, 2, action_bound=0.8))
    algorithm.prepare(3 * normal(50, 4, seed=9) + 1)
    train_beside_plain(algorithm, PlainAWAC, 12, bound=0.8)


def test_what_one_iteration_moves():
    algorithm = make(SEEDS)
    before = snapshot(algorithm)
    batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
    algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
    assert_only_changes(algorithm, before, "actor", "critics", "target_critics")


def test_the_mean_has_no_bound_and_actions_have():
    algorithm = make(SEEDS, dimensions=Dimensions(4, 2, action_bound=0.5))
    algorithm.networks["actor"].mlp.layers[-1].bias.data.fill_(3.0)
    states = normal(2, 5, 4)
    assert (algorithm.networks["actor"](states) > 1).all()
    assert (algorithm.act(states, {}) == 0.5).all()


def test_starts_with_deviation_one_and_as_torch_does():
    algorithm = AWAC(Dimensions(9, 2), AWACConfig(), SEEDS)
    actor = algorithm.networks["actor"]
    assert (actor.log_std == 0).all()
    assert actor.log_std.shape == (2, 1, 2)
    assert [tuple(layer.weight.shape[1:]) for layer in actor.mlp.layers] == [
        (9, 256), (256, 256), (256, 256), (256, 2)
    ]  # fmt: skip
    assert 0.32 < actor.mlp.layers[0].weight.abs().max() <= 1 / 3


def test_declares_two_draws_and_acts_by_none():
    algorithm = AWAC(DIMENSIONS, CONFIG, SEEDS)
    assert {draw.name: (draw.shape, draw.distribution) for draw in algorithm.phases[0].draws} == {
        "noise": ((6, 2), "normal"),
        "next_noise": ((6, 2), "normal"),
    }
    assert algorithm.act_draws == ()


def test_as_every_method():
    contract.check_method("awac")
