"""Sets of Minari's layout: two that Minari wrote, and others written here as its `hdf5_storage.py` does."""

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench.data.add import Wanted, add
from bench.data.minari import convert, file_of
from bench.errors import BenchError
from bench.files import sha256_of
from tests.data.files import HOPPER_HEIGHT

WRITTEN = Path(__file__).parents[1] / "fixtures" / "minari"
"""By `tests/fixtures/make_minari.py`."""
NAME = "mujoco/hopper/medium-v0"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("BENCH_TASKS", raising=False)
    stand = tmp_path / "here"
    stand.mkdir()
    monkeypatch.chdir(stand)
    return tmp_path / "minari"


def episode(steps, number=0, **changes):
    """Columns of one episode; the last step ends it where its number is even, and cuts it where it is odd."""
    generator = np.random.default_rng(number)
    observations = generator.normal(size=(steps + 1, 11))
    observations[:, 0] = HOPPER_HEIGHT
    last = np.arange(steps) == steps - 1
    return {
        "observations": observations,
        "actions": generator.uniform(-1, 1, (steps, 3)).astype(np.float32),
        "rewards": generator.normal(size=steps),
        "terminations": last & (number % 2 == 0),
        "truncations": last & (number % 2 == 1),
    } | changes


def written(folder, episodes, name=NAME, description=None):
    data = folder / name / "data"
    data.mkdir(parents=True)
    with h5py.File(data / "main_data.hdf5", "w", track_order=True) as file:
        for number, content in enumerate(episodes):
            group = file.create_group(f"episode_{number}")
            group.attrs["id"] = number
            for column, values in content.items():
                if isinstance(values, dict):
                    for part, numbers in values.items():
                        group[f"{column}/{part}"] = numbers
                elif values is not None:
                    group[column] = values
            group["infos/qpos"] = np.zeros((len(content["rewards"]) + 1, 6))
    described = {"data_format": "hdf5", "env_spec": json.dumps({"id": "Hopper-v5"})}
    (data / "metadata.json").write_text(json.dumps(described if description is None else description))
    return f"minari:{name}"


def refusal(given):
    with pytest.raises(BenchError) as caught:
        add(given, Wanted("mine", "hopper"))
    assert not Path("tasks.yaml").exists()
    return str(caught.value)


def test_every_step_becomes_a_transition_in_the_order_of_the_episodes(folder):
    # Eleven: by their names alone, the tenth would come second.
    episodes = [episode(3 + number, number) for number in range(11)]
    added = add(written(folder, episodes), Wanted("mine", "hopper"))
    with h5py.File(added.path) as file:
        content = {name: file[name][()] for name in file if name != "metadata"}
    assert set(content) == {"observations", "actions", "rewards", "next_observations", "terminals"}
    for column, chosen in (("observations", np.s_[:-1]), ("next_observations", np.s_[1:])):
        wanted = np.concatenate([one["observations"][chosen] for one in episodes])
        np.testing.assert_array_equal(content[column], wanted.astype(np.float32))
    rewards = np.concatenate([one["rewards"] for one in episodes])
    np.testing.assert_array_equal(content["rewards"], rewards.astype(np.float32))
    found = added.summary
    assert (found.layout, found.rows, found.transitions) == ("ready-made transitions", 88, 88)
    # Cut episodes are told by the jump to the next one's first observation.
    assert (found.episodes, found.terminals, found.timeouts, found.mean_length) == (11, 6, 5, 8)
    assert (added.made_in, added.task.dataset.origin) == ("Hopper-v5", f"minari:{NAME}")


def test_what_minari_itself_wrote_comes_in_step_by_step(monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(WRITTEN))
    added = add("minari:hopper/random-v0", Wanted("mine", "hopper"))
    assert (added.made_in, added.summary.layout) == ("Hopper-v5", "ready-made transitions")
    assert (added.summary.rows, added.summary.episodes, added.summary.timeouts) == (24, 2, 2)
    with h5py.File(added.path) as ours, h5py.File(file_of("hopper/random-v0")) as theirs:
        for number, rows in enumerate((np.s_[:12], np.s_[12:])):
            episode = theirs[f"episode_{number}"]
            observations = episode["observations"][()].astype(np.float32)
            np.testing.assert_array_equal(ours["observations"][rows], observations[:-1])
            np.testing.assert_array_equal(ours["next_observations"][rows], observations[1:])
            np.testing.assert_array_equal(ours["actions"][rows], episode["actions"][()])
    with pytest.raises(BenchError, match="are in parts: achieved_goal, observation"):
        add("minari:parts-v0", Wanted("parts", "hopper"))


