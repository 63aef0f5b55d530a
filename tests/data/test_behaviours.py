"""Policies against torch's distributions and float64, the led ant on the maps by hand, the scripted hand."""

from itertools import permutations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from bench.catalog import load_catalog
from bench.data import make_policies
from bench.data.behaviours import (
    HOME,
    PATHS,
    BehaviourPolicy,
    KitchenBehaviour,
    Noisy,
    WayPoints,
    all_policies,
    cell_of,
    load_policy,
    next_cells,
    policy_path,
)
from bench.data.collect import relabelled
from bench.data.make_policies import Measurement, measure, measured, places_of, play
from bench.envs import ROBOTS, make_simulator, robot_of
from bench.envs.antmaze import MAZES
from bench.envs.kitchen import BOUNDS
from bench.envs.rules import States
from bench.errors import BenchError

# Numbers that a policy is given and that it answers with.
SIZES = {"hopper": (11, 3), "halfcheetah": (17, 6), "walker2d": (17, 6), "antmaze": (29, 8), "pen": (45, 24)}


def torch_distribution(environment, role, observations):
    """The same policy, built from torch's own layers and distributions in float64."""
    weights = {name: value.double() for name, value in load_file(policy_path(environment, role)).items()}

    def linear(name, inputs):
        return torch.nn.functional.linear(inputs, weights[f"{name}.weight"], weights[f"{name}.bias"])

    hidden = torch.relu(linear("fc2", torch.relu(linear("fc1", torch.from_numpy(observations)))))
    return linear("mean", hidden), linear("log_std", hidden).clamp(-5, 2).exp()


@pytest.mark.parametrize(("environment", "role"), all_policies())
def test_equals_torch(environment, role):
    generator = np.random.default_rng(0)
    dims = SIZES[environment]
    observations, noise = generator.normal(size=(32, dims[0])), generator.normal(size=(32, dims[1]))
    mean, deviation = torch_distribution(environment, role, observations)
    before_tanh = mean + deviation * torch.from_numpy(noise)
    expected_log = torch.distributions.Independent(
        torch.distributions.TransformedDistribution(
            torch.distributions.Normal(mean, deviation),
            [torch.distributions.TanhTransform(cache_size=1)],
        ),
        1,
    )
    policy = load_policy(environment, role)
    actions, log_probability = policy.sample_with_log_probability(observations, noise)
    assert actions.dtype == log_probability.dtype == np.float32
    assert policy.action_dim == dims[1]
    np.testing.assert_allclose(actions, torch.tanh(before_tanh), atol=2e-5)
    np.testing.assert_array_equal(policy.sample(observations, noise), actions)
    moderate = (before_tanh.abs() < 6).all(dim=1)  # beyond, torch's inverse of tanh loses the digits
    expected = expected_log.log_prob(torch.tanh(before_tanh))[moderate]
    np.testing.assert_allclose(log_probability[moderate], expected, atol=1e-3, rtol=1e-4)


def test_density_stays_finite_where_tanh_saturates():
    policy = load_policy("hopper", "expert")
    actions, log_probability = policy.sample_with_log_probability(np.full((4, 11), 50.0), np.ones((4, 3)))
    assert (np.abs(actions) == 1).any()
    assert np.isfinite(log_probability).all()


def test_every_policy_that_the_tasks_name_is_there():
    for task in load_catalog().tasks.values():
        # The kitchen's hand is a script, and one ant walks in all mazes.
        if task.collected and task.domain != "kitchen":
            environment = "antmaze" if task.domain == "antmaze" else task.environment
            for share in task.dataset.policies:
                assert load_policy(environment, share.role).action_dim == task.action_dim


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(BenchError, match="hopper-medium"):
        load_policy("hopper", "mediun")


