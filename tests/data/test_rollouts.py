"""Episodes come by number and without favour to short ones."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench.data.rollouts import roll_out
from bench.envs.rules import States, Step


class StubPolicy:
    """Acts with its own noise, so that the noise can be seen."""

    noise_dim = 1

    def act(self, states, noise):
        return noise, noise.sum(axis=1)


class StubSimulator:
    """Episodes whose length depends on the seed alone, from 1 to 7 steps; observes (seed mod 7, step)."""

    horizon, observation_dim, action_dim = 7, 2, 1
    rules = SimpleNamespace(recorded={})

    def __init__(self, count):
        self.count = count
        self.seed, self.clock, self.running = [np.zeros(count, dtype=np.int64) for _ in range(3)]
        self.steps = 0

    @property
    def observations(self):
        return np.stack([self.seed, self.clock], axis=1).astype(np.float64)

    @property
    def states(self):
        seen = self.observations
        return States(seen, seen, np.empty((self.count, 0, 3)), self.clock, seen)

    def reset(self, seeds, slots):
        self.seed[slots] = [seed % 7 for seed in seeds]
        self.clock[slots], self.running[slots] = 0, 1
        return self.observations

    def stop(self, slots):
        self.running[slots] = 0

    def step(self, actions):
        self.steps += self.running.sum()
        self.clock += self.running
        fell = (self.clock == self.seed + 1) & (self.clock < 7) & (self.running == 1)
        late = (self.clock == 7) & (self.running == 1)
        self.running[fell | late] = 0
        return Step(self.observations, np.ones(self.count), fell | late, late)


def rolled_out(count, rows):
    simulator = StubSimulator(count)
    return list(roll_out(StubPolicy(), simulator, np.random.SeedSequence(5), rows)), simulator


@pytest.mark.parametrize("rows", [1, 2, 30, 999])
def test_content_does_not_depend_on_how_many_run_at_once(rows):
    reference, _ = rolled_out(1, rows)
    for count in (2, 5, 16):
        episodes, _ = rolled_out(count, rows)
        assert len(episodes) == len(reference)
        for one, other in zip(episodes, reference, strict=True):
            np.testing.assert_array_equal(one["observations"], other["observations"])
            np.testing.assert_array_equal(one["actions"], other["actions"])
            np.testing.assert_array_equal(one["timeouts"], other["timeouts"])
            np.testing.assert_array_equal(one["terminals"], other["terminals"])


def test_episodes_are_whole_and_the_last_is_cut_to_fit():
    episodes, _ = rolled_out(4, 1000)
    assert sum(map(len, episodes)) == 1000
    for episode in episodes[:-1]:
        length = int(episode["observations"][0, 0]) + 1
        assert len(episode) == length
        np.testing.assert_array_equal(episode["observations"][:, 1], range(length))
        assert not (episode["terminals"][:-1] | episode["timeouts"][:-1]).any()
        # Falling exactly at the horizon is a timeout, as in D4RL.
        assert (episode["terminals"][-1], episode["timeouts"][-1]) == (length < 7, length == 7)
    assert episodes[-1]["timeouts"][-1] or episodes[-1]["terminals"][-1]


def test_all_lengths_are_equally_frequent():
    episodes, _ = rolled_out(16, 20_000)
    lengths = np.bincount([len(episode) for episode in episodes], minlength=8)[1:]
    np.testing.assert_allclose(lengths, len(episodes) / 7, rtol=0.15)


def test_little_more_is_stepped_than_is_asked_for():
    _, simulator = rolled_out(4, 1000)
    assert simulator.steps <= 1000 + 4 * 7


def test_every_episode_has_its_own_noise():
    episodes, _ = rolled_out(3, 200)
    actions = np.concatenate([episode["actions"] for episode in episodes])
    assert len(np.unique(actions)) == 200
