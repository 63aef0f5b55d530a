"""Fitting a behaviour policy to another: losses by hand and against torch, formats, and a small fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.catalog import load_catalog
from bench.data import make_policies
from bench.data.behaviours import layers_of, load_policy
from bench.data.make_policies import (
    ASSIGNMENTS,
    ClippedGaussian,
    Recorded,
    Student,
    WithoutNoise,
    measure,
    places_of,
    quantile_distance,
    squared_error,
)
from bench.envs import robot_of
from bench.envs.rules import States

TEACHERS = {
    "ant": Path("../shared/data/real/ant_goal_reaching_policy.npz"),
    "pen": Path("../shared/data/real/pen_expert_policy.npz"),
}


def teacher_of(name):
    if not TEACHERS[name].is_file():
        pytest.skip("the policy that was fitted is not beside the project")
    return ASSIGNMENTS[name].read(TEACHERS[name])


def constant(mean, log_std):
    return torch.tensor([[float(mean)]]), torch.tensor([[float(log_std)]])


def test_squared_error_by_hand():
    student = (torch.tensor([[1.0, 2], [0, 0]]), torch.tensor([[0.0, 0], [0, -1]]))
    teacher = (torch.tensor([[0.0, 2], [0, -3]]), torch.tensor([[0.0, 0], [0, 1]]))
    assert squared_error(student, teacher).item() == pytest.approx((1 + 9) / 4 + 4 / 4)
    assert squared_error(student, student).item() == 0


def test_quantile_distance_by_hand():
    # Without spread only the places count: tanh(0) = 0 and 2, clipped to 1; twice, as quantiles and median.
    assert quantile_distance(constant(0, -20), constant(2, -20)).item() == pytest.approx(2, rel=1e-6)
    # Half way to 1 is the inverse hyperbolic tangent of 1/2.
    assert quantile_distance(constant(np.arctanh(0.5), -20), constant(0.5, -20)).item() < 1e-12
    # So little that tanh does nothing: middles of ninths of a normal, deviations 0.01 and 0.03.
    middles = [1.5932, 0.9674, 0.5895, 0.2822]
    expected = 2 * sum(middle**2 for middle in middles) / 9 * 0.02**2
    found = quantile_distance(constant(0, np.log(0.01)), constant(0, np.log(0.03))).item()
    assert found == pytest.approx(expected, rel=2e-3)
    # Where half of all samples are clipped, always 1 is better than never near it.
    teacher = constant(1, np.log(0.3))
    assert quantile_distance(constant(3, -5), teacher) < quantile_distance(constant(0, -5), teacher)


def test_a_file_centres_and_scales_as_the_student_does(tmp_path):
    generator = np.random.default_rng(0)
    inputs = (5 + 20 * generator.normal(size=(300, 6)) * np.arange(1, 7)).astype(np.float32)
    torch.manual_seed(0)
    student = Student(inputs, 3)
    save_file(student.tensors(), tmp_path / "file")
    arrays = {name: tensor.numpy() for name, tensor in load_file(tmp_path / "file").items()}
    policy = replace(load_policy("hopper", "medium"), layers=layers_of(arrays))
    with torch.no_grad():
        mean, log_std = student(torch.from_numpy(inputs))
    found_mean, found_log_std = policy.mean_and_log_std(inputs)
    np.testing.assert_allclose(found_mean, mean, atol=2e-5)
    np.testing.assert_allclose(found_log_std, log_std, atol=2e-5)
    assert np.ptp(found_mean) > 0.1
    again = student.as_policy(ASSIGNMENTS["pen"], {"a": "b"})
    np.testing.assert_array_equal(again.mean_and_log_std(inputs)[0], found_mean)
    assert (again.environment, again.role, again.metadata) == ("pen", "expert", {"a": "b"})


def clipped_gaussian():
    """Two inputs and one action: a = 1 + 4 (x0 / 2 - 1) without the tanh's bends, deviation e^-1."""
    small = 1e-3
    return ClippedGaussian(
        {
            "in_shift": np.array([2, 0], np.float32),
            "in_scale": np.array([2, 1], np.float32),
            "fc0_weight": np.array([[small, 0]], np.float32),
            "fc0_bias": np.zeros(1, np.float32),
            "fc1_weight": np.ones((1, 1), np.float32),
            "fc1_bias": np.zeros(1, np.float32),
            "fc2_weight": np.full((1, 1), 2 / small, np.float32),
            "fc2_bias": np.zeros(1, np.float32),
            "out_scale": np.array([2], np.float32),
            "out_shift": np.array([1], np.float32),
            "log_std": np.array([-1.0]),
        }
    )