def test_the_same_set_is_the_same_dataset(folder, tmp_path):
    given = written(folder, [episode(5), episode(4, 1)])
    hashes = set()
    for number in range(2):
        convert(file_of(NAME), tmp_path / f"{number}.hdf5")
        hashes.add(sha256_of(tmp_path / f"{number}.hdf5"))
    added = add(given, Wanted("mine", "hopper"))
    assert hashes == {added.task.dataset.sha256}
    assert not add(given, Wanted("mine")).is_new


def test_an_episode_without_a_step_is_left_out_and_counted(folder):
    added = add(written(folder, [episode(4), episode(0, 1), episode(4, 2)]), Wanted("mine", "hopper"))
    assert (added.empty, added.summary.rows) == (1, 8)
    assert "holds no transition" in refusal_of_new(folder, [episode(0)])


def refusal_of_new(folder, episodes, name="other-v0"):
    with pytest.raises(BenchError) as caught:
        add(written(folder, episodes, name), Wanted("other", "hopper"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"observations": {"observation": np.zeros((5, 27)), "achieved_goal": np.zeros((5, 2))}},
            "are in parts: achieved_goal, observation",
        ),
        ({"rewards": None}, "lacks rewards"),
        ({"observations": np.zeros((4, 11))}, "Of T steps there are T + 1 observations"),
        ({"actions": np.full((4, 3), 1.5)}, f"minari:{NAME} holds an action of 1.5"),
        ({"actions": np.zeros((4, 2))}, "actions of different sizes"),
        ({"rewards": np.array([0, np.nan, 0, 0])}, "holds nan in rewards at row 6"),
        ({"terminations": np.array([0, 0, 0, 7])}, "holds 7 in terminals at row 8"),
    ],
)
def test_a_set_that_cannot_be_is_refused(folder, changes, said):
    content = episode(4) | changes
    if content["rewards"] is None:
        content["rewards"] = np.zeros(4)
        given = written(folder, [episode(5, 1), content])
        with h5py.File(file_of(NAME), "a") as file:
            del file["episode_1/rewards"]
    else:
        given = written(folder, [episode(5, 1), content])
    assert said in refusal(given)


def test_a_set_that_is_not_here_is_told_with_its_neighbours(folder):
    assert f"minari download {NAME}" in refusal(f"minari:{NAME}")
    written(folder, [episode(4)])
    said = refusal("minari:mujoco/hopper/medum-v0")
    assert f"Did you mean {NAME}?" in said
    for name in ("", "/etc", "../minari/x", "mujoco/../../x"):
        assert "names no set" in refusal(f"minari:{name}")


def test_other_formats_are_told_and_nothing_is_unpickled(folder):
    (folder / NAME / "data").mkdir(parents=True)
    (folder / NAME / "data" / "metadata.json").write_text('{"data_format": "arrow"}')
    assert "its data_format is 'arrow'" in refusal(f"minari:{NAME}")
    (folder / NAME / "data" / "main_data.hdf5").write_bytes(pickle.dumps({}))
    assert "It is not an HDF5 file" in refusal(f"minari:{NAME}")


@pytest.mark.parametrize("description", [{}, {"env_spec": "{"}, {"env_spec": {"id": 7}}, []])
def test_a_set_need_not_say_where_it_was_made(folder, description):
    given = written(folder, [episode(4)], description=description)
    assert add(given, Wanted("mine", "hopper")).made_in is None


def test_the_file_of_a_set_is_told_to_be_named_as_one(folder):
    written(folder, [episode(4)])
    assert "Type minari:NAME" in refusal(str(file_of(NAME)))
