"""The scripted hand of the kitchen: what it earns, its densities, and that it keeps no state of its own."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from bench.data.behaviours import HOME, PATHS, KitchenBehaviour
from bench.envs import RULES, make_simulator
from bench.envs.kitchen import BOUNDS
from bench.envs.rules import States

STEPS = {name: sum(row[-2] + row[-1] for row in path) for name, path in PATHS.items()}


def play(environment, behaviour, seeds):
    """Returns (N,), done elements (N, 4) and all actions (T, N, 9) of one episode each."""
    generator = np.random.default_rng(0)
    actions, returns = [], np.zeros(len(seeds))
    with make_simulator(environment, "d4rl", len(seeds)) as simulator:
        simulator.reset(seeds)
        while not simulator.finished.all():
            action, _ = behaviour.act(simulator._states, generator.standard_normal((len(seeds), 9)))
            actions.append(action)
            returns += simulator.step(action).rewards
        return returns, simulator.memory["done"], np.array(actions)


def states(elapsed, observed=None, seed=0):
    """Of N episodes of made-up noise, each as many steps old as `elapsed` says."""
    count = len(elapsed)
    observations = np.zeros((count, 60))
    observations[:, :9] = np.append(HOME, HOME[-1]) if observed is None else observed
    noise = np.random.default_rng(seed).uniform(-0.01, 0.01, (count, 281, 30))
    empty = np.empty((count, 0))
    return States(empty, empty, empty, np.asarray(elapsed), observations, {"noise": noise})


def test_does_all_of_the_complete_task_with_little_noise():
    elements = RULES["kitchen"].elements
    returns, done, actions = play("kitchen", KitchenBehaviour(0.02, elements, shuffled=False), [0, 1])
    assert returns.tolist() == [4, 4]
    assert done.all()
    assert np.abs(actions).max() <= 1
    assert actions.dtype == np.float32


def test_does_some_of_the_mixed_task_with_noise_and_differs_between_episodes():
    returns, done, _ = play("kitchen-mixed", KitchenBehaviour(0.1), [1, 2, 3])
    assert (returns >= 1).all()
    np.testing.assert_array_equal(returns, done.sum(axis=1))
    assert len({tuple(row) for row in done.tolist()}) > 1


def test_four_elements_fit_the_horizon():
    longest_four = sorted(STEPS.values())[-4:]
    assert sum(longest_four) <= RULES["kitchen"].horizon


def test_the_paths_are_within_the_controllers_bounds():
    for path in PATHS.values():
        assert path[-1][:8] == HOME
        targets = np.array([row[:8] for row in path])
        assert (targets >= BOUNDS[:8, 0]).all()
        assert (targets <= BOUNDS[:8, 1]).all()


def test_an_action_is_the_scripted_one_and_noise_with_its_density():
    behaviour, count = KitchenBehaviour(0.3), 20
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((count, 9))
    now = states(range(count), observed=generator.uniform(-0.1, 0.1, (count, 9)) + np.append(HOME, HOME[-1]))
    actions, densities = behaviour.act(now, noise)
    scripted = np.clip((behaviour.targets(now) - now.observations[:, :9]) / 0.16, -1, 1)
    deviations = np.array([0.3] * 7 + [0.06] * 2)
    unclipped = scripted + deviations * noise
    np.testing.assert_allclose(actions, np.clip(unclipped, -1, 1), atol=1e-6)
    expected = stats.norm.logpdf(unclipped, scripted, deviations).sum(axis=1)
    np.testing.assert_allclose(densities, expected, rtol=1e-5)
    assert (actions.dtype, densities.dtype, behaviour.noise_dim) == (np.float32, np.float32, 9)
    assert (np.abs(unclipped) > 1).any()


def test_the_targets_go_along_the_paths_one_after_the_other():
    behaviour = KitchenBehaviour(0.1, ("light switch", "slide cabinet"), shuffled=False)
    light, slide = STEPS["light switch"], STEPS["slide cabinet"]
    at = behaviour.targets(states([0, 13, light - 1, light + 10, light + slide - 1, light + slide, 279]))
    home = np.append(HOME, HOME[-1])
    first, second = PATHS["light switch"][0], PATHS["slide cabinet"][0]
    assert (first[-2], second[-2:]) == (14, (11, 0))
    np.testing.assert_allclose(at[0, :8], home[:8] + (np.array(first[:8]) - home[:8]) / 14)
    np.testing.assert_allclose(at[1, :8], first[:8])
    np.testing.assert_allclose(at[3, :8], second[:8])
    for row in (2, 4, 5, 6):
        np.testing.assert_allclose(at[row], home)
    np.testing.assert_array_equal(at[:, 7], at[:, 8])


def test_no_target_jumps_faster_than_the_arm_follows():
    behaviour = KitchenBehaviour(0.1)
    every = np.array([behaviour.targets(states([step] * 6)) for step in range(280)])
    assert np.abs(np.diff(every, axis=0)).max() < 0.16


def test_every_episode_stands_on_its_own():
    behaviour, now = KitchenBehaviour(0.2), states([5, 100, 279, 0])
    noise = np.random.default_rng(2).standard_normal((4, 9))
    actions, densities = behaviour.act(now, noise)
    for row in range(4):
        alone = States(
            now.qpos[[row]],
            now.qvel[[row]],
            now.points[[row]],
            now.elapsed[[row]],
            now.observations[[row]],
            {"noise": now.memory["noise"][[row]]},
        )
        one, density = KitchenBehaviour(0.2).act(alone, noise[[row]])
        np.testing.assert_array_equal(one[0], actions[row])
        assert density[0] == densities[row]


def test_every_order_of_the_elements_is_equally_likely():
    """1,200 episodes over the 24 orders of four: 50 each, with a deviation of 7."""
    behaviour = KitchenBehaviour(0.1, RULES["kitchen"].elements)
    seen = [tuple(order) for order in behaviour.order(states([0] * 1200)).tolist()]
    counts = [seen.count(order) for order in permutations(range(4))]
    assert sum(counts) == 1200
    assert stats.chisquare(counts).pvalue > 1e-4
    assert behaviour.order(states([7] * 1200)).tolist() == [list(order) for order in seen]


def test_noise_must_be():
    with pytest.raises(ValueError, match="deviation of 0"):
        KitchenBehaviour(0)
