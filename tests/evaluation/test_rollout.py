"""Rollouts of a stack against a plain loop over gymnasium's own environments."""

from contextlib import ExitStack

import gymnasium
import numpy as np
import pytest
import torch

from algorithms.base import Dimensions, Draw, derived_seed
from algorithms.dt import DT, DTConfig
from algorithms.dtql import DTQL, DTQLConfig
from bench.envs import make_simulator, robot_of
from bench.envs.physics import restore_capsule_inertia
from bench.evaluation.rollout import GraphedPolicy, roll_out
from bench.training.draws import DrawStream
from benchmarks.gpu.emulated import emulated_graphs

NAMES = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}
SIZES = {"hopper": (11, 3), "walker2d": (17, 6), "halfcheetah": (17, 6)}


class NoisyPolicy:
    """Acts by a linear map and noise of its own, both different for every seed."""

    device = torch.device("cpu")
    context = 0

    def __init__(self, environment, seeds):
        observation, action = SIZES[environment]
        self.dimensions, self.seeds = Dimensions(observation, action), tuple(seeds)
        self.act_draws = (Draw("noise", (action,), "normal"),)
        maps = [np.random.default_rng(seed).normal(size=(observation, action)) for seed in seeds]
        self.maps = torch.tensor(np.array(maps), dtype=torch.float32)

    def act(self, observations, draws):
        # One product per state, so that the numbers do not depend on how many are together.
        means = (observations.unsqueeze(-1) * self.maps.unsqueeze(1)).sum(dim=2)
        return torch.tanh(0.1 * means + 0.5 * draws["noise"])


def rolled(environment, seeds, evaluation=1, episodes=3, physics="d4rl", threads=1):
    with make_simulator(environment, physics, len(seeds) * episodes, threads) as simulator:
        policy = NoisyPolicy(environment, seeds)
        return roll_out(policy, simulator, evaluation=evaluation, episodes=episodes)


def plain_episode(environment, physics, seed, evaluation, episode):
    """Return and length of one episode, played by gymnasium alone."""
    env = gymnasium.make(NAMES[environment])
    if physics == "d4rl":
        restore_capsule_inertia(env.unwrapped.model, "old", total_mass=robot_of(environment).total_mass)
    policy, key = NoisyPolicy(environment, [seed]), f"{seed}/{evaluation}/{episode}"
    stream = DrawStream([key], "evaluation", policy.act_draws)
    observation, _ = env.reset(seed=derived_seed(key, "initial state"))
    total, length, over = 0.0, 0, False
    while not over:
        state = torch.from_numpy(observation.astype(np.float32)).reshape(1, 1, -1)
        noise = {"noise": stream.at(length)["noise"].unsqueeze(0)}
        action = policy.act(state, noise)[0, 0].numpy().astype(np.float64)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, length, over = total + reward, length + 1, terminated or truncated
    env.close()
    return total, length


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize(
    ("environment", "physics"), [("hopper", "d4rl"), ("hopper", "modern"), ("walker2d", "d4rl")]
)
def test_returns_and_lengths_are_those_of_gymnasium(environment, physics):
    seeds, episodes = (0, 7), 3
    rollouts = rolled(environment, seeds, evaluation=2, episodes=episodes, physics=physics)
    for slot, seed in enumerate(seeds):
        for episode in range(episodes):
            total, length = plain_episode(environment, physics, seed, 2, episode)
            assert rollouts.lengths[slot, episode] == length
            assert rollouts.returns[slot, episode] == total
    assert len(set(rollouts.lengths.ravel().tolist())) > 2  # episodes end at different times
    assert rollouts.finite.all()


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_an_episode_that_never_falls_ends_at_the_horizon():
    rollouts = rolled("halfcheetah", (4,), episodes=1)
    assert rollouts.lengths.tolist() == [[1000]]
    assert rollouts.returns[0, 0] == plain_episode("halfcheetah", "d4rl", 4, 1, 0)[0]


def test_a_seed_alone_and_among_five_plays_the_same():
    together = rolled("hopper", (0, 1, 2, 3, 4))
    alone = rolled("hopper", (3,))
    assert alone.returns[0].tolist() == together.returns[3].tolist()
    assert alone.lengths[0].tolist() == together.lengths[3].tolist()