@pytest.mark.parametrize(("environment", "role"), all_policies())
def test_what_was_measured_stands_in_the_metadata(environment, role):
    metadata = load_policy(environment, role).metadata
    assert (metadata["environment"], metadata["role"]) == (environment, role)
    mazes = ("umaze", "medium", "large")
    places = (
        {f"_{maze}": f"antmaze-{maze}" for maze in mazes} if environment == "antmaze" else {"": environment}
    )
    for part, place in places.items():
        task = next(task for task in load_catalog().tasks.values() if task.environment == place)
        for physics in ROBOTS[place].physics:
            prefix = f"{physics}{part}"
            assert int(metadata[f"{prefix}_episodes"]) >= 64
            assert float(metadata[f"{prefix}_standard_error"]) > 0
            mean = float(metadata[f"{prefix}_mean_return"])
            score = 100 * (mean - task.reference.random) / (task.reference.expert - task.reference.random)
            assert float(metadata[f"{prefix}_score"]) == pytest.approx(score, abs=0.06)


@pytest.mark.parametrize("physics", ["d4rl", "modern"])
def test_a_fresh_measurement_agrees_with_the_metadata(physics):
    policy = load_policy("hopper", "early")
    found = measure(policy, robot_of("hopper"), physics, 48, seed=1)
    error = found.returns.std(ddof=1) / np.sqrt(48)
    expected = float(policy.metadata[f"{physics}_mean_return"])
    assert abs(found.returns.mean() - expected) < 4 * np.hypot(
        error, float(policy.metadata[f"{physics}_standard_error"])
    )
    assert found.lengths.min() > 1
    assert found.lengths.max() <= 1000


def test_the_ant_reaches_goals_as_often_as_its_metadata_say():
    policy = load_policy("antmaze", "goal")
    umaze = places_of("antmaze", load_catalog())[0]
    reached = measure(umaze.behaviour(policy), umaze.rules, "d4rl", 12, seed=2).returns
    expected = float(policy.metadata["d4rl_umaze_mean_return"])
    assert set(reached) <= {0, 1}
    assert abs(reached.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / 12)
    assert expected > 0.6


def test_the_pens_expert_is_as_good_as_its_teacher():
    metadata = load_policy("pen", "expert").metadata
    for way in ("", "without_noise_"):
        ours, theirs = (float(metadata[f"{who}{way}d4rl_mean_return"]) for who in ("", "teacher_"))
        errors = [float(metadata[f"{who}{way}d4rl_standard_error"]) for who in ("", "teacher_")]
        assert abs(ours - theirs) < 3 * np.hypot(*errors)


def test_entries_of_a_measurement_by_hand():
    task = load_catalog().task("antmaze-umaze-v2")  # its scores are 0 for 0 and 100 for 1
    found = Measurement(np.array([0.0, 1, 1, 1]), np.array([700, 100, 200, 301])).as_metadata("here", task)
    assert found == {
        "here_episodes": "4",
        "here_mean_return": "0.75",
        "here_standard_error": "0.25",  # deviation 1/2, over the root of 4
        "here_mean_length": "325.2",
        "here_score": "75.0",
    }


def test_measuring_keeps_what_else_the_metadata_say(monkeypatch):
    monkeypatch.setattr(make_policies, "EPISODES", 2)
    before = {"origin": "a test", "d4rl_episodes": "7"}
    policy = BehaviourPolicy("hopper", "early", before, load_policy("hopper", "initial").layers)
    metadata = measured(policy, load_catalog()).metadata
    assert metadata["origin"] == "a test"
    assert metadata["d4rl_episodes"] == metadata["modern_episodes"] == "2"
    assert metadata["role"] == "early"


def test_the_ant_is_measured_in_every_maze():
    settings = places_of("antmaze", load_catalog())
    assert [setting.part for setting in settings] == ["_umaze", "_medium", "_large"]
    assert [setting.task.environment for setting in settings] == [
        f"antmaze{setting.part.replace('_', '-')}" for setting in settings
    ]
    for setting in settings:
        assert setting.rules.maze is setting.behaviour(None).maze


class Still:
    """Does the same, whatever it is asked."""

    noise_dim = 3

    def act(self, states, noise):
        return np.zeros((len(noise), 3), np.float32), np.zeros(len(noise), np.float32)


