from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.catalog import load_catalog
from bench.data import reader
from bench.data.dataset import RawDataset, qlearning_dataset, transitions_of
from bench.data.info import summarise
from bench.data.manifest import KnownFile
from bench.data.reader import read_file
from bench.data.rewards import transformed_rewards
from bench.errors import BenchError
from bench.files import sha256_of
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


class TestReadyMadeTransitions:
    """Transitions joined and cut rows dropped, as people dump qlearning_dataset's dictionary."""

    def made(self, content):
        kept = np.flatnonzero(~content["timeouts"][:-1])
        made = {name: content[name][kept] for name in ("observations", "actions", "rewards", "terminals")}
        return made | {"next_observations": content["observations"][kept + 1]}

    def test_each_is_one_with_its_own_successor(self, tmp_path):
        made = self.made(columns())
        raw = read_file(write(tmp_path / "hopper.hdf5", made), hopper())
        transitions = transitions_of(raw, hopper())
        assert len(transitions) == 38
        for name, values in made.items():
            np.testing.assert_array_equal(getattr(transitions, name), values)
        assert raw.timeouts is None

    def test_they_are_those_of_the_rows_they_were_made_of(self, tmp_path):
        content = columns()
        rows = read_file(write(tmp_path / "rows.hdf5", content), hopper())
        made = read_file(write(tmp_path / "made.hdf5", self.made(content)), hopper())
        expected, found = transitions_of(rows, hopper()), transitions_of(made, hopper())
        for field in fields(expected):
            one, other = getattr(found, field.name), getattr(expected, field.name)
            if field.name == "next_actions":
                # What was done after the last of several that follow one another stands in no transition.
                unknown = np.isnan(one).all(axis=1)
                assert 0 < unknown.sum() <= found.trajectory_ends.sum()
                one, other = one[~unknown], other[~unknown]
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        for rule in ("none", "return_scaled_iql", "return_scaled_bdpo", "minus_one", "standardised"):
            np.testing.assert_array_equal(
                transformed_rewards(rule, found), transformed_rewards(rule, expected), err_msg=rule
            )

    def test_rows_in_any_order_keep_their_successors(self, tmp_path):
        order = np.random.default_rng(1).permutation(38)
        made = {name: values[order] for name, values in self.made(columns()).items()}
        transitions = transitions_of(read_file(write(tmp_path / "hopper.hdf5", made), hopper()), hopper())
        np.testing.assert_array_equal(transitions.next_observations, made["next_observations"])
        assert transitions.trajectory_ends.sum() > 30

    def test_episodes_end_where_rows_do_not_follow_one_another(self, tmp_path):
        # Rows 0-9 end in a terminal, 10-18 before the dropped row 19, 20-38 with the file.
        found = summarise(write(tmp_path / "hopper.hdf5", self.made(columns())), hopper())
        assert (found.episodes, found.terminals, found.timeouts) == (3, 1, 2)
        assert found.layout == "ready-made transitions"
        assert found.mean_length == pytest.approx(38 / 3)

    def test_a_presets_rule_for_cut_rows_changes_nothing(self, tmp_path):
        raw = read_file(write(tmp_path / "hopper.hdf5", self.made(columns())), hopper())
        assert len(transitions_of(raw, hopper(), "keep_terminal_timeouts")) == 38

    def test_d4rls_files_have_successors_beside_their_rows(self, tmp_path):
        """Their last one of an episode is the true successor, which the papers' code does not look at."""
        content = columns()
        successors = np.roll(content["observations"], -1, axis=0)
        ends = content["terminals"] | content["timeouts"]
        successors[ends] += 1.0
        both = content | {"next_observations": successors}
        rows = transitions_of(read_file(write(tmp_path / "rows.hdf5", content), hopper()), hopper())
        found = transitions_of(read_file(write(tmp_path / "both.hdf5", both), hopper()), hopper())
        for field in fields(rows):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(rows, field.name))

    def test_successors_that_contradict_the_rows_are_refused(self, tmp_path):
        content = columns()
        content["next_observations"] = np.roll(content["observations"], -1, axis=0)
        content["next_observations"][17, 3] += 0.01
        path = write(tmp_path / "hopper.hdf5", content)
        with pytest.raises(BenchError, match="next_observations of row 17 is not row 18") as caught:
            read_file(path, hopper())
        assert "Leave timeouts out" in caught.value.do_this

    def test_d4rls_own_file_is_rows_whatever_it_holds(self, tmp_path, monkeypatch):
        content = columns() | {"next_observations": np.ones((40, 11), np.float32)}
        path = write(tmp_path / "hopper.hdf5", content)
        known = KnownFile(sha256=sha256_of(path), bytes=path.stat().st_size)
        monkeypatch.setattr(reader, "known_file", lambda task: known)
        assert read_file(path, hopper()).next_observations is None

    def test_timeouts_none_of_which_is_set_say_nothing(self, tmp_path):
        """Cut rows dropped from every column, as a dump of all of them has it."""
        made = self.made(columns()) | {"timeouts": np.zeros(38, bool)}
        transitions = transitions_of(read_file(write(tmp_path / "hopper.hdf5", made), hopper()), hopper())
        np.testing.assert_array_equal(transitions.next_observations, made["next_observations"])

    @pytest.mark.parametrize("name", ["next_obs", "next_observation", "Next_States", "observations_next"])
    def test_successors_under_another_name_are_not_passed_over(self, tmp_path, name):
        made = self.made(columns())
        made[name] = made.pop("next_observations")
        for extra in ({}, {"timeouts": np.zeros(38, bool)}):
            with pytest.raises(BenchError, match=name) as caught:
                read_file(write(tmp_path / "hopper.hdf5", made | extra), hopper())
            assert f"Rename '{name}' to next_observations" in caught.value.do_this

    def test_rows_with_timeouts_may_hold_other_columns_of_what_is_next(self, tmp_path):
        content = columns()
        path = write(tmp_path / "hopper.hdf5", content | {"next_obs": content["observations"]})
        assert read_file(path, hopper()).layout == "rows in order"

    @pytest.mark.parametrize(
        "successors",
        [
            np.zeros((38, 10), np.float32),
            np.zeros((37, 11), np.float32),
            np.full((38, 11), np.nan, np.float32),
            np.zeros((38, 11), "S3"),
        ],
        ids=["of another shape", "too few", "not finite", "text"],
    )
    def test_successors_are_checked_like_observations(self, tmp_path, successors):
        made = self.made(columns()) | {"next_observations": successors}
        with pytest.raises(BenchError, match="next_observations"):
            read_file(write(tmp_path / "hopper.hdf5", made), hopper())


