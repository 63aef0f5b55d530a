"""IQL's iterations against a plain version, what they move, how it acts, and the checks of every method."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.iql import IQL, IQLConfig
from bench.training import contract
from benchmarks.plain.iql import PlainIQL
from tests.algorithms.checks import (
    assert_only_changes,
    normal,
    random_batch,
    snapshot,
    train_beside_plain,
)

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = IQLConfig(hidden_width=8, batch_size=6, train_iterations=12, learning_rate=1e-2)
CORL = replace(
    CONFIG,
    value_after_its_step=False,
    critic_losses="mean",
    initialisation="torch",
    action_margin=0.0,
    log_std_min=-20.0,
    standardised_observations=True,
)
CASES = {
    "as released": CONFIG,
    "with dropout": replace(CONFIG, actor_dropout=0.3, inverse_temperature=0.5, expectile=0.9),
    "as CORL's": CORL,
    "as CORL's on hopper": replace(CORL, deterministic_actor=True, target_update_rate=0.1),
    "limits": replace(CONFIG, weight_limit=1.1, log_std_min=0.001, action_margin=0.3),
}


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return contract.doubled(IQL(dimensions, config, seeds))


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    """The actor's rate falls along the whole cosine meanwhile."""
    algorithm = make(SEEDS, CASES[case], Dimensions(4, 2, action_bound=0.8))
    algorithm.prepare(3 * normal(50, 4, seed=9) + 1)
    train_beside_plain(algorithm, PlainIQL, 12, bound=0.8)


def test_what_one_iteration_moves():
    algorithm = make(SEEDS)
    before = snapshot(algorithm)
    batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
    algorithm.update("train", batch, {})
    assert_only_changes(algorithm, before, "actor", "value", "critics", "target_critics")


def test_only_the_target_critic_teaches_value_and_actor():
    """With another online critic both learn the same."""
    ends = []
    for factor in (1.0, 5.0):
        algorithm = make(SEEDS)
        for parameter in algorithm.networks["critics"].parameters():
            parameter.data *= factor
        batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
        algorithm.update("train", batch, {})
        ends.append(snapshot(algorithm))
    for name, tensor in ends[0].items():
        if name.startswith(("actor", "value")):
            assert torch.equal(tensor, ends[1][name]), name


def test_draws_masks_only_where_units_are_left_out():
    assert IQL(DIMENSIONS, CONFIG, SEEDS).phases[0].draws == ()
    (masks,) = IQL(DIMENSIONS, CASES["with dropout"], SEEDS).phases[0].draws
    assert (masks.name, masks.shape, masks.distribution) == ("dropout", (2, 6, 8), "uniform")


def test_acts_without_dropout_and_without_noise():
    algorithm = make(SEEDS, CASES["with dropout"])
    assert algorithm.act_draws == ()
    assert torch.equal(contract.action(algorithm), contract.action(algorithm))
    algorithm.retire(0)
    assert (contract.action(algorithm)[0] == 0).all()


def test_as_every_method():
    contract.check_method("iql")


@pytest.mark.parametrize("case", ["with dropout", "as CORL's on hopper"])
def test_as_every_method_with_what_the_first_task_has_not(case):
    data = contract.transitions()

    def made(seeds):
        return make(seeds, replace(CASES[case], train_iterations=20))

    contract.assert_seeds_independent(made, data)
    contract.assert_poison_stays(made, data)
    contract.assert_never_waits(made, data)
