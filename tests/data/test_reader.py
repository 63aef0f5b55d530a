from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.catalog import load_catalog
from bench.data.dataset import RawDataset
from bench.data.reader import qlearning_dataset, read_file, transitions_of
from bench.errors import BenchError
from bench.presets import load_preset
from tests.data.files import columns, hopper, write


def slow_d4rl(terminals, timeouts, horizon, terminate_on_end):
    """The rows that D4RL's loop keeps, written anew from its rules."""
    kept, step = [], 0
    for row in range(len(terminals) - 1):
        done = terminals[row]
        final = timeouts[row] if timeouts is not None else step == horizon - 1
        if final and not terminate_on_end:
            step = 0
            continue
        if done or final:
            step = 0
        kept.append(row)
        step += 1
    return kept


def raw_of(terminals, timeouts, horizon=5):
    rows = len(terminals)
    return RawDataset(
        name="made up",
        observations=np.arange(rows, dtype=np.float32)[:, None],
        actions=np.zeros((rows, 1), np.float32),
        rewards=np.arange(rows, dtype=np.float32) * 10,
        terminals=np.array(terminals, dtype=bool),
        timeouts=None if timeouts is None else np.array(timeouts, dtype=bool),
        horizon=horizon,
    )


def test_transitions_by_hand(tmp_path):
    content = columns(rows=6)
    content["terminals"][:] = [0, 0, 1, 0, 0, 0]
    content["timeouts"][:] = [0, 0, 0, 0, 1, 0]
    raw = read_file(write(tmp_path / "hopper.hdf5", content), hopper())
    transitions = qlearning_dataset(raw)

    # Row 4 was cut, row 5 is the last: both go. Row 2 is terminal and keeps the next episode's first row.
    np.testing.assert_array_equal(transitions.observations, content["observations"][[0, 1, 2, 3]])
    np.testing.assert_array_equal(transitions.next_observations, content["observations"][[1, 2, 3, 4]])
    np.testing.assert_array_equal(transitions.actions, content["actions"][[0, 1, 2, 3]])
    np.testing.assert_array_equal(transitions.rewards, content["rewards"][[0, 1, 2, 3]])
    assert transitions.terminals.tolist() == [False, False, True, False]
    assert transitions.trajectory_ends.tolist() == [False, False, True, True]
    assert transitions.observations.dtype == transitions.rewards.dtype == np.float32
    assert transitions.terminals.dtype == bool


@settings(max_examples=200, deadline=None)
@given(
    flags=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40),
    with_timeouts=st.booleans(),
    terminate_on_end=st.booleans(),
    horizon=st.integers(2, 6),
)
def test_same_rows_as_d4rls_loop(flags, with_timeouts, terminate_on_end, horizon):
    terminals = [terminal for terminal, _ in flags]
    timeouts = [timeout for _, timeout in flags] if with_timeouts else None
    raw = raw_of(terminals, timeouts, horizon)
    kept = slow_d4rl(terminals, timeouts, horizon, terminate_on_end)
    transitions = qlearning_dataset(raw, terminate_on_end=terminate_on_end)
    assert transitions.observations[:, 0].tolist() == kept
    assert transitions.next_observations[:, 0].tolist() == [row + 1 for row in kept]
    assert transitions.rewards.tolist() == [10.0 * row for row in kept]
    assert transitions.terminals.tolist() == [terminals[row] for row in kept]


def test_without_timeouts_the_count_starts_at_one_after_a_terminal():
    # Horizon 4. Row 2 is terminal; then D4RL counts 1, 2, 3 at rows 3, 4, 5: row 5 is cut, not row 6.
    raw = raw_of([0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], None, horizon=4)
    assert qlearning_dataset(raw).observations[:, 0].tolist() == [0, 1, 2, 3, 4, 6, 7, 8]


def test_trajectories_end_before_a_dropped_row_and_at_terminals():
    transitions = qlearning_dataset(raw_of([0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0]))
    assert transitions.observations[:, 0].tolist() == [0, 1, 3, 4, 5]
    assert transitions.trajectory_ends.tolist() == [False, True, False, True, True]


def test_bdpo_keeps_rows_that_are_cut_and_terminal():
    raw = raw_of([0, 0, 1, 0, 0, 0], [0, 0, 1, 0, 1, 0])
    assert qlearning_dataset(raw).observations[:, 0].tolist() == [0, 1, 3]
    kept = qlearning_dataset(raw, keep_terminal_timeouts=True)
    assert kept.observations[:, 0].tolist() == [0, 1, 2, 3]
    assert kept.trajectory_ends.tolist() == [False, False, True, True]


def test_a_presets_rule_decides_on_terminal_rows_that_were_cut():
    raw = raw_of([0, 0, 1, 0], [0, 1, 1, 0])
    rows = {rule: len(transitions_of(raw, hopper(), rule)) for rule in ("d4rl", "keep_terminal_timeouts")}
    assert rows == {"d4rl": 1, "keep_terminal_timeouts": 2}
    presets = {name: load_preset(name, hopper()).transitions.value for name in ("bdpo", "dtql", "edp-td3")}
    assert presets == {"bdpo": "keep_terminal_timeouts", "dtql": "d4rl", "edp-td3": "d4rl"}


