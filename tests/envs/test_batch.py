"""The batched simulator against gymnasium itself: every difference must be exactly zero."""

import gymnasium
import numpy as np
import pytest

from bench.data.behaviours import load_policy
from bench.envs import make_simulator
from bench.envs.physics import restore_capsule_inertia
from bench.errors import BenchError

IDS = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}


def gymnasium_environments(environment, physics, count):
    environments = [gymnasium.make(IDS[environment]) for _ in range(count)]
    for one in environments:
        if physics == "d4rl":
            total = 14.0 if environment == "halfcheetah" else None
            restore_capsule_inertia(one.unwrapped.model, "old", total_mass=total)
    return environments


def assert_equal_over_episodes(environment, physics, steps, choose_actions, count=3, threads=2):
    """Step both side by side, resetting what ends; return the ends seen as (terminated, truncated)."""
    references = gymnasium_environments(environment, physics, count)
    ends = np.zeros(2, dtype=int)
    next_seed = count
    with make_simulator(environment, physics, count, threads) as simulator:
        observations = simulator.reset(range(count))
        for slot, reference in enumerate(references):
            np.testing.assert_array_equal(reference.reset(seed=slot)[0], observations[slot])
        for _ in range(steps):
            actions = choose_actions(observations)
            step = simulator.step(actions)
            observations = step.observations
            for slot, reference in enumerate(references):
                expected, reward, terminated, truncated, _ = reference.step(actions[slot])
                np.testing.assert_array_equal(expected, step.observations[slot])
                assert reward == step.rewards[slot]
                assert (terminated, truncated) == (step.terminated[slot], step.truncated[slot])
                np.testing.assert_array_equal(reference.unwrapped.data.qpos, simulator.qpos[slot])
                np.testing.assert_array_equal(reference.unwrapped.data.qvel, simulator.qvel[slot])
                if terminated or truncated:
                    ends += (terminated, truncated)
                    observations = simulator.reset([next_seed], [slot])
                    np.testing.assert_array_equal(reference.reset(seed=next_seed)[0], observations[slot])
                    next_seed += 1
    return ends


@pytest.mark.parametrize("physics", ["d4rl", "modern"])
@pytest.mark.parametrize("environment", IDS)
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_equals_gymnasium_under_random_actions(environment, physics, precision):
    generator = np.random.default_rng(7)
    action_dim = 3 if environment == "hopper" else 6

    def random_actions(_):
        return generator.uniform(-1.2, 1.2, (3, action_dim)).astype(precision)

    steps = 1010 if environment == "halfcheetah" else 500
    ends = assert_equal_over_episodes(environment, physics, steps, random_actions)
    assert ends[1 if environment == "halfcheetah" else 0] >= 3


@pytest.mark.parametrize("physics", ["d4rl", "modern"])
@pytest.mark.parametrize("environment", IDS)
def test_equals_gymnasium_under_a_policy(environment, physics):
    policy = load_policy(environment, "medium")
    generator = np.random.default_rng(11)

    def policy_actions(observations):
        return policy.sample(observations, generator.standard_normal((3, policy.action_dim)))

    ends = assert_equal_over_episodes(environment, physics, 1010, policy_actions)
    assert ends.sum() >= 3


def test_a_finished_environment_waits_until_it_is_reset_alone():
    actions = np.ones((3, 3))
    with make_simulator("hopper", "modern", 3) as simulator:
        simulator.reset([1, 2, 3])
        simulator.stop([1])
        before = simulator.observations
        step = simulator.step(actions)
        np.testing.assert_array_equal(step.observations[1], before[1])
        assert step.rewards[1] == 0
        assert not (step.terminated[1] or step.truncated[1])
        assert (step.observations[[0, 2]] != before[[0, 2]]).any(axis=1).all()
        assert simulator.finished.tolist() == [False, True, False]
        others = step.observations[[0, 2]]
        np.testing.assert_array_equal(simulator.reset([9], [1])[[0, 2]], others)
        assert not simulator.finished.any()


def test_nothing_moves_before_the_first_reset():
    with make_simulator("walker2d", "d4rl", 2) as simulator:
        step = simulator.step(np.ones((2, 6)))
        assert not step.rewards.any()
        assert simulator.finished.all()


def test_threads_do_not_change_the_numbers():
    generator = np.random.default_rng(0)
    actions = generator.uniform(-1, 1, (50, 7, 6))
    results = []
    for threads in (1, 2, 9):
        with make_simulator("halfcheetah", "d4rl", 7, threads) as simulator:
            simulator.reset(range(7))
            results.append([simulator.step(action).observations for action in actions])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_state_is_set_as_gymnasium_sets_it():
    (reference,) = gymnasium_environments("walker2d", "modern", 1)
    reference.reset(seed=0)
    generator = np.random.default_rng(1)
    qpos, qvel = generator.normal(0, 0.1, (1, 9)), generator.normal(size=(1, 9))
    qpos[0, 1] += 1.25
    reference.unwrapped.set_state(qpos[0], qvel[0])
    action = generator.uniform(-1, 1, (1, 6))
    with make_simulator("walker2d", "modern", 2) as simulator:
        simulator.reset([5, 0])
        simulator.set_state(qpos, qvel, [1])
        step = simulator.step(np.repeat(action, 2, axis=0))
    np.testing.assert_array_equal(reference.step(action[0])[0], step.observations[1])


def test_wrong_requests_are_refused():
    with pytest.raises(BenchError, match="0 environments"):
        make_simulator("hopper", "d4rl", 0)
    with make_simulator("hopper", "d4rl", 2) as simulator:
        with pytest.raises(ValueError, match=r"\(2, 4\)"):
            simulator.step(np.zeros((2, 4)))
        with pytest.raises(ValueError, match="3 seeds for 2"):
            simulator.reset([1, 2, 3])
