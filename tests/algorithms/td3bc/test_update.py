"""TD3+BC's iterations against a plain version, what they move, how it acts; the checks of every method."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.td3bc import TD3BC, TD3BCConfig
from bench.training import contract
from benchmarks.plain.td3bc import PlainTD3BC
from tests.algorithms.checks import (
    assert_only_changes,
    normal,
    random_batch,
    snapshot,
    train_beside_plain,
)

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = TD3BCConfig(hidden_width=8, batch_size=6, train_iterations=12, learning_rate=1e-2)
CASES = {
    "as released": CONFIG,
    "as EDP's": replace(CONFIG, activation="mish", hidden_layers=3, action_clip=0.5),
    "other rates": replace(
        CONFIG, actor_interval=3, discount=0.9, value_weight=0.7, target_update_rate=0.2, smoothing_limit=0.1
    ),
}


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return contract.doubled(TD3BC(dimensions, config, seeds))


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    algorithm = make(SEEDS, CASES[case], Dimensions(4, 2, action_bound=0.8))
    algorithm.prepare(3 * normal(50, 4, seed=9) + 1)
    train_beside_plain(algorithm, PlainTD3BC, 12, bound=0.8)


def test_actor_and_targets_move_every_second_iteration():
    (phase,) = make(SEEDS).phases
    assert [phase.program(step) for step in range(4)] == ["train", "train+actor"] * 2
    algorithm = make(SEEDS)
    for program, moving in (
        ("train", {"critics"}),
        ("train+actor", {"critics", "actor", "target_critics", "target_actor"}),
    ):
        before = snapshot(algorithm)
        batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
        algorithm.update(program, batch, contract.draws_of(phase.draws, SEEDS))
        assert_only_changes(algorithm, before, *moving)


def test_observations_are_standardised_only_where_asked():
    data = contract.transitions().observations
    for asked in (True, False):
        algorithm = make(SEEDS, replace(CONFIG, standardised_observations=asked))
        algorithm.prepare(data)
        assert (algorithm.networks["states"].factor != 1).any() == asked


def test_declares_one_draw_and_acts_by_none():
    algorithm = TD3BC(DIMENSIONS, CONFIG, SEEDS)
    assert [(draw.name, draw.shape, draw.distribution) for draw in algorithm.phases[0].draws] == [
        ("smoothing", (6, 2), "normal")
    ]
    assert algorithm.act_draws == ()


def test_a_retired_seed_stands_still_and_acts_by_zeros():
    algorithm = make(SEEDS)
    algorithm.retire(0)
    batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
    metrics = algorithm.update("train+actor", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
    assert all(values.isfinite().all() for values in metrics.values())
    assert (contract.action(algorithm)[0] == 0).all()


def test_as_every_method():
    contract.check_method("td3bc")
