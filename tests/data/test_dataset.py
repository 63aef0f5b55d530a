import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.data.dataset import RawDataset, episodes, segment_lengths, segment_returns


@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=30))
def test_segments_equal_a_plain_loop(rows):
    rewards = np.array([reward for reward, _ in rows], np.float32)
    ends = np.array([end for _, end in rows])
    returns, lengths, total, length = [], [], 0.0, 0
    for row, (reward, end) in enumerate(rows):
        total, length = total + reward, length + 1
        if end or row == len(rows) - 1:
            returns.append(total)
            lengths.append(length)
            total, length = 0.0, 0
    assert segment_returns(rewards, ends).tolist() == returns
    assert segment_lengths(ends).tolist() == lengths


def test_episodes_end_at_terminals_and_timeouts():
    rewards = np.array([1, 2, 4, 8, 16, 32], np.float32)
    raw = RawDataset(
        name="made up",
        observations=np.zeros((6, 1), np.float32),
        actions=np.zeros((6, 1), np.float32),
        rewards=rewards,
        terminals=np.array([0, 1, 0, 0, 0, 0], bool),
        timeouts=np.array([0, 0, 0, 1, 0, 0], bool),
        horizon=100,
    )
    found = episodes(raw)
    assert found.returns.tolist() == [3, 12, 48]
    assert found.lengths.tolist() == [2, 2, 2]
    assert not found.last_is_whole
