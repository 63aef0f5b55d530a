from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.catalog import load_catalog
from bench.data.dataset import (
    RawDataset,
    Transitions,
    best_tenth,
    episodes,
    segment_lengths,
    segment_returns,
    transitions_of,
    with_next_actions,
)
from bench.errors import BenchError
from bench.presets import load_preset


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


def trajectories(lengths_and_returns, unfinished=0):
    """Trajectories that terminals end, numbered in their observations, and perhaps an unfinished one."""
    parts = [(length, total, True) for length, total in lengths_and_returns]
    parts += [(unfinished, 1e6, False)] if unfinished else []
    count = sum(length for length, _, _ in parts)
    rewards = np.concatenate([np.full(length, total / length) for length, total, _ in parts])
    ends = np.concatenate([np.arange(length) == length - 1 for length, _, _ in parts])
    terminals = ends & np.repeat([ended for _, _, ended in parts], [length for length, _, _ in parts])
    number = np.repeat(np.arange(len(parts)), [length for length, _, _ in parts]).astype(np.float32)
    return Transitions(
        observations=number[:, None],
        actions=np.arange(count, dtype=np.float32)[:, None],
        rewards=rewards.astype(np.float32),
        next_observations=number[:, None],
        terminals=terminals,
        trajectory_ends=ends,
        next_actions=np.arange(1, count + 1, dtype=np.float32)[:, None],
    )


def kept(transitions):
    """Numbers of the trajectories that are kept, each once, in the order of the rows."""
    return list(dict.fromkeys(best_tenth(transitions, "a").observations[:, 0].astype(int).tolist()))


def test_the_best_tenth_is_of_trajectories_and_not_of_rows():
    # Of 30 trajectories the three highest returns are those of 4, 11 and 29; 29 alone is half of all rows.
    returns = {4: 50.0, 11: 49.0, 29: 48.0}
    data = trajectories([(290 if n == 29 else 10, returns.get(n, float(n))) for n in range(30)])
    assert kept(data) == [4, 11, 29]
    chosen = best_tenth(data, "a")
    assert len(chosen) == 310
    # Whole rows, in the order of the file.
    rows = chosen.actions[:, 0].astype(int)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(chosen.rewards, data.rewards[rows])
    np.testing.assert_array_equal(chosen.terminals, data.terminals[rows])


def test_fewer_than_twenty_trajectories_leave_one_and_the_unfinished_never_counts():
    assert kept(trajectories([(3, 1.0), (3, 5.0), (3, 2.0)], unfinished=7)) == [1]
    assert kept(trajectories([(2, float(n)) for n in range(19)])) == [18]
    assert kept(trajectories([(2, float(n)) for n in range(20)])) == [18, 19]


def test_of_equal_returns_the_later_goes_first():
    assert kept(trajectories([(2, 1.0)] * 20)) == [18, 19]


def test_a_trajectory_is_cut_after_a_thousand_rows():
    """One of 2500 rows: two whole pieces, of which the second is better, and a rest that is left out."""
    data = trajectories([], unfinished=2500)
    data.rewards[:] = np.repeat([1.0, 2.0, 99.0], [1000, 1000, 500])
    chosen = best_tenth(data, "a")
    assert chosen.actions[:, 0].tolist() == list(range(1000, 2000))
    assert chosen.trajectory_ends[-1]


def test_without_a_whole_trajectory_there_is_no_best():
    with pytest.raises(BenchError, match="hopper has too few trajectories") as told:
        best_tenth(trajectories([], unfinished=999), "hopper")
    assert "None of its 999 transitions ends one" in str(told.value)


def test_ten_per_cent_cloning_asks_for_the_best_tenth():
    task = load_catalog().task("hopper-medium-v2")
    assert load_preset("bc-10", task).transitions.value == "best_tenth"
    assert load_preset("bc", task).transitions.value == "d4rl"
    observations = np.arange(41, dtype=np.float32)[:, None]
    raw = RawDataset(
        name=task.name,
        observations=observations,
        actions=observations,
        rewards=np.repeat(np.arange(21), 2)[:41].astype(np.float32),
        terminals=np.arange(41) % 2 == 1,
        timeouts=np.zeros(41, bool),
        horizon=1000,
    )
    assert transitions_of(raw, task, "best_tenth").observations[:, 0].tolist() == [36, 37, 38, 39]


def numbered(**changes):
    """Eight rows whose actions are their numbers; an episode is cut at row 2 and one ends at row 5."""
    numbers = np.arange(8, dtype=np.float32)[:, None]
    given = {
        "observations": numbers + 100,
        "actions": numbers,
        "rewards": numbers[:, 0],
        "terminals": np.arange(8) == 5,
        "timeouts": np.arange(8) == 2,
    }
    return RawDataset(name="numbered", horizon=1000, **(given | changes))


def test_the_next_action_is_that_of_the_next_row_even_where_that_row_is_dropped():
    found = transitions_of(numbered(), load_catalog().task("hopper-medium-v2"))
    assert found.actions[:, 0].tolist() == [0, 1, 3, 4, 5, 6]
    assert found.next_actions[:, 0].tolist() == [1, 2, 4, 5, 6, 7]
    assert with_next_actions(found, "numbered") is found


def test_of_ready_made_transitions_those_are_left_whose_next_action_is_known():
    """Row 2 is followed by another episode, row 7 by nothing; row 5 is terminal and needs no successor."""
    following = np.arange(1, 9, dtype=np.float32)[:, None] + 100
    following[[2, 5]] = 7.0
    raw = numbered(next_observations=following, timeouts=None)
    found = transitions_of(raw, load_catalog().task("hopper-medium-v2"))
    assert len(found) == 8
    chosen = with_next_actions(found, "ready made")
    assert chosen.actions[:, 0].tolist() == [0, 1, 3, 4, 5, 6]
    assert chosen.next_actions[[0, 1, 2, 3, 5], 0].tolist() == [1, 2, 4, 5, 7]
    assert np.isfinite(chosen.next_actions).all()
    assert chosen.trajectory_ends[-1]


def test_data_without_any_order_has_no_next_actions():
    """Every next observation is elsewhere."""
    raw = numbered(next_observations=np.full((8, 1), 7.0, np.float32), timeouts=None)
    raw = replace(raw, terminals=np.zeros(8, bool))
    found = transitions_of(raw, load_catalog().task("hopper-medium-v2"))
    with pytest.raises(BenchError, match="shuffled does not say which action follows which"):
        with_next_actions(found, "shuffled")


def test_whole_trajectories_keep_their_cut_rows_and_leave_an_unfinished_one_out():
    found = transitions_of(numbered(), load_catalog().task("hopper-medium-v2"), "whole_trajectories")
    assert found.actions[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(found.trajectory_ends).tolist() == [2, 5]
    whole = replace(numbered(), terminals=np.arange(8) == 7)
    assert len(transitions_of(whole, load_catalog().task("hopper-medium-v2"), "whole_trajectories")) == 8


def test_data_without_a_whole_trajectory_is_refused_where_windows_are_taken():
    raw = numbered(terminals=np.zeros(8, bool), timeouts=np.zeros(8, bool))
    with pytest.raises(BenchError, match="numbered has too few trajectories: not one that is whole"):
        transitions_of(raw, load_catalog().task("hopper-medium-v2"), "whole_trajectories")


def test_the_decision_transformer_asks_for_whole_trajectories():
    task = load_catalog().task("hopper-medium-v2")
    for variant in ("released", "corl"):
        assert load_preset("dt", task, variant).transitions.value == "whole_trajectories"
