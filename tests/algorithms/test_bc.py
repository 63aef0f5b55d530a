"""Behaviour cloning against plain torch, what it takes from the dataset, and the checks of every method."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.base import Dimensions
from algorithms.bc import BC, BCConfig
from bench.training import contract
from bench.training.batches import PackedDataset
from bench.training.contract import doubled
from bench.training.trainer import Trainer
from benchmarks.plain.bc import PlainBC, plain_actor
from tests.algorithms.checks import of_seed, random_batch

DIMENSIONS, SEEDS = Dimensions(4, 2, action_bound=1.5), (3, 8)
CONFIG = BCConfig(hidden_width=8, batch_size=6, train_iterations=20, learning_rate=1e-2)
DATA = contract.transitions()


def make(seeds, config=CONFIG, dimensions=DIMENSIONS):
    return doubled(BC(dimensions, config, seeds))


def test_twenty_iterations():
    """MSE of bound tanh(net((s - mean) / (sd + 1e-3))), Adam."""
    algorithm = make(SEEDS)
    states = np.random.default_rng(0).normal(3, 5, size=(50, 4))
    algorithm.prepare(torch.from_numpy(states))
    mean, deviation = (torch.from_numpy(x) for x in (states.mean(0), states.std(0)))
    plains = [PlainBC(plain_actor(algorithm, slot), mean, deviation, CONFIG, 1.5) for slot in (0, 1)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        batch = random_batch(2, 6, 4, 2, generator=generator, bound=1.5)
        metrics = algorithm.update("train", batch, {})
        for slot, plain in enumerate(plains):
            loss = plain.update("train", of_seed(batch, slot), {})["actor_loss"]
            torch.testing.assert_close(metrics["actor_loss"][slot], loss, rtol=1e-9, atol=0)
    for slot, plain in enumerate(plains):
        trained = PlainBC.of(algorithm, slot)
        for mine, other in zip(trained.actor.parameters(), plain.actor.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)
        observations = torch.randn(2, 5, 4, dtype=torch.float64)
        acted, expected = algorithm.act(observations, {})[slot], plain.act(observations[slot])
        torch.testing.assert_close(acted, expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(trained.act(observations[slot]), expected, rtol=1e-9, atol=1e-12)


def test_starts_as_torch_does():
    """U(+-1/sqrt(inputs)), another network per seed."""
    algorithm = BC(Dimensions(9, 2), BCConfig(), SEEDS)
    first = algorithm.networks["actor"].mlp.layers[0].weight
    assert first.shape == (2, 9, 256)
    assert 0.32 < first.abs().max() <= 1 / 3
    assert not torch.equal(first[0], first[1])


def test_the_trainer_takes_statistics_of_the_whole_dataset():
    generator = np.random.default_rng(1)
    states = generator.normal(size=(500, 4)) * [1e-3, 1, 10, 100] + [5, 0, -1000, 3]
    states[:, 0] = 5.0  # constant: only the margin divides
    data = PackedDataset.pack(
        states, generator.uniform(-1, 1, (500, 2)), states, np.zeros(500), np.zeros(500, dtype=bool)
    )
    algorithm = BC(DIMENSIONS, CONFIG, SEEDS)
    Trainer(algorithm, data, runner="eager")
    single = states.astype(np.float32).astype(np.float64)
    actor = algorithm.networks["actor"]
    for slot in range(2):
        np.testing.assert_allclose(actor.mean[slot, 0], single.mean(0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(1 / actor.factor[slot, 0], single.std(0) + 1e-3, rtol=1e-6)


def test_statistics_travel_with_the_weights():
    source, target = BC(DIMENSIONS, CONFIG, SEEDS), BC(DIMENSIONS, CONFIG, (1,))
    source.prepare(torch.randn(30, 4) * 7 + 2)
    target.load_policy_state(0, source.policy_state(1))
    observations = torch.randn(1, 5, 4).expand(2, -1, -1)
    torch.testing.assert_close(target.act(observations[:1], {})[0], source.act(observations, {})[1])
    assert "network.actor.mean" in source.state_dict()
    assert all("mean" not in name for name, _ in source.networks.named_parameters())


def test_a_retired_seed_acts_by_zeros():
    algorithm = make(SEEDS)
    algorithm.retire(0)
    assert (contract.action(algorithm)[0] == 0).all()


@pytest.mark.parametrize(
    "check",
    [
        contract.assert_seeds_independent,
        contract.assert_deterministic,
        contract.assert_state_is_whole,
        contract.assert_never_waits,
    ],
)
def test_as_every_method(check):
    check(make, DATA)


def test_poison_stays():
    contract.assert_poison_stays(make, DATA, "actor")


def test_seed_view():
    contract.assert_seed_view_acts_alike(make(SEEDS))


@settings(max_examples=8, deadline=None)
@given(observation=st.integers(1, 5), action=st.integers(1, 4), batch=st.integers(1, 6))
def test_any_sizes(observation, action, batch):
    config = BCConfig(hidden_width=3, batch_size=batch, train_iterations=2)
    data = contract.transitions(observation, action, rows=20)
    contract.assert_seeds_independent(
        lambda seeds: make(seeds, config, Dimensions(observation, action)), data
    )