def test_episodes_are_a_function_of_seed_evaluation_and_number():
    first, again, more = (
        rolled("hopper", (0,)),
        rolled("hopper", (0,), threads=2),
        rolled("hopper", (0,), episodes=5),
    )
    assert first.returns.tolist() == again.returns.tolist()
    assert more.returns[0, :3].tolist() == first.returns[0].tolist()
    later, other = rolled("hopper", (0,), evaluation=2), rolled("hopper", (1,))
    played = [*first.returns[0], *later.returns[0], *other.returns[0]]
    assert len(set(played)) == len(played)


def test_robots_in_two_groups_play_what_they_play_in_one():
    """Also where one group is over long before the other, and where the groups are not of one size."""
    whole = rolled("hopper", (0, 7), episodes=3)
    with make_simulator("hopper", "d4rl", 4) as first, make_simulator("hopper", "d4rl", 2) as second:
        policy = NoisyPolicy("hopper", (0, 7))
        steps = []
        halves = roll_out(policy, first, second, evaluation=1, episodes=3, on_step=steps.append)
    assert halves.returns.tolist() == whole.returns.tolist()
    assert halves.lengths.tolist() == whole.lengths.tolist()
    assert steps == list(range(whole.lengths.max()))


def test_goals_are_the_same_in_two_groups():
    def goals(*counts):
        with ExitStack() as opened:
            simulators = [
                opened.enter_context(make_simulator("antmaze-umaze", "d4rl", 2 * count)) for count in counts
            ]
            with pytest.raises(InterruptedError):
                roll_out(
                    Still((0, 3)),
                    *simulators,
                    evaluation=1,
                    episodes=3,
                    goals="per_episode",
                    on_step=interrupted,
                )
            return np.concatenate(
                [simulator.memory["goal"].reshape(2, -1, 2) for simulator in simulators], axis=1
            ).tolist()

    assert goals(2, 1) == goals(3)


def test_simulators_must_have_an_environment_for_every_episode():
    with make_simulator("hopper", "d4rl", 4) as simulator, pytest.raises(ValueError, match="for 2 episodes"):
        roll_out(NoisyPolicy("hopper", (0, 1)), simulator, evaluation=1, episodes=3)


def small_dtql(seeds=(0, 1)):
    config = DTQLConfig(
        hidden_width=16,
        diffusion_width=16,
        batch_size=8,
        candidates=4,
        pretrain_iterations=1,
        train_iterations=1,
    )
    return DTQL(Dimensions(11, 3), config, seeds)


def small_dt(seeds=(0, 1)):
    config = DTConfig(hidden_width=16, layers=1, context_length=4, time_steps=30, target_return=100.0)
    return DT(Dimensions(11, 3), config, seeds)


@pytest.mark.parametrize("made", [small_dtql, small_dt])
def test_a_method_that_acts_by_a_captured_graph_plays_what_it_plays_without(made):
    """Weights change in place between the two evaluations; the groups have graphs and pasts of their own."""
    method = made()
    with emulated_graphs():
        graphed = GraphedPolicy(method, "graph")
        for change in (0.0, 0.3):
            with torch.no_grad():
                for parameter in method.networks.parameters():
                    parameter += change * torch.sin(parameter)
            results = []
            for policy in (graphed, method):
                with (
                    make_simulator("hopper", "d4rl", 4) as first,
                    make_simulator("hopper", "d4rl", 2) as second,
                ):
                    played = roll_out(policy, first, second, evaluation=1, episodes=3)
                    results.append((played.returns.tolist(), played.lengths.tolist()))
            assert results[0] == results[1]
            if change == 0.0:
                before = results[0]
        assert results[0] != before


def test_an_action_that_is_not_finite_is_noticed_and_spoils_no_other_seed():
    class Broken(NoisyPolicy):
        def act(self, observations, draws):
            actions = super().act(observations, draws)
            actions[1, 0, 0] = torch.nan
            return actions

    with make_simulator("hopper", "d4rl", 6) as simulator:
        rollouts = roll_out(Broken("hopper", (0, 1)), simulator, evaluation=1, episodes=3)
    assert rollouts.finite.tolist() == [True, False]
    assert rollouts.returns[0].tolist() == rolled("hopper", (0,)).returns[0].tolist()


