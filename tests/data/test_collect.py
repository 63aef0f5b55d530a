"""Collected files: layout, bytes, and content that gymnasium itself confirms row by row."""

from dataclasses import replace

import gymnasium
import h5py
import mujoco
import numpy as np
import pytest

from bench.catalog import CollectedDataset, PolicyShare, load_catalog
from bench.data.collect import collect, shares
from bench.data.info import summarise
from bench.data.reader import read_file
from bench.data.replay import replay
from bench.data.verify import verify
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


# Collected twins of AntMaze, pen and kitchen: what their files hold, and what is found of files that lie.


ROWS = {
    "collected-antmaze-umaze": 1402,
    "collected-antmaze-umaze-diverse": 1402,
    "collected-antmaze-medium-diverse": 2002,
    "collected-pen-cloned": 400,
    "collected-kitchen-partial": 560,
    "collected-kitchen-mixed": 280,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collected")
    made = {}
    for name, rows in ROWS.items():
        made[name] = folder / f"{name}.hdf5"
        collect(task(name), made[name], rows)
    return made


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))


def columns(path):
    with h5py.File(path) as file:
        found = {name: file[name][:] for name in file if isinstance(file[name], h5py.Dataset)}
        found |= {f"infos/{name}": file["infos"][name][:] for name in file["infos"]}
        return found | {f"metadata/{name}": file["metadata"][name][()] for name in file["metadata"]}


def altered(path, to, **changes):
    """A copy in which some columns are other."""
    to.write_bytes(path.read_bytes())
    with h5py.File(to, "r+") as file:
        for name, change in changes.items():
            file[name][:] = change(file[name][:])
    return to


def outcomes(path, name):
    return {check.name: check.outcome for check in verify(task(name), path).checks}


def test_antmaze_is_rewarded_afterwards_against_one_goal(files):
    for name in ("collected-antmaze-umaze", "collected-antmaze-umaze-diverse"):
        found = columns(files[name])
        goal = np.array([float(number) for number in found["metadata/goal"].decode().split(",")])
        # The goal cell of the umaze has its centre at (0, 8); a goal lies up to 1.5 m above it.
        assert (goal >= [0, 8]).all() and (goal <= [1.5, 9.5]).all()
        assert found["timeouts"].nonzero()[0].tolist() == [700, 1401]
        near = np.zeros(1402, dtype=bool)
        for first in (0, 701):
            positions = found["infos/qpos"][first : first + 701, :2]
            near[first : first + 700] = np.hypot(*(positions[1:] - goal).T) <= 0.5
        if name.endswith("diverse"):
            near[1:] &= ~near[:-1]
        np.testing.assert_array_equal(found["rewards"], near)
        np.testing.assert_array_equal(found["terminals"], near)
    assert columns(files["collected-antmaze-umaze"])["rewards"].sum() > 10


def test_starts_and_goals_of_antmaze_are_those_of_the_recipe(files):
    one, diverse = (
        columns(files["collected-antmaze-umaze"]),
        columns(files["collected-antmaze-medium-diverse"]),
    )
    starts = one["infos/qpos"][[0, 701], :2]
    assert (np.abs(starts) <= 0.1).all()
    assert not np.array_equal(starts[0], starts[1])
    assert (one["infos/goal"][:701] == one["infos/goal"][0]).all()
    # Goal cells of the medium maze's generation map: centres (20, 4), (0, 16), (16, 20).
    for row in (0, 1001):
        goal = diverse["infos/goal"][row]
        gaps = goal - np.array([[20, 4], [0, 16], [16, 20]])
        assert ((gaps >= 0) & (gaps <= 1.5)).all(axis=1).any()
    assert (np.abs(diverse["infos/qpos"][[0, 1001], :2]) > 1.5).any()


def test_the_pen_is_turned_with_and_without_noise(files):
    found = columns(files["collected-pen-cloned"])
    assert found["infos/desired_orien"].shape == (400, 4)
    np.testing.assert_allclose(np.linalg.norm(found["infos/desired_orien"], axis=1), 1)
    assert (np.abs(found["actions"]) <= 1).all()
    # Noise of 0.3 carries many actions to their bounds.
    at_bounds = (np.abs(found["actions"]) == 1).mean(axis=1)
    assert at_bounds[200:].mean() > at_bounds[:200].mean() + 0.02
    assert b"expert + noise 0.3: 200 rows" in found["metadata/policies"]


