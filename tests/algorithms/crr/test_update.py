"""CRR's iterations against a plain version, what they move, how it acts, and the checks of every method."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.crr import CRR, CRRConfig
from bench.training import contract
from benchmarks.plain.crr import PlainCRR
from tests.algorithms.checks import (
    assert_only_changes,
    normal,
    random_batch,
    snapshot,
    train_beside_plain,
)

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = CRRConfig(
    hidden_width=8, batch_size=6, train_iterations=12, advantage_samples=3, policy_learning_rate=1e-2,
    critic_learning_rate=2e-2,
)  # fmt: skip
CASES = {
    "textbook": CONFIG,
    "expectile": replace(CONFIG, overestimation_weight=0.7),
    "limits": replace(CONFIG, weight_limit=1.01, mean_limit=0.05, log_std_max=-1.01, action_clip=0.5),
    "other rates": replace(CONFIG, discount=0.9, target_update_rate=0.2, advantage_temperature=0.1),
}


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return contract.doubled(CRR(dimensions, config, seeds))


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    """Both losses at the weights from before; targets of the policy, too, move."""
    algorithm = make(SEEDS, CASES[case], Dimensions(4, 2, action_bound=0.8))
    train_beside_plain(algorithm, PlainCRR, 12, bound=0.8)


def test_what_one_iteration_moves():
    algorithm = make(SEEDS)
    before = snapshot(algorithm)
    batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
    algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
    assert_only_changes(algorithm, before, "policy", "critics", "target_policy", "target_critics")


def test_the_target_policy_alone_chooses_next_actions():
    """With another one the critics learn otherwise, and the policy as before."""
    ends = []
    for shift in (0.0, 1.0):
        algorithm = make(SEEDS)
        algorithm.networks["target_policy"].mlp.layers[-1].bias.data += shift
        batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
        algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
        ends.append(snapshot(algorithm))
    same = {name: torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items()}
    assert all(same[name] for name in same if name.startswith("policy."))
    assert not all(same[name] for name in same if name.startswith("critics."))


def test_declares_its_draws_and_acts_by_none():
    algorithm = CRR(DIMENSIONS, CONFIG, SEEDS)
    assert {draw.name: (draw.shape, draw.distribution) for draw in algorithm.phases[0].draws} == {
        "next_action": ((6, 2), "normal"),
        "samples": ((6, 3, 2), "normal"),
    }
    assert algorithm.act_draws == ()


def test_acts_by_the_mean_within_the_bound():
    algorithm = make(SEEDS, dimensions=Dimensions(4, 2, action_bound=0.5))
    algorithm.networks["policy"].mlp.layers[-1].bias.data.fill_(30.0)
    assert algorithm.act(normal(2, 5, 4), {}).max() == pytest.approx(0.5, rel=1e-6)


def test_as_every_method():
    contract.check_method("crr")