def test_episodes_are_played_to_their_ends():
    policy = load_policy("hopper", "initial")
    steps = list(play(policy, robot_of("hopper"), "d4rl", 3, seed=5))
    ends = np.array([step.terminated | step.truncated for _, step in steps])
    under_way = np.array([flags for flags, _ in steps])
    assert ends.sum(axis=0).tolist() == [1, 1, 1]
    np.testing.assert_array_equal(under_way.sum(axis=0), ends.argmax(axis=0) + 1)
    assert ends.argmax(axis=0).max() == len(steps) - 1
    (first, *_) = play(Still(), robot_of("hopper"), "d4rl", 3, seed=5)
    assert len(np.unique(first[1].observations, axis=0)) == 3  # each begins in its own way
    found = measure(policy, robot_of("hopper"), "d4rl", 3, seed=5)
    assert found.lengths.tolist() == (ends.argmax(axis=0) + 1).tolist()
    assert len(set(found.lengths)) > 1
    np.testing.assert_allclose(found.returns, sum(step.rewards for _, step in steps))


def test_noise_is_added_to_a_policys_sample_and_the_sum_clipped():
    policy = load_policy("hopper", "medium")
    generator = np.random.default_rng(3)
    observations, noise = generator.normal(size=(5, 11)), generator.normal(size=(5, 6)).astype(np.float32)
    empty = np.zeros((5, 0))
    states = States(empty, empty, empty, np.zeros(5), observations)
    actions, log_probabilities = policy.act(states, noise[:, :3])
    np.testing.assert_array_equal(actions, policy.sample(observations, noise[:, :3]))
    noisy, same = Noisy(policy, 0.5).act(states, noise)
    np.testing.assert_array_equal(same, log_probabilities)
    np.testing.assert_allclose(noisy, np.clip(actions + 0.5 * noise[:, 3:], -1, 1), rtol=1e-6)
    assert (np.abs(actions + 0.5 * noise[:, 3:]) > 1).any()
    assert noisy.dtype == np.float32
    assert (policy.noise_dim, Noisy(policy, 0.5).noise_dim) == (3, 6)


# The umaze is 1 1 1 1 1, its ant starts at (0, 0) and goes along x, along y and back along -x to (0, 8):
#              1 R 0 0 1
#              1 1 1 0 1
#              1 G 0 0 1
#              1 1 1 1 1


class Recorder:
    """A policy that keeps what it is asked and always wants the same."""

    action_dim = 8

    def __init__(self, action=0.0):
        self.action = action

    def sample_with_log_probability(self, observations, noise):
        self.observations, self.noise = observations, noise
        count = len(observations)
        return np.full((count, 8), self.action, np.float32), np.arange(count, dtype=np.float32)


def states_at(positions, goals):
    """Ants whose other observations are 102, 103, ..."""
    observations = np.tile(np.arange(100.0, 129), (len(positions), 1))
    observations[:, :2] = positions
    empty = np.zeros((len(positions), 0))
    return States(empty, empty, empty, np.zeros(len(positions)), observations, {"goal": np.array(goals)})


def target(maze, position, goal, noise=(0.0, 0.0)):
    """x and y that a robot at `position` is sent to, from its direction and the coordinate that must fit."""
    policy = Recorder()
    numbers = np.zeros((1, 18), np.float32)
    numbers[0, :2] = noise
    behaviour = WayPoints(policy, MAZES[maze])
    behaviour.act(states_at([position], [goal]), numbers)
    return policy.observations[0, 27:]


def direction(start, end):
    heading = np.subtract(end, start)
    return 10 * heading / np.hypot(*heading)


