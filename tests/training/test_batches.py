"""The packed dataset gives back what was put in, row by row."""

import numpy as np
import pytest
import torch

from bench.training.batches import PackedDataset


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_come_back(dtype):
    generator = np.random.default_rng(0)
    arrays = {
        "observations": generator.normal(size=(10, 4)).astype(np.float32),
        "actions": generator.normal(size=(10, 2)).astype(np.float32),
        "next_observations": generator.normal(size=(10, 4)).astype(np.float32),
        "rewards": generator.normal(size=10).astype(np.float32),
        "terminals": np.arange(10) % 3 == 0,
    }
    data = PackedDataset.pack(*arrays.values(), dtype=dtype)
    assert len(data) == 10
    indices = torch.tensor([[0, 9, 9], [3, 1, 4]])
    batch = data.batch(indices)
    assert batch.keys() == arrays.keys()
    for name, array in arrays.items():
        assert batch[name].dtype == dtype
        np.testing.assert_array_equal(batch[name], array[indices.numpy()].astype(np.float64), err_msg=name)


def test_next_actions_come_where_they_are_asked_for():
    zeros, following = np.zeros((10, 2)), np.arange(20.0).reshape(10, 2)
    packed = (zeros, zeros, zeros, zeros[:, 0], zeros[:, 0] > 0)
    data = PackedDataset.pack(*packed, next_actions=following)
    indices = torch.tensor([[0, 9, 9], [3, 1, 4]])
    assert "next_actions" not in data.batch(indices)
    found = data.batch(indices, next_actions=True)["next_actions"]
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, following[indices.numpy()])
    assert data.double().batch(indices, next_actions=True)["next_actions"].dtype == torch.float64
    with pytest.raises(ValueError, match="without next actions"):
        PackedDataset.pack(*packed).batch(indices, next_actions=True)


def test_the_last_row_always_ends_a_trajectory():
    zeros, terminals = np.zeros((4, 2)), np.array([False, True, False, False])
    packed = (zeros, zeros, zeros, np.arange(4.0), terminals)
    assert PackedDataset.pack(*packed).ends.tolist() == [False, True, False, True]
    ends = np.array([True, False, False, False])
    data = PackedDataset.pack(*packed, ends=ends)
    assert data.ends.tolist() == [True, False, False, True]
    assert data.rewards.tolist() == [0, 1, 2, 3]
    # What was given is not changed.
    assert ends.tolist() == [True, False, False, False]
    assert terminals.tolist() == [False, True, False, False]


def test_windows_go_on_to_the_end_of_their_trajectory():
    """Ten rows, trajectories end at rows 3 and 4; the last row ends one though it is not marked."""
    numbers, zeros = np.arange(10.0)[:, None], np.zeros((10, 1))
    ends = np.isin(np.arange(10), (3, 4))
    rewards = 2.0 ** np.arange(10)
    data = PackedDataset.pack(numbers, 100 + numbers, zeros, rewards, ends)
    found = data.windows(torch.tensor([[0, 2, 4], [3, 5, 9]]), 3)
    places = [[[0, 1, 2], [2, 3, 3], [4, 4, 4]], [[3, 3, 3], [5, 6, 7], [9, 9, 9]]]
    within = [[[1, 1, 1], [1, 1, 0], [1, 0, 0]], [[1, 0, 0], [1, 1, 1], [1, 0, 0]]]
    assert found["observations"].squeeze(-1).tolist() == places
    assert found["actions"].squeeze(-1).tolist() == (100 + np.array(places)).tolist()
    assert found["valid"].tolist() == within
    times = np.array([0, 1, 2, 3, 0, 0, 1, 2, 3, 4])
    assert found["times"].tolist() == times[places].tolist()
    to_go = np.array([15, 14, 12, 8, 16, 992, 960, 896, 768, 512])
    assert found["returns_to_go"].tolist() == to_go[places].tolist()
    doubled = data.double().batch(torch.tensor([[1]]), window=2)
    assert {name: tensor.dtype for name, tensor in doubled.items()} == {
        "observations": torch.float64, "actions": torch.float64, "returns_to_go": torch.float64,
        "times": torch.int64, "valid": torch.float64,
    }  # fmt: skip