def test_columns_of_width_one_and_other_types_are_read(tmp_path):
    content = columns()
    content["rewards"] = content["rewards"].astype(np.float64)[:, None]
    content["terminals"] = content["terminals"].astype(np.uint8)[:, None]
    raw = read_file(write(tmp_path / "hopper.hdf5", content), hopper())
    assert raw.rewards.shape == raw.terminals.shape == (40,)
    assert raw.rewards.dtype == np.float32
    assert np.flatnonzero(raw.terminals).tolist() == [9]


def test_recorded_demonstrations_come_back(tmp_path):
    """Human demonstrations, laid out as in D4RL's file: the pairs must be the recorded ones."""
    recording = Path("../shared/data/real/pen_human_demos.npz")
    if not recording.is_file():
        pytest.skip("the recorded pen demonstrations are not beside the project")
    demos = np.load(recording)
    last = np.flatnonzero(np.diff(demos["episode"], append=-1))
    content = {
        # Every episode's last next observation is one more row, at which it was cut.
        "observations": np.insert(demos["observations"], last + 1, demos["next_observations"][last], axis=0),
        "actions": np.insert(demos["actions"], last + 1, 0, axis=0),
        "rewards": np.insert(demos["rewards_sparse"], last + 1, 0),
        "timeouts": np.insert(np.zeros(len(demos["episode"]), bool), last + 1, True),
    }
    content["terminals"] = np.zeros_like(content["timeouts"])
    task = load_catalog().task("pen-human-v1")
    found = qlearning_dataset(read_file(write(tmp_path / "pen.hdf5", content), task))
    assert found.trajectory_ends.sum() == 25
    for field, recorded in [("observations",) * 2, ("next_observations",) * 2, ("rewards", "rewards_sparse")]:
        np.testing.assert_array_equal(getattr(found, field), demos[recorded])


class TestBadFiles:
    def refused(self, path, task=None):
        with pytest.raises(BenchError) as caught:
            read_file(path, task or hopper())
        assert str(path) in caught.value.what
        assert caught.value.do_this
        return str(caught.value)

    def test_absent(self, tmp_path):
        assert "bench data fetch hopper-medium-v2" in self.refused(tmp_path / "absent.hdf5")

    @pytest.mark.parametrize("content", [b"", b"<html>Not Found</html>" * 100])
    def test_not_hdf5(self, tmp_path, content):
        path = tmp_path / "hopper.hdf5"
        path.write_bytes(content)
        assert f"not an HDF5 file ({len(content):,} bytes)" in self.refused(path)

    @pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
    def test_truncated(self, tmp_path, kept):
        path = write(tmp_path / "hopper.hdf5", columns(rows=500))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
        assert "truncated" in self.refused(path)

    def test_damaged_inside(self, tmp_path):
        path = tmp_path / "hopper.hdf5"
        with h5py.File(path, "w") as file:
            for key, values in columns(rows=500).items():
                file.create_dataset(key, data=values, compression="gzip")
        content = bytearray(path.read_bytes())
        start = content.index(b"\x78\x5e") if b"\x78\x5e" in content else content.index(b"\x78\x9c")
        content[start : start + 200] = bytes(200)
        path.write_bytes(content)
        self.refused(path)

    @pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals"])
    def test_missing_key(self, tmp_path, key):
        message = self.refused(write(tmp_path / "hopper.hdf5", columns() | {key: None}))
        assert f"lacks {key}" in message

    def test_text_where_numbers_belong(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"rewards": np.array([b"a"] * 40)})
        assert "no numbers in rewards" in self.refused(path)

    def test_another_tasks_dimensions(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns(observation_dim=17, action_dim=6))
        message = self.refused(path)
        assert "observations of shape (40, 17)" in message
        assert "(rows, 11)" in message

    def test_another_robot_of_the_same_dimensions(self, tmp_path):
        walker_data = columns(observation_dim=17, action_dim=6)
        path = write(tmp_path / "file.hdf5", walker_data)
        read_file(path, load_catalog().task("walker2d-medium-v2"))
        assert "not data of halfcheetah" in self.refused(path, load_catalog().task("halfcheetah-medium-v2"))

    def test_rewards_of_two_columns(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"rewards": np.zeros((40, 2), np.float32)})
        assert "rewards of shape (40, 2)" in self.refused(path)

    def test_lengths_that_differ(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"terminals": np.zeros(39, bool)})
        assert "terminals 39" in self.refused(path)

    @pytest.mark.parametrize("field", ["observations", "actions", "rewards"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, tmp_path, field, value):
        content = columns()
        content[field][17] = value
        message = self.refused(write(tmp_path / "hopper.hdf5", content))
        assert f"in {field} at row 17" in message

    def test_actions_out_of_bounds(self, tmp_path):
        content = columns()
        content["actions"][5, 1] = -1.0005
        read_file(write(tmp_path / "hopper.hdf5", content), hopper())
        content["actions"][5, 1] = -1.25
        message = self.refused(write(tmp_path / "hopper.hdf5", content))
        assert "1.25 at row 5" in message

    def test_no_rows(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", {key: values[:0] for key, values in columns().items()})
        assert "0 rows" in self.refused(path)