def test_a_kitchen_demonstration_ends_terminal_and_counts_what_is_complete(files):
    found = columns(files["collected-kitchen-partial"])
    assert not found["timeouts"].any()
    lasts = found["terminals"].nonzero()[0]
    # Each of the two policies' shares ends one; whatever ended before did so by its fourth element.
    assert {279, 559} <= set(lasts.tolist())
    for rewards in np.split(found["rewards"], lasts + 1)[:-1]:
        assert (np.diff(rewards) >= 0).all()
        assert set(rewards) <= {0.0, 1.0, 2.0, 3.0, 4.0}
        assert len(rewards) <= 280
    assert all(found["rewards"][last] == 4 for last in lasts if last not in (279, 559))
    assert found["rewards"].max() >= 2


@pytest.mark.parametrize("name", ROWS)
def test_a_file_fits_and_its_replay_finds_the_simulator(files, name):
    found = outcomes(files[name], name)
    assert "mismatch" not in found.values()
    assert found["actions by physics"] == found["observations by states"] == "ok"
    report = replay(files[name], task(name), rows=100)
    assert report.answer == "d4rl"
    assert report.errors["d4rl"].median < 1e-6


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("column", ["rewards", "actions", "observations"])
def test_a_changed_column_is_found(files, tmp_path, name, column):
    path = altered(
        files[name],
        tmp_path / "data.hdf5",
        **{column: lambda values: values * np.float32(0.9) + np.float32(0.01)},
    )
    try:
        assert "mismatch" in outcomes(path, name).values()
    except BenchError as refused:  # goals and places that no such task has
        assert column == "observations"
        assert "Another task's file" in str(refused)


def test_d4rl_s_own_layout_is_checked_by_its_states_too(files, tmp_path):
    """The same columns under a D4RL task's name, whose recipe and digests nobody knows."""
    for twin in ("collected-antmaze-umaze", "collected-pen-cloned"):
        original = replace(task(task(twin).twin_of), horizon=task(twin).horizon)
        found = {check.name: check.outcome for check in verify(original, files[twin]).checks}
        assert found["observations by states"] == found["actions by physics"] == "ok"
        assert found["rewards by states"] == ("ok" if "pen" in twin else "unknown")
    path = altered(
        files["collected-pen-cloned"], tmp_path / "data.hdf5", rewards=lambda values: values + 0.01
    )
    found = {check.name: check.outcome for check in verify(task("pen-cloned-v1"), path).checks}
    assert found["rewards by states"] == "mismatch"
    path = altered(
        files["collected-antmaze-umaze"],
        tmp_path / "ant.hdf5",
        actions=lambda values: np.roll(values, 1, axis=0),
    )
    found = {check.name: check.outcome for check in verify(task("antmaze-umaze-v2"), path).checks}
    assert found["actions by physics"] == "mismatch"


@pytest.mark.parametrize(
    ("name", "other", "told"),
    [
        ("collected-antmaze-medium-diverse", "collected-antmaze-umaze", "inside this maze's walls"),
        ("collected-kitchen-partial", "collected-kitchen-mixed", "goals of other elements"),
        ("collected-pen-cloned", "collected-antmaze-umaze", "(rows, 29)"),
        ("collected-antmaze-umaze", "collected-kitchen-mixed", "(rows, 60)"),
    ],
)
def test_another_task_s_file_is_refused(files, name, other, told):
    with pytest.raises(BenchError) as refused:
        read_file(files[name], task(other), sha256_of(files[name]))
    assert told in str(refused.value)


def test_jumps_across_a_maze_are_counted_and_kept(files, tmp_path):
    name = "collected-antmaze-medium-diverse"
    assert summarise(files[name], task(name)).jumps == 0

    def misplaced(timeouts):
        return np.roll(timeouts, 40)

    path = altered(files[name], tmp_path / "data.hdf5", timeouts=misplaced)
    found, before = summarise(path, task(name)), summarise(files[name], task(name))
    positions = columns(files[name])["observations"][:, :2]
    far = int(np.hypot(*(positions[1001] - positions[1000])) > 5)
    assert found.jumps == far
    # Two rows are cut off, of which one was the last, which is dropped in any case.
    assert (before.transitions, found.transitions) == (2000, 1999)
    assert summarise(files["collected-pen-cloned"], task("collected-pen-cloned")).jumps is None


def test_scores_of_a_file_are_on_the_environment_s_scale(files):
    """A file's AntMaze rewards count rows near the goal, the kitchen's what is complete, row by row."""
    for name, most in (("collected-antmaze-umaze", 1), ("collected-kitchen-partial", 4)):
        found, summary = columns(files[name]), summarise(files[name], task(name))
        ends = found["timeouts"] if "antmaze" in name else found["terminals"]
        largest = [part.max() for part in np.split(found["rewards"], ends.nonzero()[0] + 1)[:-1]]
        assert summary.episodes == len(largest) >= 2
        assert summary.mean_score == pytest.approx(100 * np.mean(largest) / most)
        assert summary.highest_return > most