def test_a_clipped_gaussian_by_hand():
    policy = clipped_gaussian()
    observations = np.array([[2, 9], [1, 9], [4, 9]], np.float32)
    mean, log_std = policy.mean_and_log_std(observations)
    np.testing.assert_allclose(mean[:, 0], [1, -1, 5], rtol=1e-4)
    assert log_std.tolist() == [[-1]] * 3
    noise = np.array([[-1], [1], [-20]], np.float32)
    actions, log_densities = policy.sample_with_log_probability(observations, noise)
    np.testing.assert_allclose(
        actions[:, 0], [1 - np.exp(-1), -1 + np.exp(-1), max(5 - 20 * np.exp(-1), -1)], rtol=1e-3
    )
    expected = torch.distributions.Normal(0, np.exp(-1)).log_prob(torch.from_numpy(noise) * np.exp(-1))
    np.testing.assert_allclose(log_densities, expected[:, 0], rtol=1e-4)
    assert policy.action_dim == 1
    # Far away both layers bend: tanh(1) is 0.76159.
    far, _ = policy.mean_and_log_std(np.array([[2e6 + 2, 0]], np.float32))
    assert far.item() == pytest.approx(2 * 2000 * 0.76159 + 1, rel=1e-4)


def test_without_noise_everything_is_the_median():
    policy = Recorded(clipped_gaussian())
    observations = np.array([[1.8, 0]])
    empty = np.zeros((1, 0))
    states = States(empty, empty, empty, np.zeros(1), observations)
    still = WithoutNoise(policy)
    assert still.noise_dim == 1
    actions, _ = still.act(states, np.ones((1, 1), np.float32))
    np.testing.assert_allclose(actions, [[0.6]], rtol=1e-3)
    np.testing.assert_array_equal(policy.inputs, observations.astype(np.float32))


def test_the_teachers_are_read_rightly():
    """The pen's expert earns what was measured before, 3551 +- 110 without noise; hardly any other would."""
    expert = WithoutNoise(Recorded(teacher_of("pen")))
    found = measure(expert, robot_of("pen"), "d4rl", 32, seed=3)
    assert abs(found.returns.mean() - 3551) < 4 * np.hypot(110, found.standard_error)
    ant = teacher_of("ant")
    assert ant.action_dim == 8
    assert ant.mean_and_log_std(np.zeros((2, 29)))[0].shape == (2, 8)


def test_a_small_fit_comes_nearer_to_its_teacher(monkeypatch):
    monkeypatch.setattr(make_policies, "ROUNDS", 2)
    monkeypatch.setattr(make_policies, "ITERATIONS", 30)
    monkeypatch.setattr(make_policies, "LAST_ITERATIONS", 100)
    acted = []
    real = make_policies.visited

    def noted(assignment, policy, *others):
        acted.append(policy)
        return real(assignment, policy, *others)

    monkeypatch.setattr(make_policies, "visited", noted)
    assignment = replace(ASSIGNMENTS["ant"], episodes=2, rules=lambda rules: replace(rules, horizon=40))
    teacher = load_policy("antmaze", "goal")
    settings = places_of("antmaze", load_catalog())
    student = make_policies.fit(assignment, teacher, settings, seed=0)
    inputs = real(assignment, teacher, settings, 9)
    assert inputs.shape == (2 * 40 * 3, 29)
    targets = tuple(map(torch.from_numpy, teacher.mean_and_log_std(inputs)))
    torch.manual_seed(0)
    with torch.no_grad():
        before = squared_error(Student(inputs, 8)(torch.from_numpy(inputs)), targets)
        after = squared_error(student(torch.from_numpy(inputs)), targets)
    assert after < before / 2
    assert acted[0] is teacher
    assert len(acted) == 2
    assert acted[1] is not teacher  # the second round is the student's


def test_only_states_of_episodes_under_way_are_learned_from():
    """An episode of the pen ends where it drops: then there are fewer inputs than steps and environments."""
    assignment = replace(ASSIGNMENTS["pen"], episodes=6)
    (setting,) = places_of("pen", load_catalog())
    flat = replace(clipped_gaussian(), tensors=dropping_tensors())
    inputs = make_policies.visited(assignment, flat, [setting], seed=1)
    lengths = measure(Recorded(flat), setting.rules, "d4rl", 6, seed=1).lengths
    assert len(inputs) == lengths.sum() < 6 * lengths.max()


def dropping_tensors():
    """Of a hand that moves at random and so drops its pen, sooner or later."""
    small = clipped_gaussian().tensors
    return small | {
        "in_shift": np.zeros(45, np.float32),
        "in_scale": np.ones(45, np.float32),
        "fc0_weight": np.zeros((1, 45), np.float32),
        "fc2_weight": np.zeros((24, 1), np.float32),
        "fc2_bias": np.zeros(24, np.float32),
        "out_scale": np.ones(24, np.float32),
        "out_shift": np.zeros(24, np.float32),
        "log_std": np.zeros(24),
    }
