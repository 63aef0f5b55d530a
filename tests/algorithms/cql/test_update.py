"""CQL's iterations against a plain version, what they move, how it acts, and the checks of every method."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.cql import CQL, CQLConfig
from bench.training import contract
from benchmarks.plain.cql import PlainCQL
from tests.algorithms.checks import (
    assert_only_changes,
    normal,
    random_batch,
    snapshot,
    train_beside_plain,
)

DIMENSIONS, SEEDS = Dimensions(4, 2), (3, 8)
CONFIG = CQLConfig(
    hidden_width=8,
    batch_size=6,
    train_iterations=12,
    sampled_actions=3,
    actor_learning_rate=3e-3,
    critic_learning_rate=1e-2,
)
LAGRANGE = replace(
    CONFIG,
    lagrange=True,
    gap_threshold=0.8,
    conservative_weight=5.0,
    gap_clipped=True,
    smallest_gap=2.0,
    best_backup=True,
    first_critic_layers=4,
)
OFFICIAL = replace(
    CONFIG,
    warm_up_iterations=4,
    initialisation="rlkit",
    entropy_first=True,
    learnt_log_std_scale=False,
    log_std_min=-5.0,
)
CASES = {
    "as CORL's": CONFIG,
    "as CORL's on AntMaze": LAGRANGE,
    "official": OFFICIAL,
    "official on AntMaze": replace(
        OFFICIAL, lagrange=True, gap_threshold=5.0, threshold_weighted=False, multiplier_start=0.0
    ),
}


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return contract.doubled(CQL(dimensions, config, seeds))


@pytest.mark.parametrize("case", CASES)
def test_twelve_iterations(case):
    """Every gradient at the weights from before: the plain version takes all of them before any step."""
    algorithm = make(SEEDS, CASES[case], Dimensions(4, 2, action_bound=0.8))
    algorithm.prepare(3 * normal(50, 4, seed=9) + 1)
    train_beside_plain(algorithm, PlainCQL, 12, bound=0.8)


@pytest.mark.parametrize(("case", "more"), [("as CORL's", ()), ("as CORL's on AntMaze", ("multiplier",))])
def test_what_one_iteration_moves(case, more):
    algorithm = make(SEEDS, CASES[case])
    before = snapshot(algorithm)
    batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
    algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
    assert_only_changes(algorithm, before, "actor", "critics", "target_critics", "entropy", *more)


def test_the_actor_clones_before_it_follows_the_critics():
    algorithm = make(SEEDS, OFFICIAL)
    (phase,) = algorithm.phases
    assert [phase.program(step) for step in range(6)] == ["warm_up"] * 4 + ["train"] * 2
    batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
    draws = contract.draws_of(phase.draws, SEEDS)
    for program, alike in (("warm_up", True), ("train", False)):
        ends = []
        for factor in (1.0, 5.0):
            algorithm = make(SEEDS, OFFICIAL)
            for parameter in algorithm.networks["critics"].parameters():
                parameter.data *= factor
            algorithm.update(program, batch, draws)
            ends.append(snapshot(algorithm))
        same = all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0] if name.startswith("actor"))
        assert same == alike, program


def test_the_conservative_term_reaches_the_critics_alone():
    """With another weight of it the actor's first step stays the same."""
    ends = []
    for weight in (0.0, 100.0):
        algorithm = make(SEEDS, replace(CONFIG, conservative_weight=weight))
        batch = random_batch(2, 6, 4, 2, generator=torch.Generator().manual_seed(1))
        algorithm.update("train", batch, contract.draws_of(algorithm.phases[0].draws, SEEDS))
        ends.append(snapshot(algorithm))
    for name, tensor in ends[0].items():
        if name.startswith(("actor", "entropy")):
            assert torch.equal(tensor, ends[1][name]), name
    assert not all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


@pytest.mark.parametrize(("case", "backed_up"), [("as CORL's", 1), ("as CORL's on AntMaze", 3)])
def test_declares_what_an_iteration_needs(case, backed_up):
    algorithm = CQL(DIMENSIONS, CASES[case], SEEDS)
    assert {draw.name: (draw.shape, draw.distribution) for draw in algorithm.phases[0].draws} == {
        "action": ((6, 2), "normal"),
        "backup": ((6, backed_up, 2), "normal"),
        "random": ((6, 3, 2), "uniform"),
        "next": ((6, 3, 2), "normal"),
        "current": ((6, 3, 2), "normal"),
    }
    assert algorithm.act_draws == ()


def test_as_every_method():
    contract.check_method("cql")


def test_as_every_method_with_a_multiplier():
    data = contract.transitions()

    def made(seeds):
        return make(seeds, replace(LAGRANGE, train_iterations=20))

    for check in (
        contract.assert_seeds_independent,
        contract.assert_poison_stays,
        contract.assert_state_is_whole,
        contract.assert_never_waits,
    ):
        check(made, data)
