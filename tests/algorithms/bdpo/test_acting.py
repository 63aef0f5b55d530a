"""How BDPO and its ablations act, by plain networks; and the checks that every method passes."""

from dataclasses import replace

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.diffusion import vp_schedule
from bench.training import contract
from benchmarks.plain.bdpo import PlainBDPO, PlainUnimodal, plain_networks
from tests.algorithms.bdpo.test_update import METHODS

DATA = contract.transitions()
STATES = 4


def attributes(name):
    return {"schedule": vp_schedule(4, torch.float64)} if name == "bdpo" else {}


def make(name, seeds=(1, 2), **changes):
    """The method in float64 with all of its networks apart from each other."""
    method, config, _ = METHODS[name]
    algorithm = contract.doubled(
        method(Dimensions(4, 2), replace(config, **changes), seeds), **attributes(name)
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in algorithm.networks.parameters():
            noise = torch.randn(parameter.shape[1:], generator=generator, dtype=torch.float64)
            parameter += 0.1 * noise
    return algorithm


@pytest.mark.parametrize("name", METHODS)
class TestChecks:
    """Those that every method passes."""

    @pytest.fixture
    def builder(self, name):
        method, config, _ = METHODS[name]
        short = replace(config, pretrain_iterations=20, train_iterations=20)
        return lambda seeds: contract.doubled(method(Dimensions(4, 2), short, seeds), **attributes(name))

    def test_seeds_are_independent(self, builder):
        contract.assert_seeds_independent(builder, DATA)

    def test_poison_stays(self, builder):
        contract.assert_poison_stays(builder, DATA, "behaviour")

    def test_deterministic(self, builder):
        contract.assert_deterministic(builder, DATA)

    def test_state_is_whole(self, builder):
        contract.assert_state_is_whole(builder, DATA)

    def test_never_waits(self, builder):
        contract.assert_never_waits(builder, DATA)

    def test_seed_view(self, name, builder):
        contract.assert_seed_view_acts_alike(builder((3, 5)), **attributes(name))


def acting(algorithm):
    """Observations (S, STATES, 4) and the draws of `act`."""
    generator = torch.Generator().manual_seed(3)
    seeds = len(algorithm.seeds)
    observations = torch.randn(seeds, STATES, 4, generator=generator, dtype=torch.float64)
    draws = {
        draw.name: torch.randn(seeds, STATES, *draw.shape, generator=generator, dtype=torch.float64)
        for draw in algorithm.act_draws
    }
    return observations, draws


def expected_actions(algorithm, observations, draws, seed):
    """By plain chains or samples of the target actor, and the mean of the target critics."""
    nets, config = plain_networks(algorithm, seed), algorithm.config
    s = observations[seed]
    if "chain" in draws:
        plain = PlainBDPO(nets, config, 1.0)
        noise = draws["chain"][seed]  # (STATES, T, C, A)
        candidates = [
            plain.chain("target_actor", s, noise[:, :, c].transpose(0, 1))[0]
            for c in range(config.candidates)
        ]
    else:
        mean, std = PlainUnimodal(nets, config, 1.0).distribution("target_actor", s)
        noise = draws["candidates"][seed]
        candidates = [torch.clamp(mean + std * noise[:, c], -1, 1) for c in range(config.candidates)]
    values = torch.stack([sum(q(s, a) for q in nets["target_critics"]) for a in candidates])
    chosen = values.argmax(dim=0)
    return torch.stack([candidates[c][i] for i, c in enumerate(chosen.tolist())]), chosen


@pytest.mark.parametrize("name", ["bdpo", "gaussian"])
def test_takes_the_candidate_of_highest_mean_value(name):
    algorithm = make(name)
    observations, draws = acting(algorithm)
    actions = algorithm.act(observations, draws)
    chosen = set()
    for seed in range(2):
        expected, indices = expected_actions(algorithm, observations, draws, seed)
        torch.testing.assert_close(actions[seed], expected.detach(), rtol=1e-9, atol=1e-11)
        chosen |= set(indices.tolist())
    assert len(chosen) > 1  # otherwise any one candidate would do


@pytest.mark.parametrize("name", ["bdpo", "gaussian"])
def test_a_single_candidate_is_a_plain_sample(name):
    """Whatever the critics say, even where they say nothing."""
    algorithm = make(name, candidates=1)
    observations, draws = acting(algorithm)
    for parameter in algorithm.networks["target_critics"].parameters():
        parameter.data.fill_(float("nan"))
    actions = algorithm.act(observations, draws)
    for seed in range(2):
        expected, _ = expected_actions(algorithm, observations, draws, seed)
        torch.testing.assert_close(actions[seed], expected.detach(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", METHODS)
def test_acts_by_targets(name):
    algorithm = make(name)
    observations, draws = acting(algorithm)
    before = algorithm.act(observations, draws)
    for network in ("actor", "critics", "behaviour", "target_behaviour"):
        for parameter in algorithm.networks[network].parameters():
            parameter.data.fill_(float("nan"))
    assert torch.equal(algorithm.act(observations, draws), before)
    assert before.abs().max() <= 1


def test_deterministic_actor_acts_as_it_is():
    algorithm = make("dirac")
    observations, _ = acting(algorithm)
    for seed in range(2):
        expected, _ = plain_networks(algorithm, seed)["target_actor"](observations[seed])
        torch.testing.assert_close(algorithm.act(observations, {})[seed], expected.detach())