class TestBadFiles:
    def refused(self, path, task=None):
        with pytest.raises(BenchError) as caught:
            read_file(path, task or hopper())
        assert str(path) in caught.value.what
        assert caught.value.do_this
        return str(caught.value)

    def test_an_episode_cut_at_every_row_leaves_no_transition(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"timeouts": np.ones(40, bool)})
        assert "no transition" in self.refused(path)

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

    @pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals", "timeouts"])
    @pytest.mark.parametrize(
        "values",
        [
            np.array(["0"] * 40, "S1"),
            np.array([b"0"] * 40, object),
            np.zeros(40, complex),
            np.zeros(40, [("a", "f4"), ("b", "i4")]),
            np.float32(0),
        ],
        ids=["text", "texts", "complex", "compound", "one number"],
    )
    def test_other_types_than_numbers(self, tmp_path, key, values):
        self.refused(write(tmp_path / "hopper.hdf5", columns() | {key: values}))

    def test_a_name_for_each_number_is_none(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"terminals": None})
        with h5py.File(path, "r+") as file:
            kind = h5py.enum_dtype({"no": 0, "yes": 2}, "i4")
            file.create_dataset("terminals", data=np.zeros(40, "i4"), dtype=kind)
        assert "no numbers in terminals" in self.refused(path)

    @pytest.mark.parametrize("key", ["terminals", "timeouts"])
    @pytest.mark.parametrize("value", [np.nan, np.inf, 0.3, 0.999, 2, -1, 255])
    def test_flags_that_are_neither_0_nor_1(self, tmp_path, key, value):
        flags = columns()[key].astype(np.float64)
        flags[17] = value
        message = self.refused(write(tmp_path / "hopper.hdf5", columns() | {key: flags}))
        assert f"in {key} at row 17" in message

    def test_a_boolean_whose_byte_is_neither(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns())
        with h5py.File(path) as file:
            place = file["terminals"].id.get_offset()
        content = bytearray(path.read_bytes())
        content[place + 17] = 2
        path.write_bytes(content)
        assert "2 in terminals at row 17" in self.refused(path)

    @pytest.mark.parametrize("key", ["timeouts", "next_observations", "rewards"])
    def test_a_group_for_a_column(self, tmp_path, key):
        path = write(
            tmp_path / "hopper.hdf5", columns() | {key: None, f"{key}/rewards": columns()["rewards"]}
        )
        assert f"no numbers in {key}" in self.refused(path)

    def test_rewards_of_two_columns(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"rewards": np.zeros((40, 2), np.float32)})
        assert "rewards of shape (40, 2)" in self.refused(path)

    def test_lengths_that_differ(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"terminals": np.zeros(39, bool)})
        assert "terminals 39" in self.refused(path)

    @pytest.mark.parametrize("field", ["observations", "actions", "rewards"])
    @pytest.mark.parametrize("value", [np.nan, np.inf, -1e300, 1e39, 1e10])
    def test_not_finite(self, tmp_path, field, value):
        content = columns()
        content[field] = content[field].astype(np.float64)
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