def test_breaking_off_goes_through():
    calls = []

    def stop(step):
        calls.append(step)
        if len(calls) == 4:
            raise InterruptedError

    with make_simulator("hopper", "d4rl", 1) as simulator, pytest.raises(InterruptedError):
        roll_out(NoisyPolicy("hopper", (0,)), simulator, evaluation=1, episodes=1, on_step=stop)


def test_evaluation_changes_neither_the_method_nor_the_global_generators():
    method = small_dtql()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    with make_simulator("hopper", "d4rl", 4) as simulator:
        roll_out(method, simulator, evaluation=1, episodes=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


class Remembering(NoisyPolicy):
    """Keeps what it was given and what it did; actions may depend on four steps."""

    context = 4

    def __init__(self, environment, seeds):
        super().__init__(environment, seeds)
        self.given, self.done = [], []

    def act(self, observations, draws):
        self.given.append({name: tensor.clone() for name, tensor in draws.items()} | {"now": observations})
        self.done.append(super().act(observations, draws))
        return self.done[-1]


def test_a_method_with_a_context_is_given_what_its_robots_saw_did_and_earned():
    policy, rewards = Remembering("hopper", (0, 7)), []
    with make_simulator("hopper", "d4rl", 4) as simulator:
        step = simulator.step

        def noted(actions):
            outcome = step(actions)
            rewards.append(torch.from_numpy(outcome.rewards.astype(np.float32)).view(2, 2))
            return outcome

        simulator.step = noted
        played = roll_out(policy, simulator, evaluation=1, episodes=2)
    assert played.lengths.max() > 6
    assert played.returns.tolist() == rolled("hopper", (0, 7), episodes=2).returns.tolist()
    for now, given in enumerate(policy.given):
        first = max(0, now - 3)
        assert int(given["step"]) == now
        for place, past in enumerate(range(first, now + 1)):
            assert torch.equal(given["past_observations"][:, :, place], policy.given[past]["now"])
            did = policy.done[past] if past < now else torch.zeros(2, 2, 3)
            assert torch.equal(given["past_actions"][:, :, place], did)
            earned = sum(rewards[:past], torch.zeros(2, 2))
            torch.testing.assert_close(given["past_returns"][:, :, place], earned, rtol=1e-5, atol=1e-5)
        behind = given["past_observations"][:, :, now - first + 1 :]
        assert not behind.any()


class Still(NoisyPolicy):
    """Does nothing, in AntMaze."""

    def __init__(self, seeds):
        super().__init__("hopper", seeds)

    def act(self, observations, draws):
        return torch.zeros(*observations.shape[:2], 8)


def goals_of(rule, seeds=(0, 3), evaluations=(1, 2), episodes=3):
    """Goals (evaluations, S, N, 2) that an evaluation draws by a rule."""
    found = []
    with make_simulator("antmaze-umaze", "d4rl", len(seeds) * episodes) as simulator:
        for evaluation in evaluations:
            with pytest.raises(InterruptedError):
                roll_out(
                    Still(seeds),
                    simulator,
                    evaluation=evaluation,
                    episodes=episodes,
                    goals=rule,
                    on_step=interrupted,
                )
            found.append(simulator.memory["goal"].reshape(len(seeds), episodes, 2))
    return np.stack(found)


def interrupted(step):
    raise InterruptedError


def different(goals):
    return len(np.unique(goals.reshape(-1, 2), axis=0))


def test_each_rule_of_goals_shares_what_its_paper_s_code_shares():
    assert different(goals_of("per_episode")) == 2 * 2 * 3
    per_evaluation = goals_of("per_evaluation")
    assert different(per_evaluation) == 2 * 2
    assert (per_evaluation == per_evaluation[:, :, :1]).all()
    per_run = goals_of("per_run")
    assert different(per_run) == 2
    assert (per_run == per_run[:1, :, :1]).all()
    per_environment = goals_of("per_environment")
    assert different(per_environment) == 2 * 3
    assert (per_environment == per_environment[:1]).all()


def test_a_goal_depends_on_its_seed_and_on_nothing_beside_it():
    for rule in ("per_episode", "per_evaluation", "per_run", "per_environment"):
        alone = goals_of(rule, seeds=(3,))
        assert (alone == goals_of(rule)[:, 1:]).all()
        assert (goals_of(rule, episodes=2) == goals_of(rule)[:, :, :2]).all()
