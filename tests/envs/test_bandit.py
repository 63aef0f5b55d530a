"""The 2D problems by the papers' and scikit-learn's formulas, written down here anew, and as environments."""

import math

import numpy as np
import pytest

from bench.catalog import GeneratedDataset, load_catalog
from bench.envs import simulator_for
from bench.envs.bandit import PROBLEMS, gaussian_grid, generate, moons, problem_named, swiss_roll
from bench.errors import BenchError

TASKS = load_catalog().suite("bandit2d").tasks
ROWS = 20_000
CENTRES_OF_8 = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]


def drawn(name, rows=ROWS):
    points, energies = PROBLEMS[f"energy-{name}"].draw(np.random.default_rng(0), rows)
    assert points.shape == (rows, 2)
    assert energies.shape == (rows,)
    return points, energies


def earned(problem, points, data=None):
    points = np.array(points, dtype=float)
    return PROBLEMS[problem].reward_function(points if data is None else np.array(data))(points).tolist()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_facts_in_tasks_yaml_are_those_of_the_data(task):
    data = generate(task.dataset)
    assert data.actions.shape == (task.rows, 2)
    assert data.actions.dtype == data.rewards.dtype == np.float32
    assert np.abs(data.actions).max() == pytest.approx(task.action_bound, abs=2e-6)
    if task.name.endswith("same"):
        assert (task.reference.random, task.reference.expert) == (0, 1)
        assert not data.rewards.any()
    else:
        assert data.rewards.mean(dtype=float) == pytest.approx(task.reference.random, abs=2e-6)
        assert data.rewards.max() == pytest.approx(task.reference.expert, abs=2e-6)
    assert problem_named(task.dataset.problem).terminal == ("energy" in task.name)


def test_equal_seeds_give_equal_points_and_others_do_not():
    recipe = GeneratedDataset(source="generated", problem="energy-rings", rows=500, seed=3)
    assert np.array_equal(generate(recipe).actions, generate(recipe).actions)
    assert not np.array_equal(generate(recipe).actions, generate(recipe, seed=4).actions)
    assert len(generate(recipe, rows=20).rewards) == 20


def test_the_first_rows_are_a_fair_sample():
    recipe = GeneratedDataset(source="generated", problem="energy-moons", rows=ROWS, seed=0)
    # Half of them lie on the lower moon; 1,000 fair coins deviate by less than 0.07 with 1 - 1e-5.
    assert generate(recipe).rewards[:1000].mean() == pytest.approx(0.5, abs=0.07)


def test_25_gaussians_have_400_points_each():
    points = gaussian_grid(np.random.default_rng(0), 10_000)
    nearest = np.round(points / 5).astype(int)
    assert {tuple(cell) for cell in nearest.tolist()} == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}
    assert np.unique(nearest, axis=0, return_counts=True)[1].tolist() == [400] * 25
    assert (points - 5 * nearest).std() == pytest.approx(0.3, rel=0.02)


def test_dtqls_rewards_by_hand():
    points = [(3.0, 4.0), (-8.0, 15.0), (-8.0, 6.0), (0.0, 0.0)]
    assert earned("25gaussians-far", points) == [5, 17, 10, 0]
    assert earned("25gaussians-near", points) == [12, 0, 7, 17]
    assert earned("25gaussians-near", points, data=[(0.0, 20.0)]) == [15, 3, 10, 20]
    assert earned("25gaussians-hard", points) == [5, 34, 10, 0]
    assert earned("25gaussians-same", points) == [0, 0, 0, 0]
    assert earned("swissroll-far", points) == earned("25gaussians-far", points)


def test_the_swiss_roll_winds_once_and_a_half():
    points = swiss_roll(np.random.default_rng(0), ROWS, noise=0.0)
    radius = np.hypot(points[:, 0], points[:, 1])
    assert 1.5 * math.pi <= radius.min() < 4.72
    assert 14.13 < radius.max() <= 4.5 * math.pi
    # Uniform along t: mean 3 pi, deviation 3 pi / sqrt(12).
    assert radius.mean() == pytest.approx(3 * math.pi, abs=0.08)
    assert radius.std() == pytest.approx(3 * math.pi / math.sqrt(12), rel=0.02)
    turned = points[:, 0] * np.cos(radius) + points[:, 1] * np.sin(radius)
    np.testing.assert_allclose(turned, radius, rtol=1e-12)
    noisy = swiss_roll(np.random.default_rng(0), ROWS, noise=0.1)
    assert (noisy - points).std() == pytest.approx(0.1, rel=0.03)


