"""Behaviour policies against torch's distributions and against formulas in float64."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.catalog import load_catalog
from bench.data import make_policies
from bench.data.behaviours import BehaviourPolicy, Noisy, all_policies, load_policy, policy_path
from bench.data.make_policies import Measurement, measure, measured, play, settings_of
from bench.envs import RULES, rules_of
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
        for physics in RULES[place].physics:
            prefix = f"{physics}{part}"
            assert int(metadata[f"{prefix}_episodes"]) >= 64
            assert float(metadata[f"{prefix}_standard_error"]) > 0
            mean = float(metadata[f"{prefix}_mean_return"])
            score = 100 * (mean - task.reference.random) / (task.reference.expert - task.reference.random)
            assert float(metadata[f"{prefix}_score"]) == pytest.approx(score, abs=0.06)


@pytest.mark.parametrize("physics", ["d4rl", "modern"])
def test_a_fresh_measurement_agrees_with_the_metadata(physics):
    policy = load_policy("hopper", "early")
    found = measure(policy, rules_of("hopper"), physics, 48, seed=1)
    error = found.returns.std(ddof=1) / np.sqrt(48)
    expected = float(policy.metadata[f"{physics}_mean_return"])
    assert abs(found.returns.mean() - expected) < 4 * np.hypot(
        error, float(policy.metadata[f"{physics}_standard_error"])
    )
    assert found.lengths.min() > 1
    assert found.lengths.max() <= 1000


def test_the_ant_reaches_goals_as_often_as_its_metadata_say():
    policy = load_policy("antmaze", "goal")
    umaze = settings_of("antmaze", load_catalog())[0]
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
    settings = settings_of("antmaze", load_catalog())
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
    steps = list(play(policy, rules_of("hopper"), "d4rl", 3, seed=5))
    ends = np.array([step.terminated | step.truncated for _, step in steps])
    under_way = np.array([flags for flags, _ in steps])
    assert ends.sum(axis=0).tolist() == [1, 1, 1]
    np.testing.assert_array_equal(under_way.sum(axis=0), ends.argmax(axis=0) + 1)
    assert ends.argmax(axis=0).max() == len(steps) - 1
    (first, *_) = play(Still(), rules_of("hopper"), "d4rl", 3, seed=5)
    assert len(np.unique(first[1].observations, axis=0)) == 3  # each begins in its own way
    found = measure(policy, rules_of("hopper"), "d4rl", 3, seed=5)
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
