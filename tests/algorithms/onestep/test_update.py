"""One-step RL's phases against a plain version, what they move, how it acts; the checks of every method."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.onestep import OneStep, OneStepConfig
from bench.training import contract
from benchmarks.plain.onestep import PlainOneStep
from tests.algorithms.checks import (
    assert_only_changes,
    normal,
    random_batch,
    snapshot,
    train_beside_plain,
)

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = OneStepConfig(
    behaviour_iterations=12, critic_iterations=12, policy_iterations=12, hidden_width=8, batch_size=6,
    samples=3, learning_rate=1e-2,
)  # fmt: skip
CASES = {
    "exponential": CONFIG,
    "limits": replace(CONFIG, inverse_temperature=20.0, weight_limit=1.5, action_margin=0.3),
    "reverse KL": replace(CONFIG, improvement="reverse_kl", divergence_weight=0.3),
    "other rates": replace(CONFIG, discount=0.9, target_update_rate=0.2, target_interval=3),
}


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return contract.doubled(OneStep(dimensions, config, seeds))


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations_of_every_phase(case):
    algorithm = make(SEEDS, CASES[case], Dimensions(4, 2, action_bound=0.8))
    train_beside_plain(algorithm, PlainOneStep, 12, bound=0.8)


@pytest.mark.parametrize(
    ("program", "moved"),
    [
        ("behaviour", ("behaviour",)),
        ("critic", ("critic",)),
        ("critic+target", ("critic", "target_critic")),
        ("policy", ("policy",)),
    ],
)
@pytest.mark.parametrize("case", ["exponential", "reverse KL"])
def test_what_one_iteration_moves(case, program, moved):
    algorithm = make(SEEDS, CASES[case])
    before = snapshot(algorithm)
    batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
    algorithm.update(program, batch, contract.draws_of(algorithm.phases[-1].draws, SEEDS))
    assert_only_changes(algorithm, before, *moved)


def test_the_policy_starts_as_the_behaviour_and_the_targets_move_every_second_iteration():
    algorithm = make(SEEDS)
    behaviour, policy = algorithm.networks["behaviour"], algorithm.networks["policy"]
    assert not torch.equal(behaviour.mlp.layers[0].weight, policy.mlp.layers[0].weight)
    algorithm.begin_phase("critic")
    assert not torch.equal(behaviour.mlp.layers[0].weight, policy.mlp.layers[0].weight)
    algorithm.begin_phase("policy")
    assert torch.equal(behaviour.mlp.layers[0].weight, policy.mlp.layers[0].weight)
    critic = algorithm.phases[1]
    assert [critic.program(step) for step in range(4)] == ["critic", "critic+target"] * 2


def test_each_way_of_improvement_declares_its_draws():
    for case, names in (("exponential", ["samples"]), ("reverse KL", ["samples", "action"])):
        algorithm = OneStep(DIMENSIONS, CASES[case], SEEDS)
        assert [draw.name for draw in algorithm.phases[-1].draws] == names
        assert (algorithm.phases[0].draws, algorithm.phases[1].draws, algorithm.act_draws) == ((), (), ())


def test_acts_by_the_mean_within_the_bound():
    algorithm = make(SEEDS, dimensions=Dimensions(4, 2, action_bound=0.5))
    algorithm.networks["policy"].mlp.layers[-1].bias.data.fill_(30.0)
    assert (algorithm.act(normal(2, 5, 4), {}) == 0.5).all()


def test_as_every_method():
    contract.check_method("onestep")
