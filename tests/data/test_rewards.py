import numpy as np
import pytest

from bench.data.dataset import Transitions
from bench.data.rewards import transformed_rewards
from bench.errors import BenchError


def transitions(rewards, terminals=None, jumps=(), ends=None):
    """Transitions along a line of observations, which jumps after the rows `jumps`."""
    count = len(rewards)
    observations = np.arange(count, dtype=np.float32)
    for row in jumps:
        observations[row + 1 :] += 100
    following = observations + 1
    flags = np.zeros(count, bool) if terminals is None else np.array(terminals, bool)
    return Transitions(
        observations=observations[:, None],
        actions=np.zeros((count, 1), np.float32),
        rewards=np.array(rewards, np.float32),
        next_observations=following[:, None],
        terminals=flags,
        trajectory_ends=flags if ends is None else np.array(ends, bool),
        next_actions=np.zeros((count, 1), np.float32),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", [0, 1, 3]),
        ("minus_one", [-1, 0, 2]),
        ("centred_by_four", [-2, 2, 10]),
        ("times_hundred", [0, 100, 300]),
        ("ten_minus_five", [-5, 5, 25]),
        ("minimum_to_maximum", [-1, -1 / 3, 1]),
        # mean 4/3, sum of squared deviations 42/9, divided by 2: sd sqrt(7/3)
        ("standardised", [-4 / 3 / (7 / 3) ** 0.5, -1 / 3 / (7 / 3) ** 0.5, 5 / 3 / (7 / 3) ** 0.5]),
    ],
)
def test_by_hand(name, expected):
    found = transformed_rewards(name, transitions([0, 1, 3]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_iql_cuts_where_observations_jump_and_at_terminals():
    # Trajectories: rows 0-1 (jump), 2-3 (terminal), 4 (incomplete): returns 3, 9, 100; span 97.
    data = transitions([1, 2, 4, 5, 100], terminals=[0, 0, 0, 1, 0], jumps=[1])
    found = transformed_rewards("return_scaled_iql", data)
    np.testing.assert_allclose(found, np.array([1, 2, 4, 5, 100]) * 1000 / 97, rtol=1e-6)


def test_srpo_counts_to_a_thousand_and_leaves_the_incomplete_end_out():
    rewards = np.ones(2300)
    rewards[0] = 41  # first 1000 rows: return 1040
    terminals = np.zeros(2300, bool)
    terminals[1199] = True  # 200 rows up to the terminal: 200; then 1000 rows: 1000; 100 are left out
    data = transitions(rewards, terminals, jumps=[500])
    found = transformed_rewards("return_scaled_srpo", data)
    np.testing.assert_allclose(found, rewards * 1000 / (1040 - 200), rtol=1e-6)


def test_bdpo_cuts_at_the_files_flags_and_counts_the_incomplete_end():
    data = transitions([1, 2, 4, 5, 1], terminals=[0, 0, 0, 0, 0], jumps=[0], ends=[0, 1, 0, 1, 0])
    found = transformed_rewards("return_scaled_bdpo", data)
    np.testing.assert_allclose(found, np.array([1, 2, 4, 5, 1]) * 1000 / (9 - 1), rtol=1e-6)


@pytest.mark.parametrize("name", ["standardised", "minimum_to_maximum", "return_scaled_iql"])
def test_equal_rewards_cannot_be_scaled(name):
    with pytest.raises(BenchError, match="equal"):
        transformed_rewards(name, transitions([1, 1, 1]))


def test_no_complete_trajectory():
    with pytest.raises(BenchError, match="no complete trajectory"):
        transformed_rewards("return_scaled_srpo", transitions([1, 2, 3]))


def test_unknown_name():
    with pytest.raises(BenchError, match=r"(?s)'minus-one'.*minus_one"):
        transformed_rewards("minus-one", transitions([1, 2]))
