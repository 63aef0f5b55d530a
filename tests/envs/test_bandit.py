"""The 2D problems as environments of one step."""

import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.envs import simulator_for
from bench.errors import BenchError


def simulator(name, count):
    return simulator_for(load_catalog().task(f"bandit-{name}"), "none", count)


@pytest.mark.parametrize(("name", "terminal"), [("25gaussians-far", False), ("energy-rings", True)])
def test_an_episode_is_one_step(name, terminal):
    with simulator(name, 3) as bandit:
        assert (bandit.horizon, bandit.count) == (1, 3)
        assert np.array_equal(bandit.reset([5, 6, 7]), np.zeros((3, 1)))
        step = bandit.step(np.array([[3.0, 0.0], [0.0, 0.75], [-2.25, 0.0]]))
        expected = [0.667, 0.0, 0.333] if terminal else [3.0, 0.75, 2.25]
        assert step.rewards.tolist() == pytest.approx(expected)
        assert step.observations.tolist() == [[0.0]] * 3
        assert step.terminated.tolist() == [terminal] * 3
        assert step.truncated.tolist() == [not terminal] * 3


def test_what_is_finished_earns_nothing_until_it_is_reset():
    with simulator("swissroll-far", 2) as bandit:
        actions = np.array([[1.0, 0.0], [0.0, 2.0]])
        assert not bandit.step(actions).rewards.any()
        bandit.reset([0], [1])
        step = bandit.step(actions)
        assert step.rewards.tolist() == [0.0, 2.0]
        assert step.truncated.tolist() == [False, True]
        again = bandit.step(actions)
        assert not again.rewards.any()
        assert not again.truncated.any()


def test_near_counts_from_the_furthest_point_of_the_data():
    task = load_catalog().task("bandit-25gaussians-near")
    with simulator_for(task, "none", 1) as bandit:
        bandit.reset([0])
        # The largest reward of the data is that of its innermost point, a little below that of the origin.
        reward = bandit.step(np.zeros((1, 2))).rewards[0]
    assert task.reference.expert < reward < task.reference.expert + 0.1


def test_wrong_requests():
    with pytest.raises(BenchError, match="0 environments"):
        simulator("energy-moons", 0)
    with simulator("energy-moons", 2) as bandit:
        with pytest.raises(ValueError, match="1 seeds for 2"):
            bandit.reset([0])
        with pytest.raises(ValueError, match="shape"):
            bandit.step(np.zeros((2, 3)))