def test_the_energy_swiss_roll_is_scaled_by_5():
    points, energies = drawn("swissroll")
    np.testing.assert_allclose(energies, (points[:, 0] ** 2 + points[:, 1] ** 2) / 9)
    assert np.hypot(*points.T).mean() == pytest.approx(3 * math.pi / 5, abs=0.05)
    assert earned("energy-swissroll", [(3.0, 0.0), (0.0, -6.0)]) == [1, 4]


def test_moons_are_scikit_learns_half_circles():
    points, label = moons(np.random.default_rng(0), 1001, noise=0.0)
    upper, lower = points[label == 0], points[label == 1]
    assert (len(upper), len(lower)) == (500, 501)
    np.testing.assert_allclose((upper**2).sum(axis=1), 1)
    np.testing.assert_allclose(((lower - (1.0, 0.5)) ** 2).sum(axis=1), 1)
    assert upper[:, 1].min() > -1e-12
    assert lower[:, 1].max() < 0.5 + 1e-12
    _, energies = drawn("moons")
    assert energies.mean() == 0.5
    # Plain (0, 1) is the top of the upper moon, (1, -0.5) the bottom of the lower; both times 2 and shifted.
    assert earned("energy-moons", [(-1.0, 1.8), (1.0, -1.2)]) == [0, 1]


@pytest.mark.parametrize("name", ["moons", "rings"])
def test_the_energy_of_the_plane_is_that_of_the_data_but_for_few_rows(name):
    points, energies = drawn(name)
    assert (np.array(earned(f"energy-{name}", points)) != energies).mean() < 3e-3


def test_rings_by_radius():
    points, energies = drawn("rings")
    radius = np.hypot(*points.T)
    for energy, ring in ((0.667, 3.0), (0.333, 2.25), (1.0, 1.5), (0.0, 0.75)):
        own = radius[energies == energy]
        assert len(own) == ROWS // 4
        # The tangential part of the noise lengthens the mean by 0.08^2 / 2r.
        assert own.mean() == pytest.approx(ring + 0.0064 / (2 * ring), abs=0.005)
        assert own.std() == pytest.approx(0.08, rel=0.05)
        assert earned("energy-rings", [(0.0, ring), (-ring - 0.3, 0.0)]) == [energy, energy]


def test_8_gaussians_by_the_nearest_centre():
    points, energies = drawn("8gaussians")
    directions = np.array([(x / math.hypot(x, y), y / math.hypot(x, y)) for x, y in CENTRES_OF_8])
    centres = 4 / 1.414 * directions
    assert earned("energy-8gaussians", centres) == pytest.approx(np.arange(8) / 7)
    nearest = (points @ directions.T).argmax(axis=1)
    np.testing.assert_allclose(energies, nearest / 7)
    assert (points - centres[nearest]).std() == pytest.approx(0.5 / 1.414, rel=0.02)
    assert np.bincount(nearest) / ROWS == pytest.approx([1 / 8] * 8, abs=0.01)


def test_spirals_earn_less_the_further_out():
    points, energies = drawn("2spirals")
    assert energies.min() >= 1 - 3 * math.pi / 10
    # n = 3 pi sqrt(U): E[n] = 2 pi.
    assert energies.mean() == pytest.approx(1 - 2 * math.pi / 10, abs=0.01)
    for n in (2.0, 5.0, 9.0):
        curve = np.array([-math.cos(n) * n + 0.25, math.sin(n) * n + 0.25]) / 3
        assert earned("energy-2spirals", [curve, -curve]) == pytest.approx([1 - n / 10] * 2, abs=1e-3)
    assert np.abs(np.array(earned("energy-2spirals", points)) - energies).mean() < 0.02


def test_the_checkerboard_has_eight_squares_of_one_colour():
    points, energies = drawn("checkerboard")
    cells = np.floor(points / 2).astype(int)
    assert not (cells.sum(axis=1) % 2).any()
    assert len(np.unique(cells, axis=0)) == 8
    assert np.abs(points).max() <= 4
    assert energies.mean() == pytest.approx(0.5, abs=0.02)
    columns = [(-3.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (3.0, 0.0)]
    assert earned("energy-checkerboard", columns) == [1, 0, 1, 0]


def test_a_misspelt_problem_names_the_nearest():
    with pytest.raises(BenchError, match="energy-rings"):
        problem_named("energy-ring")


# As environments


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
