"""A policy in gymnasium's form, against an evaluation's own way to act and in gymnasium's environments."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from algorithms.registry import methods
from bench.catalog import load_catalog
from bench.envs import make_simulator, robot_of
from bench.envs.batch import BatchedSimulator
from bench.errors import BenchError, WorkFailedError
from bench.evaluation.policy import Policy
from bench.evaluation.rollout import episode_keys, roll_out
from bench.presets import tasks_of
from tests.evaluation.policies import SEED, TASK, untrained

EPISODES, STEPS = 3, 4


class Watched(BatchedSimulator):
    """Writes down what the robots did and earned; ends everything after some steps."""

    def __init__(self, count):
        super().__init__(robot_of("hopper"), "d4rl", count)
        self.seen, self.done, self.paid = [], [], []

    def step(self, actions):
        self.seen.append(self.observations)
        self.done.append(actions)
        outcome = super().step(actions)
        self.paid.append(outcome.rewards)
        over = np.full(self.count, len(self.paid) == STEPS)
        return replace(outcome, truncated=over)


@pytest.mark.parametrize("name", [name for name in methods() if TASK.name in tasks_of(name)])
def test_actions_are_those_of_an_evaluation_of_the_same_draws(name):
    method = untrained(name)
    with Watched(EPISODES) as simulator:
        roll_out(method.algorithm, simulator, evaluation=2, episodes=EPISODES)
    policy = Policy(method)
    policy.begin(episode_keys((SEED,), 2, range(EPISODES)))
    for seen, done, paid in zip(simulator.seen, simulator.done, simulator.paid, strict=True):
        actions = policy.act(seen)
        # To the last digit. What lies beyond the bounds an evaluation leaves to MuJoCo to cut off.
        assert np.array_equal(actions, done.clip(-1, 1))
        policy.earned(paid)
    assert len(simulator.paid) == STEPS
    assert (actions.shape, actions.dtype) == ((EPISODES, 3), np.float32)


def test_a_seed_chooses_what_is_random_whatever_came_before():
    policy = Policy(untrained("dtql"))
    observations = np.random.default_rng(0).normal(size=(5, 11))
    first = policy.act(observations, seed=4)
    policy.act(observations)
    policy.act(observations[:2], seed=9)
    assert np.array_equal(policy.act(observations, seed=4), first)
    assert not np.array_equal(policy.act(observations, seed=5), first)
    assert np.array_equal(policy.act(observations.astype(np.float32), seed=np.int64(4)), first)
    assert np.array_equal(policy.act(observations[:1], seed=4)[0], policy.act(observations[0], seed=4))


def test_an_episode_goes_on_and_begins_anew():
    policy = Policy(untrained("dtql"))
    observation = np.linspace(-1, 1, 11)
    played = [policy.act(observation) for _ in range(3)]
    assert len({action.tobytes() for action in played}) == 3
    policy.reset(seed=0)
    assert np.array_equal([policy.act(observation) for _ in range(3)], played)
    policy.reset(seed=1)
    assert not np.array_equal(policy.act(observation), played[0])


def test_a_history_is_of_the_episode():
    policy = Policy(untrained("dt"))
    observation = np.linspace(-1, 1, 11)
    first = policy.act(observation)
    policy.earned(1.0)
    assert not np.array_equal(policy.act(observation), first)
    policy.reset()
    assert np.array_equal(policy.act(observation), first)


def gymnasium_return(policy, name, seed):
    environment = gymnasium.make(name)
    observation, _ = environment.reset(seed=seed)
    policy.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action = policy.act(observation)
        assert environment.action_space.contains(action)
        observation, reward, terminated, truncated, _ = environment.step(action)
        policy.earned(reward)
        total, over = total + reward, terminated or truncated
    environment.close()
    return total


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize(
    ("method", "name", "task"),
    [
        ("dtql", "Hopper-v4", "hopper-medium-v2"),
        ("dt", "Hopper-v4", "hopper-medium-v2"),
        ("bc", "HalfCheetah-v4", "halfcheetah-medium-v2"),
    ],
)
def test_an_episode_in_gymnasiums_own_environment_is_that_of_modern_physics(method, name, task):
    task = load_catalog().task(task)
    policy = Policy(untrained(method, task))
    total = gymnasium_return(policy, name, seed=5)
    assert gymnasium_return(policy, name, seed=5) == total
    assert gymnasium_return(policy, name, seed=6) != total
    with make_simulator(task.environment, "modern", 1) as simulator:
        observations, ours = simulator.reset([5]), 0.0
        policy.reset(seed=5)
        while not simulator.finished.all():
            # In single precision as gymnasium got them: it takes the cost of control in theirs.
            outcome = simulator.step(policy.act(observations))
            policy.earned(outcome.rewards)
            observations, ours = outcome.observations, ours + outcome.rewards[0]
    assert ours == total
    # No robot without training earns more, nor loses more, in a thousand steps.
    assert -1000 < total < 1000


@pytest.mark.parametrize(
    ("observations", "told"),
    [
        (np.zeros(12), "observations of shape (12,)"),
        (np.zeros((2, 3, 11)), "observations of shape (2, 3, 11)"),
        (np.zeros((0, 11)), "observations of shape (0, 11)"),
        (3.0, "observations of shape ()"),
        (["high"] * 11, "no array of numbers"),
        ([0.0] * 4 + [float("nan")] + [0.0] * 6, "component 4 of observation 0 is nan"),
        (np.full((2, 11), 1e300), "component 0 of observation 0 is 1e+300"),
    ],
)
def test_wrong_observations_are_told(observations, told):
    with pytest.raises(BenchError) as error:
        Policy(untrained("bc")).act(observations)
    assert told in str(error.value)


def test_an_episode_that_cannot_go_on_is_told():
    policy = Policy(untrained("dtql"))
    policy.act(np.zeros((3, 11)))
    with pytest.raises(BenchError, match=r"2 observations, 3 at the beginning"):
        policy.act(np.zeros((2, 11)))
    acting = Policy(untrained("bc"))  # nothing is random in it: any number of robots at any time
    assert [len(acting.act(np.zeros((count, 11)))) for count in (3, 2)] == [3, 2]
    history = Policy(untrained("dt"))
    with pytest.raises(BenchError, match="since rewards were told: 0"):
        history.earned(1.0)
    history.act(np.zeros((2, 11)))
    with pytest.raises(BenchError, match="no reward was told"):
        history.act(np.zeros((2, 11)))
    with pytest.raises(BenchError, match="rewards"):
        history.earned(1.0)
    history.earned([1.0, 0.5])
    history.act(np.zeros((2, 11)))


def test_weights_that_give_no_number_are_told():
    method = untrained("bc")
    next(method.algorithm.networks["actor"].parameters()).data.fill_(float("nan"))
    with pytest.raises(WorkFailedError, match="trial 7 acts in numbers that are not finite"):
        Policy(method).act(np.zeros(11))