GOAL = (0.7, 8.6)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ((0.1, 0.1), (4.5, 0.5)),  # in the start cell: to the one beside it, half a metre off its centre
        ((-1.5, -0.7), (4.5, 0.5)),  # what lies below 0 counts as 0
        ((5, 0), (8.5, 0.5)),
        ((7, 1), (8.5, 0.5)),  # 4 to 8 m counts as the second cell, though the third is centred on 8
        ((9, 1), (8.5, 4.5)),
        ((9, 5), (8.5, 8.5)),
        ((9, 7.9), (8.5, 8.5)),
        ((9, 8.1), (4.5, 8.5)),
        ((5, 9), (0.5, 8.5)),
        ((1, 9), GOAL),  # in the goal's cell: to the goal itself
        ((1, 7), (0.5, 8.5)),  # seemingly in the wall below the goal
        ((90, -90), (8.5, 0.5)),  # far outside: by way of the nearest wall
    ],
)
def test_way_points_by_hand_in_the_umaze(position, expected):
    np.testing.assert_allclose(target("umaze", position, GOAL), direction(position, expected), rtol=1e-6)


def test_the_way_point_is_uniform_over_a_metre():
    # 0.9 and 0.2 are the normal distribution's values at 1.2816 and -0.8416.
    found = target("umaze", (0, 0), GOAL, noise=(1.2815516, -0.8416212))
    np.testing.assert_allclose(found, direction((0, 0), (4.9, 0.2)), rtol=1e-5)


def test_each_robot_has_its_own_way():
    """From the third row of the medium maze it is down to one goal and along the row to the other."""
    policy = Recorder()
    positions, goals = [(5, 9), (5, 9), (21, 21)], [(0.5, 16.5), (20.5, 20.5), (21, 22)]
    WayPoints(policy, MAZES["medium"]).act(states_at(positions, goals), np.zeros((3, 18), np.float32))
    expected = [direction((5, 9), (4.5, 12.5)), direction((5, 9), (8.5, 8.5)), (0, 10)]
    np.testing.assert_allclose(policy.observations[:, 27:], expected, atol=1e-5)


def test_cells_are_half_a_cell_off():
    positions = np.array([(0, 0), (3.99, 0), (4, 0), (-2, 7.99), (-2, 8), (33.5, 24.1)])
    assert cell_of(positions).tolist() == [[1, 1], [1, 1], [1, 2], [2, 1], [3, 1], [7, 9]]


def test_distances_in_the_medium_maze():
    """Steps to the goal at (6, 6), counted on the map; # is a wall."""
    counted = """
        ##  ##  ##  ##  ##  ##  ##  ##
        ##  10   9  ##  ##   8   9  ##
        ##   9   8  ##   6   7   8  ##
        ##  ##   7   6   5  ##  ##  ##
        ##   9   8  ##   4   3   2  ##
        ##  10  ##   6   5  ##   1  ##
        ##   9   8   7  ##   1   0  ##
        ##  ##  ##  ##  ##  ##  ##  ##
    """
    rows = [line.split() for line in counted.split("\n") if line.strip()]
    following = next_cells(MAZES["medium"], (6, 6))
    for row, cells in enumerate(rows):
        for column, steps in enumerate(cells):
            if steps == "##":
                continue
            cell = (row, column)
            for left in range(int(steps), 0, -1):
                after = tuple(following[cell])
                assert abs(after[0] - cell[0]) + abs(after[1] - cell[1]) == 1
                assert int(rows[after[0]][after[1]]) == left - 1
                cell = after
            assert cell == (6, 6)


def test_the_policy_gets_the_observation_without_x_and_y_and_its_own_noise():
    policy = Recorder()
    noise = np.arange(36, dtype=np.float32).reshape(2, 18) / 100
    behaviour = WayPoints(policy, MAZES["umaze"])
    assert behaviour.noise_dim == 18
    _, log_densities = behaviour.act(states_at([(0, 0), (1, 0)], [GOAL, GOAL]), noise)
    assert policy.observations.shape == (2, 29)
    assert policy.observations.dtype == np.float32
    np.testing.assert_array_equal(policy.observations[:, :27], [np.arange(102, 129)] * 2)
    np.testing.assert_array_equal(policy.noise, noise[:, 2:10])
    assert log_densities.tolist() == [0, 1]


