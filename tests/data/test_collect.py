"""Collected files: layout, bytes, and content that gymnasium itself confirms row by row."""

import gymnasium
import h5py
import mujoco
import numpy as np
import pytest

from bench.catalog import CollectedDataset, PolicyShare, load_catalog
from bench.data.collect import collect, shares
from bench.envs.physics import restore_capsule_inertia
from bench.errors import BenchError
from bench.files import sha256_of

DTYPES = {
    "observations": np.float32,
    "actions": np.float32,
    "rewards": np.float32,
    "terminals": np.bool_,
    "timeouts": np.bool_,
    "infos/qpos": np.float64,
    "infos/qvel": np.float64,
    "infos/action_log_probs": np.float32,
}


def task(name):
    return load_catalog().task(name)


def read(path):
    with h5py.File(path) as file:
        return {name: file[name][()] for name in DTYPES} | {
            name: value[()] for name, value in file["metadata"].items()
        }


def episodes(data):
    """(start, stop) of every episode by the file's own flags."""
    ends = np.flatnonzero(data["terminals"] | data["timeouts"]) + 1
    return list(zip([0, *ends[:-1]], ends, strict=True))


def test_layout_and_metadata(tmp_path):
    path = tmp_path / "data.hdf5"
    digest = collect(task("collected-hopper-medium-expert"), path, 1501)
    assert digest == sha256_of(path)
    data = read(path)
    for name, dtype in DTYPES.items():
        assert data[name].dtype == dtype, name
        assert len(data[name]) == 1501
    assert data["observations"].shape == (1501, 11)
    assert data["actions"].shape == (1501, 3)
    assert data["infos/qpos"].shape == data["infos/qvel"].shape == (1501, 6)
    assert data["physics"] == b"d4rl"
    assert data["policies"] == b"medium: 750 rows, expert: 751 rows"
    assert data["seed"] == 0
    # Both shares end with an episode, so no episode mixes two policies.
    assert {750, 1501} <= {stop for _, stop in episodes(data)}
    assert not (data["terminals"] & data["timeouts"]).any()


@pytest.mark.parametrize("physics", ["d4rl", "modern"])
@pytest.mark.parametrize(
    ("name", "gymnasium_id"),
    [("collected-hopper-medium", "Hopper-v4"), ("collected-walker2d-medium-replay", "Walker2d-v4")],
)
def test_gymnasium_replays_every_episode(tmp_path, name, gymnasium_id, physics):
    collect(task(name), tmp_path / "data.hdf5", 2500, seed=3, physics=physics)
    data = read(tmp_path / "data.hdf5")
    environment = gymnasium.make(gymnasium_id)
    if physics == "d4rl":
        restore_capsule_inertia(environment.unwrapped.model, "old")
    fallen = 0
    for start, stop in episodes(data):
        environment.reset()
        mujoco.mj_resetData(environment.unwrapped.model, environment.unwrapped.data)
        environment.unwrapped.set_state(data["infos/qpos"][start], data["infos/qvel"][start])
        for row in range(start, stop):
            np.testing.assert_array_equal(environment.unwrapped.data.qpos, data["infos/qpos"][row])
            np.testing.assert_array_equal(environment.unwrapped.data.qvel, data["infos/qvel"][row])
            expected = environment.unwrapped._get_obs().astype(np.float32)
            np.testing.assert_array_equal(expected, data["observations"][row])
            _, reward, terminated, _, _ = environment.step(data["actions"][row])
            assert np.float32(reward) == data["rewards"][row]
            assert terminated == data["terminals"][row]
        fallen += terminated
    assert fallen > 2


def test_same_bytes_on_any_number_of_threads_and_for_the_same_seed_only(tmp_path):
    wanted = task("collected-hopper-medium-replay")
    digests = [collect(wanted, tmp_path / "data.hdf5", 3000, threads=threads) for threads in (1, 2, 3)]
    assert len(set(digests)) == 1
    assert collect(wanted, tmp_path / "data.hdf5", 3000, seed=1) != digests[0]


def test_a_longer_collection_goes_on_from_a_shorter_one(tmp_path):
    # Which episodes run side by side must not matter; the batch is wider here, so rounding may differ.
    wanted = task("collected-halfcheetah-medium")
    collect(wanted, tmp_path / "short.hdf5", 1500)
    collect(wanted, tmp_path / "long.hdf5", 3500)
    short, long = read(tmp_path / "short.hdf5"), read(tmp_path / "long.hdf5")
    for data, rows in ((short, 1500), (long, 3500)):
        assert data["timeouts"].nonzero()[0].tolist() == [*range(999, rows, 1000), rows - 1]
        assert not data["terminals"].any()
    for start in (0, 1000):  # first rows of each episode: later ones may drift apart by rounding
        window = slice(start, start + 5)
        np.testing.assert_allclose(short["observations"][window], long["observations"][window], atol=1e-4)
    assert not np.array_equal(short["observations"][0], short["observations"][1000])


def test_progress_reaches_the_end(tmp_path):
    seen = []
    collect(task("collected-hopper-medium"), tmp_path / "data.hdf5", 600, progress=lambda *p: seen.append(p))
    assert seen[-1] == (600, 600)


def test_an_interruption_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(task("collected-hopper-medium"), tmp_path / "data.hdf5", 600, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_shares_add_up():
    recipe = CollectedDataset(
        source="collected",
        recipe="medium-replay",
        transitions=10,
        seed=0,
        policies=tuple(PolicyShare(role=role, share=1 / 3) for role in ("initial", "early", "medium")),
    )
    assert shares(recipe, 11) == [("initial", 4), ("early", 3), ("medium", 4)]
    with pytest.raises(BenchError, match="1 transitions"):
        shares(recipe, 1)


def test_a_d4rl_task_cannot_be_collected(tmp_path):
    with pytest.raises(BenchError, match="collected-hopper-medium"):
        collect(task("hopper-medium-v2"), tmp_path / "data.hdf5")