def test_noise_is_added_and_the_sum_clipped():
    noise = np.zeros((1, 18), np.float32)
    noise[0, 10:] = [0, 1, -1, 2, -20, 0.25, -0.5, 3]
    states = states_at([(0, 0)], [GOAL])
    actions, _ = WayPoints(Recorder(0.7), MAZES["umaze"]).act(states, noise)
    np.testing.assert_allclose(actions, [[0.7, 0.9, 0.5, 1, -1, 0.75, 0.6, 1]], rtol=1e-6)
    assert actions.dtype == np.float32
    quieter, _ = WayPoints(Recorder(0.7), MAZES["umaze"], action_noise=0.1).act(states, noise)
    np.testing.assert_allclose(quieter, [[0.7, 0.8, 0.6, 0.9, -1, 0.725, 0.65, 1]], rtol=1e-6)


# Labels. Positions along x, the goal at 10.


def at(*places):
    return np.array([(place, 0.0) for place in places])


@pytest.mark.parametrize(
    ("places", "every", "single"),
    [
        ((0, 5, 9.6, 10, 10.4, 11, 10, 12), "01110100", "01000100"),
        ((0, 9.5, 9.4999, 10.5, 10.5001), "10100", "10100"),  # half a metre counts, more does not
        ((10, 10, 10), "110", "100"),  # nobody knows what follows the last row
        ((10, 0, 10), "010", "010"),
        ((10,), "0", "0"),
        ((0, 0, 0), "000", "000"),
    ],
)
def test_relabelling_by_hand(places, every, single):
    goal = np.array([10.0, 0.0])
    positions = at(*places)
    assert relabelled(positions, goal).dtype == bool
    assert "".join(str(int(row)) for row in relabelled(positions, goal)) == every
    assert "".join(str(int(row)) for row in relabelled(positions, goal, single=True)) == single


def test_relabelling_measures_in_the_plane():
    goal = np.array([3.0, 4.0])
    positions = np.array([(0, 0), (3.3, 4.3), (3.4, 4.4), (3, 3.5), (0, 4), (3, 0)])
    assert relabelled(positions, goal).tolist() == [True, False, True, False, False, False]


STEPS = {name: sum(row[-2] + row[-1] for row in path) for name, path in PATHS.items()}


def play_kitchen(environment, behaviour, seeds):
    """Returns (N,), done elements (N, 4) and all actions (T, N, 9) of one episode each."""
    generator = np.random.default_rng(0)
    actions, returns = [], np.zeros(len(seeds))
    with make_simulator(environment, "d4rl", len(seeds)) as simulator:
        simulator.reset(seeds)
        while not simulator.finished.all():
            action, _ = behaviour.act(simulator.states, generator.standard_normal((len(seeds), 9)))
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
    elements = ROBOTS["kitchen"].elements
    returns, done, actions = play_kitchen("kitchen", KitchenBehaviour(0.02, elements, shuffled=False), [0, 1])
    assert returns.tolist() == [4, 4]
    assert done.all()
    assert np.abs(actions).max() <= 1
    assert actions.dtype == np.float32


def test_does_some_of_the_mixed_task_with_noise_and_differs_between_episodes():
    returns, done, _ = play_kitchen("kitchen-mixed", KitchenBehaviour(0.1), [1, 2, 3])
    assert (returns >= 1).all()
    np.testing.assert_array_equal(returns, done.sum(axis=1))
    assert len({tuple(row) for row in done.tolist()}) > 1


def test_four_elements_fit_the_horizon():
    longest_four = sorted(STEPS.values())[-4:]
    assert sum(longest_four) <= ROBOTS["kitchen"].horizon


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
    behaviour = KitchenBehaviour(0.1, ROBOTS["kitchen"].elements)
    seen = [tuple(order) for order in behaviour.order(states([0] * 1200)).tolist()]
    counts = [seen.count(order) for order in permutations(range(4))]
    assert sum(counts) == 1200
    assert stats.chisquare(counts).pvalue > 1e-4
    assert behaviour.order(states([7] * 1200)).tolist() == [list(order) for order in seen]


def test_noise_must_be():
    with pytest.raises(ValueError, match="deviation of 0"):
        KitchenBehaviour(0)
